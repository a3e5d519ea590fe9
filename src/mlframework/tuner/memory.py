"""A study's storage that ends with the process: a journal in memory, with the leases and all."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.storages.journal import BaseJournalBackend

MEMORY = "memory"
"""What stands where other studies have the URL of their storage."""


class MemoryJournal:
    """A list of entries, of which nothing is ever taken out."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._lock = threading.Lock()  # the lease's heartbeat writes from a thread of its own

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the entries from a number on."""
        with self._lock:
            return self._entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add entries."""
        with self._lock:
            self._entries.extend(logs)


def open_memory() -> BaseStorage:
    """Return a new storage in memory.

    Optuna's own has no order of entries that leases could go by.
    """
    from optuna.storages import JournalStorage

    return JournalStorage(cast("BaseJournalBackend", MemoryJournal()))
