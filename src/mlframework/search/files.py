"""The files that a study's storage may be: a SQLite database that is whole, and a journal whose lines are."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlframework.errors import StorageError
from mlframework.runs import write_whole

_TIMEOUT = 60.0  # seconds that SQLite's users wait for one another


def check_sqlite(path: Path) -> None:
    """Refuse a database file that is damaged, before anything is written into it.

    It reads the whole file, about 2 ms a megabyte.

    Raises:
        StorageError: what is wrong with it, and what to do.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_TIMEOUT)) as connection:
            ((found, *_), *_) = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError:
        return  # locked, or not to be read: who opens it will say so
    except sqlite3.DatabaseError as error:
        found = str(error)
    if "not a database" in found:
        raise StorageError(
            f"search.storage: sqlite:///{path} cannot be used: that file is no SQLite database, or its beginning is damaged; "
            "it is left as it is; name another one, or put back a copy of it"
        )
    if found != "ok":
        reason = " ".join(str(found).split()).strip("* ")
        raise StorageError(
            f"search.storage: sqlite:///{path} cannot be used: the file is damaged ({reason}), and is left as it is; put back "
            f"a copy of it, or save what can be read by: sqlite3 {path} .recover | sqlite3 NEW.db; or start another study in "
            "another file, which can learn from the trials.csv of this one by search.warm_start"
        )


class JournalFile:
    """A journal whose lines are whole: one that can't be written to its end, as the disk is full, is taken back.

    Optuna's own leaves the beginning of the line there, and what another worker writes behind it makes the file
    unreadable for all.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

        self._path = path
        self._lock = JournalFileSymlinkLock(str(path))
        self._file = JournalFileBackend(str(path))

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the entries from one on."""
        return self._file.read_logs(log_number_from)

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Write entries, all of them or none."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._lock.acquire()
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_APPEND)  # one that was removed is not made anew
            try:
                _take_back_half_a_line(handle)
                write_whole(handle, lines.encode())
                os.fsync(handle)
            finally:
                os.close(handle)
        finally:
            self._lock.release()


def _take_back_half_a_line(handle: int) -> None:
    """Take off a last line that a death cut short, before the next line is written behind it."""
    size = os.fstat(handle).st_size
    if not size or os.pread(handle, 1, size - 1) == b"\n":
        return
    written = os.pread(handle, size, 0)
    os.ftruncate(handle, written.rfind(b"\n") + 1)
