"""Winners that hug a bound of their range, and winners that lie together in a small part of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlframework.search.diagnosis.case import Case, winners
from mlframework.search.diagnosis.findings import Finding, bound, p_text
from mlframework.search.diagnosis.scales import (
    EDGE,
    Number,
    Side,
    admits,
    at,
    edge,
    inside,
    position,
    rounded,
    step_of,
    widened,
)
from mlframework.search.parameters import Categorical, Scalar
from mlframework.search.results import TrialRecord
from mlframework.search.statistics import SIGNIFICANT, holm

FEWEST_AT_END = 3
NARROW = 0.25
"""Share of a range within which all winners must lie to say that they are together."""
_BLOCK = 10  # trials that are drawn at about the same time
_OTHERS = 3  # trials elsewhere, without which there is nothing to compare with


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Look:
    """One place of one parameter where winners may be gathered.

    Attributes:
        key: the parameter.
        p: the larger one of two: how likely as many winners would lie there if it were drawn at random, and how likely the
            trials there would be as much better than the others by chance.
        found: makes the finding.
    """

    key: str
    p: float
    found: Callable[[float], Finding]


def look_at_bounds(case: Case, settled: set[str]) -> list[Finding]:
    """Say where winners are gathered: at an end, or within a small part of the range.

    Two tests have to agree, so that the larger of their p-values counts, after Holm's correction for all places that were
    looked at. Winners lie there more often than uniform draws would, by the binomial test (or, of a part of the range, by
    the distribution of the range of a sample). And trials there are better than those elsewhere that were drawn at about
    the same time, by van Elteren's test: a sampler that learns gets better with time and goes where it was lucky, so that
    winners may be gathered where merely most trials are, and late ones.

    Args:
        case: the study.
        settled: keys of parameters about which a stronger thing is said already.
    """
    looks: list[_Look] = []
    for key, parameter in case.space.parameters.items():
        ranked = case.having(key)
        best = winners(case, ranked)
        if key in settled or not best:
            continue
        if isinstance(parameter, Categorical):
            looks += _choices(case, key, parameter, ranked, best)
        elif parameter.low < parameter.high:
            looks += [_end(case, key, parameter, side, ranked, best) for side in ("low", "high")]
            looks += _together(case, key, parameter, ranked, best)
    corrected = holm([look.p for look in looks]) if looks else np.array([])
    found: dict[str, tuple[float, Finding]] = {}
    for look, p in zip(looks, corrected.tolist(), strict=True):
        if p <= SIGNIFICANT and (look.key not in found or p < found[look.key][0]):
            found[look.key] = (p, look.found(p))
    return [finding for _, finding in found.values()]


def _end(
    case: Case, key: str, parameter: Number, side: Side, ranked: Sequence[TrialRecord], best: Sequence[TrialRecord]
) -> _Look:
    from scipy.stats import binom

    threshold, share = edge(parameter, side)
    there = [record for record in ranked if inside(_number(record, key), threshold, side)]
    n_best = sum(record in there for record in best)
    p = float(binom.sf(n_best - 1, len(best), share)) if n_best >= FEWEST_AT_END else 1.0

    def found(p: float) -> Finding:
        says = (
            f"{key}: {n_best} of the {len(best)} best trials lie at the {side} end of its range, {parameter.describe()} "
            f"({p_text(p)}); better ones may lie beyond"
        )
        new = widened(case.space, key, side)
        evidence = {"side": side, "winners": len(best), "at_end": n_best, "chance_share": round(share, 4), "p": p}
        if new is None:
            return Finding("bounds", says, f"nothing: the setting admits hardly any {side}er value", evidence)
        why = f"{n_best} of the {len(best)} best trials were at this end"
        remedy = f"widen it: {side} {_shown(new)} in place of {_shown(getattr(parameter, side))}"
        return Finding("bounds", says, remedy, evidence, [bound(key, parameter, side, new, why)])

    return _Look(key, max(p, _better_p(case, there, ranked)), found)


def _together(
    case: Case, key: str, parameter: Number, ranked: Sequence[TrialRecord], best: Sequence[TrialRecord]
) -> list[_Look]:
    places = [position(parameter, _number(record, key)) for record in best]
    first, last = min(places), max(places)
    width, n = last - first, len(best)
    if width > NARROW or first <= EDGE or last >= 1 - EDGE:  # what lies at an end is a matter of that end
        return []
    # The range of n uniform draws is at most w with probability n w^(n-1) - (n-1) w^n (David and Nagaraja, Order
    # Statistics, 2003, section 2.3). A value of a parameter with a step is as wide as the step.
    wide = min(1.0, width + (0.0 if step_of(parameter) is None else edge(parameter, "low")[1]))
    p = n * wide ** (n - 1) - (n - 1) * wide**n
    there = [record for record in ranked if first <= position(parameter, _number(record, key)) <= last]

    def found(p: float) -> Finding:
        values = sorted(_number(record, key) for record in best)
        margin = max(width / 2, 0.05)
        ends = {
            "low": rounded(parameter, at(parameter, max(0.0, first - margin)), "low"),
            "high": rounded(parameter, at(parameter, min(1.0, last + margin)), "high"),
        }
        why = f"the {n} best trials lie from {_shown(values[0])} to {_shown(values[-1])}"
        changes = [
            bound(key, parameter, side, new, why) for side, new in ends.items() if new != getattr(parameter, side)
        ]
        says = f"{key}: {why}, a small part of its range, {parameter.describe()} ({p_text(p)})"
        shown = " ".join(f"{change.field} {_shown(change.value)}" for change in changes)
        remedy = f"narrow it, so that trials are spent where they pay: {shown}" if changes else "nothing"
        evidence = {"winners": n, "width": round(width, 4), "p": p}
        return Finding("bounds", says, remedy, evidence, changes)

    return [_Look(key, min(1.0, max(p, _better_p(case, there, ranked))), found)]


def _choices(
    case: Case, key: str, parameter: Categorical, ranked: Sequence[TrialRecord], best: Sequence[TrialRecord]
) -> list[_Look]:
    """Look at the smallest and the largest of choices that are numbers: 32, 64, 128."""
    numbers = [
        choice for choice in parameter.choices if isinstance(choice, int | float) and not isinstance(choice, bool)
    ]
    if len(numbers) < 3 or len(numbers) < len(parameter.choices):
        return []
    ordered = sorted(numbers)
    sides: tuple[tuple[Side, Scalar, float, float], ...] = (
        ("low", ordered[0], ordered[0], ordered[1]), ("high", ordered[-1], ordered[-1], ordered[-2]),
    )  # fmt: skip
    looks = []
    for side, end, outer, inner in sides:
        there = [record for record in ranked if record.params[key] == end]
        n_best = sum(record in there for record in best)
        looks.append(_choice(case, key, parameter, side, _beyond(outer, inner), n_best, len(best), there, ranked))
    return looks


def _choice(
    case: Case, key: str, parameter: Categorical, side: Side, new: Scalar, n_best: int, n: int,
    there: Sequence[TrialRecord], ranked: Sequence[TrialRecord],
) -> _Look:  # fmt: skip
    from scipy.stats import binom

    share = 1 / len(parameter.choices)
    p = float(binom.sf(n_best - 1, n, share)) if n_best >= FEWEST_AT_END else 1.0

    def found(p: float) -> Finding:
        name = "smallest" if side == "low" else "largest"
        says = f"{key}: {n_best} of the {n} best trials have the {name} choice, {parameter.describe()} ({p_text(p)})"
        evidence = {"side": side, "winners": n, "at_end": n_best, "chance_share": round(share, 4), "p": p}
        choices = [new, *parameter.choices] if side == "low" else [*parameter.choices, new]
        if not admits(case.space, key, {"choices": choices}):
            return Finding("bounds", says, f"nothing: the setting does not admit {new}", evidence)
        why = f"{n_best} of the {n} best trials had the {name} choice"
        return Finding("bounds", says, f"add {_shown(new)} to the choices", evidence,
                       [bound(key, parameter, "choices", choices, why)])  # fmt: skip

    return _Look(key, max(p, _better_p(case, there, ranked)), found)


def _beyond(outer: float, inner: float) -> Scalar:
    """Return the next of a row: 256 after 64, 128; 0.3 after 0.1, 0.2."""
    if inner > 0 and outer > 0 and math.isclose(max(outer / inner, inner / outer) % 1, 0, abs_tol=1e-9):
        found: float = outer * outer / inner
    else:
        found = 2 * outer - inner
    whole = isinstance(outer, int) and isinstance(inner, int)
    return max(1, round(found)) if whole and outer > 0 else round(found) if whole else float(f"{found:.12g}")


def _better_p(case: Case, there: Sequence[TrialRecord], ranked: Sequence[TrialRecord]) -> float:
    """Return how likely some trials are as much better than the others by chance, each compared with its contemporaries."""
    numbers = {record.number for record in there}
    if not there or len(ranked) - len(there) < _OTHERS:
        return 1.0
    in_order = sorted(ranked, key=lambda record: record.number)
    badness = np.array([case.badness(record.value or 0.0) for record in in_order])
    is_there = np.array([record.number in numbers for record in in_order])
    # A rest of less than half a block joins the last one.
    n_blocks = max(1, round(len(in_order) / _BLOCK))
    blocks = np.minimum(np.arange(len(in_order)) // _BLOCK, n_blocks - 1)
    return van_elteren(badness, is_there, blocks)


def van_elteren(values: Floats, chosen: NDArray[np.bool_], blocks: NDArray[np.int64]) -> float:
    """Return the one-sided p-value that chosen values are smaller than the others of their own block.

    The rank-sum test in blocks, each weighted by 1 / (n + 1) (van Elteren, 1960, Bulletin of the International Statistical
    Institute 37, 351-361), by its normal approximation, corrected for ties. With one block it is the Mann-Whitney test.

    Args:
        values: (n,) the values.
        chosen: (n,) which of them are thought to be smaller.
        blocks: (n,) the block of each.
    """
    from scipy.stats import norm, rankdata

    total = variance = 0.0
    for block in np.unique(blocks):
        mine = blocks == block
        n, n_chosen = int(mine.sum()), int((mine & chosen).sum())
        if not 0 < n_chosen < n:
            continue
        ranks = rankdata(values[mine])
        total += (ranks[chosen[mine]].sum() - n_chosen * (n + 1) / 2) / (n + 1)
        spread = ((ranks - ranks.mean()) ** 2).sum()
        variance += n_chosen * (n - n_chosen) / (n * (n - 1)) * spread / (n + 1) ** 2
    return float(norm.cdf(total / math.sqrt(variance))) if variance > 0 else 1.0


def _number(record: TrialRecord, key: str) -> float:
    return float(record.params[key])


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
