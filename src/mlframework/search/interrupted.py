"""Trials that nobody works on: to the storage they run, and their leases say that whoever ran them is gone."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mlframework.runs import RunDir
from mlframework.search.duplicates import PLACE
from mlframework.search.lease import Lease, is_dead
from mlframework.search.storage import translated

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from mlframework.search.results import TrialRecord
    from mlframework.search.study import OpenStudy

INTERRUPTED = "interrupted"
"""What such a trial is told to be."""
UNFINISHED = ("running", INTERRUPTED)
"""States of trials of the study that are not over."""
WORKED = "mlframework:seconds"
"""Attribute of a trial that was interrupted: how long its epochs took."""


def holders(trials: Iterable[FrozenTrial], leases: Sequence[Lease]) -> dict[int, Lease]:
    """Return the lease of each trial; one that was made but not bound yet has that of its place."""
    by_place = {lease.place: lease for lease in leases}
    found = {lease.trial: lease for lease in leases if lease.trial is not None}
    for trial in trials:
        place = trial.user_attrs.get(PLACE)
        if trial.number not in found and place in by_place and by_place[place].trial is None:
            found[trial.number] = by_place[place]
    return found


def abandoned(trials: Sequence[FrozenTrial], leases: Sequence[Lease]) -> set[int]:
    """Return the trials that are not over and that nobody works on; of what has no leases, as a stranger's study, none."""
    held, now = holders(trials, leases), time.time()
    running = [trial.number for trial in trials if trial.state.name == "RUNNING"]
    return {number for number in running if number in held and is_dead(held[number], now)}


def with_interrupted(records: Sequence[TrialRecord], numbers: Collection[int]) -> list[TrialRecord]:
    """Return records that say of these trials that they were interrupted."""
    return [replace(record, state=INTERRUPTED) if record.number in numbers else record for record in records]


def as_they_stand(study: OpenStudy, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the records of a study as they are told: those of trials that nobody works on are interrupted."""
    if all(record.state != "running" for record in records):
        return list(records)
    with translated(study.spec.storage):
        leases = study.leases.all()
    return with_interrupted(records, abandoned(study.trials(), leases))


def worked_seconds(run: RunDir) -> float | None:
    """Return how long the epochs of a trial took, those of all its folds; None where its folder has none."""
    files = [path for path in (run.metrics, *sorted(run.path.glob("*/metrics.jsonl"))) if path.is_file()]
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines() if line]
    return sum(float(json.loads(line)["seconds"]) for line in lines) if lines else None
