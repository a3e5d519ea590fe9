"""Who owns which trial: the only module that changes it.

A study of `n_trials` has as many places. A worker claims a place before it asks for a trial, so that there are never
more trials than places, whoever runs them. The claim is a lease: its owner renews it, and says with which trial the
place is filled. A lease that ran out, or whose process is dead, is taken over together with its trial. Each takeover
raises the place's token: an owner that was only paused finds a newer token when it looks, and lets go. What a worker
finally tells the storage counts once, since Optuna finishes a trial only once: the first commit wins.

Two forms: a table beside Optuna's in a database, where an update that names the old token is atomic; and attributes
of the study in a journal, whose order all readers agree on.
"""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlframework.errors import LeaseLost

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import Engine, Table

RENEWALS_PER_LEASE = 4


@dataclass(frozen=True)
class Lease:
    """A place of the study, as it stands in the storage.

    Attributes:
        place: 0 to n_trials - 1.
        token: how often the place has changed hands.
        owner: the process that holds it.
        expires: seconds since 1970 after which it may be taken over; 0 once it was let go.
        trial: Optuna's number of the trial in this place, or None while none was asked for.
    """

    place: int
    token: int
    owner: str
    expires: float
    trial: int | None


class Ledger(Protocol):
    """Keeps the leases of one study. Each method that writes returns whether it was the first to do so."""

    def read(self) -> list[Lease]:
        """Return the lease in force of each place, in order."""

    def insert(self, lease: Lease) -> bool:
        """Claim a place that nobody has claimed."""

    def replace(self, lease: Lease) -> bool:
        """Take a place over: `lease.token` is one more than the token in force."""

    def update(self, lease: Lease) -> bool:
        """Change expiry or trial of a lease that is still in force."""


def owner_of_this_process() -> str:
    """Return an identity of this process that no other has: host, process namespace, number, and start time."""
    return "|".join((*_here(), str(os.getpid()), _start_time(os.getpid()) or "", uuid.uuid4().hex[:8]))


def _here() -> tuple[str, str]:
    namespace = Path("/proc/self/ns/pid")
    with suppress(OSError):
        return f"{socket.gethostname()}-{_boot_id()}", os.readlink(namespace)
    return platform.node(), ""


def _boot_id() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _start_time(pid: int) -> str | None:
    """Return when a living process started, in the kernel's ticks: a number that is used again has another start."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        # A zombie is dead, whoever has not asked for its exit status yet.
        return None if fields[0] in "ZX" else fields[19]
    return None


def is_dead(lease: Lease, now: float) -> bool:
    """Whether a lease may be taken over: it ran out, or its process is known to be gone."""
    if lease.expires <= now:
        return True
    host, namespace, pid, started, _ = lease.owner.split("|")
    if (host, namespace) != _here() or not namespace or not started:
        return False
    return _start_time(int(pid)) != started


class Leases:
    """Claims, renews and gives back the places of a study.

    Args:
        ledger: where they are kept.
        seconds: how long a lease lasts without being renewed.
    """

    def __init__(self, ledger: Ledger, seconds: float) -> None:
        self._ledger, self._seconds = ledger, seconds
        self._owner = owner_of_this_process()

    def claim(self, n_places: int, unfinished: Callable[[], set[int]]) -> Lease | None:
        """Return a place to work at, or None where all are done or being worked at.

        An unfinished trial of a dead owner comes before a new one.

        Args:
            n_places: places of the study.
            unfinished: reads the numbers of the trials that are not finished. It is asked after the leases were read:
                what a worker finished before its death is then seen to be finished.
        """
        while True:
            leases = self._ledger.read()
            now = time.time()
            dead = [lease for lease in leases if is_dead(lease, now)]
            still_open = unfinished() if dead else set()
            for lease in dead:
                if lease.trial is None or lease.trial in still_open:
                    taken = replace(lease, token=lease.token + 1, owner=self._owner, expires=now + self._seconds)
                    if self._ledger.replace(taken):
                        return taken
            if len(leases) >= n_places:
                return None
            fresh = Lease(len(leases), 0, self._owner, now + self._seconds, None)
            if self._ledger.insert(fresh):
                return fresh

    def places(self) -> int:
        """Return how many places were claimed so far."""
        return len(self._ledger.read())

    def pending(self, unfinished: Callable[[], set[int]]) -> list[Lease]:
        """Return the leases of places whose trial is not finished, or not yet made; see `claim` for `unfinished`."""
        leases = self._ledger.read()
        still_open = unfinished()
        return [lease for lease in leases if lease.trial is None or lease.trial in still_open]

    def bind(self, lease: Lease, trial: int) -> Lease:
        """Say with which trial a place is filled.

        Raises:
            LeaseLost: another worker owns the place.
        """
        return self._write(replace(lease, trial=trial, expires=time.time() + self._seconds))

    def renew(self, lease: Lease) -> Lease:
        """Make a lease last from now on.

        Raises:
            LeaseLost: another worker owns the place.
        """
        return self._write(replace(lease, expires=time.time() + self._seconds))

    def release(self, lease: Lease) -> None:
        """Let go of a place whose trial is not finished, so that it can be taken over at once."""
        with suppress(LeaseLost):
            self._write(replace(lease, expires=0.0))

    def _write(self, lease: Lease) -> Lease:
        if not self._ledger.update(lease):
            raise LeaseLost(f"trial {lease.trial} was taken over by another worker")
        return lease


class Heartbeat:
    """Renews a lease from a thread of its own while its trial trains.

    Args:
        leases: the study's leases.
        lease: the one that is held.
        seconds: how long a lease lasts.
    """

    def __init__(self, leases: Leases, lease: Lease, seconds: float) -> None:
        self._leases, self._lease, self._seconds = leases, lease, seconds
        self._lost = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{lease.place}", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=self._seconds)

    def check(self) -> None:
        """Do nothing while the lease is held.

        Raises:
            LeaseLost: another worker owns the trial.
        """
        if self._lost.is_set():
            raise LeaseLost(f"trial {self._lease.trial} was taken over by another worker")

    def _beat(self) -> None:
        while not self._done.wait(self._seconds / RENEWALS_PER_LEASE):
            try:
                self._leases.renew(self._lease)
            except LeaseLost:
                self._lost.set()
                return
            except Exception:  # noqa: BLE001 - a storage that is away for a moment: the next beat tries again
                continue


class DatabaseLedger:
    """The leases in a table of their own, beside Optuna's."""

    def __init__(self, engine: Engine, study_id: int) -> None:
        from sqlalchemy import DDL, Column, Float, Integer, MetaData, String, Table, event

        self._engine, self._study_id = engine, study_id
        self._table: Table = Table(
            "mlframework_leases",
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
        except (IntegrityError, OperationalError, ProgrammingError):
            # Another worker made it between the check and the creation; a real fault shows in the first read.
            self.read()

    def read(self) -> list[Lease]:
        """Return the lease in force of each place, in order."""
        columns = self._table.c
        query = self._table.select().where(columns.study_id == self._study_id).order_by(columns.place)
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
            return False
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
            return bool(connection.execute(statement).rowcount == 1)


class JournalLedger:
    """The leases as attributes of the study in a journal, whose entries all readers see in one order.

    A claim is an entry with a name of its own; the first claim of a place and token is the one that holds.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage, self._study_id = storage, study_id

    def read(self) -> list[Lease]:
        """Return the lease in force of each place, in order."""
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
        return [in_force[place] for place in sorted(in_force)]

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


def open_ledger(storage: BaseStorage, study_id: int) -> Ledger:
    """Return the ledger that suits a storage."""
    from optuna.storages import JournalStorage, RDBStorage

    if isinstance(storage, JournalStorage):
        return JournalLedger(storage, study_id)
    # Not the cache that a study wraps its storage in: it has no engine, and two kinds of ledgers would not agree.
    assert isinstance(storage, RDBStorage)
    return DatabaseLedger(storage.engine, study_id)
