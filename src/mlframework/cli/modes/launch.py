"""`ml-visualise --mode launch`: TensorBoard on the runs of this folder, or on one run or study, in the browser of this machine.

It runs in this process, so that it ends with it. What reads the event files is a program that TensorBoard brings with it and
starts; it is gone before this command is.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path

from mlframework.cli.serving import HOST, free_port, stay
from mlframework.errors import ConfigError, Problem, RunError

USUAL_PORT = 6006
RUNS = Path("runs")
_PATIENCE = 5.0  # seconds that the program which reads the event files may take to end


def show(arguments: argparse.Namespace) -> None:
    """Serve TensorBoard until Ctrl-C.

    Raises:
        RunError: there is no such folder, or no event file in it.
        ConfigError: the port is taken.
    """
    folder = Path(arguments.given[0]) if arguments.given else RUNS
    _require_events(folder)
    port = free_port(arguments.port, USUAL_PORT)
    with _serving(folder.resolve(), port) as address:
        stay(f"{folder} in TensorBoard", address)


def _require_events(folder: Path) -> None:
    if not folder.is_dir():
        if folder == RUNS:
            what = "there is no such folder here; go to where you train, name a folder of runs, or train a first one: ml-train"
        else:
            there = sorted(str(path) for path in folder.parent.glob("*/") if not path.name.startswith("."))
            what = "there is no such folder" + (f"; folders there: {', '.join(there[:10])}" if there else "")
        raise RunError(f"{folder}: {what}")
    if next(folder.rglob("events.out.tfevents.*"), None) is None:
        raise RunError(
            f"{folder}: nothing to show yet: no run in it has event files; they are written from a training's start on, unless "
            "its config has tracking.tensorboard: false"
        )


@contextmanager
def _serving(folder: Path, port: int) -> Iterator[str]:
    """Serve a folder, and yield the address."""
    said = io.StringIO()
    with redirect_stderr(said):  # notes on TensorBoard's own development
        from tensorboard import default, program

        board = program.TensorBoard(plugins=default.get_plugins())
        board.configure(argv=["tensorboard", f"--logdir={folder}", f"--host={HOST}", f"--port={port}"])
        try:
            address = board.launch()
        except program.TensorBoardServerException as error:
            _end_children(board)
            raise ConfigError([Problem("ml-visualise", "--port", f"{port} can't be used: {error.msg}")]) from None
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        yield str(address)
    finally:
        _end_children(board)


def _end_children(board: object) -> None:
    """Wait for the end of the program that reads the event files: it goes by the end of its input."""
    pipe = getattr(getattr(board, "_ingester", None), "_stdin_handle", None)
    if pipe is None:  # TensorBoard came without it, and read the files itself
        return
    with suppress(OSError):
        pipe.close()
    deadline = time.monotonic() + _PATIENCE
    with suppress(ChildProcessError):  # there is none any more
        while time.monotonic() < deadline and os.waitpid(-1, os.WNOHANG) == (0, 0):
            time.sleep(0.01)
