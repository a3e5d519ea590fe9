"""Where leases are kept: a table beside Optuna's in a database, where an update that names the old token is atomic; or
attributes of the study in a journal, whose order all readers agree on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlframework.search.lease import Lease, Ledger
from mlframework.search.mirror import behind
from mlframework.search.patience import PatientStorage
from mlframework.search.proxy import ProxyLedger

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from sqlalchemy import Engine, Table


_TABLE = "mlframework_leases"


class DatabaseLedger:
    """The leases in a table of their own, beside Optuna's."""

    def __init__(self, engine: Engine, study_id: int) -> None:
        from sqlalchemy import DDL, Column, Float, Integer, MetaData, String, Table, event

        self._engine, self._study_id = engine, study_id
        self._table: Table = Table(
            _TABLE,
            MetaData(),
            Column("study_id", Integer, primary_key=True),
            Column("place", Integer, primary_key=True),
            Column("token", Integer, nullable=False),
            Column("owner", String(512), nullable=False),
            Column("expires", Float, nullable=False),
            Column("trial", Integer),
        )
        # SQLite gives the number of a study that was deleted to the next one, which must not find old leases.
        forget = DDL(  # type: ignore[no-untyped-call]
            "CREATE TRIGGER IF NOT EXISTS mlframework_forget_leases AFTER DELETE ON studies "
            "BEGIN DELETE FROM mlframework_leases WHERE study_id = OLD.study_id; END"
        )
        event.listen(self._table, "after_create", forget.execute_if(dialect="sqlite"))
        self._create_table()

    def _create_table(self) -> None:
        from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

        try:
            self._table.create(self._engine, checkfirst=True)
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            # Another worker made it between the check and the creation; after a real fault it can't be read.
            try:
                self.read()
            except (OperationalError, ProgrammingError):
                raise error from None

    def read(self, first: int = 0) -> list[Lease]:
        """Return the lease in force of each place, in order, from a first place on."""
        columns = self._table.c
        own = (columns.study_id == self._study_id, columns.place >= first)
        query = self._table.select().where(*own).order_by(columns.place)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [Lease(row.place, row.token, row.owner, row.expires, row.trial) for row in rows]

    def insert(self, lease: Lease) -> bool:
        """Claim a place that nobody has claimed."""
        from sqlalchemy.exc import IntegrityError

        try:
            with self._engine.begin() as connection:
                connection.execute(self._table.insert().values(study_id=self._study_id, **lease.__dict__))
        except IntegrityError:
            return self._is_in_force(lease)
        return True

    def replace(self, lease: Lease) -> bool:
        """Take a place over."""
        return self._write(lease, lease.token - 1)

    def update(self, lease: Lease) -> bool:
        """Change a lease that is still in force."""
        return self._write(lease, lease.token)

    def _write(self, lease: Lease, token_in_force: int) -> bool:
        columns = self._table.c
        statement = (
            self._table.update()
            .where(columns.study_id == self._study_id, columns.place == lease.place, columns.token == token_in_force)
            .values(token=lease.token, owner=lease.owner, expires=lease.expires, trial=lease.trial)
        )
        with self._engine.begin() as connection:
            written = connection.execute(statement).rowcount == 1
        return written or self._is_in_force(lease)

    def _is_in_force(self, lease: Lease) -> bool:
        """Whether it was this owner who wrote: an answer that got lost on the way is asked for again."""
        columns = self._table.c
        query = self._table.select().where(columns.study_id == self._study_id, columns.place == lease.place)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return row is not None and (row.token, row.owner) == (lease.token, lease.owner)

    def clock_offset(self) -> float:
        """Return by how many seconds the database's clock is ahead of this machine's; 0 where it has none of its own."""
        from sqlalchemy import text

        if self._engine.dialect.name != "postgresql":
            return 0.0
        with self._engine.connect() as connection:
            asked = time.time()
            there = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
            return there - (asked + time.time()) / 2


class JournalLedger:
    """The leases as attributes of the study in a journal, whose entries all readers see in one order.

    A claim is an entry with a name of its own; the first claim of a place and token is the one that holds.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage, self._study_id = storage, study_id

    def read(self, first: int = 0) -> list[Lease]:
        """Return the lease in force of each place, in order, from a first place on."""
        # A copy: the storage goes on filling the same dict, from the heartbeat's thread as well.
        attributes = dict(self._storage.get_study_system_attrs(self._study_id))
        winners: dict[tuple[int, int], str] = {}
        for name, claim in attributes.items():
            if name.startswith("mlframework:claim:"):
                winners.setdefault((claim["place"], claim["token"]), claim["owner"])
        in_force: dict[int, Lease] = {}
        for (place, token), owner in sorted(winners.items()):
            state = attributes[_state_key(place, token, owner)]
            in_force[place] = Lease(place, token, owner, state["expires"], state["trial"])
        return [in_force[place] for place in sorted(in_force) if place >= first]

    def insert(self, lease: Lease) -> bool:
        """Claim a place that nobody has claimed."""
        return self._claim(lease)

    def replace(self, lease: Lease) -> bool:
        """Take a place over."""
        return self._claim(lease)

    def update(self, lease: Lease) -> bool:
        """Change a lease that is still in force."""
        self._write_state(lease)
        return self._holds(lease)

    def _claim(self, lease: Lease) -> bool:
        self._write_state(lease)
        claim: dict[str, Any] = {"place": lease.place, "token": lease.token, "owner": lease.owner}
        name = f"mlframework:claim:{lease.place}:{lease.token}:{lease.owner}"
        self._storage.set_study_system_attr(self._study_id, name, claim)
        return self._holds(lease)

    def _write_state(self, lease: Lease) -> None:
        key = _state_key(lease.place, lease.token, lease.owner)
        self._storage.set_study_system_attr(self._study_id, key, {"expires": lease.expires, "trial": lease.trial})

    def _holds(self, lease: Lease) -> bool:
        held: Sequence[Lease] = [each for each in self.read() if each.place == lease.place]
        return bool(held) and (held[0].token, held[0].owner) == (lease.token, lease.owner)


def _state_key(place: int, token: int, owner: str) -> str:
    return f"mlframework:lease:{place}:{token}:{owner}"


def read_leases(study: Study) -> list[Lease]:
    """Return the leases of a study that is only read: none where nobody has kept any, and nothing is made."""
    from optuna.storages import JournalStorage
    from sqlalchemy import inspect

    storage = behind(study._storage)
    if isinstance(storage, JournalStorage):
        return JournalLedger(storage, study._study_id).read()
    # A database stands behind a cache of Optuna's, which has no engine.
    engine: Engine | None = getattr(getattr(storage, "_backend", storage), "engine", None)
    if engine is None or not inspect(engine).has_table(_TABLE):
        return []
    return DatabaseLedger(engine, study._study_id).read()


def open_ledger(storage: BaseStorage, study_id: int) -> Ledger:
    """Return the ledger that suits a storage."""
    from optuna.storages import GrpcStorageProxy, JournalStorage, RDBStorage

    storage = behind(storage)
    if isinstance(storage, JournalStorage):
        return JournalLedger(storage, study_id)
    if isinstance(storage, GrpcStorageProxy):
        return ProxyLedger(storage, study_id)
    # Not the cache that a study wraps its storage in: it has no engine, and two kinds of ledgers would not agree.
    assert isinstance(storage, RDBStorage | PatientStorage)
    return DatabaseLedger(storage.engine, study_id)
