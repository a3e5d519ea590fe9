"""What a table's columns are (`TableSchema`), and its rows as arrays (`TableExamples`)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from mlframework.data.splits import Array, Rows
from mlframework.data.table_columns import Task, class_texts, numbers, texts
from mlframework.data.table_file import without_missing_words
from mlframework.errors import DataError

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class TableSchema:
    """What the columns of a table are used as."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    vocabulary: dict[str, tuple[str, ...]]
    """The categories of each categorical column, sorted: code i stands for the i-th."""
    target: str
    task: Task
    class_names: tuple[str, ...] | None
    """The classes, numbers in their order and others sorted; None in a regression."""

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain JSON."""
        return asdict(self) | {
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "vocabulary": {name: list(categories) for name, categories in self.vocabulary.items()},
            "class_names": None if self.class_names is None else list(self.class_names),
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """Return the schema that `to_dict` wrote."""
        class_names = tree["class_names"]
        return cls(
            numeric=tuple(tree["numeric"]),
            categorical=tuple(tree["categorical"]),
            vocabulary={name: tuple(categories) for name, categories in tree["vocabulary"].items()},
            target=tree["target"],
            task=tree["task"],
            class_names=None if class_names is None else tuple(class_names),
        )


@dataclass(frozen=True)
class TableExamples:
    """Rows of a table, as they stand in it: nothing is scaled or filled in."""

    schema: TableSchema
    numeric: NDArray[np.float32]
    """(n, p), NaN where a value is missing."""
    categorical: NDArray[np.int32]
    """Codes into the schema's vocabulary, (n, q); -1 where a value is missing or not in it."""
    targets: Array
    """Class indices int64 (n,), or float32 (n,) in a regression."""
    groups: NDArray[np.int64] | None = None
    """Number of each row's group, (n,), where folds must not cut groups apart."""
    rows: NDArray[np.int64] | None = None
    """Where each row stands in the file, (n,), from 0, header and blank lines not counted; None for what is of no file."""

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Rows) -> Self:
        """Return the rows at these positions, in this order, as a copy."""
        groups = None if self.groups is None else self.groups[rows]
        places = None if self.rows is None else self.rows[rows]
        return type(self)(self.schema, self.numeric[rows], self.categorical[rows], self.targets[rows], groups, places)

    def concat(self, other: Self) -> Self:
        """Return these rows followed by the others, which must be of the same schema."""
        if self.schema != other.schema:
            raise ValueError(f"rows of different tables: {self.schema} and {other.schema}")
        return type(self)(
            self.schema,
            np.concatenate([self.numeric, other.numeric]),
            np.concatenate([self.categorical, other.categorical]),
            np.concatenate([self.targets, other.targets]),
            None if self.groups is None or other.groups is None else np.concatenate([self.groups, other.groups]),
            None if self.rows is None or other.rows is None else np.concatenate([self.rows, other.rows]),
        )


def encode_frame(
    frame: "pl.DataFrame", schema: TableSchema, source: str = "the table", trained: bool = False
) -> TableExamples:
    """Turn a frame, from `read_frame` or made in memory, into examples of this schema.

    Columns that the schema does not name are passed over. Where the target is absent or has no value at all, as in a
    table to predict from, the targets are zeros. `source` names the table in messages, which tell of the
    config unless a model has been `trained` with this schema.

    Raises:
        DataError: columns are missing, a numeric one holds text, or a target is missing or of no known class.
    """
    features = (*schema.numeric, *schema.categorical)
    missing = [name for name in features if name not in frame.columns]
    if missing:
        raise DataError(
            f"{source}: no column {', '.join(map(repr, missing))}, which the model was trained with; its columns are "
            f"{', '.join(frame.columns)}; add what is missing, empty where it is unknown"
        )
    frame = without_missing_words(frame.select(name for name in (*features, schema.target) if name in frame.columns))
    n = frame.height
    numeric = np.empty((n, len(schema.numeric)), dtype=np.float32)
    for i, name in enumerate(schema.numeric):
        numeric[:, i] = numbers(frame[name], source, trained)
    categorical = np.empty((n, len(schema.categorical)), dtype=np.int32)
    for i, name in enumerate(schema.categorical):
        categorical[:, i] = _codes(texts(frame[name]), schema.vocabulary[name])
    return TableExamples(schema, numeric, categorical, _targets(frame, schema, source))


def _codes(values: "pl.Series", categories: tuple[str, ...]) -> NDArray[np.int32]:
    """Return the position of each value among the categories, (n,), -1 where it is none of them."""
    import polars as pl

    codes = values.replace_strict(
        pl.Series(categories, dtype=pl.String),
        pl.Series(range(len(categories)), dtype=pl.Int32),
        default=-1,
        return_dtype=pl.Int32,
    )
    return codes.to_numpy().astype(np.int32)


def _targets(frame: "pl.DataFrame", schema: TableSchema, source: str) -> Array:
    dtype = np.float32 if schema.class_names is None else np.int64
    if schema.target not in frame.columns or frame[schema.target].null_count() == frame.height:
        return np.zeros(frame.height, dtype=dtype)
    column = frame[schema.target]
    if column.null_count():
        raise DataError(
            f"{source}: the target {schema.target!r} is missing in {column.null_count()} of {frame.height} rows; fill it "
            "in, take these rows out, or, to predict it, take the column out"
        )
    if schema.class_names is None:
        return numbers(column, source)
    values = class_texts(column)
    codes = _codes(values, schema.class_names)
    unknown = np.flatnonzero(codes < 0)
    if len(unknown):
        raise DataError(
            f"{source}: the target {schema.target!r} is {values[int(unknown[0])]!r} in data row {unknown[0] + 1}, which "
            f"is none of the classes {', '.join(schema.class_names[:20])}; mend it, or, to predict it, take the column out"
        )
    return codes.astype(np.int64)
