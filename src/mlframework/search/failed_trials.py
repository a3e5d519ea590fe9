"""Trials that failed, taken together: grouped by their reasons, and so many in a row that a search can't work."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from mlframework.errors import TrainingError
from mlframework.search.faults import OUT_OF_MEMORY
from mlframework.search.results import TrialRecord
from mlframework.search.study import OpenStudy

_LISTED = 10  # trials of a group
_GROUPS = 10


def kind_of(reason: str) -> str:
    """Return a reason without its numbers: `nan at epoch 3` and `inf at epoch 7` are of one kind."""
    return re.sub(r"-?\b(?:nan|inf)\b|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", "N", reason)


def grouped(records: Iterable[TrialRecord]) -> list[str]:
    """Return the reasons of failed trials, each once, the most frequent first: `3 x out of memory: trials 4, 7, 9`."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in records:
        if record.state == "failed":
            reason = record.reason or "no reason was recorded"
            groups.setdefault(OUT_OF_MEMORY if record.fault == OUT_OF_MEMORY else kind_of(reason), []).append(record)
    by_size = sorted(groups.values(), key=lambda group: (-len(group), group[0].number))
    lines = [_line(group) for group in by_size[:_GROUPS]]
    rest = sum(map(len, by_size[_GROUPS:]))
    return [*lines, *([f"{rest} x other reasons: results.json has them"] if rest else [])]


def _line(group: Sequence[TrialRecord]) -> str:
    first = group[0]
    reason = (first.reason or "no reason was recorded").splitlines()[0]
    if len(group) == 1:
        return f"trial {first.number}: {first.reason}"
    numbers = ", ".join(str(record.number) for record in group[:_LISTED]) + (", ..." if len(group) > _LISTED else "")
    if first.fault != OUT_OF_MEMORY:
        return f"{len(group)} x {reason}: trials {numbers}"
    # How much it was at each differs, and stands in results.json; the remedy that says most holds for one of them at least.
    remedy = max(((record.reason or "").partition("; ")[2] for record in group), key=len)
    return f"{len(group)} x out of memory: trials {numbers}" + (f"; {remedy}" if remedy else "")


def refuse_hopeless(study: OpenStudy, known: Collection[int]) -> None:
    """End a search whose last trials all failed, as long as there are trials left.

    Args:
        study: what is searched.
        known: numbers of the trials that were over before this process began to search: what made them fail may be mended.

    Raises:
        TrainingError: with the reasons.
    """
    limit, trials = study.spec.faults.max_consecutive_failures, study.trials()
    if limit is None or sum(TrialRecord.of(trial).has_ended for trial in trials) >= study.n_trials:
        return
    over = [trial for trial in trials if trial.state.is_finished() and trial.number not in known]
    over.sort(key=lambda trial: (trial.datetime_complete or trial.datetime_start, trial.number))
    told = [TrialRecord.of(trial) for trial in over]
    # What took over another trial's outcome says nothing new; what was drawn again is no trial.
    own = [record for record in told if record.has_ended and record.same_as is None]
    last = own[-limit:]
    if len(last) == limit and all(record.state == "failed" for record in last):
        listed = "".join(f"\n  {line}" for line in grouped(last))
        raise TrainingError(
            f"the search ends: {'its last trial' if limit == 1 else f'the last {limit} trials'} of {study.spec.name!r} "
            f"failed, one after the other:{listed}\nmend what made them fail, then go on with --resume; "
            "search.max_consecutive_failures: null goes on whatever fails"
        )
