"""The axes of the search plots: a parameter's scale, and how far a metric's axis reaches."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from mlframework.visualise.study_view import Direction, StudyView
from mlframework.visualise.wording import count_of, short

if TYPE_CHECKING:
    import optuna

Scale: TypeAlias = Literal["linear", "whole", "log", "category"]

_FAR_OUT = 20  # interquartile ranges; a diverged loss is thousands away, a poor accuracy is not


@dataclass(frozen=True)
class ParamAxis:
    """One parameter's axis.

    Attributes:
        key: the dotted key.
        label: what the axis shows.
        scale: linear, whole (numbers), log or category.
        choices: the categories in order, as text; empty on the other scales.
        low, high: positions (see `position`) of the lowest and highest value that any trial has.
    """

    key: str
    label: str
    scale: Scale
    choices: tuple[str, ...]
    low: float
    high: float

    def coordinate(self, value: object) -> float | str:
        """Return what plotly draws a parameter's value at: a number, or a category's text."""
        return short(value) if self.scale == "category" else float(value)  # type: ignore[arg-type]

    def position(self, value: object) -> float:
        """Return a number in which equal steps are equally far on the axis: a logarithm, or a category's index."""
        if self.scale == "category":
            return float(self.choices.index(short(value)))
        number = float(value)  # type: ignore[arg-type]
        return math.log10(number) if self.scale == "log" else number


def param_axis(view: StudyView, key: str) -> ParamAxis:
    """Find a parameter's scale from all trials that have it: a resumed search may have changed its space.

    Raises:
        KeyError: no finished or pruned trial has the parameter.
    """
    trials = [trial for trial in (*view.complete, *view.pruned) if key in trial.params]
    if not trials:
        raise KeyError(key)
    label = view.labels[key]
    if any(hasattr(trial.distributions[key], "choices") for trial in trials):
        choices = _categories(key, trials)
        return ParamAxis(key, label, "category", choices, 0.0, float(len(choices) - 1))
    low, high = (float(end(trial.params[key] for trial in trials)) for end in (min, max))
    if low > 0 and any(getattr(trial.distributions[key], "log", False) for trial in trials):
        return ParamAxis(key, label, "log", (), math.log10(low), math.log10(high))
    whole = all(isinstance(trial.params[key], int) for trial in trials)
    return ParamAxis(key, label, "whole" if whole else "linear", (), low, high)


def _categories(key: str, trials: "Sequence[optuna.trial.FrozenTrial]") -> tuple[str, ...]:
    """Return every category as text: numbers by size, others in the order in which the config has them."""
    seen: dict[object, None] = {}
    for trial in trials:
        for choice in (*getattr(trial.distributions[key], "choices", ()), trial.params[key]):
            seen[choice] = None
    numbers = [choice for choice in seen if isinstance(choice, int | float) and not isinstance(choice, bool)]
    ordered: Sequence[object] = sorted(numbers) if len(numbers) == len(seen) else list(seen)
    return tuple(dict.fromkeys(short(choice) for choice in ordered))


def visible_range(values: Sequence[float], direction: Direction) -> tuple[float, float] | None:
    """Find how far a metric's axis should reach, so that one diverged trial does not flatten all others to a line.

    Args:
        values: finite values.
        direction: which side is the bad one; only that side is ever cut.

    Returns:
        (low, high) where values far out are left outside, else None: everything is to be seen.
    """
    if len(values) < 4:
        return None
    lower, _, upper = statistics.quantiles(values, n=4)
    reach = _FAR_OUT * (upper - lower)
    if reach == 0:
        return None
    kept = [
        value for value in values if (value >= lower - reach if direction == "maximize" else value <= upper + reach)
    ]
    if len(kept) == len(values):
        return None
    pad = 0.06 * (max(kept) - min(kept))
    return min(kept) - pad, max(kept) + pad


def beyond(values: Sequence[float], visible: tuple[float, float] | None) -> str:
    """Say how many trials the axis leaves out; nothing where it leaves none out. One value a trial."""
    if visible is None:
        return ""
    outside = sum(not visible[0] <= value <= visible[1] for value in values)
    return f"{count_of(outside, 'trial')} far beyond the axis" if outside else ""
