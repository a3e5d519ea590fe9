"""What runs on a node of a Ray cluster: it starts a worker's process there, and passes on what that says.

The process is the one that `--workers` starts on this machine, so that it behaves the same: it saves and leaves when it
is told to, or when this here is gone. Nothing in this module needs Ray; `ray.py` makes an actor of it.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from mlframework.errors import MlframeworkError, RunError, StorageError
from mlframework.search.folder import StudyFolder
from mlframework.search.workers.job import Event, Job
from mlframework.search.workers.local import how_it_ended
from mlframework.search.workers.parcel import Parcel, pack, size_of, unpack

NODE_FOLDER = "MLFRAMEWORK_RAY_FOLDER"
"""Environment variable of a node: in which folder workers work there; without it in that of the driver."""
_RATE = 10e6  # bytes a second that a worker may send of its run folder, on average, beside its last state
_BATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Order:
    """What a relay is told.

    Attributes:
        job: of its worker.
        folder: of the driver: relative paths are meant from there.
        study: the study's folder, relative to that.
        mark: name of a file in the study's folder: where it is seen, the folder is the driver's own.
        journal: a mark beside the study's journal file, which every worker has to see; None for other storages.
        environment: what `${VAR}` in the config stands for.
        has_gpu: whether the worker may see any.
        version: of mlframework.
    """

    job: Job
    folder: Path
    study: Path
    mark: str
    journal: Path | None
    environment: Mapping[str, str]
    has_gpu: bool
    version: str


class Relay:
    """Starts a worker's process, and holds what it says until it is asked for."""

    def __init__(self) -> None:
        self._said: queue.Queue[Event] = queue.Queue()
        self._trial: int | None = None
        self._sent, self._pause = 0.0, 0.0
        self._copies = False
        self._process: subprocess.Popen[bytes] | None = None
        self._study = StudyFolder(Path())

    def start(self, order: Order) -> dict[str, Any]:
        """Start the process; return the node, its own number, and whether run folders have to be copied.

        Raises:
            MlframeworkError: it can't work here; the message says which node this is.
        """
        try:
            self._start(order)
        except OSError as error:
            raise RunError(f"node {_node()}: {error.filename or 'a worker'}: {error.strerror or error}") from None
        except MlframeworkError as error:
            raise type(error)(f"node {_node()}: {error}") from None
        assert self._process is not None
        return {"node": _node(), "pid": self._process.pid, "relay": os.getpid(), "copies": self._copies}

    def _start(self, order: Order) -> None:
        if version("mlframework") != order.version:
            raise RunError(f"has mlframework {version('mlframework')}, and the search is one of {order.version}")
        folder = Path(os.environ.get(NODE_FOLDER) or order.folder)
        self._study = StudyFolder(folder / order.study)
        self._copies = not (self._study.path / order.mark).is_file()
        if order.journal is not None and not (folder / order.journal).is_file():
            raise StorageError(
                f"does not see the journal file of the study in {(folder / order.journal).parent}; a journal has to be on a "
                "file system that all nodes share; otherwise use postgresql://"
            )
        _make(folder)
        job = replace(order.job, copies=self._copies)
        gpus = {} if order.has_gpu else {"CUDA_VISIBLE_DEVICES": ""}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlframework.cli.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
            env={**os.environ, **order.environment, **gpus}, start_new_session=True,
        )  # fmt: skip
        # The pipe stays open: its end tells the worker that this here is gone.
        self._write(job.to_json().encode() + b"\n")
        log = threading.Thread(target=self._read_log, args=(self._process.stderr,), name="log", daemon=True)
        log.start()
        threading.Thread(target=self._read_events, args=(self._process.stdout, log), name="events", daemon=True).start()

    def hear(self) -> list[Event]:
        """Return what was said since, or nothing after a while; `folder` and `log` are among it."""
        said: list[Event] = []
        with suppress(queue.Empty):
            said.append(self._said.get(timeout=_BATCH_SECONDS))
            while True:
                said.append(self._said.get_nowait())
        return said

    def give(self, number: int, parcel: Parcel) -> None:
        """Put a trial's run folder in its place, and let the worker begin."""
        unpack(parcel, self._study.trial(number).path)
        self._write(b"\n")

    def stop(self) -> None:
        """Ask the process to save its trial and leave."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _write(self, said: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(said)
            self._process.stdin.flush()

    def _read_log(self, stream: IO[bytes]) -> None:
        while text := os.read(stream.fileno(), 65536):
            self._said.put({"event": "log", "text": text})

    def _read_events(self, stream: IO[bytes], log: threading.Thread) -> None:
        broken: OSError | None = None
        for line in stream:
            try:
                self._pass_on(json.loads(line))
            except ValueError:
                continue  # a line that a kill cut short says nothing
            except OSError as error:
                # The worker waits for an answer that it can't be given.
                broken = error
                self.kill()
                break
        assert self._process is not None
        how, why = how_it_ended(self._process.wait())
        log.join(timeout=2.0)  # what the worker started may hold its stderr open
        if broken is not None:
            message = f"node {_node()}: {broken.filename}: cannot be read: {broken.strerror}"
            self._said.put({"event": "error", "kind": "RunError", "message": message})
            how = "error"
        elif self._copies and self._trial is not None:
            with suppress(OSError):  # what was sent before has to do
                self._send(self._trial, at_once=True, has_ended=False)
        self._said.put({"event": "gone", "how": how, "why": f"{why} on node {_node()}"})

    def _pass_on(self, event: Event) -> None:
        name = event["event"]
        if name == "error":
            event = {**event, "message": f"{event['message']} (on node {_node()})"}
        if self._copies and name in ("epoch_ended", "trial_ended"):
            ended = name == "trial_ended"
            self._send(event["number"], at_once=ended, has_ended=ended)
        if self._copies and name == "trial_ended":
            shutil.rmtree(self._study.trial(event["number"]).path, ignore_errors=True)  # this disk need not keep it
        if name == "trial_started":
            self._trial = event["number"]
        elif name in ("trial_ended", "trial_lost"):
            self._trial = None
        self._said.put(event)
        if self._copies and name in ("epoch_ended", "trial_ended"):
            self._write(b"\n")

    def _send(self, number: int, at_once: bool, has_ended: bool) -> None:
        """Send a trial's run folder, unless a large one was sent a short while ago, or this disk has lost it."""
        if not at_once and time.monotonic() - self._sent < self._pause:
            return
        parcel = pack(self._study.trial(number).path)
        if not has_ended and not any("checkpoints/" in name for name in parcel):
            return  # what was sent before is worth more
        self._sent, self._pause = time.monotonic(), size_of(parcel) / _RATE
        self._said.put({"event": "folder", "number": number, "parcel": parcel})


def _node() -> str:
    return socket.gethostname()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"the folder {folder}, where the search was started, is not there and can't be made ({error.strerror}); set "
            f"{NODE_FOLDER} where `ray start` runs on that node, to a folder where its workers may write"
        ) from None
