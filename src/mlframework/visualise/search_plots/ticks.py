"""Round numbers for the axes that plotly does not draw itself."""

import math

from mlframework.visualise.axes import Scale


def ticks(low: float, high: float, scale: Scale) -> list[float]:
    """Return one to about eight round numbers from `low` to `high`, or the two ends where nothing round lies between.

    Args:
        low, high: the ends, low <= high; above zero on a log scale.
        scale: linear, whole or log.
    """
    found = _decades(low, high) if scale == "log" else _steps(low, high, 1.0 if scale == "whole" else 0.0)
    return found if len(found) >= 2 else sorted({low, high})


def _steps(low: float, high: float, least: float) -> list[float]:
    """Return the multiples of 1, 2 or 5 times a power of ten, and of `least` at least."""
    if high == low:
        return [low]
    rough = max((high - low) / 5, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(index * step, digits) for index in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return powers of ten; where few lie between, their multiples by 3, or by 2 and 5, as well."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        candidates = [float(f"{factor}e{power}") for power in powers for factor in factors]
        found = [at for at in candidates if low * (1 - 1e-9) <= at <= high * (1 + 1e-9)]
        if len(found) >= 3:
            break
    return found[:: math.ceil(len(found) / 8) or 1]
