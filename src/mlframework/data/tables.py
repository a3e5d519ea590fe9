"""Tables in csv, tsv or parquet files: `TableConfig`, and which of their columns are used as what."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mlframework.config.base import Config
from mlframework.data.splits import Loaded, SplitConfig
from mlframework.data.table_columns import (
    Task,
    class_texts,
    column_kind,
    infer_task,
    stray_texts,
    texts,
    times,
    why_unused,
)
from mlframework.data.table_file import read_frame
from mlframework.data.table_schema import TableExamples, TableSchema, encode_frame
from mlframework.errors import DataError
from mlframework.registry import unknown

if TYPE_CHECKING:
    import polars as pl

Columns: TypeAlias = Annotated[tuple[str, ...], Field(strict=False)]


class TableConfig(Config):
    """A table with a target column."""

    type: Literal["table"]
    """The kind of data."""
    path: str
    """The table's file: .csv, .tsv (both also .gz) or .parquet."""
    target: str
    """The column to predict; rows where it is missing are left out."""
    task: Task | None = None
    """Classification or regression; null: classification for text, booleans and integers of few distinct values."""
    numeric: Columns | None = None
    """Columns used as numbers; null: all that hold numbers."""
    categorical: Columns | None = None
    """Columns used as categories; null: all that hold text or booleans."""
    drop: Columns = ()
    """Columns that are not used."""
    time_column: str | None = None
    """Column of dates or numbers by which split.strategy time puts the rows in order; it is no feature."""
    group_column: str | None = None
    """Column whose equal values mark rows that belong together, as a patient's visits: split.strategy group and
    cross-validation by group never cut them apart; it is no feature."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the training split that is used; val and test stay whole."""
    split: SplitConfig = SplitConfig()
    """How the rows are cut into train, val and test."""

    @model_validator(mode="after")
    def _gives_each_column_one_role(self) -> Self:
        roles = [("target", self.target)]
        roles += [("numeric", name) for name in self.numeric or ()]
        roles += [("categorical", name) for name in self.categorical or ()]
        roles += [("drop", name) for name in self.drop]
        roles += [("time_column", self.time_column)] if self.time_column is not None else []
        roles += [("group_column", self.group_column)] if self.group_column is not None else []
        seen: dict[str, str] = {}
        for role, name in roles:
            if name in seen:
                both = f"twice under {role}" if seen[name] == role else f"under {seen[name]} and under {role}"
                raise ValueError(f"column {name!r} is named {both}; name it once")
            seen[name] = role
        return self

    @model_validator(mode="after")
    def _splits_by_what_there_is(self) -> Self:
        if self.split.strategy == "time" and self.time_column is None:
            raise ValueError("split.strategy time needs a time_column; name the column of dates or numbers")
        if self.split.strategy == "group" and self.group_column is None:
            raise ValueError("split.strategy group needs a group_column; name the column that tells groups apart")
        if self.split.strategy == "stratified" and self.task == "regression":
            raise ValueError("split.strategy stratified needs classes, but task is regression; use random")
        return self

    def load(self) -> Loaded[TableExamples]:
        """Read the table, find out what its columns are, and return all rows that have a target.

        Raises:
            DataError: the file or a column cannot be used.
        """
        source = Path(self.path).name
        whole = read_frame(self.path)
        frame = _with_target(whole, self, source)
        schema = infer_schema(frame, self)
        examples = encode_frame(frame, schema, source)
        groups = None if self.group_column is None else _groups(frame[self.group_column], source)
        rows = np.flatnonzero(whole[self.target].is_not_null().to_numpy())
        examples = replace(examples, groups=groups, rows=rows)
        return Loaded(
            examples=examples,
            time=None if self.time_column is None else times(frame[self.time_column], source),
            blocks=groups,
            stratify=None if schema.class_names is None else examples.targets,
            class_names=schema.class_names,
        )


def infer_schema(frame: "pl.DataFrame", config: TableConfig) -> TableSchema:
    """Decide what each column of the frame is used as; warn of those that nobody named and that are no good.

    Raises:
        DataError: a column is not there, there is only one class, or no feature is left.
    """
    source = Path(config.path).name
    _require_columns(frame, config, source)
    numeric, categorical = _features(frame, config, source)
    if not numeric and not categorical:
        raise DataError(f"{source}: no column is left to predict {config.target!r} from; name some under data.numeric")
    task = config.task or infer_task(frame[config.target])
    return TableSchema(
        numeric=numeric,
        categorical=categorical,
        vocabulary={name: tuple(texts(frame[name]).drop_nulls().unique().sort()) for name in categorical},
        target=config.target,
        task=task,
        class_names=_class_names(frame[config.target], source) if task == "classification" else None,
    )


def _with_target(frame: "pl.DataFrame", config: TableConfig, source: str) -> "pl.DataFrame":
    """Return the rows that have a target, and say how many have none."""
    _require_columns(frame, config, source)
    kept = frame.filter(frame[config.target].is_not_null())
    missing = frame.height - kept.height
    if kept.is_empty():
        raise DataError(f"{source}: the target {config.target!r} has no value in any row; name another data.target")
    if missing:
        warnings.warn(
            f"{source}: {missing} of {frame.height} rows have no value of the target {config.target!r} and are left out",
            UserWarning,
            stacklevel=3,
        )
    return kept


def _require_columns(frame: "pl.DataFrame", config: TableConfig, source: str) -> None:
    named = {
        "target": (config.target,),
        "numeric": config.numeric or (),
        "categorical": config.categorical or (),
        "drop": config.drop,
        "time_column": () if config.time_column is None else (config.time_column,),
        "group_column": () if config.group_column is None else (config.group_column,),
    }
    problems = [
        f"{source}: data.{key}: {unknown(name, frame.columns, 'column')}"
        for key, names in named.items()
        for name in names
        if name not in frame.columns
    ]
    if problems:
        raise DataError("\n".join(problems))


def _features(frame: "pl.DataFrame", config: TableConfig, source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the numeric and the categorical columns: those that are named, and by their look those that may be."""
    named = {config.target, config.time_column, config.group_column, *config.drop}
    named |= {*(config.numeric or ()), *(config.categorical or ())}
    found: dict[str, list[str]] = {"number": [], "text": []}
    unused, doubtful = [], []
    for column in frame.iter_columns():
        if column.name in named:
            continue
        kind = column_kind(column)
        chosen_by_hand = config.numeric if kind == "number" else config.categorical
        if chosen_by_hand is not None:
            continue
        reason = why_unused(column)
        if reason is None:
            found[kind].append(column.name)
            doubtful += [f"{column.name!r} ({stray})" for stray in [stray_texts(column)] if stray is not None]
        else:
            unused.append(f"{column.name!r} ({reason})")
    if doubtful:
        warnings.warn(
            f"{source}: taken for text, although nearly all values are numbers: {', '.join(doubtful)}; mend the file, or "
            "leave the cells empty where nothing is known; name them under data.categorical if they are right",
            UserWarning,
            stacklevel=4,
        )
    if unused:
        warnings.warn(
            f"{source}: not used as features: {', '.join(unused)}; name them under data.drop to have them dropped "
            "without a word, or under data.numeric or data.categorical to use them",
            UserWarning,
            stacklevel=4,
        )
    numeric = config.numeric if config.numeric is not None else tuple(found["number"])
    categorical = config.categorical if config.categorical is not None else tuple(found["text"])
    return numeric, categorical


def _groups(column: "pl.Series", source: str) -> NDArray[np.int64]:
    """Return the number of each row's group, (n,)."""
    missing = column.null_count()
    if missing:
        raise DataError(
            f"{source}: group_column {column.name!r} has no value in {missing} of {len(column)} rows; fill them in, or take "
            "these rows out"
        )
    _, numbers = np.unique(texts(column).to_numpy(), return_inverse=True)
    return numbers.astype(np.int64)


def _class_names(target: "pl.Series", source: str) -> tuple[str, ...]:
    if column_kind(target) == "other":
        raise DataError(f"{source}: the target {target.name!r} holds {target.dtype} values; save it as text or numbers")
    names: list[str] = class_texts(target).drop_nulls().unique().sort().to_list()
    if len(names) < 2:
        raise DataError(
            f"{source}: the target {target.name!r} has only one class, {names[0]!r}, and telling classes apart needs "
            "two; add rows of another class"
        )
    if column_kind(target) == "number":
        names.sort(key=float)
    return tuple(names)
