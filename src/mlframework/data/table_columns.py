"""What the columns of a table are, and turning them into numbers, texts and times."""

from typing import TYPE_CHECKING, Literal, TypeAlias

from mlframework.data.splits import Array
from mlframework.errors import DataError

if TYPE_CHECKING:
    import polars as pl

Kind: TypeAlias = Literal["number", "text", "date", "other"]
Task: TypeAlias = Literal["classification", "regression"]
MAX_CLASSES_OF_NUMBERS = 20
ROW_NUMBERS_FROM = 20
STRAY_AMONG = 20
# Only dates that begin with the year: of 01/02/2024 nobody knows which is the month.
_TRAINED = "mend them, or leave them empty: the model was trained with numbers there"
ISO_DATE = r"^\d{4}-\d{1,2}-\d{1,2}([T ].*)?$"


def column_kind(column: "pl.Series") -> Kind:
    """Tell what a column holds. Text of which every value is a number counts as number, ISO dates in text as date.

    "other" is what no model here can use: lists, structs, bytes, durations.
    """
    import polars as pl

    if column.dtype.is_numeric():
        return "number"
    if column.dtype in (pl.Date, pl.Datetime):
        return "date"
    if column.dtype in (pl.Boolean, pl.Categorical, pl.Enum):
        return "text"
    if column.dtype != pl.String:
        return "number" if column.dtype == pl.Null else "other"
    values = column.drop_nulls()
    if values.cast(pl.Float64, strict=False).null_count() == 0:
        return "number"
    return "date" if values.str.contains(ISO_DATE).all() else "text"


def why_unused(column: "pl.Series") -> str | None:
    """Return why a column is no good as a feature when nobody asked for it, or None where it is."""
    import polars as pl

    values = column.drop_nulls()
    if values.is_empty():
        return "no values"
    kind = column_kind(column)
    if kind == "date":
        return "dates"
    if kind == "other":
        return f"{column.dtype} values"
    distinct = values.n_unique()
    if distinct == 1 and len(values) == len(column):
        return f"always {values[0]}"
    if kind == "text":
        return (stray_texts(column) or "every value different") if distinct == len(values) else None
    # A column that counts the rows says where a row stood in the file, and nothing about the next file.
    steps = values.cast(pl.Float64).diff().drop_nulls()
    if len(values) == len(column) >= ROW_NUMBERS_FROM and bool((steps == 1).all()):
        return "row numbers"
    return None


def stray_texts(column: "pl.Series") -> str | None:
    """Say which values of a column of text are no numbers, where at least 19 of 20 are: it was to be one of numbers."""
    import polars as pl

    if column.dtype != pl.String or column_kind(column) != "text":
        return None
    is_stray = column.is_not_null() & column.cast(pl.Float64, strict=False).is_null()
    n, n_values = int(is_stray.sum()), len(column) - column.null_count()
    if n * STRAY_AMONG > n_values:
        return None
    row = is_stray.arg_true()[0]
    what = "is no number" if n == 1 else "are no numbers"
    return f"{n} of its {n_values} values {what}, such as {column[row]!r} in data row {row + 1}"


def infer_task(target: "pl.Series") -> Task:
    """Return classification for text, booleans and integers of few distinct values, and else regression.

    Few: at most 20, and at most a fifth of the rows (two are always few).
    """
    import polars as pl

    values = target.drop_nulls()
    if column_kind(target) != "number":
        return "classification"
    values = values.cast(pl.Float64)
    if not bool((values == values.round()).all()):
        return "regression"
    few = max(2, min(MAX_CLASSES_OF_NUMBERS, len(values) // 5))
    return "classification" if values.n_unique() <= few else "regression"


def numbers(column: "pl.Series", source: str, trained: bool = False) -> Array:
    """Return the column as float32 (n,), NaN where it is missing.

    Args:
        column: the values.
        source: what they are of, for messages.
        trained: whether a model has learnt from such a column, so that no config can take it for something else.

    Raises:
        DataError: a value is no number, or too large for one.
    """
    import numpy as np
    import polars as pl

    if column_kind(column) in ("date", "other"):
        raise DataError(
            f"{source}: column {column.name!r} holds {column.dtype if column.dtype != pl.String else 'dates'}, not "
            f"numbers (such as {str(column.drop_nulls()[0])!r}); {_TRAINED if trained else 'take it out of data.numeric'}"
        )
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    values = column.cast(pl.Float64, strict=False)
    bad = column.filter(values.is_null() & column.is_not_null())
    if len(bad):
        raise DataError(
            f"{source}: column {column.name!r} is to be numeric, but {len(bad)} of its {len(column)} values are no "
            f"numbers (such as {bad[0]!r}); {_TRAINED if trained else 'mend them, or name it under data.categorical'}"
        )
    with np.errstate(over="ignore"):
        array = values.to_numpy().astype(np.float32)
    infinite = np.flatnonzero(np.isinf(array))
    if len(infinite):
        raise DataError(
            f"{source}: column {column.name!r} has {len(infinite)} values that are infinite or beyond 3e38 (such as "
            f"{column[int(infinite[0])]} in data row {infinite[0] + 1}); replace them, or leave them empty"
        )
    return array


def texts(column: "pl.Series") -> "pl.Series":
    """Return the column as text: whole numbers without a point (2.0 is "2"), true and false; text stays as it is."""
    import polars as pl

    if not (column.dtype.is_float() or column.dtype.is_decimal()):
        return column.cast(pl.String)
    values = column.cast(pl.Float64)
    whole = values.cast(pl.Int64, strict=False)
    return values.cast(pl.String).zip_with((whole != values).fill_null(True), whole.cast(pl.String))


def class_texts(column: "pl.Series") -> "pl.Series":
    """Return a target's classes as text; where all are numbers, 1, 1.0 and 01 are the same class."""
    import polars as pl

    if column.dtype == pl.String and column_kind(column) == "number":
        column = column.cast(pl.Float64)
    return texts(column)


def times(column: "pl.Series", source: str) -> Array:
    """Return the column as something that can be put in order: int64, float64 or datetime64[us] in UTC, (n,).

    Raises:
        DataError: the column holds neither numbers nor dates.
    """
    import polars as pl

    kind = column_kind(column)
    if kind == "number":
        return column.cast(pl.Float64).to_numpy() if column.dtype == pl.String else column.to_numpy()
    bad = column.drop_nulls()
    if kind == "date":
        parsed = dates(column)
        bad = column.filter(parsed.is_null() & column.is_not_null())
        if bad.is_empty():
            return parsed.to_numpy()
    raise DataError(
        f"{source}: time_column {column.name!r} holds neither numbers nor dates (such as {str(bad[0])!r}); write dates "
        "as 2024-01-31 or 2024-01-31T18:30:00"
    )


def dates(column: "pl.Series") -> "pl.Series":
    """Return a column as moments in UTC without a zone, null where a value is no date."""
    import polars as pl

    if column.dtype == pl.String:
        try:
            column = column.str.replace(" ", "T").str.to_datetime(strict=False, time_unit="us")
        except pl.exceptions.ComputeError:  # polars found no format in which any of the values is a date
            return pl.Series(column.name, [None] * len(column), dtype=pl.Datetime("us"))
    column = column.cast(pl.Datetime("us", getattr(column.dtype, "time_zone", None)))
    return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if _has_zone(column) else column


def _has_zone(column: "pl.Series") -> bool:
    return getattr(column.dtype, "time_zone", None) is not None
