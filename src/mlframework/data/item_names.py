"""What the items of a log are called, for people who look at them: a column of titles or names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlframework.data.feature_tables import FeatureTable
from mlframework.data.interaction_file import ids, read_raw
from mlframework.data.table_columns import texts

if TYPE_CHECKING:
    import polars as pl

_CALLED = ("title", "name")


def item_names(table: FeatureTable, key: str, known: Sequence[int] | Sequence[str]) -> tuple[str, ...] | None:
    """Return a name for each item: from the table's column that is called `title` or `name`, or ends so.

    It need not be a feature: titles hardly ever repeat, so that they are left out as such. Where an item has no name, its
    id stands for it.

    Args:
        table: what is known about the items; it has been read before.
        key: the column of ids.
        known: the ids of the log.

    Returns:
        One name for each known id, in that order, or None where no column of different texts is called so.

    Raises:
        DataError: the table cannot be read.
    """
    import polars as pl

    raw = read_raw(table.path, "data.item_features.path")
    column = _column(raw.frame, key)
    if column is None:
        return None
    names = pl.DataFrame({"id": texts(ids(raw, key)), "name": texts(raw.frame[column])})
    wanted = pl.DataFrame({"id": np.array([str(each) for each in known])})
    found = wanted.join(names, on="id", how="left", maintain_order="left")
    return tuple(found.select(pl.coalesce("name", "id"))["name"].to_list())


def _column(frame: "pl.DataFrame", key: str) -> str | None:
    """Return the first column that is called like a name; `movie_title` as well as `Title`."""
    import polars as pl

    last = {name: name.lower().replace(" ", "_").rpartition("_")[2] for name in frame.columns if name != key}
    called = (name for word in _CALLED for name in last if last[name] == word and frame[name].dtype == pl.String)
    # The brand's name, or the category's, stands there again and again.
    return next((name for name in called if frame[name].n_unique() > len(frame) / 2), None)
