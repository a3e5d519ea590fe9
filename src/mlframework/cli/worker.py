"""The process of a worker, which `ml-search --workers` starts: no command for people."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from mlframework.cli import console

if TYPE_CHECKING:
    from mlframework.search.workers.job import Event


def main() -> None:
    """Entry point: the job is the first line of stdin, events are lines of stdout.

    With `--nursery FILE` it is the process of which such ones are forked, which hears its orders there.
    """
    code = [console.EXIT_DEFECT]
    atexit.register(_leave, code)  # first, so that it is called last
    try:
        console.run(_main)
    except SystemExit as end:
        assert isinstance(end.code, int)
        code[:] = [end.code]
        raise


def _leave(code: list[int]) -> None:
    """End the process at once: its parent waits for that, and torch takes 0.35 s to take down what the system frees anyway."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code[0])


def _main() -> None:
    if sys.argv[1:2] == ["--nursery"]:
        from mlframework.search.workers.nursery import serve

        if not serve(socket.socket(fileno=int(sys.argv[2]))):
            return
        del sys.argv[1:]
    # Whatever prints must not get among the events.
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Not sys.stdin, whose lock a thread that still reads would hold when the process ends.
    with open(0, "rb", buffering=0, closefd=False) as given:
        line = given.readline().decode()
    answers = threading.Semaphore(0)
    threading.Thread(target=_leave_with_parent, args=(answers,), name="parent", daemon=True).start()
    send = _sender(events)
    from mlframework.search.workers.job import Job
    from mlframework.search.workers.work import work

    _send_warnings(send)
    work(Job.from_json(line), send, answers.acquire)


def _sender(events: TextIO) -> Callable[[Event], None]:
    lock = threading.Lock()

    def send(event: Event) -> None:
        with lock:
            events.write(json.dumps(event) + "\n")

    return send


def _send_warnings(send: Callable[[Event], None]) -> None:
    """Our own warnings are news for the user; what else is warned of goes into the log."""
    show = warnings.showwarning

    def showwarning(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        if category is UserWarning and "mlframework" in filename:
            send({"event": "news", "text": f"warning: {message}"})
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = showwarning


def _leave_with_parent(answers: threading.Semaphore) -> None:
    """Pass on that the parent answers, and leave when it is gone, however it went: its pipe comes to its end."""
    while os.read(0, 1):
        answers.release()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
