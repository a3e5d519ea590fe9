"""Parameters that decide nothing, so that trials are spent on them in vain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlframework.search.diagnosis.case import Case
from mlframework.search.diagnosis.explained import Explained, explained
from mlframework.search.diagnosis.findings import Change, Finding, p_text
from mlframework.search.diagnosis.scales import position
from mlframework.search.importance import Estimate, Repeats, importance
from mlframework.search.parameters import Categorical
from mlframework.search.statistics import SIGNIFICANT, holm

REPEATS = Repeats(bootstrap=200, permutations=499)
FEWEST = 20
PER_PARAMETER = 5
_SMALL_SHARE = 0.1
_SPREAD, _MOST_ALIKE = 0.3, 0.8  # the middle four fifths of the trials cover so much of the range
_SEED = 0


def needed(case: Case) -> int:
    """Return how many complete trials it takes to say that a parameter does nothing."""
    return max(FEWEST, PER_PARAMETER * len(case.space.parameters))


def look_for_idle(case: Case) -> tuple[list[Finding], list[str]]:
    """Say which parameters do nothing, and what cannot be said of any.

    That no effect is seen proves nothing by itself: so there must be trials enough, some other parameter must show its
    effect in the same trials (Holm's p at most 0.05, of importance or of a rank test), and this one must explain surely less
    than a tenth of the differences beside the others (the upper end of the interval), by no more than chance (p above
    0.05, of that and of its importance). A sampler that has settled on a value leaves too few others to tell.
    """
    keys = _comparable(case)
    if len(case.ranked) < needed(case):
        what = f"{len(case.ranked)} complete trials, it takes {needed(case)}"
        return [], [f"too few trials to tell which parameters do nothing: {what}"]
    if len({record.value for record in case.ranked}) < 2:
        return [_all_alike(case)], []
    if len(keys) < 2:
        return [], ["which parameters do nothing: fewer than two are in every trial, so none can be compared"]
    trials = [trial for trial in case.trials if trial.number in {record.number for record in case.ranked}]
    found = importance(trials, case.direction, keys, "PED-ANOVA", REPEATS, _SEED)
    ranks = rank_p(case, keys)
    # Each parameter has two chances to show its effect.
    corrected = holm([*(each.p for each in found.values()), *ranks.values()])
    if corrected.min() > SIGNIFICANT:
        says = (
            f"no parameter is seen to decide {case.metric} by more than chance ({len(trials)} trials, {len(keys)} parameters; "
            f"the smallest p after Holm is {corrected.min():.2g})"
        )
        remedy = (
            "be content with the best trial, as this space is about equally good; or search wider, or something else"
        )
        evidence = {"importance_p": {key: each.p for key, each in found.items()}, "rank_p": ranks}
        return [Finding("idle", says, remedy, evidence)], []
    own = explained(case, keys, _SEED)
    if not own:
        return [], [f"which parameters do nothing: {len(case.ranked)} complete trials are too few for so many choices"]
    idle = [key for key in keys if _is_idle(found[key], own[key])]
    spread = [key for key in idle if _is_spread(case, key)]
    untold = [
        f"whether {key} does anything: the sampler has settled, so that too few trials have other values"
        for key in idle
        if key not in spread
    ]
    return [_idle(case, key, found[key], own[key]) for key in spread], untold


def rank_p(case: Case, keys: Sequence[str]) -> dict[str, float]:
    """Return for each parameter how likely chance alone would relate it to the values' ranks as much.

    Spearman's rank correlation of a number (1904, https://doi.org/10.2307/1412159), the Kruskal-Wallis test of choices
    (1952, https://doi.org/10.1080/01621459.1952.10483441). Unlike an importance, neither is misled by where a sampler
    that learns has put most trials.
    """
    from scipy.stats import kruskal, spearmanr

    values = [record.value or 0.0 for record in case.ranked]
    found = {}
    for key in keys:
        column = [record.params[key] for record in case.ranked]
        if isinstance(case.space.parameters[key], Categorical):
            groups: dict[Any, list[float]] = {}
            for choice, value in zip(column, values, strict=True):
                groups.setdefault((type(choice), choice), []).append(value)
            found[key] = float(kruskal(*groups.values()).pvalue)
        else:
            found[key] = float(spearmanr(column, values).pvalue)
    return found


def _is_spread(case: Case, key: str) -> bool:
    """Tell whether trials are spread over a parameter's values widely enough to see an effect, if there were one."""
    parameter = case.space.parameters[key]
    column = [record.params[key] for record in case.ranked]
    if isinstance(parameter, Categorical):
        return max(Counter((type(choice), choice) for choice in column).values()) <= _MOST_ALIKE * len(column)
    places = [position(parameter, value) for value in column]
    low, high = np.quantile(places, [(1 - _MOST_ALIKE) / 2, (1 + _MOST_ALIKE) / 2])
    return bool(high - low >= _SPREAD)


def _comparable(case: Case) -> list[str]:
    """Return the parameters that every complete trial has, with more than one value."""
    everywhere = [key for key in case.space.parameters if all(key in record.params for record in case.ranked)]
    return [key for key in everywhere if len({record.params[key] for record in case.ranked}) > 1]


def _is_idle(found: Estimate, own: Explained) -> bool:
    return min(found.p, own.p) > SIGNIFICANT and own.high < _SMALL_SHARE


def _idle(case: Case, key: str, found: Estimate, own: Explained) -> Finding:
    best = case.ranked[0].params[key]
    if isinstance(best, float):
        best = float(f"{best:.3g}")
    says = (
        f"{key} decides nothing: beside the other parameters it explains {_percent(own.share)} of the differences in "
        f"{case.metric}, surely at most {max(0.01, own.high):.0%}, no more than chance does "
        f"({p_text(own.p)}, {len(case.ranked)} trials)"
    )
    evidence = {"explains": own.share, "at_most": own.high, "p": own.p, "importance": found.value,
                "importance_p": found.p, "trials": len(case.ranked)}  # fmt: skip
    choosing = [name for name, other in case.space.parameters.items() if key in other.when]
    if choosing:
        return Finding("idle", says, f"leave it: {', '.join(choosing)} depend on it", evidence)
    why = f"it decides nothing ({p_text(own.p)}); the best trial had this value"
    return Finding("idle", says, f"fix it at the best trial's value, {best}", evidence,
                   [Change("fix", key, "", best, case.space.parameters[key].describe(), why)])  # fmt: skip


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"


def _all_alike(case: Case) -> Finding:
    value = case.ranked[0].value
    says = f"all {len(case.ranked)} complete trials have the same {case.metric}, {value:g}: nothing that is searched changes it"
    return Finding("idle", says, "search other parameters, or a metric that tells trials apart, such as val_loss")
