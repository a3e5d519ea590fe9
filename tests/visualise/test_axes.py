import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mlframework.visualise.axes import ParamAxis, beyond, param_axis, visible_range
from mlframework.visualise.search_plots.ticks import ticks
from mlframework.visualise.study_view import StudyView


def axis_of(*tried: tuple[object, BaseDistribution]) -> ParamAxis:
    study = optuna.create_study()
    for value, distribution in tried:
        study.add_trial(
            optuna.trial.create_trial(params={"a.x": value}, distributions={"a.x": distribution}, value=1.0)
        )
    return param_axis(StudyView.of(study, "val_loss"), "a.x")


def test_scales(view: StudyView) -> None:
    scales = {key: param_axis(view, key).scale for key in view.params}
    assert scales == {
        "optimizer.lr": "log",
        "optimizer.type": "category",
        "training.batch_size": "category",
        "scheduler.step_size": "whole",
        "optimizer.momentum": "linear",
    }


def test_numbers_among_categories_are_in_order_of_size(view: StudyView) -> None:
    assert param_axis(view, "training.batch_size").choices == ("16", "32", "64")
    assert param_axis(view, "optimizer.type").choices == ("sgd", "adam")


def test_equal_steps_on_the_axis() -> None:
    log = FloatDistribution(1e-6, 1.0, log=True)
    axis = axis_of((1e-5, log), (1e-1, log))
    assert (axis.low, axis.high) == (pytest.approx(-5), pytest.approx(-1))
    assert axis.position(1e-3) == pytest.approx(-3)
    assert axis.coordinate(1e-3) == 1e-3
    category = axis_of(("b", CategoricalDistribution(["a", "b", None])))
    assert (category.position("b"), category.coordinate("b"), category.choices) == (1.0, "b", ("a", "b", "None"))


def test_a_search_space_that_was_changed_on_resuming() -> None:
    """A linear range that became categories, and categories that grew."""
    axis = axis_of((0.5, FloatDistribution(0, 1)), (0.7, CategoricalDistribution([0.7, 0.1])))
    assert (axis.scale, axis.choices) == ("category", ("0.1", "0.5", "0.7"))
    assert axis_of((2, IntDistribution(1, 8, log=True)), (0, IntDistribution(0, 8))).scale == "whole"


def test_unknown_parameter(view: StudyView) -> None:
    with pytest.raises(KeyError):
        param_axis(view, "optimizer.nothing")


finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, max_size=40), st.sampled_from(["maximize", "minimize"]))
def test_only_the_bad_side_is_ever_cut(values: list[float], direction: str) -> None:
    visible = visible_range(values, direction)  # type: ignore[arg-type]
    if visible is not None:
        low, high = visible
        best = max(values) if direction == "maximize" else min(values)
        assert low <= best <= high
        outside = [value for value in values if not low <= value <= high]
        assert outside
        assert all(value < low if direction == "maximize" else value > high for value in outside)
        assert len(outside) <= len(values) / 4
        assert beyond(values, visible).split()[0] == str(len(outside))


def test_a_diverged_loss_is_cut_and_a_poor_accuracy_is_not() -> None:
    losses = [0.3, 0.31, 0.35, 0.4, 0.5, 0.28, 1e5]
    visible = visible_range(losses, "minimize")
    assert visible is not None and visible[1] < 1
    assert beyond(losses, visible) == "1 trial far beyond the axis"
    assert visible_range([0.9, 0.92, 0.95, 0.97, 0.98, 0.1], "maximize") is None
    assert visible_range([1.0] * 10 + [500.0], "minimize") is None
    assert beyond(losses, None) == ""


@given(finite, st.floats(1e-6, 1e6), st.sampled_from(["linear", "whole"]))
def test_ticks_lie_within_and_are_few(low: float, span: float, scale: str) -> None:
    found = ticks(low, low + span, scale)  # type: ignore[arg-type]
    assert 1 <= len(found) <= 8
    assert found == sorted(set(found))
    slack = 1e-6 * (span + abs(low))
    assert all(low - slack <= at <= low + span + slack for at in found)


@given(st.floats(-12, 6), st.floats(0, 15))
def test_log_ticks_lie_within_and_are_few(exponent: float, decades: float) -> None:
    low, high = 10.0**exponent, 10.0 ** (exponent + decades)
    found = ticks(low, high, "log")
    assert 1 <= len(found) <= 9
    assert all(low * (1 - 1e-6) <= at <= high * (1 + 1e-6) for at in found)


def test_known_ticks() -> None:
    assert ticks(0.0, 0.5, "linear") == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert ticks(1e-5, 1e-1, "log") == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    assert ticks(0.002, 0.05, "log") == [0.003, 0.01, 0.03]
    assert ticks(1, 3, "whole") == [1, 2, 3]
    assert ticks(4, 4, "whole") == [4]
    assert not any(math.modf(at)[0] for at in ticks(5, 15, "whole"))
