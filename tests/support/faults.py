"""What happens to a disk in the middle of a command: brought about in the command's own process, for real."""

import importlib
import os
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlframework.learners.torch import TorchLearner

Fault = Callable[[], object]


def at_call(place: str, number: int, fault: Fault) -> None:
    """Let something happen right before a call, `module:function` or `module:Class.method`; the rest is the system's own."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    real, calls = getattr(owner, name), [0]

    def call(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            fault()
        return real(*arguments, **options)

    setattr(owner, name, call)


def fill(room: int = 0) -> None:
    """Leave so many bytes free on the disk of the present folder."""
    clear()
    status = os.statvfs(".")
    Path("ballast").write_bytes(b"x" * max(0, status.f_bavail * status.f_frsize - room))


def clear() -> None:
    """Make room again."""
    Path("ballast").unlink(missing_ok=True)


def no_longer_than(pattern: str, more: int = 10) -> None:
    """Let no file of this process grow beyond what the largest of these has, and a few bytes."""
    for thread in threading.enumerate():
        if thread.name == "checkpoint":  # what is on its way already is not meant
            thread.join()
    size = max(path.stat().st_size for path in Path().glob(pattern)) + more
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def make_read_only() -> None:
    """Make the disk of the present folder read-only, files that are open for writing or not."""
    subprocess.run(["mount", "-o", "remount,ro", str(Path.cwd())], check=False, capture_output=True)


def put_file(path: Path) -> None:
    """Put a file where something else was to be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")


def remove(path: Path) -> None:
    """Remove a folder, into which the process may be writing at this moment."""
    while path.exists():
        shutil.rmtree(path, ignore_errors=True)


def count_epochs(path: Path) -> None:
    """Note every epoch that is trained from now on."""
    real = TorchLearner.train_epoch

    def train_epoch(learner: TorchLearner) -> dict[str, float]:
        with path.open("a") as file:
            file.write("epoch\n")
        return real(learner)

    TorchLearner.train_epoch = train_epoch  # type: ignore[method-assign]


def die() -> None:
    """Kill this process, as the kernel does."""
    os.kill(os.getpid(), signal.SIGKILL)
