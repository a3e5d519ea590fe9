"""Draws that a former trial has trained already: which they are, and what may become of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from mlframework.search.parameters import Categorical, Parameter, Uniform

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

OnDuplicate = Literal["resample", "reuse", "replicate"]

PLACE = "mlframework:place"
REDRAWN = "mlframework:redrawn"
SAME_AS = "mlframework:same_as"
SEED = "mlframework:seed"
IMPORTED = "mlframework:imported"
PARTS = "mlframework:parts"
REDRAWN_STATES = ("infeasible", "duplicate", "superseded")

Point = Hashable


def point_of(parameters: Mapping[str, Parameter], params: Mapping[str, Any]) -> Point:
    """Return what tells a draw from others: 1, 1.0 and true are three values; a number with a step is its step's number."""
    return tuple((key, *_coordinate(parameters[key], params[key])) for key in parameters if key in params)


def _coordinate(parameter: Parameter, value: Any) -> tuple[Hashable, ...]:
    if isinstance(parameter, Categorical):
        return (type(value).__name__, value)
    if isinstance(parameter, Uniform) and parameter.step is not None:
        return (round((value - parameter.low) / parameter.step),)
    return (value,)


def trained(trials: Iterable[FrozenTrial], number: int) -> list[FrozenTrial]:
    """Return the trials that a trial's draw is compared with: this study's own, apart from it and what was drawn again.

    Of two trials that other processes are about to start, only the one with the higher number gives way.
    """
    return [trial for trial in trials if trial.number != number and _counts(trial, number)]


def _counts(trial: FrozenTrial, number: int) -> bool:
    if PLACE not in trial.user_attrs or REDRAWN in trial.user_attrs:
        return False
    return trial.state.is_finished() or trial.number < number or bool(trial.intermediate_values)


def by_point(parameters: Mapping[str, Parameter], trials: Iterable[FrozenTrial]) -> dict[Point, list[FrozenTrial]]:
    """Return trials by their point, those of one point by number."""
    found: dict[Point, list[FrozenTrial]] = {}
    for trial in trials:
        found.setdefault(point_of(parameters, trial.params), []).append(trial)
    return found


def original(twins: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the trial whose outcome another one can take over: the first complete one, else the first that is over."""
    over = [trial for trial in twins if trial.state.is_finished() and SAME_AS not in trial.user_attrs]
    return next((trial for trial in over if trial.state.name == "COMPLETE"), next(iter(over), None))
