"""Workers that are forked of a nursery, as their parent sees them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import IO, NamedTuple

from mlframework.search.workers.nursery import is_possible, send_order

_PATIENCE = 30.0  # seconds


class Nursery:
    """A process of which workers are forked, started here; see `nursery.py`."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            # A session of its own: Ctrl-C reaches the parent alone.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlframework.cli.worker", "--nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        self._lock = threading.Lock()
        self._workers: list[Forked] = []
        self._is_there = True
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()

    @classmethod
    def where_possible(cls) -> Nursery | None:
        """Start one, unless this system has no safe fork or no room: workers are then started one by one."""
        with suppress(OSError):
            return cls() if is_possible() else None
        return None

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def prepare(self, modules: Sequence[str]) -> None:
        """Let it import what the workers will need."""
        with suppress(OSError), self._lock:
            send_order(self._channel, {"import": list(modules)})

    def start(self, log: IO[bytes], environment: Mapping[str, str]) -> Forked | None:
        """Fork a worker that writes its stderr into a log; None: the nursery is gone.

        Raises:
            OSError: there are too many open files, or its folder is gone.
        """
        with ExitStack() as theirs, ExitStack() as ours:
            stdin, stdout = _pipe(theirs, ours, "rb"), _pipe(theirs, ours, "wb")
            with self._lock:
                if not self._is_there:
                    return None
                worker = Forked(self, len(self._workers), stdin.ours, stdout.ours)
                self._workers.append(worker)  # first: the answer may be faster than this thread
                order = {"worker": worker.number, "environment": dict(environment), "folder": os.getcwd()}
                try:
                    send_order(self._channel, order, [stdin.theirs, stdout.theirs, log.fileno()])
                except OSError:
                    worker.has_ended(None)
                    return None
            ours.pop_all()
            return worker

    def send_signal(self, worker: Forked, number: int) -> None:
        """Signal a worker, unless it has ended."""
        with self._lock:
            if self._is_there:
                with suppress(OSError):
                    send_order(self._channel, {"worker": worker.number, "signal": number})
                    return
        worker.signal_alone(number)

    def close(self) -> None:
        """Let it end, with its workers if there are any left: the ends of their pipes tell them to leave."""
        if all(worker.is_gone for worker in self._workers):
            self._process.kill()  # it has nothing to save, and may be busy importing
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)

    def _listen(self) -> None:
        with self._channel.makefile("rb") as lines, suppress(OSError, ValueError):
            for line in lines:
                said = json.loads(line)
                if "started" in said:
                    self._workers[said["started"]].has_started(said["pid"])
                elif "ended" in said:
                    self._workers[said["ended"]].has_ended(said["code"])
                else:
                    self._workers[said["failed"]].has_ended(None, said["why"])
        with self._lock:
            self._is_there = False
            for worker in self._workers:
                worker.has_ended(None)


class _Pipe(NamedTuple):
    theirs: int
    ours: IO[bytes]


def _pipe(theirs: ExitStack, ours: ExitStack, mode: str) -> _Pipe:
    """Make a pipe of which a worker has one end, which it reads (`rb`) or writes (`wb`)."""
    reads, writes = os.pipe()
    given, kept = (reads, writes) if mode == "rb" else (writes, reads)
    theirs.callback(os.close, given)
    return _Pipe(given, ours.enter_context(open(kept, "wb" if mode == "rb" else "rb")))


class Forked:
    """A worker's process; what `subprocess.Popen` is of one that was started anew.

    Attributes:
        number: by which the nursery knows it.
        stdin: of it.
        stdout: of it.
        failure: why it can't be started, where that is so.
    """

    def __init__(self, nursery: Nursery, number: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._nursery = nursery
        self.number = number
        self.stdin: IO[bytes] | None = stdin
        self.stdout: IO[bytes] | None = stdout
        self._pid = 0
        self._code: int | None = None
        self._started, self._ended = threading.Event(), threading.Event()
        self.failure: str | None = None

    @property
    def pid(self) -> int:
        """Number of its process, once it is there; 0 of one that never was."""
        self._started.wait()
        return self._pid

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    def wait(self) -> int | None:
        """Wait for its end, and return its exit code; None: nobody can say, since it was never there, or the nursery is gone."""
        self._ended.wait()
        return self._code

    def terminate(self) -> None:
        """Ask it to leave."""
        self._nursery.send_signal(self, signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._nursery.send_signal(self, signal.SIGKILL)

    def signal_alone(self, number: int) -> None:
        """Signal it although nobody knows any more whether it has ended: its pipe says so as long as it reads."""
        if self._pid and self._code is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def has_started(self, pid: int) -> None:
        """Note its number."""
        self._pid = pid
        self._started.set()

    def has_ended(self, code: int | None, failure: str | None = None) -> None:
        """Note how it ended."""
        if not self._ended.is_set():
            self._code, self.failure = code, failure
            self._started.set()
            self._ended.set()
