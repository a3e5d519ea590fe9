"""Runs a side of a case in a process of its own, and measures that process from outside."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CASES_FOLDER = Path(__file__).resolve().parent / "cases"
PEERS = ROOT / ".tools" / "peers" / "bin" / "python"
"""The interpreter of the other frameworks, which `make bench-peers` installs."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


class SideError(Exception):
    """A side did not come to its end; the message has the end of what it said."""


@dataclass(frozen=True)
class Measured:
    """What one run of a side took, and what came of it.

    Attributes:
        result: what the side printed in its last line.
        wall: seconds from its start to its end.
        cpu: processor seconds of the process and of those that it has waited for.
        rss: the most memory that the process had, in MB.
    """

    result: Mapping[str, Any]
    wall: float
    cpu: float
    rss: float

    def value(self, measure: str) -> float:
        """Return what a case measures: `wall`, `cpu`, `rss`, or a number that the side tells."""
        return float(getattr(self, measure) if measure in ("wall", "cpu", "rss") else self.result[measure])


def run_side(script: str, side: str, prepared: Path, python: Path | None = None) -> Measured:
    """Run a side in a copy of the prepared folder, which is removed again.

    Raises:
        SideError: the side failed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place) / "run"
        shutil.copytree(prepared, folder)
        return run_in(script, side, folder, python)


def run_in(script: str, side: str, folder: Path, python: Path | None = None) -> Measured:
    """Run a side in a folder; `prepare` leaves there what the other sides need.

    Raises:
        SideError: the side failed.
    """
    command = [str(python or sys.executable), str(CASES_FOLDER / script), side]
    environment = {**os.environ, **ONE_THREAD, "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said.seek(0)
        lines = out.read().decode(errors="replace").splitlines()
        if process.returncode:
            end = "\n".join([*lines[-5:], *said.read().decode(errors="replace").splitlines()[-25:]])
            raise SideError(f"{script} {side} ended with {process.returncode}:\n{end}")
    try:
        result = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise SideError(f"{script} {side}: its last line is no result: {lines[-1:]}") from None
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(result, wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6)
