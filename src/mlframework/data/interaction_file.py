"""Reading interaction logs and feature tables, and turning their columns into ids, ratings and times.

csv, tsv and parquet as tables are; of text of another name (`u.data`, `ml-100k.inter`) the separator is looked up in the
first line. Messages name the line of a value, or in parquet its row.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from mlframework.data.splits import Array
from mlframework.data.table_columns import column_kind, dates
from mlframework.data.table_file import (
    SEPARATORS,
    known_suffix,
    open_file,
    read_parquet,
    read_text,
    reading,
    refuse_long_lines,
    text_errors,
    text_rows,
)
from mlframework.errors import DataError

if TYPE_CHECKING:
    import polars as pl

BY_POSITION = ("user_id", "item_id", "rating", "timestamp")
"""What the columns of a log without a header line are: those of MovieLens' u.data."""
SNIFFED = "\t|;,"
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_TYPED = re.compile(r"(.+):(token|float|token_seq|float_seq)")


@dataclass(frozen=True)
class RawTable:
    """A file as it was read: text columns of a text file, typed ones of parquet."""

    path: Path
    frame: "pl.DataFrame"
    separator: str | None
    """What stands between the fields; None in parquet."""
    headerless: bool = False

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    def place(self, row: int) -> str:
        """Return where a row of the frame stands, for messages: `ratings.csv:17`, or `ratings.parquet: row 17`."""
        if self.separator is None:
            return f"{self.name}: row {row + 1}"
        # The frame has neither the header nor blank rows.
        left = row + (not self.headerless)
        for line, fields in text_rows(self.path, self.separator):
            left -= any(fields)
            if left < 0:
                return f"{self.name}:{line}"
        return f"{self.name}: row {row + 1}"

    def refuse(self, column: str, bad: Array, what: str, remedy: str) -> None:
        """Raise DataError where any of `bad`, (n,) bool, is set: with the place of the first and their count."""
        rows = np.flatnonzero(bad)
        if not len(rows):
            return
        value = self.frame[column][int(rows[0])]
        is_what = f"is {value!r}, {what}" if value is not None else what
        more = f" ({len(rows) - 1:,} more of {len(bad):,} rows are like this)" if len(rows) > 1 else ""
        raise DataError(f"{self.place(int(rows[0]))}: column {column!r} {is_what}{more}; {remedy}")


def read_raw(path: str | Path, setting: str, by_position: tuple[str, ...] | None = None) -> RawTable:
    """Read a log or a feature table.

    Args:
        path: the file.
        setting: the key of the config that names it, for messages.
        by_position: names of the columns of a file without a header line, of which the first two must be there; None:
            there must be a header line.

    Raises:
        DataError: the file cannot be read; the message has the line where there is one.
    """
    path = Path(path)
    with reading(path, setting):
        suffix = known_suffix(path)
        if suffix == ".parquet":
            return RawTable(path, read_parquet(path), None)
        refuse_long_lines(path)
        separator = _separator(path, None if suffix is None else SEPARATORS[suffix])
        _, first = next(text_rows(path, separator), (1, []))
        headerless = bool(first) and all(_NUMBER.fullmatch(field) for field in first)
        names = _names_by_position(path, len(first), by_position) if headerless else None
        raw = RawTable(path, read_text(path, separator, names), separator, headerless)
    return raw if headerless else _without_types(raw)


def _separator(path: Path, separator: str | None) -> str:
    with text_errors(path), open_file(path, "rt", encoding="utf-8-sig") as file:
        line = file.readline()
    if "::" in line and (separator is None or separator not in line):
        raise DataError(f"{path}:1: the fields are separated by '::'; put one tab in the place of each '::'")
    found = max(SNIFFED, key=line.count)
    # A .csv may have semicolons, as spreadsheets write them where the comma is a decimal sign.
    if separator is not None and (separator in line or found not in line):
        return separator
    if found not in line:
        raise DataError(
            f"{path}:1: neither a tab nor a comma, semicolon or bar separates the fields; save it as .csv, .tsv or "
            ".parquet"
        )
    return found


def _names_by_position(path: Path, width: int, names: tuple[str, ...] | None) -> tuple[str, ...]:
    if names is None:
        raise DataError(f"{path}:1: the first line holds numbers only; add a header line that names the columns")
    if not 2 <= width <= len(names):
        raise DataError(
            f"{path}:1: the first line holds numbers only, so it is no header, and {width} columns without names could be "
            f"anything (2 to {len(names)} would be {', '.join(names)}); add a header line that names the columns"
        )
    return names[:width]


def _without_types(raw: RawTable) -> RawTable:
    """Return the table without the types in its header, `rating:float`, where all columns have one."""
    matches = [_TYPED.fullmatch(name) for name in raw.frame.columns]
    names = [match[1] for match in matches if match is not None]
    if len(names) < len(matches):
        return raw
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"{raw.path}:1: more than one column is called {', '.join(doubled)}; give each its own name")
    return RawTable(raw.path, raw.frame.rename(dict(zip(raw.frame.columns, names, strict=True))), raw.separator)


def ids(raw: RawTable, column: str) -> "pl.Series":
    """Return a column of ids, of integers or of text.

    Text of which every value is an integer, written as Python writes it, counts as integers: 7, but not 007.

    Raises:
        DataError: an id is missing or negative, or the column holds something else.
    """
    import polars as pl

    values = raw.frame[column]
    raw.refuse(
        column, values.is_null().to_numpy(), "is empty", "every row needs an id: fill it in, or take the row out"
    )
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        whole = values.cast(pl.Int64, strict=False)
        if raw.separator is None or not (whole.cast(pl.String) == values).fill_null(False).all():
            return values
        values = whole
    elif values.dtype.is_float():
        whole = values.cast(pl.Int64, strict=False)
        wrong = (whole.cast(pl.Float64) != values).fill_null(True).to_numpy()
        raw.refuse(column, wrong, "which is no whole number", "save ids as integers or as text")
        values = whole
    elif not values.dtype.is_integer():
        _refuse_type(raw, column, "ids", "integers or text")
    raw.refuse(
        column, (values < 0).to_numpy(), "and ids cannot be negative", "number them from 0, or save them as text"
    )
    return values


def finite(raw: RawTable, column: str, missing: bool = False) -> Array:
    """Return a column of numbers as float64 (n,), all finite in float32 as well.

    Args:
        raw: the table.
        column: its name.
        missing: whether values may be missing, and are then NaN.

    Raises:
        DataError: a value is missing where none may, is no number, or is infinite.
    """
    import polars as pl

    values = raw.frame[column]
    if not missing:
        raw.refuse(column, values.is_null().to_numpy(), "is empty", "fill it in, or take the row out")
    if not (values.dtype.is_numeric() or values.dtype in (pl.String, pl.Null)):
        _refuse_type(raw, column, "its values", "numbers")
    found = values.cast(pl.Float64, strict=False)
    wrong = (found.is_null() & values.is_not_null()).to_numpy()
    raw.refuse(column, wrong, "which is no number", "mend it, or take the row out")
    array: Array = found.to_numpy()
    with np.errstate(over="ignore"):
        infinite = np.isinf(array.astype(np.float32))
    raw.refuse(column, infinite, "which is infinite or beyond 3e38", "mend it, or take the row out")
    return array


def moments(raw: RawTable, column: str) -> Array:
    """Return a column of times as numbers or as datetime64[us] in UTC, (n,), none missing.

    Raises:
        DataError: a time is missing, or neither a number nor a date, or of the other of the two kinds than most.
    """
    import polars as pl

    values = raw.frame[column]
    raw.refuse(column, values.is_null().to_numpy(), "is empty", "fill it in, or take the row out")
    if values.dtype != pl.String:
        kind = column_kind(values)
        if kind not in ("number", "date"):
            _refuse_type(raw, column, "times", "numbers or dates")
        return dates(values).to_numpy() if kind == "date" else finite(raw, column)
    found = as_numbers = values.cast(pl.Float64, strict=False)
    if as_numbers.null_count():
        as_dates = dates(values)
        found = as_dates if as_dates.null_count() < as_numbers.null_count() else as_numbers
    raw.refuse(
        column,
        found.is_null().to_numpy(),
        "which is no number" if found is as_numbers else "which is no date",
        "write all times as numbers (of seconds), or all as dates: 2024-01-31 or 2024-01-31T18:30:00",
    )
    array: Array = found.to_numpy()
    if found is as_numbers:
        raw.refuse(column, ~np.isfinite(array), "which is no time", "mend it, or take the row out")
    return array


def _refuse_type(raw: RawTable, column: str, what: str, wanted: str) -> NoReturn:
    raise DataError(
        f"{raw.name}: column {column!r} holds {raw.frame[column].dtype} values, but {what} must be {wanted}; save it so"
    )
