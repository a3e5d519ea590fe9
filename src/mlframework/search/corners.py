"""The corners of a search space: the few configs that show what trials may cost, and whether all of them train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from mlframework.config.override import get
from mlframework.search.feasibility import is_feasible
from mlframework.search.parameters import Categorical, Int, Parameter, Scalar
from mlframework.search.space import Space

if TYPE_CHECKING:
    from optuna.trial import Trial

MOST = 16
End = Literal["low", "middle", "high"]
_COSTLY = ("training.batch_size", "training.num_epochs", "training.accumulation_steps", "training.trainer_type")


@dataclass(frozen=True)
class Corner:
    """A point of the space that is tried.

    Attributes:
        name: what is said of it: `middle`, `all high`, `training.batch_size 128`.
        params: dotted key to value.
        varied: the parameter that is not in the middle, where it is one.
    """

    name: str
    params: Mapping[str, Scalar]
    varied: str | None = None


@dataclass(frozen=True)
class Corners:
    """What is tried, and what is not.

    Attributes:
        tried: the middle of the space first.
        infeasible: names of corners that break a constraint.
        left_out: how many more there would be.
    """

    tried: Sequence[Corner]
    infeasible: Sequence[str]
    left_out: int


class _Chooser:
    """Chooses a parameter's end in place of a sampler.

    Args:
        base: the config's own settings: the middle of choices.
        end: where parameters are.
        pinned: values that parameters have in any case.
    """

    def __init__(self, base: Mapping[str, Any], end: End, pinned: Mapping[str, Scalar]) -> None:
        self._base, self._end, self._pinned = base, end, pinned

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Choose a number by its size; what is no number is as in the config, or the first."""
        if name in self._pinned:
            return self._pinned[name]
        ordered = _ordered(choices)
        if ordered is not None and self._end != "middle":
            return ordered[0] if self._end == "low" else ordered[-1]
        own = get(self._base, name)
        if any(type(choice) is type(own) and choice == own for choice in choices):
            return cast(Scalar, own)
        return choices[0] if ordered is None else ordered[len(ordered) // 2]

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Scalar:
        """Choose a bound, or the middle on the parameter's scale."""
        if name in self._pinned:
            return self._pinned[name]
        if step is not None:
            count = int((high - low) / step + 1e-9)
            return float(f"{low + {'low': 0, 'middle': count // 2, 'high': count}[self._end] * step:.12g}")
        middle = (low * high) ** 0.5 if log else (low + high) / 2
        return {"low": low, "middle": middle, "high": high}[self._end]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Scalar:
        """Choose a bound, or the middle on the parameter's scale."""
        if name in self._pinned:
            return self._pinned[name]
        count = (high - low) // step
        middle = round((low * high) ** 0.5) if log else low + count // 2 * step
        return {"low": low, "middle": middle, "high": low + count * step}[self._end]


def corners(space: Space, most: int = MOST) -> Corners:
    """Return the corners that are tried, none of them twice.

    The middle; all parameters at their low ends, at their high ends, and those with the smallest batches, which take the
    most steps; then each parameter's ends with the others in the middle, those first that decide what a trial costs. A
    parameter that exists beside certain values only is tried beside those.
    """
    wanted = [Corner("middle", _point(space, "middle", {})), Corner("all low", _point(space, "low", {})),
              Corner("all high", _point(space, "high", {}))]  # fmt: skip
    batch = "training.batch_size"
    if batch in space.parameters:
        smallest = _ends(space.parameters[batch])[0]
        wanted.append(Corner("all high, smallest batches", _point(space, "high", {batch: smallest})))
    for key in sorted(space.parameters, key=lambda key: not costs(key, space.parameters[key])):
        for value in _ends(space.parameters[key]):
            pinned = {**_beside(space, key), key: value}
            wanted.append(Corner(f"{key} {_shown(value)}", _point(space, "middle", pinned), key))
    different: list[Corner] = []
    for corner in wanted:
        twin = next((at for at, other in enumerate(different) if other.params == corner.params), None)
        if twin is None:
            different.append(corner)
        elif twin > 0:  # of two parameters, all high may be the one that is not in the middle
            different[twin] = replace(different[twin], varied=different[twin].varied or corner.varied)
    feasible = [corner for corner in different if is_feasible(space, corner.params)]
    infeasible = [corner.name for corner in different if corner not in feasible]
    return Corners(feasible[:most], infeasible, max(0, len(feasible) - most))


def costs(key: str, parameter: Parameter) -> bool:
    """Tell whether a parameter decides what a trial costs: sizes and counts, and choices of what is trained."""
    if key in _COSTLY or key.startswith("data."):
        return True
    counts = isinstance(parameter, Int) or (
        isinstance(parameter, Categorical) and all(isinstance(choice, int | str) for choice in parameter.choices)
    )
    return key.startswith("model.") and counts


def _point(space: Space, end: End, pinned: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return space.suggest(cast("Trial", _Chooser(space.base, end, pinned)))


def _beside(space: Space, key: str) -> dict[str, Scalar]:
    """Return values beside which a parameter exists."""
    found: dict[str, Scalar] = {}
    for named, wanted in space.parameters[key].when.items():
        value = wanted[0] if isinstance(wanted, list) else wanted
        found.update({**_beside(space, named), named: value} if named in space.parameters else {})
    return found


def _ends(parameter: Parameter) -> list[Scalar]:
    """Return the values of a parameter that are tried: its bounds, or all choices of what has no order."""
    ends = parameter.ends()
    ordered = _ordered(ends)
    return list(ends) if ordered is None else [ordered[0], ordered[-1]]


def _ordered(values: Sequence[Scalar]) -> Sequence[Scalar] | None:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return sorted(numbers) if len(numbers) == len(values) else None


def _shown(value: Scalar) -> str:
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)
