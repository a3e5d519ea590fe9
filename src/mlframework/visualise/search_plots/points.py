"""Trials as points: what every plot that shows one mark a trial shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.visualise.study_view import StudyView, last_value
from mlframework.visualise.wording import hover

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Points:
    """Some trials, one entry each in every tuple: number, value (the last reported one if pruned), hover text."""

    numbers: tuple[int, ...]
    values: tuple[float, ...]
    hovers: tuple[str, ...]


def points(view: StudyView, trials: "Sequence[optuna.trial.FrozenTrial]") -> Points:
    """Return the trials that have a value, as points."""
    valued = [(trial, value) for trial in trials if (value := last_value(trial)) is not None]
    return Points(
        tuple(trial.number for trial, _ in valued),
        tuple(value for _, value in valued),
        tuple(hover(view, trial) for trial, _ in valued),
    )
