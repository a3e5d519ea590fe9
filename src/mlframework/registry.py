"""Looking a name up in one of the explicit tables (MODELS, OPTIMIZERS, METRICS, PLOTS, ...)."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` most likely misspells, or None where none is near."""
    by_folded = {str(candidate).lower(): str(candidate) for candidate in known}
    matches = difflib.get_close_matches(str(name).lower(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None


def unknown(name: object, known: Iterable[str], kind: str) -> str:
    """Say that `name` is no known `kind`: the nearest name, and all of them where they are few."""
    names = sorted(known)
    near = nearest(str(name), names)
    guess = f"; did you mean {near!r}?" if near else ""
    listing = f" (known: {', '.join(names)})" if len(names) <= 20 else ""
    return f"unknown {kind} {str(name)!r}{guess}{listing}"


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return `table[name]`.

    Raises:
        KeyError: the name is not in the table; its message names the known ones and the nearest.
    """
    try:
        return table[name]
    except KeyError:
        raise KeyError(unknown(name, table, kind)) from None
