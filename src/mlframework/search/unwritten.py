"""Writes that wait: those of a block for its end, reports for the next one after a pause, or for a second at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from mlframework.errors import LeaseLost
from mlframework.search.writes import End, Writes

PAUSE, LATEST = 0.5, 1.0
"""Seconds: a report is written at once after such a pause, and after so long in any case."""


class Write(Protocol):
    """Writes into a storage."""

    def __call__(self, trial_id: int, writes: Writes, end: End | None, *, waits: bool) -> None:
        """Write of a trial; `waits`: for a storage that is away."""


@dataclass
class _Held:
    writes: Writes = field(default_factory=Writes)
    written_at: float = field(default_factory=time.monotonic)
    blocks: int = 0
    check: Callable[[], object] = lambda: None


class Unwritten:
    """What is unwritten of the trials that this process holds.

    Args:
        write: writes into the storage; what it raises is raised by who writes, and what it should have written is kept.
    """

    def __init__(self, write: Write) -> None:
        self._into_storage = write
        self._held: dict[int, _Held] = {}
        self._lock, self._writing = threading.Lock(), threading.RLock()
        self._thread: threading.Thread | None = None

    def __contains__(self, trial_id: int) -> bool:
        return trial_id in self._held

    def hold(self, trial_id: int) -> None:
        """Begin with a trial."""
        self._held.setdefault(trial_id, _Held())

    def drop(self, trial_id: int) -> bool:
        """Forget a trial with all that is unwritten of it; returns whether it was held."""
        with self._lock:
            return self._held.pop(trial_id, None) is not None

    def guard(self, trial_id: int, check: Callable[[], object]) -> None:
        """Have a check made before reports are written later: where it raises `LeaseLost` they are dropped."""
        if (held := self._held.get(trial_id)) is not None:
            held.check = check

    def add(self, trial_id: int, writes: Writes, at_once: bool) -> None:
        """Write, at once or as reports are; in a block at its end."""
        with self._lock:
            held = self._held[trial_id]
            held.writes = held.writes.followed_by(writes)
        self._soon(trial_id, held, at_once)

    @contextmanager
    def together(self, trial_id: int, at_once: bool) -> Iterator[None]:
        """Write all that is added in a block at its end, at once or as reports are."""
        if (held := self._held.get(trial_id)) is None:
            yield
            return
        held.blocks += 1
        try:
            yield
        finally:
            held.blocks -= 1
            self._soon(trial_id, held, at_once=False, here=False)
        self._soon(trial_id, held, at_once)

    def _soon(self, trial_id: int, held: _Held, at_once: bool, here: bool = True) -> None:
        if held.blocks or not held.writes:
            return
        if here and (at_once or time.monotonic() - held.written_at >= PAUSE):
            self.write(trial_id)
        elif self._thread is None:
            self._thread = threading.Thread(target=self._write_later, name="unwritten", daemon=True)
            self._thread.start()

    def write(self, trial_id: int, end: End | None = None, *, waits: bool = True) -> None:
        """Write what is unwritten of a trial, and its end."""
        with self._writing:
            with self._lock:
                if (held := self._held.get(trial_id)) is None:
                    return
                writes, held.writes = held.writes, Writes()
            if not writes and end is None:
                return
            try:
                self._into_storage(trial_id, writes, end, waits=waits)
            except BaseException:
                with self._lock:
                    held.writes = writes.followed_by(held.writes)
                raise
            held.written_at = time.monotonic()

    def write_if_held(self, trial_id: int, *, waits: bool = True) -> None:
        """Write what is unwritten of a trial; drop it where the trial is another process's by now."""
        if (held := self._held.get(trial_id)) is None or not held.writes:
            return
        try:
            held.check()
        except LeaseLost:
            with self._lock:
                held.writes = Writes()
        else:
            self.write(trial_id, waits=waits)

    def _write_later(self) -> None:
        """Write what was not written by the next report, until there is nothing."""
        while True:
            time.sleep(LATEST)
            with self._lock:
                due = [trial_id for trial_id, held in self._held.items() if held.writes and not held.blocks]
                if not due:
                    self._thread = None
                    return
            for trial_id in due:
                # What is wrong with the storage is said by the next report, or the end, which writes this as well.
                with suppress(Exception):
                    self.write_if_held(trial_id, waits=False)
