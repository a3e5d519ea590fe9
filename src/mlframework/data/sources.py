"""What predictors take: the path of a table, a data frame, or a dict of columns."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlframework.data.table_file import read_frame
from mlframework.errors import DataError
from mlframework.registry import unknown

if TYPE_CHECKING:
    import polars as pl


def as_frame(source: Any) -> "pl.DataFrame":
    """Return a polars data frame of a path (CSV, TSV, Parquet), a polars or pandas data frame, or a dict of columns.

    Raises:
        DataError: it is something else, or a file that cannot be read.
    """
    import polars as pl

    if isinstance(source, str | Path):
        return read_frame(Path(source), "the path")
    if isinstance(source, pl.DataFrame):
        return source
    if not isinstance(source, dict) and not hasattr(source, "columns"):
        raise DataError(f"predict takes a file, a data frame or a dict of columns, got {type(source).__name__}")
    columns = source if isinstance(source, dict) else {name: source[name].tolist() for name in source.columns}
    return pl.DataFrame(columns, strict=False)


def user_item_pairs(source: Any, user_column: str, item_column: str) -> tuple[list[Any], list[Any]]:
    """Return the users' and the items' ids of each row; a file is read as the log of interactions was.

    Raises:
        DataError: a column is missing, or an id.
    """
    from mlframework.data.interaction_file import BY_POSITION, RawTable, ids, read_raw

    if isinstance(source, str | Path):
        raw = read_raw(source, "the path", BY_POSITION)
    else:
        raw = RawTable(Path("the table"), as_frame(source), None)
    for column in (user_column, item_column):
        if column not in raw.frame.columns:
            raise DataError(
                f"{raw.name}: {unknown(column, raw.frame.columns, 'column')}, which the model was trained with"
            )
    return ids(raw, user_column).to_list(), ids(raw, item_column).to_list()
