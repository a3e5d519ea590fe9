"""Numbers as people read them."""

from __future__ import annotations

from mlframework.visualise.wording import count_of as count_of
from mlframework.visualise.wording import short as _short


def short(value: object) -> str:
    """Write a value in few characters; nothing is a dash, and true and null are as in a config."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e5:
        return str(int(value))
    return _short(value)


def duration(seconds: float | None) -> str:
    """Write a time: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 9.5 else f"{seconds:.0f} s"
    whole = round(seconds)
    for size, name, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name}" + (f" {rest} {small}" if rest else "")
    raise AssertionError(whole)  # it is a minute at least


def percent(share: float) -> str:
    """Write a share: `37 %`."""
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.0095 else "< 1 %"
