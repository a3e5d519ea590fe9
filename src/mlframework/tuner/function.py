"""What a trial of a Python function trains: the function, called with the trial's parameters."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat

from mlframework.errors import ConfigError, Problem, TrainingError
from mlframework.metrics import Direction
from mlframework.plans import Evaluation, Report
from mlframework.search.objective import Trainer
from mlframework.search.study import SearchSpec

TrainFunction = Callable[..., Any]
"""`train_fn(params)` or `train_fn(params, report)`, which returns the trial's value."""


def how_called(function: TrainFunction) -> Literal["params", "second", "keyword"]:
    """Tell how a function is called: with `params` alone, with `report` as its second argument, or with `report=`.

    Raises:
        ConfigError: it can be called in none of these ways.
    """
    if not callable(function):
        raise _no_function(f"should be a function, got {function!r}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # something built in that has none
        return "params"
    named = "report" in list(signature.parameters)[1:]
    if named and _binds(signature, {}, report=print):
        return "keyword"
    if not named and _binds(signature, {}):
        return "params"
    if _binds(signature, {}, print):
        return "second"
    raise _no_function(f"should take (params) or (params, report), it takes {signature}")


def _binds(signature: inspect.Signature, *arguments: object, **keywords: object) -> bool:
    try:
        signature.bind(*arguments, **keywords)
    except TypeError:
        return False
    return True


def _no_function(what: str) -> ConfigError:
    return ConfigError([Problem("Tuner", "train_fn", what)])


@dataclass(frozen=True)
class FunctionTraining:
    """A call of the function.

    Attributes:
        function: what is called.
        params: the trial's parameters.
        direction: which direction of its value is better.
        n_steps: the step of its last report, where that is known.
    """

    function: TrainFunction
    params: Mapping[str, Any]
    direction: Direction
    n_steps: int | None

    @property
    def num_epochs(self) -> int:
        """How many steps are shown."""
        return self.n_steps or 1

    @property
    def last_step(self) -> int:
        """The step of its last report; where that is not known, each may be followed by another one."""
        return self.n_steps or sys.maxsize

    def evaluate(self, report: Report) -> Evaluation:
        """Call the function.

        Raises:
            TrainingError: what it returns or reports is no finite number.
        """
        values: dict[int, float] = {}

        def told(step: int, value: SupportsFloat) -> None:
            values[int(step)] = number = _finite(value, f"it reported {value!r} at step {step}")
            report(int(step), number)

        params = dict(self.params)
        match how_called(self.function):
            case "params":
                returned = self.function(params)
            case "second":
                returned = self.function(params, told)
            case "keyword":
                returned = self.function(params, report=told)
        value = _finite(returned, f"it returned {returned!r}")
        best = max if self.direction == "maximize" else min
        return Evaluation(value, best(values, key=values.__getitem__) if values else 0, {}, [])


def _finite(value: Any, what: str) -> float:
    """Return a number of Python, NumPy or torch as a float."""
    if isinstance(value, bool | str | bytes) or not isinstance(value, SupportsFloat):
        raise TrainingError(f"{what}, which is no number")
    number = float(value)
    if not math.isfinite(number):
        raise TrainingError(f"{what}, which counts as a failure")
    return number


def trainer_of(function: TrainFunction, n_steps: int | None) -> Trainer:
    """Return what makes a call of a trial."""

    def trainer(spec: SearchSpec, _number: int, params: Mapping[str, Any], _seed: int | None) -> FunctionTraining:
        return FunctionTraining(function, params, spec.direction, n_steps)

    return trainer
