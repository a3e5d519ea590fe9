"""What every case shares: one side is run by name, and tells what it measured in its last line."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Side = Callable[[], dict[str, Any]]
"""Runs one side; returns its result, by which both are checked, and `seconds` where the case measures a part."""


class Clock:
    """Adds up the wall time of a part of a process."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time in this block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started

    def watch(self, owner: Any, name: str) -> None:
        """Count the time of every call of a function, which stays what it is otherwise."""
        call = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            with self.running():
                return call(*arguments, **options)

        setattr(owner, name, watched)


def main(**sides: Side) -> None:
    """Run the side that the command line names, in the current folder."""
    sys.stdout.write(f"{json.dumps(sides[sys.argv[1]]())}\n")
