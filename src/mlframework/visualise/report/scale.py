"""The scale of a chart's values: a loss that falls by orders of magnitude is read on a logarithmic one."""

from collections.abc import Iterable
from typing import Any

from mlframework.visualise.study_view import is_finite

_LOG_FROM = 20.0  # largest by smallest value


def value_scale(values: Iterable[float]) -> dict[str, Any]:
    """Return what an axis of these values is: logarithmic, where they lie orders of magnitude apart."""
    known = [value for value in values if is_finite(value)]
    if known and min(known) > 0 and max(known) / min(known) >= _LOG_FROM:
        dtick = 1 if max(known) / min(known) > 1e3 else "D2"  # decades, or 1, 2 and 5
        return {"type": "log", "range": None, "dtick": dtick, "minor": {"ticks": "outside", "ticklen": 3}}
    return {}
