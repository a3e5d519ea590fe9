"""Rows of a history, as Python has them: a csv file, dicts, or lists of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlframework.errors import ConfigError, Problem
from mlframework.search.warm_start import VALUES, History, Row, read_rows
from mlframework.tuner.study import SCORE


def rows_of(
    rows: str | Path | Sequence[Sequence[Any] | Mapping[str, Any]],
    columns: Sequence[str | None],
    fixed: Mapping[str, Any],
) -> list[Row]:
    """Return the rows, those that are malformed included.

    Args:
        rows: a csv file; dicts; or lists of values.
        columns: names of the entries of a list; None for one that is left out.
        fixed: what a trial had where its row says nothing.

    Raises:
        StudyError: the file can't be read.
        ConfigError: no column has the values.
    """
    if isinstance(rows, str | Path):
        found = read_rows(History(path=str(rows)), SCORE)
        return [replace(row, params={**fixed, **row.params}) for row in found]
    if not set(columns) & {SCORE, *VALUES}:
        what = f"none of {', '.join(map(str, columns))} is the value; call one of them {SCORE}, value or performance"
        raise ConfigError([Problem("Tuner.load_history", "columns", what)])
    found = []
    for number, row in enumerate(rows, 1):
        source = f"history row {number}"
        if isinstance(row, Mapping):
            named = dict(row)
        elif isinstance(row, str) or not hasattr(row, "__len__") or len(row) != len(columns):
            what = f"should have {len(columns)} values ({', '.join(map(str, columns))}), got {row!r}"
            found.append(Row(source, {}, None, malformed=what))
            continue
        else:
            named = {name: each for name, each in zip(columns, row, strict=True) if name is not None}
        key = next((name for name in (SCORE, *VALUES) if name in named), None)
        value = _plain(named.pop(key)) if key is not None else None
        state = str(named.pop("state", "complete"))
        found.append(Row(source, {**fixed, **{str(name): _plain(each) for name, each in named.items()}}, value, state))
    return found


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
