"""Numbers on their parameter's own scale: where a value lies in its range, how likely a place is, where else it could go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from mlframework.config.yaml import Document
from mlframework.search.parameters import Categorical, Int, LogUniform, Uniform
from mlframework.search.space import Space, build_space

Side = Literal["low", "high"]
Number: TypeAlias = Uniform | LogUniform | Int
EDGE = 0.1
"""How much of a range, on its own scale, counts as its end."""
_HALVINGS = 12
_LEAST = 0.05  # of a range: less is no widening


def is_log(parameter: Number) -> bool:
    """Tell whether the logarithm is what is uniform."""
    return isinstance(parameter, LogUniform) or parameter.log


def step_of(parameter: Number) -> float | None:
    """Return the distance of a parameter's values, or None where any value in between may be drawn."""
    return None if isinstance(parameter, LogUniform) else parameter.step


def position(parameter: Number, value: float) -> float:
    """Return where a value lies between the bounds: 0 at the low one, 1 at the high one."""
    low, high, at = (_scaled(parameter, each) for each in (parameter.low, parameter.high, value))
    return (at - low) / (high - low) if high > low else 0.5


def at(parameter: Number, where: float) -> float:
    """Return the value at a position, which may be outside the bounds."""
    low, high = _scaled(parameter, parameter.low), _scaled(parameter, parameter.high)
    value = low + where * (high - low)
    return math.exp(value) if is_log(parameter) else value


def edge(parameter: Number, side: Side) -> tuple[float, float]:
    """Return the value at which an end of a range begins, and how likely a draw at random falls into it.

    The end is the outer tenth, but at least one value of those that a parameter with a step has.
    """
    where = EDGE if side == "low" else 1 - EDGE
    step = step_of(parameter)
    if step is None:
        return at(parameter, where), EDGE
    low, high = parameter.low, parameter.high
    if is_log(parameter):
        threshold = (
            max(low, math.floor(at(parameter, where))) if side == "low" else min(high, math.ceil(at(parameter, where)))
        )
        total = math.log(high + 0.5) - math.log(low - 0.5)
        inside = (threshold + 0.5) / (low - 0.5) if side == "low" else (high + 0.5) / (threshold - 0.5)
        return threshold, math.log(inside) / total
    count = math.floor((high - low) / step + 1e-9) + 1
    n_inside = max(1, int(count * EDGE))
    far = (n_inside - 1) * step
    return (low + far if side == "low" else low + (count - 1) * step - far), n_inside / count


def inside(value: float, threshold: float, side: Side) -> bool:
    """Tell whether a value lies in the end of a range that begins at a threshold."""
    slack = 1e-9 * max(1.0, abs(threshold))
    return value <= threshold + slack if side == "low" else value >= threshold - slack


def widened(space: Space, key: str, side: Side) -> float | int | None:
    """Return a new bound, half a range farther out (a factor of ten at most), or as far as the setting admits.

    None where it admits hardly more than now: a dropout is never below 0, nor 1.
    """
    parameter = space.parameters[key]
    assert not isinstance(parameter, Categorical)
    sign = -1 if side == "low" else 1
    reach = 0.5
    if is_log(parameter):
        reach = min(reach, math.log(10) / (_scaled(parameter, parameter.high) - _scaled(parameter, parameter.low)))
    start = 0.0 if side == "low" else 1.0

    def made(share: float) -> float | int:
        found = _rounded(parameter, at(parameter, start + sign * reach * share), side)
        # Half of a short range may be less than a step.
        step = step_of(parameter) if share == 1 else None
        return found if step is None or found != getattr(parameter, side) else found + sign * step

    if admits(space, key, {side: made(1.0)}):
        return made(1.0)
    accepted, refused = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (accepted + refused) / 2
        accepted, refused = (middle, refused) if admits(space, key, {side: made(middle)}) else (accepted, middle)
    best = made(accepted)
    # What a setting admits often ends at 0: a bound of exactly that is better than one just beside it.
    if side == "low" and not is_log(parameter) and 0 <= best < parameter.low and admits(space, key, {side: 0}):
        best = 0 if isinstance(parameter, Int) else 0.0
    farther = sign * (position(parameter, best) - start) if best > 0 or not is_log(parameter) else 0.0
    return best if farther >= _LEAST else None


def admits(space: Space, key: str, fields: Mapping[str, Any]) -> bool:
    """Tell whether a parameter may have these fields: by the check that every search space goes through."""
    parameter = space.parameters[key]
    try:
        changed = type(parameter).model_validate({**parameter.model_dump(), **fields})
    except ValidationError:
        return False
    parameters = {name: changed if name == key else each for name, each in space.parameters.items()}
    return not build_space(parameters, space.base, Document(dict(space.base)))[1]


def rounded(parameter: Number, value: float, side: Side) -> float | int:
    """Return a bound in two digits, rounded outwards, on the parameter's steps, and never outside its range."""
    found = _rounded(parameter, value, "high" if side == "high" else "low", outwards=True)
    return min(max(found, parameter.low), parameter.high)


def _scaled(parameter: Number, value: float) -> float:
    return math.log(value) if is_log(parameter) else value


def _rounded(parameter: Number, value: float, side: Side, outwards: bool = False) -> float | int:
    """Return a value as the parameter has them: whole, on a step, or in two digits."""
    up = (side == "high") == outwards
    step = step_of(parameter)
    if step is not None:
        anchor = parameter.low
        steps = (value - anchor) / step
        whole = math.ceil(steps - 1e-9) if up else math.floor(steps + 1e-9)
        found = anchor + whole * step
        return int(found) if isinstance(parameter, Int) else float(f"{found:.12g}")
    if value == 0:
        return 0.0
    digits = 1 - math.floor(math.log10(abs(value)))
    scale = 10.0**digits
    shifted = value * scale
    nearest = round(shifted)
    if abs(shifted - nearest) > 1e-6:
        nearest = math.ceil(shifted) if up else math.floor(shifted)
    return float(f"{nearest / scale:.12g}")
