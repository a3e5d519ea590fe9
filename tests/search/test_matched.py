"""Pruning between folds: like is compared with like."""

from itertools import product
from typing import Any

import pytest
from scipy.stats import wilcoxon

from mlframework.search.matched import Matching, matching_of, signed_rank_p
from mlframework.search.pruners import HyperbandPruner, MedianPruner, NoPruner, PatientPruner, WilcoxonPruner

RULE = Matching(1)


def why(mine: list[float], its: list[float], direction: Any = "maximize", rule: Matching = RULE) -> str | None:
    return rule.reason(mine, 14, its, direction, "fold", 5)


def test_behind_on_both() -> None:
    assert why([0.7, 0.8], [0.8, 0.9, 0.85, 0.9, 0.8]) == "pruned at fold 2/5: behind trial 14 on both"
    assert why([0.7, 0.95], [0.8, 0.9, 0.85]) is None, "better on one of them"
    assert why([0.7, 0.9], [0.8, 0.9, 0.85]) is None, "equal on one of them"
    assert why([0.7], [0.8, 0.9]) is None, "one fold says nothing"
    assert why([0.7, 0.8, 0.7], [0.8, 0.9, 0.85]) == "pruned at fold 3/5: behind trial 14 on all 3"


def test_the_direction_decides() -> None:
    assert why([0.7, 0.8], [0.8, 0.9], "minimize") is None
    assert why([0.9, 0.9], [0.8, 0.8], "minimize") == "pruned at fold 2/5: behind trial 14 on both"
    assert why([-2.0, -3.0], [-1.0, 0.0]) is not None and why([0.0, 0.0], [-1.0, -1.0]) is None


def test_with_enough_folds_the_test_decides() -> None:
    its = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95]
    behind_on_five = [0.80, 0.81, 0.82, 0.83, 0.84, 0.96]
    found = RULE.reason(behind_on_five, 14, its, "maximize", "fold", 10)
    assert found == "pruned at fold 6/10: behind trial 14 on 5 of 6 (Wilcoxon, p = 0.031)"
    undecided = [0.80, 0.98, 0.82, 0.99, 0.84, 0.96]
    assert RULE.reason(undecided, 14, its, "maximize", "fold", 10) is None
    assert RULE.reason(its, 14, its, "maximize", "fold", 10) is None


def test_the_p_value_is_exact() -> None:
    """Of the 2^n signs that ranks can have, how many have as large a sum of positive ranks (Wilcoxon, 1945)."""
    lags = [0.3, -0.1, 0.4, 0.2, 0.6, 0.5]
    ranks = [3, -1, 4, 2, 6, 5]
    observed = sum(rank for rank in ranks if rank > 0)
    sums = [sum(r for r, up in zip(range(1, 7), signs, strict=True) if up) for signs in product([0, 1], repeat=6)]
    assert signed_rank_p(lags) == pytest.approx(sum(total >= observed for total in sums) / 64)
    assert signed_rank_p(lags) == pytest.approx(wilcoxon(lags, alternative="greater").pvalue)
    assert signed_rank_p([0.0, 0.0, 0.0]) == 1.0


def test_rules_follow_from_the_pruner() -> None:
    assert matching_of(NoPruner(type="none")) is None
    assert matching_of(MedianPruner(n_startup_trials=7)) == Matching(7)
    assert matching_of(PatientPruner(type="PatientPruner", wrapped=MedianPruner(n_startup_trials=4))) == Matching(4)
    assert matching_of(HyperbandPruner(type="HyperbandPruner")) == Matching(1)
    strict = matching_of(WilcoxonPruner(type="WilcoxonPruner", p_threshold=0.3, n_startup_steps=3))
    assert strict == Matching(1, 3, 0.3, always_test=True)


def test_wilcoxon_pruner_goes_by_the_test_alone() -> None:
    rule = Matching(1, 2, 0.2, always_test=True)
    assert why([0.7, 0.8], [0.8, 0.9], rule=rule) is None, "p is 0.25 at least"
    assert why([0.7, 0.8, 0.7], [0.8, 0.9, 0.85], rule=rule) == (
        "pruned at fold 3/5: behind trial 14 on 3 of 3 (Wilcoxon, p = 0.12)"
    )
