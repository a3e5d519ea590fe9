"""The plot of importances with their uncertainty."""

import pytest

from mlframework.errors import PlotError
from mlframework.search import importance
from mlframework.visualise.search_plots import PLOTS, importance_significance
from support.studies import FEW, planted


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for evaluator, repeats in FEW.items():
        monkeypatch.setitem(importance.REPEATS, evaluator, repeats)


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
