"""Statistics against published examples, and on studies where it is known which parameter matters."""

import math

import numpy as np
import optuna
import pytest

from mlframework.search.importance import Repeats, correlation, importance
from support.studies import FEW, planted


def test_spearmans_correlation_of_a_published_example() -> None:
    """IQ and hours of television, https://en.wikipedia.org/wiki/Spearman%27s_rank_correlation_coefficient: -29/165, p 0.627."""
    iq = np.array([106, 100, 86, 101, 99, 103, 97, 113, 112, 110], dtype=float)
    hours = np.array([7, 27, 2, 50, 28, 29, 20, 12, 6, 17], dtype=float)
    rho, low, high, p = correlation(iq, hours, 200, seed=0)
    assert rho == pytest.approx(-29 / 165) and p == pytest.approx(0.627188, abs=1e-6)
    assert -1 <= low < rho < high <= 1


def test_a_constant_column_has_no_correlation() -> None:
    assert all(math.isnan(each) for each in correlation(np.ones(5), np.arange(5.0), 10, seed=0))


def test_what_decides_is_significant_and_what_does_not_is_not() -> None:
    view = planted(40)
    found = importance(view.complete, "maximize", ["a.strong", "b.noise", "c.kind"], "PED-ANOVA", FEW["PED-ANOVA"], 0)
    strong, noise = found["a.strong"], found["b.noise"]
    assert sum(each.value for each in found.values()) == pytest.approx(1)
    assert strong.p == 0.01 and strong.p_holm <= 0.05 < noise.p_holm
    assert strong.low > noise.high and strong.low <= strong.value <= strong.high + 1e-9


def test_where_nothing_decides_little_is_significant() -> None:
    """Values drawn independently of the parameters: of the p-values of ten studies at most a few may be small."""
    rng = np.random.default_rng(1)
    small = 0
    for seed in range(10):
        view = planted(20, seed)
        trials = [optuna.trial.create_trial(params=t.params, distributions=t.distributions, value=v)
                  for t, v in zip(view.complete, rng.random(20), strict=True)]  # fmt: skip
        found = importance(trials, "maximize", ["a.strong", "b.noise"], "PED-ANOVA", Repeats(5, 99), seed)
        small += sum(each.p <= 0.05 for each in found.values())
    assert small <= 4  # 20 p-values, one of which is below 0.05 by chance


def test_the_same_seed_gives_the_same_numbers() -> None:
    view = planted(15)
    keys = ["a.strong", "b.noise"]
    one, two = (importance(view.complete, "maximize", keys, "fANOVA", FEW["fANOVA"], 3) for _ in range(2))
    assert one == two
