"""Searched parameters: bounds, scales and steps, and that every suggestion keeps to them."""

import math
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mlframework.search.parameters import Parameter

PARAMETER: TypeAdapter[Parameter] = TypeAdapter(Parameter)


def parameter(**written: Any) -> Parameter:
    return PARAMETER.validate_python(written)


def suggestions(searched: Parameter, number: int = 30) -> list[Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [searched.suggest(study.ask(), "key") for _ in range(number)]


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ({"type": "uniform", "low": 2.0, "high": 1.0}, "high is 1.0, below low, which is 2.0; swap them"),
        ({"type": "loguniform", "low": 1e-1, "high": 1e-5}, "high is 1e-05, below low, which is 0.1; swap them"),
        ({"type": "int", "low": 3, "high": 2}, "high is 2, below low, which is 3; swap them"),
        ({"type": "loguniform", "low": 0.0, "high": 1.0}, "low is 0.0; a logarithmic scale needs it above 0"),
        ({"type": "uniform", "low": -1.0, "high": 1.0, "log": True}, "a logarithmic scale needs it above 0"),
        ({"type": "int", "low": 0, "high": 8, "log": True}, "a logarithmic scale needs it above 0"),
        ({"type": "uniform", "low": 1.0, "high": 2.0, "log": True, "step": 0.5}, "log and step exclude each other"),
        ({"type": "int", "low": 1, "high": 8, "log": True, "step": 2}, "log and step exclude each other"),
        ({"type": "uniform", "low": 1.0, "high": 2.0, "step": 0.0}, "greater than 0"),
        ({"type": "int", "low": 1, "high": 8, "step": 0}, "greater than 0"),
        ({"type": "int", "low": 1.5, "high": 8}, "valid integer"),
        ({"type": "uniform", "low": math.nan, "high": 1.0}, "finite"),
        ({"type": "uniform", "low": 0.0, "high": math.inf}, "finite"),
        ({"type": "int", "low": 1, "high": 10**400, "log": "x"}, "valid boolean"),
        ({"type": "int", "low": 10**400, "high": 1}, "below low"),
        ({"type": "categorical", "choices": []}, "at least 1 item"),
        ({"type": "categorical", "choices": [16, 32, 16]}, "the choice 16 stands there twice"),
        ({"type": "categorical", "choices": [None, None]}, "the choice None stands there twice"),
        ({"type": "categorical", "choices": [math.nan]}, "finite"),
    ],
)
def test_what_cannot_be_searched(written: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        parameter(**written)


def test_choices_that_only_compare_equal_are_different() -> None:
    assert parameter(type="categorical", choices=[1, 1.0, True]).values() == [1, 1.0, True]


def test_a_single_value_may_be_searched() -> None:
    assert suggestions(parameter(type="int", low=3, high=3), 3) == [3, 3, 3]
    assert suggestions(parameter(type="uniform", low=0.5, high=0.5), 3) == [0.5, 0.5, 0.5]


@pytest.mark.filterwarnings("ignore:The distribution is specified by")
@settings(max_examples=30, deadline=None)
@given(st.integers(-50, 50), st.integers(0, 60), st.integers(1, 7))
def test_whole_numbers_keep_to_bounds_and_step(low: int, width: int, step: int) -> None:
    searched = parameter(type="int", low=low, high=low + width, step=step)
    values = searched.values()
    assert values is not None
    assert values[0] == low and values[-1] <= low + width < values[-1] + step
    found = suggestions(searched)
    assert all(type(value) is int for value in found)
    assert set(found) <= set(values)


@pytest.mark.filterwarnings("ignore:The distribution is specified by")
@settings(max_examples=30, deadline=None)
@given(st.integers(-5, 5), st.integers(0, 12), st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_numbers_keep_to_bounds_and_step(low: int, count: int, step: float) -> None:
    searched = parameter(type="uniform", low=float(low), high=low + count * step, step=step)
    values = searched.values()
    assert values is not None and len(values) == count + 1
    assert values == pytest.approx([low + index * step for index in range(count + 1)])
    assert all(min(abs(value - grid) for grid in values) < 1e-9 for value in suggestions(searched))


def test_stepped_values_are_written_without_rounding_noise() -> None:
    assert parameter(type="uniform", low=0.1, high=0.5, step=0.1).values() == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_high_that_no_step_reaches_is_left_out() -> None:
    assert parameter(type="uniform", low=0.0, high=1.0, step=0.4).values() == [0.0, 0.4, 0.8]
    assert parameter(type="int", low=1, high=6, step=2).values() == [1, 3, 5]


def test_continuous_parameters_have_no_end_of_values() -> None:
    assert parameter(type="uniform", low=0.0, high=1.0).values() is None
    assert parameter(type="loguniform", low=1e-5, high=1.0).values() is None


@pytest.mark.parametrize(
    "written",
    [
        {"type": "loguniform", "low": 1e-5, "high": 1e-1},
        {"type": "uniform", "low": 1e-5, "high": 1e-1, "log": True},
    ],
)
def test_a_logarithmic_scale_spreads_over_the_decades(written: dict[str, Any]) -> None:
    found = suggestions(parameter(**written), 200)
    assert all(1e-5 <= value <= 1e-1 for value in found)
    # Half of the values lie below the geometric middle; on a linear scale it would be one in a hundred.
    assert 70 < sum(value < 1e-3 for value in found) < 130


def test_a_linear_scale_spreads_evenly() -> None:
    found = suggestions(parameter(type="uniform", low=0.0, high=1.0), 200)
    assert 70 < sum(value < 0.5 for value in found) < 130


def test_a_logarithmic_whole_number_prefers_small_ones() -> None:
    found = suggestions(parameter(type="int", low=1, high=1024, log=True), 200)
    assert 70 < sum(value <= 32 for value in found) < 130


def test_categories_keep_their_types() -> None:
    choices = [None, True, 16, 0.5, "relu"]
    assert {repr(value) for value in suggestions(parameter(type="categorical", choices=choices), 60)} == set(
        map(repr, choices)
    )


@pytest.mark.parametrize(
    ("written", "ends"),
    [
        ({"type": "uniform", "low": 1, "high": 2}, [1.0, 2.0]),
        ({"type": "loguniform", "low": 1e-5, "high": 1.0}, [1e-5, 1.0]),
        ({"type": "int", "low": 1, "high": 2}, [1, 2]),
        ({"type": "categorical", "choices": [16, 32, 64]}, [16, 32, 64]),
    ],
)
def test_ends_are_what_the_schema_is_asked_about(written: dict[str, Any], ends: list[Any]) -> None:
    assert parameter(**written).ends() == ends


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ({"type": "uniform", "low": 0.8, "high": 0.99}, "0.8 to 0.99"),
        ({"type": "uniform", "low": 0.0, "high": 1.0, "step": 0.1}, "0 to 1, step 0.1"),
        ({"type": "loguniform", "low": 1e-5, "high": 1e-1}, "1e-05 to 0.1, log scale"),
        ({"type": "int", "low": 5, "high": 15}, "whole numbers 5 to 15"),
        ({"type": "int", "low": 5, "high": 15, "step": 5}, "whole numbers 5 to 15, step 5"),
        ({"type": "categorical", "choices": [None, True, "relu", 2]}, "one of null, true, relu, 2"),
    ],
)
def test_descriptions_for_the_plan(written: dict[str, Any], text: str) -> None:
    assert parameter(**written).describe() == text
