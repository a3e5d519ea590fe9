"""Where failed trials are gathered: beyond a value of a number, or at a choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlframework.config.override import get
from mlframework.search.diagnosis.case import Case, winners
from mlframework.search.diagnosis.findings import Change, Finding, bound, p_text
from mlframework.search.diagnosis.scales import Side, admits, position, rounded
from mlframework.search.failed_trials import kind_of as kind_of
from mlframework.search.parameters import Categorical, Parameter
from mlframework.search.results import TrialRecord
from mlframework.search.statistics import SIGNIFICANT

FEWEST = 3
"""Failures for a reason, and trials without one, below which nothing is said of where they are."""
_PERMUTATIONS = 499
_MOST = 0.5
"""Share of the trials at a place that must have failed to take the place out of the space."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cut:
    """A place in the space: beyond a value, or at a choice.

    Attributes:
        key: the parameter.
        side: `low` or `high` of a number's place; empty for a choice.
        value: a number's value nearest to the cut on its inner side, or the choice.
        there: (n,) which trials are at the place.
    """

    key: str
    side: Side | None
    value: Any
    there: NDArray[np.bool_]

    def __str__(self) -> str:
        if self.side is None:
            return f"{self.key} is {self.value}"
        return f"{self.key} is {'below' if self.side == 'low' else 'above'} {self.value:g}"


def look_for_failures(case: Case) -> list[Finding]:
    """Say why trials failed, and where."""
    failed = case.of("failed")
    if not failed:
        return []
    others = [record for record in case.counted if record.state != "failed"]
    by_reason: dict[str, list[TrialRecord]] = {}
    for record in failed:
        by_reason.setdefault(kind_of(record.reason or "no reason"), []).append(record)
    groups = sorted(by_reason.values(), key=len, reverse=True)
    found = [_of_group(case, group, others, group[0].reason or "no reason was recorded") for group in groups]
    # One cause may show itself in several ways: a rate that is too large as a loss of nan, or as an overflow.
    if len(groups) > 1 and not any("key" in finding.evidence for finding in found):
        together = _of_group(case, failed, others, f"for {len(groups)} reasons, looked at together")
        found += [together] if "key" in together.evidence else []
    return found


def _of_group(case: Case, group: Sequence[TrialRecord], others: Sequence[TrialRecord], reason: str) -> Finding:
    head = f"{len(group)} of {len(case.counted)} trials failed: {reason}"
    evidence = {"failed": len(group), "trials": [record.number for record in group]}
    place = _gathered(case, group, others)
    if place is None:
        return Finding("failures", head, _remedy(case, group, others), evidence)
    cut, p = place
    n_there, ok_there = int(cut.there[: len(group)].sum()), int(cut.there[len(group) :].sum())
    says = f"{head}; {n_there} of them where {cut}, and {ok_there} of {len(others)} others ({p_text(p)})"
    remedy, changes = _change(case, cut, n_there, ok_there, others)
    where = {"key": cut.key, "side": cut.side, "value": cut.value, "failed_there": n_there, "others_there": ok_there}
    return Finding("failures", says, remedy, {**evidence, **where, "p": p}, changes)


def best_cut(cuts: Sequence[Cut], n_failed: int, seed: int = 0) -> tuple[Cut, float] | None:
    """Return the place at which failures are most clearly gathered, and its p-value.

    Each place is judged by Fisher's exact test, one-sided (Fisher, 1922, https://doi.org/10.2307/2340521). The smallest
    of many p-values is small by chance, so it is compared with the smallest ones of trials that failed at random (Westfall
    and Young, Resampling-Based Multiple Testing, 1993): that corrects for all cuts and all parameters at once.

    Args:
        cuts: the places; the first `n_failed` trials of each are the failed ones.
        n_failed: how many failed.
        seed: of the permutations.
    """
    from scipy.stats import hypergeom

    if not cuts:
        return None
    there = np.array([cut.there for cut in cuts])
    sizes, n = there.sum(axis=1), there.shape[1]

    def smallest(failed: NDArray[np.bool_]) -> Floats:
        hits = (there & failed).sum(axis=1)
        return np.asarray(hypergeom.sf(hits - 1, n, n_failed, sizes), dtype=np.float64)

    labels = np.arange(n) < n_failed
    own = smallest(labels)
    # Of equal ones the smallest place: it says most.
    best = min(range(len(cuts)), key=lambda index: (own[index], sizes[index]))
    rng = np.random.default_rng(seed)
    drawn = np.array([smallest(rng.permutation(labels)).min() for _ in range(_PERMUTATIONS)])
    return cuts[best], float((1 + (drawn <= own[best] * (1 + 1e-9)).sum()) / (1 + _PERMUTATIONS))


def cuts_of(case: Case, records: Sequence[TrialRecord]) -> list[Cut]:
    """Return all places that tell some of the trials from others; a trial without the parameter is in none."""
    found: list[Cut] = []
    for key, parameter in case.space.parameters.items():
        has = np.array([key in record.params for record in records])
        values: list[Any] = [record.params.get(key) for record in records]
        if isinstance(parameter, Categorical):
            for choice in parameter.choices:
                there = has & np.array([type(value) is type(choice) and value == choice for value in values])
                found.append(Cut(key, None, choice, there))
            continue
        numbers = np.array([value if isinstance(value, int | float) else np.nan for value in values], dtype=np.float64)
        seen = np.unique(numbers[has])
        for lower, upper in pairwise(seen.tolist()):
            found.append(Cut(key, "high", lower, has & (numbers > lower)))
            found.append(Cut(key, "low", upper, has & (numbers < upper)))
    return [cut for cut in found if 0 < cut.there.sum() < len(records)]


def _gathered(case: Case, group: Sequence[TrialRecord], others: Sequence[TrialRecord]) -> tuple[Cut, float] | None:
    if len(group) < FEWEST or len(others) < FEWEST:
        return None
    found = best_cut(cuts_of(case, [*group, *others]), len(group))
    return found if found is not None and found[1] <= SIGNIFICANT else None


def _change(
    case: Case, cut: Cut, n_failed: int, n_others: int, others: Sequence[TrialRecord]
) -> tuple[str, list[Change]]:
    """Return what to do about a place: take it out of the space where hardly anything else is there, and no winner."""
    parameter = case.space.parameters[cut.key]
    best = {record.number for record in winners(case, case.ranked) or case.ranked[:1]}
    lost = sorted(
        best & {record.number for record, there in zip(others, cut.there[-len(others) :], strict=True) if there}
    )
    if lost:
        return f"mend what fails there; it is no place to leave out, for trial {lost[0]} is among the best", []
    if n_failed / (n_failed + n_others) < _MOST:
        return "nothing to take out of the space: most trials there did not fail", []
    why = f"{n_failed} of {n_failed + n_others} trials failed where {cut}"
    if isinstance(parameter, Categorical):
        left = [choice for choice in parameter.choices if (type(choice), choice) != (type(cut.value), cut.value)]
        if not left or not admits(case.space, cut.key, {"choices": left}):
            return f"mend what fails there: without {cut.value} nothing else of the space would hold", []
        return f"leave {cut.value} out of its choices", [bound(cut.key, parameter, "choices", left, why)]
    assert cut.side is not None
    new = rounded(parameter, cut.value, cut.side)
    if not 0 <= position(parameter, new) <= 1 or new == getattr(parameter, cut.side):
        return f"keep {cut.key} away from there", []
    return f"narrow it: {cut.side} {new:g}", [bound(cut.key, parameter, cut.side, new, why)]


def _remedy(case: Case, group: Sequence[TrialRecord], others: Sequence[TrialRecord]) -> str:
    if not others:
        outside = [text for key, parameter in case.space.parameters.items() if (text := _outside(case, key, parameter))]
        listed = f"; {', '.join(outside)}" if outside else ""
        return f"no trial went well: train the config alone by ml-train, and if that goes well mend the ranges{listed}"
    if len(group) < FEWEST or len(others) < FEWEST:
        return "too few to tell where they are gathered: read the reason, and error.txt in the trial's folder"
    return "they are gathered nowhere in the space: read the reason, and error.txt in a trial's folder"


def _outside(case: Case, key: str, parameter: Parameter) -> str | None:
    """Return that the config's own value lies outside a range, or None."""
    own = get(case.tree, key)
    if isinstance(parameter, Categorical) or isinstance(own, bool) or not isinstance(own, int | float):
        return None
    inside = parameter.low <= own <= parameter.high
    return None if inside else f"its {key}, {own:g}, lies outside {parameter.describe()}"
