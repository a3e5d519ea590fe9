"""What going on with a study will do, said before anything trains."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.config import yaml
from mlframework.config.override import get
from mlframework.experiment import ExperimentConfig, is_of_data
from mlframework.plans import Plan
from mlframework.runs import RunDir
from mlframework.search.interrupted import holders
from mlframework.search.lease import Lease, is_dead
from mlframework.search.results import TrialRecord
from mlframework.search.storage import translated

if TYPE_CHECKING:
    from mlframework.search.study import OpenStudy, SearchSpec

_BOOT = r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_FINISHED = {"complete": "finished", "pruned": "pruned", "failed": "failed"}


@dataclass(frozen=True)
class Progress:
    """How far a trial has come that is not over.

    Attributes:
        epoch: epochs that are done, of the part that was being trained.
        part: number of that fold or repeat; None where there is one training.
        num_epochs: epochs in all.
    """

    epoch: int
    part: int | None
    num_epochs: int


@dataclass(frozen=True)
class ResumePlan:
    """What a study has, and what is left.

    Attributes:
        finished: trials by state.
        interrupted: those that are taken up, with how far they have come; None: from their start.
        living: those that other processes are training, with the process.
        left: trials that are still to be finished by whoever goes on.
        n_trials: of the study in all.
        part: what the plan calls a fold or a repeat.
        changes: what has changed since the study was made.
    """

    finished: Mapping[str, int]
    interrupted: Mapping[int, Progress | None]
    living: Mapping[int, str]
    left: int
    n_trials: int
    part: str
    changes: Sequence[str]

    def lines(self) -> list[str]:
        """Return what is printed; nothing for a study that has no trials, and in which nothing has changed."""
        if not (self.finished or self.interrupted or self.living or self.changes):
            return []
        counts = [f"{count} {_FINISHED[state]}" for state, count in self.finished.items()]
        counts += [f"{len(self.interrupted)} interrupted"] if self.interrupted else []
        counts += [f"{len(self.living)} being trained"] if self.living else []
        lines = [
            f"going on: {', '.join(counts) or 'no trial finished'}; {self.left} of {self.n_trials} trials are left"
        ]
        lines += [f"  trial {number} {self._taken_up(progress)}" for number, progress in self.interrupted.items()]
        lines += [f"  trial {number} is being trained by {owner}" for number, owner in self.living.items()]
        return [*lines, *(f"  changed since: {change}" for change in self.changes)]

    def _taken_up(self, progress: Progress | None) -> str:
        if progress is None:
            return "starts again: no epoch of it is saved here"
        of = f"epoch {progress.epoch} of {progress.num_epochs}"
        if progress.part is None:
            return f"goes on after {of}"
        return f"goes on in {self.part} {progress.part}" + (f", after {of}" if progress.epoch else "")


def resume_plan(study: OpenStudy) -> ResumePlan:
    """Return what going on with a study will do."""
    records = [TrialRecord.of(trial) for trial in study.trials()]
    own = [record for record in records if record.counts]
    running = {record.number for record in own if record.state == "running"}
    with translated(study.spec.storage):
        held = holders(study.trials(), study.leases.all())
    now = time.time()
    living = {number: _owner(held[number]) for number in sorted(running) if not _is_free(held.get(number), now)}
    spec = study.spec
    states = [record.state for record in own]
    finished = {state: states.count(state) for state in _FINISHED if state in states}
    return ResumePlan(
        finished=finished,
        interrupted={number: _progress(spec, number) for number in sorted(running - living.keys())},
        living=living,
        left=max(0, study.n_trials - sum(finished.values()) - len(living)),
        n_trials=study.n_trials,
        part=spec.plan.part,
        changes=study.changes,
    )


def _progress(spec: SearchSpec, number: int) -> Progress | None:
    run = spec.folder.trial(number)
    # What was begun on other data is begun anew.
    return progress_of(run, spec.plan) if is_of_data(run, spec.space.base) else None


def progress_of(run: RunDir, plan: Plan) -> Progress | None:
    """Return how far a trial has come by what its folder has; None where no epoch of it is saved."""
    if not run.config.is_file():
        return None
    default = ExperimentConfig.model_fields["training"].default.num_epochs
    num_epochs = int(get(yaml.read(run.config).tree, "training.num_epochs") or default)
    if plan.n_parts == 1:
        epoch = _epochs(run)
        return Progress(epoch, None, num_epochs) if epoch else None
    for number in range(1, plan.n_parts + 1):
        part = RunDir(run.path / f"{plan.part}_{number}")
        if part.read_result() is None:
            epoch = _epochs(part)
            return Progress(epoch, number, num_epochs) if epoch or number > 1 else None
    return Progress(num_epochs, plan.n_parts, num_epochs)


def _epochs(run: RunDir) -> int:
    """Return how many epochs of a training can be gone on from."""
    has_checkpoint = run.checkpoints.is_dir() and any(run.checkpoints.glob("*.pt"))
    if not has_checkpoint or not run.metrics.is_file():
        return 0
    return run.metrics.read_bytes().count(b"\n")


def _is_free(lease: Lease | None, now: float) -> bool:
    return lease is None or is_dead(lease, now)


def _owner(lease: Lease) -> str:
    """Return who holds a lease, as it may be shown: host and process number."""
    host, _, pid, *_ = lease.owner.split("|")
    return f"process {pid} on {re.sub(_BOOT, '', host)}"
