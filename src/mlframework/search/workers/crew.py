"""The parent of several workers: it starts them, shows what they do, and replaces those that die."""

from __future__ import annotations

import queue
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlframework import errors
from mlframework.config.override import override
from mlframework.errors import MlframeworkError, Terminated, TrainingError
from mlframework.search.loop import SearchEnd, outputs_written, write_outputs
from mlframework.search.objective import Watcher
from mlframework.search.read import ReadConfig
from mlframework.search.study import OpenStudy
from mlframework.search.workers.job import Event, Job, Launcher, Worker

GRACE = 30.0
"""Seconds that workers have to save and leave before they are killed."""
_ONCE_IN = 30.0  # seconds
_DEATHS_IN_VAIN = 3  # of each worker, with no epoch trained by any: it can't be by chance


def job_of(study: OpenStudy, read: ReadConfig) -> Job:
    """Return what the workers of a study are told: its config with everything written out that each could decide alone."""
    base = study.spec.space.base["training"]["num_threads"]
    tree = override(read.document.tree, {"training.num_threads": base, "search.n_trials": study.n_trials})
    return Job(0, tree, read.document.name)


def search_with_workers(
    study: OpenStudy, job: Job, launcher: Launcher, n_workers: int, watcher: Watcher
) -> SearchEnd:  # fmt: skip
    """Search with several workers until the study has all that it may have.

    Raises:
        MlframeworkError: what ended a worker, and would end the others.
        Terminated: all workers were told to leave.
        KeyboardInterrupt: the workers have saved and left.
    """
    crew = _Crew(launcher, job, watcher, study.spec.timeout)
    with outputs_written(study):
        try:
            for number in range(n_workers):
                crew.start(number)
            crew.attend()
        except BaseException:
            study.patience.hurry()
            raise
        finally:
            crew.dismiss()
    records = write_outputs(study)
    if "timeout" in crew.whys:
        return SearchEnd("timeout", records)
    if crew.left and sum(record.has_ended for record in records) < study.n_trials:
        raise Terminated("the workers were told to leave")
    return SearchEnd("done", records)


@dataclass
class _Member:
    worker: Worker
    trial: int | None = None
    error: Event | None = None


class _Crew:
    """The workers that live, and what was heard of them."""

    def __init__(self, launcher: Launcher, job: Job, watcher: Watcher, timeout: float | None) -> None:
        self._launcher, self._job, self._watcher = launcher, job, watcher
        self._ends = None if timeout is None else time.monotonic() + timeout
        self._heard: queue.Queue[tuple[int, Event]] = queue.Queue()
        self._members: dict[int, _Member] = {}
        self._in_vain = 0
        self._news: dict[str, float] = {}
        self.whys: list[str] = []
        self.left = False

    def start(self, number: int) -> None:
        """Start a worker."""
        tree = self._job.tree
        if self._ends is not None:
            tree = override(tree, {"search.timeout": max(self._ends - time.monotonic(), 0.001)})
        job = replace(self._job, number=number, tree=tree)
        self._members[number] = _Member(self._launcher.start(job, lambda who, event: self._heard.put((who, event))))

    def attend(self) -> None:
        """Hear the workers until none is left."""
        while self._members:
            number, event = self._heard.get()
            self._hear(number, event)

    def dismiss(self) -> None:
        """Tell all that are left to save and leave; who has not left after a while is killed."""
        for member in self._members.values():
            member.worker.stop()
        end = time.monotonic() + GRACE
        try:
            while self._members and (left := end - time.monotonic()) > 0:
                try:
                    number, event = self._heard.get(timeout=left)
                except queue.Empty:
                    break
                if event["event"] == "gone":
                    del self._members[number]
        finally:
            for member in self._members.values():
                member.worker.kill()

    def _hear(self, number: int, event: Event) -> None:
        member, name = self._members[number], event["event"]
        if name == "gone":
            del self._members[number]
            self._bury(number, member, event)
        elif name == "end":
            self.whys.append(event["why"])
        elif name == "error":
            member.error = event
        else:
            if name == "epoch_ended":
                self._in_vain = 0
            self._pass_on(member, name, {key: value for key, value in event.items() if key != "event"})

    def _pass_on(self, member: _Member, name: str, said: Mapping[str, Any]) -> None:
        if name == "trial_started":
            member.trial = said["number"]
        if name in ("trial_ended", "trial_lost"):
            member.trial = None
        if name == "news" and not self._is_new(said["text"]):
            return
        getattr(self._watcher, name)(**said)

    def _is_new(self, text: str) -> bool:
        """Whether no worker has said so a moment ago: what all of them see is shown once."""
        now, before = time.monotonic(), self._news.get(text)
        self._news[text] = now
        return before is None or now - before > _ONCE_IN

    def _bury(self, number: int, member: _Member, event: Event) -> None:
        """Do what the end of a worker asks for.

        Raises:
            MlframeworkError: it ended with a message, or workers die without having trained anything.
            RuntimeError: it ended by a defect.
        """
        how, why = event["how"], event["why"]
        if how == "error":
            raise _as_raised(member.error, number)
        if how == "defect":
            raise RuntimeError(f"worker {number} ended by a defect ({why}); its log has the traceback")
        if how == "left":
            self.left = True
        if how != "killed":
            return
        self._in_vain += 1
        if self._in_vain > _DEATHS_IN_VAIN * (len(self._members) + 1):
            raise TrainingError(
                f"workers end again and again before they have trained an epoch, the last one was {why}; their logs in the "
                "study's folder workers/ may say more, and fewer --workers need less memory"
            )
        if member.trial is not None:
            self._watcher.trial_lost(member.trial, f"its worker was {why}; another one goes on with it")
        else:
            self._watcher.news(f"worker {number} was {why}; another one takes its place")
        self.start(number)


def _as_raised(said: Event | None, number: int) -> MlframeworkError:
    """Return the error that a worker ended with, as it was raised there."""
    if said is None:
        return MlframeworkError(f"worker {number} ended with an error; its log has the message")
    kind = getattr(errors, said["kind"], MlframeworkError)
    if kind in (errors.ConfigError, errors.MissingExtraError):  # made of more than a message
        kind = MlframeworkError
    found: MlframeworkError = kind(said["message"])
    return found
