"""`--help` of each installed command: the processor seconds of the slowest."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import main

COMMANDS = ("ml-init-config", "ml-train", "ml-search", "ml-visualise")


def prepare() -> dict[str, Any]:
    """Prepare nothing."""
    return {}


def ours() -> dict[str, Any]:
    """Ask each command for its help."""
    used = {}
    for name in COMMANDS:
        command = [str(Path(sys.executable).parent / name), "--help"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"{name} --help ended with {process.returncode}"
        used[name] = usage.ru_utime + usage.ru_stime
    return {"seconds": max(used.values()), **used}


if __name__ == "__main__":
    main(prepare=prepare, ours=ours)
