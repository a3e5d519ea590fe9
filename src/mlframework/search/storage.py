"""Opening a study's storage: SQLite, a journal file, or PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlframework.config.decode import expand
from mlframework.config.secrets import masked as masked
from mlframework.errors import MissingExtraError, StorageError
from mlframework.search.files import JournalFile, check_sqlite
from mlframework.search.patience import Patience, PatientStorage
from mlframework.search.proxy import SCHEME, open_proxy, said_by_proxy

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

T = TypeVar("T")
_MAKE_ROOM = "make room on the disk, then go on with --resume"
_ATTEMPTS = 6  # of opening a fresh database that other workers are opening, too


class _AddressError(Exception):
    """What stands in the place of a storage's URL is none."""


def file_of(url: str) -> Path | None:
    """Return the file in which a storage keeps its studies, or None where it is a server's.

    Raises:
        KeyError: `${VAR}` in it is not set.
    """
    found = re.match(r"(?:sqlite|journal):///([^?]+)", expand(url))
    return Path(found[1]) if found else None


def require_file(url: str) -> None:
    """Raise where the file of a storage is gone: what is still written into it nobody can read afterwards.

    Raises:
        StorageError: it was removed while it was in use.
    """
    path = file_of(url)
    if path is not None and not path.name.startswith((":", "file:")) and not path.exists():
        raise StorageError(
            f"search.storage: {masked(url)} was removed while its search goes on; the trials so far are in the study's "
            "results.json and trials.csv, and another study can learn from those by search.warm_start"
        )


def open_storage(url: str) -> BaseStorage:
    """Open a storage.

    Args:
        url: `sqlite:///file.db`, `journal:///file.log`, or `postgresql://...`; `${VAR}` is taken from the environment.

    Raises:
        StorageError: it cannot be opened, or does not answer.
        MissingExtraError: the driver of the database is not installed.
    """
    try:
        address = expand(url)
    except KeyError as error:
        raise StorageError(f"{masked(url)}: the environment variable {error.args[0]} is not set") from None
    if "***" in address:
        raise StorageError(
            f"{url}: the password was not recorded; give the storage with --storage, or write it as ${{VAR}}"
        )
    if address.partition("://")[2].partition("?")[0].count("@") > 1:
        # What follows the first would be taken for the host, and be shown as one.
        raise StorageError(
            f"search.storage: {masked(url)}: has more than one '@'; write one in a name or a password as %40"
        )
    with translated(url):
        if address.startswith("journal:///"):
            return _journal(Path(address.removeprefix("journal:///")))
        if address.startswith("sqlite") and (file := file_of(address)) is not None:
            check_sqlite(file)
        if address.startswith(SCHEME):
            return open_proxy(address)
        return _retried(lambda: _database(address))


def patient(storage: BaseStorage, url: str, seconds: float) -> BaseStorage | PatientStorage:
    """Return a storage that is waited for while it is away: a database; a file is there or not."""
    from optuna.storages import RDBStorage

    return PatientStorage(storage, Patience(seconds, masked(url))) if isinstance(storage, RDBStorage) else storage


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn what a database raises into one message.

    Raises:
        StorageError: with what the database said.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        yield
    except (ArgumentError, _AddressError):
        raise StorageError(
            f"search.storage: {masked(url)!r} is no storage; write sqlite:///file.db, journal:///file.log or "
            "postgresql://user:${DB_PASSWORD}@host/db"
        ) from None
    except ImportError as error:
        # Optuna raises one of its own, from the one that has the driver's name.
        driver = error.name or getattr(error.__cause__, "name", None)
        if driver == "psycopg":
            raise MissingExtraError("psycopg", "postgres", "PostgreSQL") from None
        raise StorageError(
            f"search.storage: {masked(url)}: its driver is not installed ({driver}); a search is tried and tested with "
            "sqlite:///, journal:/// and postgresql://"
        ) from None
    except (SQLAlchemyError, StorageInternalError, OSError) as error:
        cause = error.__cause__ or error
        reason = str(getattr(error, "orig", None) or getattr(cause, "orig", cause)).strip().splitlines()[0]
        raise StorageError(f"search.storage: {masked(url)} cannot be used: {reason}; {_remedy(reason)}") from error
    except Exception as error:
        said = said_by_proxy(error)
        if said is None:
            raise
        raise StorageError(f"search.storage: {masked(url)} cannot be used through its proxy: {said}") from error


def _remedy(reason: str) -> str:
    remedies = {
        "unable to open": "does its folder exist, and may you write there?",
        "not a database": "that file is no SQLite database; name another one",
        "full": _MAKE_ROOM,
        "no space": _MAKE_ROOM,
        "quota": _MAKE_ROOM,
        "too large": "raise the limit on the size of files (ulimit -f), then go on with --resume",
        "no such file": "its folder or file was removed; put it back, then go on with --resume",
        "disk i/o error": "the disk is full, or fails, or the file's folder is not there any more; see to that, then go on with "
        "--resume",
        "malformed": "the file is damaged and is left as it is; put back a copy of it, or save what can be read by: sqlite3 "
        "FILE .recover | sqlite3 NEW; a study's trials.csv has its finished trials, and another study can learn from it by "
        "search.warm_start",
        "readonly": "make it writable, or name another file",
        "read-only": "make it writable, or name another file",
        "locked": "another program holds it; stop that, or use postgresql:// or journal:///",
        "refused": "does the database server run, and is the port right?",
        "password": "check user and password",
    }
    return next(
        (text for sign, text in remedies.items() if sign in reason.lower()), "check the address, then try again"
    )


def _journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage

    from mlframework.runs import FILE_MODE

    if not path.parent.is_dir():
        raise StorageError(f"search.storage: journal:///{path}: the folder {path.parent} does not exist; make it first")
    try:
        _mend_journal(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))
        return JournalStorage(JournalFile(path))  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"search.storage: journal:///{path}: that file is no journal of a study, or is damaged; name another one"
        ) from error


def _mend_journal(path: Path) -> None:
    """Take off a last line that a kill cut short, before the next line is written behind it.

    Raises:
        ValueError: the file is no journal; nothing is written into it.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        entry = json.loads(file.readline())
    if not isinstance(entry, dict) or "op_code" not in entry:
        raise ValueError(f"{path} is no journal")
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        written = path.read_bytes()
        if not written.endswith(b"\n"):
            os.truncate(path, written.rfind(b"\n") + 1)
    finally:
        lock.release()


def _database(address: str) -> BaseStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy import event, make_url

    address = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", address)
    is_sqlite = address.startswith("sqlite")
    # SQLite's writers wait for one another; a server's idle connections are tried before they are used.
    options: dict[str, Any] = {"connect_args": {"timeout": 60}}
    if not is_sqlite:
        options = {"pool_pre_ping": True, "connect_args": _signs_of_life(address)}
    try:
        make_url(address)
    except ValueError:  # a port that is no number
        raise _AddressError from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = RDBStorage(address, engine_kwargs=options)
    if is_sqlite:
        event.listen(storage.engine, "connect", _tune_sqlite)
        storage.engine.dispose()
    return storage


def _signs_of_life(address: str) -> dict[str, int]:
    """Return after how many seconds a silent server is taken for gone: systems wait for hours. The URL may say otherwise."""
    wanted = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
    return {name: seconds for name, seconds in wanted.items() if f"{name}=" not in address}


def _tune_sqlite(connection: Any, _record: object) -> None:
    """Write-ahead logging: readers do not wait for writers, and a commit waits for one write instead of three."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _retried(make: Callable[[], T]) -> T:
    """Try again where several processes create the tables of a fresh database at once: all but one fail."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for attempt in range(_ATTEMPTS):
        try:
            return make()
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            raced = isinstance(error, IntegrityError) or "already exists" in str(error) or "locked" in str(error)
            if not raced or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.1 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")
