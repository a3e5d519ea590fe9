"""Tables of what is known about users or items: `FeatureTable`, and its rows in the order of the ids."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from mlframework.config.base import Config
from mlframework.data.interaction_file import RawTable, finite, ids, read_raw
from mlframework.data.splits import Rows
from mlframework.data.table_columns import column_kind, texts, why_unused
from mlframework.data.table_schema import TableExamples, TableSchema, encode_frame
from mlframework.errors import DataError
from mlframework.registry import unknown

if TYPE_CHECKING:
    import polars as pl

Columns: TypeAlias = Annotated[tuple[str, ...], Field(strict=False)]


class FeatureTable(Config):
    """A table with one row a user, or one row an item; its key column has the name that it has in the log."""

    path: str
    """The table's file, of any kind that the log may be; it must have a header line or be parquet."""
    numeric: Columns | None = None
    """Columns used as numbers; null: all that hold numbers."""
    categorical: Columns | None = None
    """Columns used as categories; null: all that hold text or booleans."""
    drop: Columns = ()
    """Columns that are not used."""

    @model_validator(mode="after")
    def _gives_each_column_one_role(self) -> Self:
        seen: dict[str, str] = {}
        roles = {"numeric": self.numeric or (), "categorical": self.categorical or (), "drop": self.drop}
        for role, names in roles.items():
            for name in names:
                if name in seen:
                    both = f"twice under {role}" if seen[name] == role else f"under {seen[name]} and under {role}"
                    raise ValueError(f"column {name!r} is named {both}; name it once")
                seen[name] = role
        return self

    def load(self, key: str, known: Sequence[int] | Sequence[str], setting: str) -> tuple[TableExamples, list[str]]:
        """Read the table.

        Args:
            key: the column of ids.
            known: the ids of the log.
            setting: where this table stands in the config, for messages: `data.user_features`.

        Returns:
            One row for each known id in that order, all values missing where the table has none, targets zeros; and
            what should be said about the table: ids without a row, rows without an id, columns that are not used.

        Raises:
            DataError: the file or a column cannot be used, or an id has two rows.
        """
        import polars as pl

        raw = read_raw(self.path, f"{setting}.path")
        self._require_columns(raw, key, setting)
        keys = texts(ids(raw, key))
        raw.refuse(key, (~keys.is_first_distinct()).to_numpy(), "which stood before", "leave one row for each id")
        order = pl.DataFrame({"id": [str(each) for each in known]}).join(
            pl.DataFrame({"id": keys, "row": np.arange(len(keys))}), on="id", how="left", maintain_order="left"
        )["row"]
        present = order.drop_nulls().to_numpy()
        notes = []
        if len(present) < len(known):
            notes.append(
                f"{len(known) - len(present):,} of {len(known):,} ids have no row, so their values are missing"
            )
        if len(present) < len(keys):
            notes.append(f"{len(keys) - len(present):,} of {len(keys):,} rows are of ids with no interactions left")
        schema, unused = self._schema(raw, raw.frame[np.sort(present)], key, setting)
        rows = order.fill_null(-1).to_numpy()
        notes = [f"{raw.name}: {note}" for note in [*notes, *unused]]
        return _in_order(encode_frame(raw.frame, schema, raw.name), rows), notes

    def _require_columns(self, raw: RawTable, key: str, setting: str) -> None:
        columns = raw.frame.columns
        problems = []
        if key not in columns:
            problems.append(f"{raw.name}: {setting}: the key column is missing: {unknown(key, columns, 'column')}")
        named = {"numeric": self.numeric or (), "categorical": self.categorical or (), "drop": self.drop}
        for role, names in named.items():
            for name in names:
                if name == key:
                    problems.append(f"{raw.name}: {setting}.{role}: {name!r} is the key; take it out")
                elif name not in columns:
                    problems.append(f"{raw.name}: {setting}.{role}: {unknown(name, columns, 'column')}")
        if problems:
            raise DataError("\n".join(problems))

    def _schema(self, raw: RawTable, frame: "pl.DataFrame", key: str, setting: str) -> tuple[TableSchema, list[str]]:
        """Decide by the rows of known ids what each column is used as; returns also which are not used, and why."""
        named = {key, *self.drop, *(self.numeric or ()), *(self.categorical or ())}
        found: dict[str, list[str]] = {"number": [], "text": []}
        unused = []
        for column in (frame[name] for name in frame.columns if name not in named):
            kind = column_kind(column)
            if (self.numeric if kind == "number" else self.categorical) is not None:
                continue
            reason = why_unused(column) or _hardly_repeats(column, kind)
            if reason is None:
                found[kind].append(column.name)
            else:
                unused.append(f"{column.name!r} ({reason})")
        numeric = self.numeric if self.numeric is not None else tuple(found["number"])
        categorical = self.categorical if self.categorical is not None else tuple(found["text"])
        if not numeric and not categorical:
            raise DataError(f"{raw.name}: no column is left that says anything; name some under {setting}.numeric")
        for name in numeric:
            finite(raw, name, missing=True)
        vocabulary = {name: tuple(texts(frame[name]).drop_nulls().unique().sort()) for name in categorical}
        schema = TableSchema(numeric, categorical, vocabulary, target="", task="regression", class_names=None)
        if not unused:
            return schema, []
        return schema, [
            f"not used as features: {', '.join(unused)}; name them under {setting}.drop, or use them by name"
        ]


def _in_order(examples: TableExamples, rows: Rows) -> TableExamples:
    """Return the examples at these positions, with missing values at those that are -1."""
    taken = examples.take(rows)
    taken.numeric[rows < 0] = np.nan
    taken.categorical[rows < 0] = -1
    return taken


def _hardly_repeats(column: "pl.Series", kind: str) -> str | None:
    """Return why text is no category: of titles and names hardly one stands there twice, so that none says anything."""
    values = column.drop_nulls()
    distinct = values.n_unique()
    if kind != "text" or distinct <= max(2, len(values) / 2):
        return None
    return f"{distinct:,} different values in {len(values):,} rows"
