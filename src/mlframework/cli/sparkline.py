"""Sparklines: a curve in a line of text (Tufte, "Beautiful Evidence", 2006), and times as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlframework.metrics import Direction, is_better

BLOCKS = "▁▂▃▄▅▆▇█"
SIGNS = "_.:-=+*#"
"""In place of blocks, where the encoding has none."""


def best_so_far(values: Sequence[float | None], direction: Direction) -> list[float]:
    """Return the best value after each one, from the first finite number on; None has no value, and changes nothing."""
    found: list[float] = []
    for value in values:
        before = found[-1] if found else None
        if value is not None and is_better(value, before, direction):
            found.append(value)
        elif before is not None:
            found.append(before)
    return found


def sparkline(values: Sequence[float], width: int, direction: Direction, ascii_only: bool = False) -> str:
    """Return a curve in which better is higher, a sign a value; of more values than there is room for, the best of each few.

    Args:
        values: finite ones.
        width: the most signs that it may have.
        direction: which direction is better.
        ascii_only: whether blocks can't be shown.
    """
    signs = SIGNS if ascii_only else BLOCKS
    sign = 1.0 if direction == "maximize" else -1.0
    heights = [sign * value for value in values if math.isfinite(value)]
    if not heights or width < 1:
        return ""
    n = min(width, len(heights))
    heights = [max(heights[len(heights) * at // n : len(heights) * (at + 1) // n]) for at in range(n)]
    low, high = min(heights), max(heights)
    # Halves, since the range of very large numbers of both signs would be infinite.
    span = high / 2 - low / 2
    if not span:
        return signs[len(signs) // 2] * n
    return "".join(signs[round((height / 2 - low / 2) / span * (len(signs) - 1))] for height in heights)


def clock(seconds: float) -> str:
    """Return a time as `0:08`, `12:34`, or `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
