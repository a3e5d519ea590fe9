"""How a function is called, and what it may return."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from mlframework.errors import ConfigError
from mlframework.tuner.function import FunctionTraining, how_called


class Model:
    """Something that is called."""

    def __call__(self, params: Any, report: Any = None) -> float:
        return 1.0

    def fit(self, params: Any) -> float:
        """Return a number."""
        return 2.0


def plain(params: Any, verbose: bool = False) -> float:
    """Take a setting of its own."""
    return 1.0


def second(params: Any, told: Any) -> float:
    """Take a second argument by another name."""
    told(1, 0.5)
    return 1.0


def keyword(params: Any, *, report: Any) -> float:
    """Take it by name only."""
    report(1, 0.5)
    return 1.0


def everything(*arguments: Any, **keywords: Any) -> float:
    """Take whatever comes."""
    return 1.0


@pytest.mark.parametrize(
    ("function", "how"),
    [
        (plain, "params"),
        (second, "second"),
        (keyword, "keyword"),
        (everything, "params"),
        (Model(), "keyword"),
        (Model().fit, "params"),
        (partial(second, told=print), "params"),
        (len, "params"),
        (lambda report: 1.0, "params"),
    ],
)
def test_how_a_function_is_called_is_seen_in_its_arguments(function: Callable[..., Any], how: str) -> None:
    assert how_called(function) == how


@pytest.mark.parametrize("function", [lambda: 1, lambda a, b, c: 1, lambda *, report: 1, 7, None])
def test_what_cannot_be_called_so_is_refused(function: Any) -> None:
    with pytest.raises(ConfigError, match="train_fn: should"):
        how_called(function)


@pytest.mark.parametrize("function", [second, keyword])
def test_reports_are_passed_on_and_the_best_step_is_kept(function: Callable[..., Any]) -> None:
    told: list[tuple[int, float]] = []
    training = FunctionTraining(function, {"x": 1}, "maximize", None)
    evaluation = training.evaluate(lambda step, value, _parts=(), /: told.append((step, value)))
    assert told == [(1, 0.5)]
    assert (evaluation.value, evaluation.best_epoch) == (1.0, 1)


@pytest.mark.parametrize(("direction", "best"), [("maximize", 2), ("minimize", 3)])
def test_the_best_step_goes_by_the_direction(direction: Any, best: int) -> None:
    def hilly(params: Any, report: Callable[[int, float], None]) -> float:
        for step, value in enumerate([0.0, 2.0, -1.0], 1):
            report(step, value)
        return 0.0

    assert FunctionTraining(hilly, {}, direction, None).evaluate(lambda *_: None).best_epoch == best
