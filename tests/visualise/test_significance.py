"""Statistics against published examples, and on studies where it is known which parameter matters."""

import math

import numpy as np
import optuna
import pytest

from mlframework.errors import PlotError
from mlframework.visualise import significance
from mlframework.visualise.search_plots import PLOTS, importance_significance
from mlframework.visualise.significance import Repeats, correlation, importance
from mlframework.visualise.study_view import StudyView

FEW = {"PED-ANOVA": Repeats(40, 99), "fANOVA": Repeats(4, 9)}


def planted(n_trials: int, seed: int = 0, conditional: bool = False) -> StudyView:
    """A study of which only `a.strong` decides the value, and `c.kind` and `b.noise` decide nothing."""

    def objective(trial: optuna.Trial) -> float:
        strong = trial.suggest_float("a.strong", 0, 1)
        trial.suggest_float("b.noise", 0, 1)
        kind = trial.suggest_categorical("c.kind", ["x", "y"])
        if conditional and kind == "x":
            trial.suggest_float("d.sometimes", 0, 1)
        return strong**2

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed))
    study.optimize(objective, n_trials=n_trials)
    return StudyView.of(study, "val_acc")


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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for evaluator, repeats in FEW.items():
        monkeypatch.setitem(significance.REPEATS, evaluator, repeats)


@pytest.mark.usefixtures("quick")
def test_the_plot_shows_shares_and_correlations() -> None:
    data = importance_significance.compute(planted(40, conditional=True))
    assert data.keys[0] == "a.strong" and set(data.keys) == {"a.strong", "b.noise", "c.kind"}
    assert set(data.shares) == {"PED-ANOVA", "fANOVA"}
    # Categories have no order, so there is no rank correlation.
    assert set(data.correlations) == {"a.strong", "b.noise"}
    assert data.correlations["a.strong"].value == pytest.approx(1)
    assert "1 that not every trial has left out" in data.heading.subtitle
    figure = importance_significance.draw(data)
    assert [trace.name for trace in figure.data] == ["PED-ANOVA", "fANOVA", "Spearman's rank correlation"]
    # The significant one is filled, the others are hollow.
    filled = dict(zip(data.keys, figure.data[0].marker.color, strict=True))
    assert filled["a.strong"] != "white" and filled["b.noise"] == "white"


@pytest.mark.usefixtures("quick")
def test_only_the_parameters_asked_for_are_shown() -> None:
    data = importance_significance.compute(planted(20), ["b.noise"])
    assert data.keys == ("b.noise",) and set(data.correlations) == {"b.noise"}
    assert data.shares["PED-ANOVA"]["b.noise"].value < 0.5


def test_what_cannot_be_said() -> None:
    with pytest.raises(PlotError, match="needs 10 finished trials; the study has 9"):
        importance_significance.compute(planted(9))
    with pytest.raises(PlotError, match=r"d\.sometimes: only some of the finished trials have it"):
        importance_significance.compute(planted(20, conditional=True), ["d.sometimes"])


def test_it_is_drawn_only_where_it_is_asked_for() -> None:
    assert [name for name, plot in PLOTS.items() if not plot.by_default] == ["importance_significance", "folds"]
