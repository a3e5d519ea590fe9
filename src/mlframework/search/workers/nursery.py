"""A process of which workers are forked: it has imported what they need, and has run nothing of it.

A fresh process imports for seconds, on processors that the others train on. The nursery imports once, while its parent
still reads the config and the data; a worker is then there in milliseconds, and is otherwise a process like one that was
started anew: with a session, an environment, a folder, pipes and a log of its own. docs/decisions/0058 says what makes
that safe, and what was tried.

Orders come over a socket, one at a time: a length, the files that go with it, and JSON. Answers are lines of JSON.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from mlframework.imports import preload

ALWAYS = (
    "mlframework.search.workers.work", "mlframework.search.setup", "mlframework.search.study", "mlframework.search.storage",
    "mlframework.search.samplers.tpe", "optuna", "optuna.storages._rdb.models", "sqlalchemy.dialects.sqlite",
    "sqlalchemy.ext.baked", "alembic.command", "alembic.script", "alembic.migration", "rich.console", "numpy.random",
)  # fmt: skip
"""What every worker imports, whatever it trains; but not Polars, which starts threads: no thread outlives a fork."""
_LENGTH = 8  # bytes
_N_FILES = 3  # stdin, stdout and stderr


def is_possible() -> bool:
    """Whether workers can be forked: elsewhere a process that has loaded libraries may not go on after a fork."""
    return sys.platform == "linux"


def send_order(channel: socket.socket, order: dict[str, Any], files: Sequence[int] = ()) -> None:
    """Send an order to a nursery.

    Raises:
        OSError: it is gone.
    """
    body = json.dumps(order).encode()
    whole = len(body).to_bytes(_LENGTH, "big") + body
    sent = socket.send_fds(channel, [whole], list(files))  # all of it at once, unless it is very long
    channel.sendall(whole[sent:])


def serve(channel: socket.socket) -> bool:
    """Do what the parent orders, until it is gone; returns in every worker's process as well, and whether this is one."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    nursery = _Nursery(channel, (woken, wake))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    preload(*ALWAYS)
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = [key.fd for key, _ in selector.select()]
            if woken in ready:
                nursery.bury()
            if channel.fileno() in ready:
                if (given := _receive(channel)) is None:
                    break
                if nursery.obey(*given):
                    return True
    # Nobody else can ask how they ended, and each leaves when its own pipe ends.
    signal.set_wakeup_fd(-1)
    nursery.wait()
    return False


class _Nursery:
    """The workers that live, by the number that the parent gave them."""

    def __init__(self, channel: socket.socket, own: Sequence[int]) -> None:
        self._channel, self._own = channel, own
        self._pids: dict[int, int] = {}

    def obey(self, order: dict[str, Any], files: list[int]) -> bool:
        """Carry out an order; whether this is a new worker's process."""
        number = order.get("worker", -1)
        if "import" in order:
            preload(*order["import"])
        elif "signal" in order:
            if number in self._pids:  # one that has ended is not mistaken for another process
                os.kill(self._pids[number], order["signal"])
        else:
            return self._fork(number, order, files)
        return False

    def _fork(self, number: int, order: dict[str, Any], files: list[int]) -> bool:
        gc.freeze()  # what is there stays where it is, so that the workers share its memory
        # An error that a signal raises in what Python itself does after a fork would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        try:
            pid = os.fork()
        except OSError as error:
            self._say({"failed": number, "why": error.strerror})
        else:
            if pid == 0:
                self._become_worker(order, files)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
                return True
            self._pids[number] = pid
            self._say({"started": number, "pid": pid})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        for file in files:
            os.close(file)
        return False

    def _become_worker(self, order: dict[str, Any], files: list[int]) -> None:
        """Make this process what a fresh one would be."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for target, file in enumerate(files):
            os.dup2(file, target)
        for file in (*files, *self._own):
            os.close(file)
        self._channel.close()
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["folder"])
        if (numpy := sys.modules.get("numpy")) is not None:
            numpy.random.seed()  # Python's own generator is seeded anew by every fork

    def bury(self) -> None:
        """Tell the parent which workers have ended, and how."""
        with suppress(BlockingIOError):
            os.read(self._own[0], 4096)
        for number, pid in list(self._pids.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._pids[number]
                self._say({"ended": number, "code": os.waitstatus_to_exitcode(status)})

    def wait(self) -> None:
        """Wait for the workers that are left."""
        for pid in self._pids.values():
            os.waitpid(pid, 0)

    def _say(self, said: dict[str, Any]) -> None:
        with suppress(OSError):  # the parent is gone: the next order says so
            self._channel.sendall(json.dumps(said).encode() + b"\n")


def _receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next order with its files; None: the parent is gone."""
    with suppress(OSError):
        length, files, _, _ = socket.recv_fds(channel, _LENGTH, _N_FILES)
        body = b""
        while length and len(body) < int.from_bytes(length, "big"):
            if not (more := channel.recv(int.from_bytes(length, "big") - len(body))):
                return None
            body += more
        if body:
            return json.loads(body), files
    return None
