"""Waiting for a database that has gone away, and for nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from mlframework.errors import StorageError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy import Engine

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 5.0, 1.7
_SAID_AFTER = 1.0  # seconds: what is shorter nobody has to know
# https://www.postgresql.org/docs/current/errcodes-appendix.html: lost connections, a server that stops or starts, too many
# connections, and transactions that the server gave up in favour of others.
_AWAY_STATES = ("08", "57P0", "53300", "40001", "40P01")
# What a driver says that has no such code, since no server has answered.
_AWAY_SIGNS = (
    "connection refused", "is the server running", "server closed the connection", "connection reset", "broken pipe",
    "connection timeout", "timeout expired", "timed out", "network is unreachable", "no route to host", "name resolution",
    "could not translate host name", "the connection is closed", "the connection is lost", "terminating connection",
    "starting up", "shutting down", "recovery mode", "not yet accepting connections", "ssl connection has been closed",
    "database is locked",
)  # fmt: skip


_LOST_BEFORE = "8s2b"
"""SQLAlchemy's code where the connection was lost earlier in a transaction: it is rolled back, and can be repeated."""


def is_away(error: BaseException | None) -> bool:
    """Whether an error means that the database does not answer now, and may answer later."""
    from sqlalchemy.exc import DBAPIError, PendingRollbackError

    while error is not None:
        if isinstance(error, PendingRollbackError):
            return error.code == _LOST_BEFORE
        if isinstance(error, DBAPIError):
            state = getattr(error.orig, "sqlstate", None) or ""
            text = str(error.orig).lower()
            return error.connection_invalidated or state.startswith(_AWAY_STATES) or any(s in text for s in _AWAY_SIGNS)
        error = error.__cause__
    return False


class Patience:
    """Repeats what a database did not answer to, with growing pauses.

    Args:
        seconds: how long a database may be away.
        title: of the storage in messages, without its password.
    """

    def __init__(self, seconds: float, title: str) -> None:
        self._seconds, self._title = seconds, title
        self._over = threading.Event()
        self._last_outage: float | None = None
        self.say: Callable[[str], None] = lambda _: None

    def __call__(self, operation: Callable[[], T]) -> T:
        """Return what an operation returns that may be repeated.

        Raises:
            StorageError: the database did not answer in time.
        """
        began, said = None, False
        for pause in _pauses():
            try:
                result = operation()
            except Exception as error:
                now = time.monotonic()
                if not is_away(error) or self._over.is_set() or self._seconds <= 0:
                    raise
                began = now if began is None else began
                left = began + self._seconds - now
                if left <= 0:
                    raise self._exhausted() from error
                if not said and now - began + pause > _SAID_AFTER:
                    said = True
                    self.say(f"{self._title} does not answer: waiting for it, up to {self._seconds:g} s")
                self._over.wait(min(pause, left))
                self._last_outage = time.monotonic()
            else:
                return result
        raise AssertionError("pauses have no end")

    def hurry(self) -> None:
        """Wait no more from now on: the process is to end."""
        self._over.set()

    def outage_within(self, seconds: float) -> bool:
        """Whether the database was away a moment ago: others may not have had time to give a sign of life."""
        return self._last_outage is not None and time.monotonic() - self._last_outage < seconds

    def _exhausted(self) -> StorageError:
        return StorageError(
            f"search.storage: {self._title} has not answered for {self._seconds:g} s; what is finished is kept: go on with "
            "--resume when it is back, or raise search.storage_patience"
        )


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)


class PatientStorage:
    """A database storage whose calls wait while the database is away.

    Not so the making of a trial: an answer that got lost on the way may mean that it was made, so that whoever repeats
    it has to look first.
    """

    def __init__(self, database: RDBStorage, patience: Patience) -> None:
        from optuna.storages import get_storage

        self.database, self.patience = database, patience
        self.engine: Engine = database.engine
        # Optuna wraps a database in a cache, which it would not do behind ours.
        self._storage = get_storage(database)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if name.startswith("_") or name == "create_new_trial" or not callable(found):
            return found
        return lambda *args, **named: self.patience(lambda: found(*args, **named))
