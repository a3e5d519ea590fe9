"""Commands, run as a person runs them: the installed ones, or their functions in this process."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(sys.executable).parent
PATIENCE = 300  # seconds after which something that has to happen is said not to have happened


def command(module: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Run a module of mlframework.cli in this process; what it raises comes out."""
    monkeypatch.setattr(sys, "argv", ["ml-command", *words])
    module._main()


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Running:
    """An installed command that runs; what it says is in files, so that it never waits for its reader."""

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._out, self._err = Path(f"out-{time.monotonic_ns()}.txt"), Path(f"err-{time.monotonic_ns()}.txt")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(PROGRAMS / arguments[0]), *arguments[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": "1",
                    "COLUMNS": "200",
                    "PYTHONUNBUFFERED": "1",
                    **(environment or {}),
                },
            )

    @property
    def out(self) -> str:
        """What it has written to stdout so far."""
        return self._out.read_text()

    def end(self) -> Ended:
        """Wait for its end. No command ever shows a traceback."""
        try:
            code = self.process.wait(timeout=PATIENCE)
        finally:
            self.process.kill()
        out, err = self._out.read_text(), self._err.read_text()
        assert "Traceback" not in out + err, out + err
        return Ended(code, out, err)

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something that has to happen while it runs."""
        end = time.monotonic() + PATIENCE
        while not holds():
            ended = self.process.poll() is not None
            assert not ended and time.monotonic() < end, f"never happened: {what}\n{self.out}\n{self._err.read_text()}"
            time.sleep(0.02)
