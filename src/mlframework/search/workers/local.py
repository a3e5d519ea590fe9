"""Workers as processes of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Protocol

from mlframework.errors import RunError
from mlframework.runs import writing
from mlframework.search.folder import StudyFolder
from mlframework.search.workers.forked import Nursery
from mlframework.search.workers.job import Event, Gone, Job, Post

_ENDS: Mapping[int, Gone] = {0: "done", 2: "error", 1: "defect", 130: "left", 141: "left", 143: "left"}
_AS_SAID: Mapping[str, int] = {"end": 0, "error": 2}
"""Exit code of a worker, of the last that it said, where the process that would know it is gone."""


class Process(Protocol):
    """What `subprocess.Popen` and a forked worker have in common."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    @property
    def pid(self) -> int:
        """Number of the process."""

    def wait(self) -> int | None:
        """Wait for its end, and return its exit code; None where nobody knows it."""

    def terminate(self) -> None:
        """Ask it to leave."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(frozen=True)
class LocalLauncher:
    """Starts a process a worker. It gets its job through a pipe, since a command line is open to everybody.

    Attributes:
        folder: of the study; what workers write to stderr goes into `workers/` there.
        gpus: the GPUs that are shared out among the workers, as CUDA_VISIBLE_DEVICES names them; none where there are none.
        nursery: of which they are forked; None: each is started anew.
    """

    folder: StudyFolder
    gpus: Sequence[str] = ()
    nursery: Nursery | None = None

    def start(self, job: Job, post: Post) -> LocalWorker:
        """Start one.

        Raises:
            RunError: its log can't be written, or the system has no room for another process.
        """
        environment = {**os.environ, **self._gpu(job.number)}
        log = self.folder.worker_log(job.number)
        with writing(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            file = log.open("ab")
        try:
            process: Process | None = None if self.nursery is None else self.nursery.start(file, environment)
            if process is None:
                # A session of its own: Ctrl-C reaches the parent alone, which tells all.
                process = subprocess.Popen(
                    [sys.executable, "-m", "mlframework.cli.worker"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, env=environment, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise RunError(_no_room(job.number, error.strerror)) from None
        finally:
            file.close()
        return LocalWorker(job, process, post)

    def close(self) -> None:
        """Do nothing: processes need nothing beside themselves."""

    def _gpu(self, number: int) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": self.gpus[number % len(self.gpus)]} if self.gpus else {}


class LocalWorker:
    """A process that works."""

    def __init__(self, job: Job, process: Process, post: Post) -> None:
        self._number, self._process, self._post = job.number, process, post
        assert process.stdin is not None and process.stdout is not None
        # The pipe stays open: its end tells the worker that its parent is gone.
        with suppress(BrokenPipeError):
            process.stdin.write(job.to_json().encode() + b"\n")
            process.stdin.flush()
        threading.Thread(target=self._listen, args=(process.stdout,), name=f"worker-{job.number}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def stop(self) -> None:
        """Ask it to save its trial and leave."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def _listen(self, stream: IO[bytes]) -> None:
        last = ""
        for line in stream:
            # A line that a kill cut short says nothing.
            with suppress(ValueError):
                event: Event = json.loads(line)
                last = event["event"]
                self._post(self._number, event)
        code = self._process.wait()
        if code is None and (failure := getattr(self._process, "failure", None)) is not None:
            last = "error"
            self._post(self._number, {"event": last, "kind": "RunError", "message": _no_room(self._number, failure)})
        how, why = how_it_ended(_AS_SAID.get(last, -signal.SIGKILL) if code is None else code)
        self._post(self._number, {"event": "gone", "how": how, "why": why})


def _no_room(number: int, why: str | None) -> str:
    return f"worker {number} can't be started: {why}; search with fewer --workers"


def how_it_ended(code: int) -> tuple[Gone, str]:
    """Return how a worker's process ended, of its exit code, and in words why."""
    return _ENDS.get(code, "killed" if code < 0 else "defect"), _in_words(code)


def _in_words(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def visible_gpus(device: str) -> list[str]:
    """Return the GPUs that workers share, where the config's `device` leaves the choice: `auto` or `cuda`."""
    if device not in ("auto", "cuda"):
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
