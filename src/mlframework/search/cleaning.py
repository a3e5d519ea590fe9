"""Removing the checkpoints that a study need not keep, as the search goes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from mlframework.runs import RunDir
from mlframework.search.confirm import folder_of_trainings
from mlframework.search.interrupted import UNFINISHED
from mlframework.search.keep import Sizes, remove_checkpoints, shown_bytes, sizes
from mlframework.search.results import TrialRecord, pick
from mlframework.search.study import OpenStudy

_RESUMABLE = (*UNFINISHED, "waiting")


@dataclass(frozen=True)
class Kept:
    """What a study keeps.

    Attributes:
        trials: whose checkpoints are kept since they are among the best, the best first.
        resumable: trials that can still be resumed.
        n_bytes: what all checkpoints of the study take.
        excess: why less is kept than was asked for; None where all fits.
    """

    trials: Sequence[int]
    resumable: Sequence[int]
    n_bytes: int
    excess: str | None

    def describe(self) -> str:
        """Say in a line whose checkpoints take how much."""
        whose = [f"of the best: trial{'s' * (len(self.trials) > 1)} {', '.join(map(str, self.trials))}"] * bool(
            self.trials
        )
        whose += [f"{len(self.resumable)} not finished"] * bool(self.resumable)
        return f"checkpoints: {shown_bytes(self.n_bytes)}{' (' * bool(whose)}{'; '.join(whose)}{')' * bool(whose)}"


def decide(study: OpenStudy, records: Sequence[TrialRecord]) -> Kept:
    """Return whose checkpoints are kept: the best trials', from the first on as long as they fit, and what can be resumed.

    What a confirmation trains counts, too.
    """
    spec = study.spec
    limit = spec.keep.max_bytes
    resumable = [record.number for record in records if record.state in _RESUMABLE]
    confirmation = folder_of_trainings(spec.folder.path)
    used = sizes([*map(spec.folder.trial, resumable), *map(RunDir, sorted(confirmation.glob("trial_*")))])
    excess = None
    if sum(used.values()) > limit:
        excess = (
            f"what can still be resumed takes {shown_bytes(sum(used.values()))} alone and is kept; no best trial's are"
        )
    kept: list[int] = []
    for number in _wanted(study, records):
        more: Sizes = used | sizes([spec.folder.trial(number)])
        if sum(more.values()) > limit:
            took = sum(more.values()) - sum(used.values())
            excess = excess or (
                f"those of trial {number} take {shown_bytes(took)}, and {shown_bytes(sum(used.values()))} are taken "
                f"already; {f'the best {len(kept)} keep theirs' if kept else 'no best trial keeps its own'}"
            )
            break
        kept += [number] * (len(more) > len(used))
        used = more
    return Kept(kept, resumable, sum(used.values()), excess)


def _wanted(study: OpenStudy, records: Sequence[TrialRecord]) -> list[int]:
    """Return the trials that keep their checkpoints where there is room, the picked one first."""
    top_k = study.spec.keep.top_k
    chosen = pick(study.spec, records)
    if chosen is None or not top_k:
        return []
    best = [record.number for record in study.spec.goal.ranked(records)[:top_k]]
    return list(dict.fromkeys([chosen.record.number, *best]))


def clean(study: OpenStudy, records: Sequence[TrialRecord]) -> Kept:
    """Remove the checkpoints that need not be kept, whoever trained them. Several processes may do so at once.

    Raises:
        RunError: they cannot be removed.
    """
    kept = decide(study, records)
    stay = {*kept.trials, *kept.resumable}
    for record in records:
        # What is finished and was cleaned once is not looked at again: a search may have thousands of trials.
        if record.number not in stay and record.number not in study.cleaned:
            remove_checkpoints(study.spec.folder.trial(record.number))
            study.cleaned.add(record.number)
    _warn(study, kept)
    return kept


def _warn(study: OpenStudy, kept: Kept) -> None:
    """Say once what does not fit: what can still be resumed, or the best."""
    what = "resumable" if kept.n_bytes > study.spec.keep.max_bytes else "best"
    if kept.excess is not None and what not in study.warned:
        study.warned.add(what)
        limit = study.spec.keep.max_gb
        warnings.warn(
            f"search.keep.max_gb: {limit:g} is too little for all checkpoints: {kept.excess}", UserWarning, stacklevel=3
        )
