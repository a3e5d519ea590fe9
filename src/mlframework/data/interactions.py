"""Who had to do with what: `InteractionsConfig`, and how a log becomes interactions."""

import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mlframework.config.base import Config
from mlframework.data.feature_tables import FeatureTable
from mlframework.data.interaction_examples import Catalogue, Ids, InteractionExamples, InteractionTask
from mlframework.data.interaction_file import BY_POSITION, RawTable, finite, ids, moments, read_raw
from mlframework.data.interaction_filters import merge, with_enough
from mlframework.data.item_names import item_names
from mlframework.data.splits import Array, Loaded, Rows, SplitConfig
from mlframework.data.table_schema import TableExamples
from mlframework.errors import DataError
from mlframework.registry import unknown

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Catalogue", "FeatureTable", "InteractionExamples", "InteractionsConfig"]


class InteractionsConfig(Config):
    """A log of who had to do with what: one line an interaction of a user with an item."""

    type: Literal["interactions"]
    """The kind of data."""
    path: str
    """The log's file: .csv, .tsv (both also .gz), .parquet, or other text with tabs, commas, semicolons or bars."""
    task: InteractionTask = "ranking"
    """Ranking: which items a user will want; classification: whether the rating is at least min_rating; regression: the
    rating."""
    user_column: str = "user_id"
    """Column of the users' ids."""
    item_column: str = "item_id"
    """Column of the items' ids."""
    rating_column: str | None = None
    """Column of ratings: the weight of an interaction in a ranking, what is predicted otherwise; null: none, and an
    interaction weighs as often as it happened."""
    time_column: str | None = None
    """Column of dates or numbers; of several interactions with the same item the newest counts, and splits may go by it."""
    min_rating: float | None = None
    """Ranking: rows of a lower rating are left out, the others weigh 1; classification: what makes class 1."""
    min_user_interactions: int = Field(default=1, ge=1)
    """Users of fewer interactions are left out, with them items of fewer than min_item_interactions, until none is left."""
    min_item_interactions: int = Field(default=1, ge=1)
    """Items of fewer interactions are left out."""
    user_features: FeatureTable | None = None
    """Table of what is known about the users."""
    item_features: FeatureTable | None = None
    """Table of what is known about the items."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the training split that is used, of each user; val and test stay whole."""
    split: SplitConfig = SplitConfig()
    """How the interactions are cut into train, val and test."""

    @model_validator(mode="after")
    def _gives_each_column_one_role(self) -> Self:
        seen: dict[str, str] = {}
        for role, name in _columns(self).items():
            if name in seen:
                raise ValueError(f"{role}: column {name!r} is named under {seen[name]}, too; name it once")
            seen[name] = role
        return self

    @model_validator(mode="after")
    def _has_the_ratings_that_it_needs(self) -> Self:
        if self.rating_column is None and self.task != "ranking":
            raise ValueError(f"task: {self.task} needs a rating_column; name the column of ratings")
        if self.rating_column is None and self.min_rating is not None:
            raise ValueError("min_rating: needs a rating_column; name the column of ratings, or take min_rating out")
        if self.task == "classification" and self.min_rating is None:
            raise ValueError("task: classification needs a min_rating: ratings from there on are the class 1")
        if self.task == "regression" and self.min_rating is not None:
            raise ValueError(
                "min_rating: means nothing to task regression, which predicts every rating; take it out, or set task to "
                "classification or ranking"
            )
        return self

    @model_validator(mode="after")
    def _splits_by_what_there_is(self) -> Self:
        if self.split.strategy == "time" and self.time_column is None:
            raise ValueError("split.strategy: time needs a time_column; name the column of dates or numbers")
        if self.split.strategy == "stratified":
            raise ValueError(
                "split.strategy: stratified is for classes; for interactions use random, time or leave_one_out"
            )
        return self

    def load(self) -> Loaded[InteractionExamples]:
        """Read the log, leave out and merge what the settings say, and say in one warning how much that was.

        Raises:
            DataError: the file or a column cannot be used, or nothing is left.
        """
        raw = read_raw(self.path, "data.path", BY_POSITION)
        whole = _read(raw, self)
        log, notes = _kept(whole, self, raw.name)
        user_ids, users = _coded(log.user_ids, log.users)
        item_ids, items = _coded(log.item_ids, log.items)
        of_users, said_of_users = _features(self.user_features, self.user_column, user_ids, "data.user_features")
        of_items, said_of_items = _features(self.item_features, self.item_column, item_ids, "data.item_features")
        _refuse_clashes(self, of_users, of_items)
        catalogue = Catalogue(
            user_column=self.user_column,
            item_column=self.item_column,
            users=user_ids,
            items=item_ids,
            user_features=of_users,
            item_features=of_items,
            task=self.task,
            target=self.rating_column or "",
            class_names=_class_names(self),
            rated_low=_rated_low(whole, log, self),
            item_names=None
            if self.item_features is None
            else item_names(self.item_features, self.item_column, item_ids),
        )
        notes += [*said_of_users, *said_of_items]
        if notes:
            warnings.warn("\n".join(notes), UserWarning, stacklevel=2)
        examples = InteractionExamples(
            catalogue, users.astype(np.int32), items.astype(np.int32), _values(log, self, raw.name), log.time
        )
        return Loaded(examples, time=log.time, class_names=catalogue.class_names, groups=users)


def _columns(config: InteractionsConfig) -> dict[str, str]:
    """Return the columns of the log by setting."""
    settings = ("user_column", "item_column", "rating_column", "time_column")
    return {setting: name for setting in settings if (name := getattr(config, setting)) is not None}


@dataclass(frozen=True)
class _Log:
    """Rows of a log: (n,) each; a user's code is the place of its id among the sorted ids of the whole file."""

    users: Rows
    items: Rows
    user_ids: "pl.Series"
    item_ids: "pl.Series"
    ratings: Array | None
    time: Array | None
    counts: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """For how many rows of the file each stands; empty before merging."""

    def take(self, rows: Rows) -> "_Log":
        def part(array: Array | None) -> Array | None:
            return None if array is None else array[rows]

        return replace(
            self, users=self.users[rows], items=self.items[rows], ratings=part(self.ratings), time=part(self.time),
            counts=self.counts[rows] if len(self.counts) else self.counts,
        )  # fmt: skip


def _read(raw: RawTable, config: InteractionsConfig) -> _Log:
    """Check the columns and turn them into arrays."""
    columns = raw.frame.columns
    problems = [
        f"{raw.name}: data.{setting}: {unknown(name, columns, 'column')}"
        for setting, name in _columns(config).items()
        if name not in columns
    ]
    if problems:
        raise DataError("\n".join(problems))
    users, items = ids(raw, config.user_column), ids(raw, config.item_column)
    ratings = None if config.rating_column is None else finite(raw, config.rating_column)
    if ratings is not None and config.task == "ranking" and config.min_rating is None:
        raw.refuse(
            str(config.rating_column),
            ratings.astype(np.float32) <= 0,
            "but in a ranking ratings are weights, which must be above 0",
            "set data.min_rating, or leave data.rating_column out",
        )
    (user_ids, of_users), (item_ids, of_items) = _places(users), _places(items)
    return _Log(
        users=of_users,
        items=of_items,
        user_ids=user_ids,
        item_ids=item_ids,
        ratings=ratings,
        time=None if config.time_column is None else moments(raw, config.time_column),
    )


def _places(values: "pl.Series") -> "tuple[pl.Series, Rows]":
    """Return the ids that there are, sorted, and the place of each value among them, (n,)."""
    if not values.dtype.is_integer():
        return values.unique().sort(), values.rank("dense").to_numpy().astype(np.int64) - 1
    import polars as pl

    found, places = np.unique(values.to_numpy(), return_inverse=True)
    return pl.Series(values.name, found), places.astype(np.int64)


def _kept(log: _Log, config: InteractionsConfig, source: str) -> tuple[_Log, list[str]]:
    """Leave out low ratings, merge what repeats a user and item, leave out users and items of too few interactions.

    Returns:
        What is left, and a sentence on what was left out, if anything was.

    Raises:
        DataError: nothing is left.
    """
    n, taken = len(log.users), []
    if config.task == "ranking" and config.min_rating is not None:
        assert log.ratings is not None
        log = log.take(np.flatnonzero(log.ratings >= config.min_rating))
        if n > len(log.users):
            taken.append(f"{n - len(log.users):,} are below min_rating {config.min_rating:g}")
    before = len(log.users)
    rows, counts = merge(log.users, log.items, log.time)
    log = replace(log.take(rows), counts=counts)
    if before > len(rows):
        taken.append(f"{before - len(rows):,} repeat a user and item and were merged")
    before = len(log.users)
    least = config.min_user_interactions, config.min_item_interactions
    log = log.take(with_enough(log.users, log.items, *least))
    if before > len(log.users):
        taken.append(
            f"{before - len(log.users):,} went with users of fewer than {least[0]} or items of fewer than {least[1]} "
            "interactions"
        )
    what = f"{source}: of {n:,} rows {', '.join(taken)}"
    if not len(log.users):
        raise DataError(f"{what}; nothing is left: lower the settings that took most")
    if not taken:
        return log, []
    left = [f"{len(np.unique(codes)):,}" for codes in (log.users, log.items)]
    return log, [f"{what}; {len(log.users):,} interactions of {left[0]} users and {left[1]} items are left"]


def _rated_low(whole: _Log, left: _Log, config: InteractionsConfig) -> tuple[Rows, Rows]:
    """Return users and items, by their places among those that are left, of what a ranking leaves out for its rating."""
    if config.task != "ranking" or config.min_rating is None or whole.ratings is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    low = whole.take(np.flatnonzero(whole.ratings < config.min_rating))
    known = np.isin(low.users, left.users) & np.isin(low.items, left.items)
    n_items = int(whole.items.max()) + 1
    # Who rated an item twice, low and high, has it among what is learnt from.
    known &= ~np.isin(low.users * n_items + low.items, left.users * n_items + left.items)
    users = np.searchsorted(np.unique(left.users), low.users[known])
    items = np.searchsorted(np.unique(left.items), low.items[known])
    return users.astype(np.int64), items.astype(np.int64)


def _coded(all_ids: "pl.Series", codes: Rows) -> tuple[Ids, Rows]:
    """Return the ids that are left, sorted, and each row's place among them, (n,)."""
    is_left = np.bincount(codes, minlength=len(all_ids)) > 0
    places = np.cumsum(is_left) - 1
    return tuple(all_ids.filter(is_left).to_list()), places[codes]


def _features(table: FeatureTable | None, key: str, known: Ids, setting: str) -> tuple[TableExamples | None, list[str]]:
    return (None, []) if table is None else table.load(key, known, setting)


def _values(log: _Log, config: InteractionsConfig, source: str) -> NDArray[np.float32]:
    if log.ratings is None:
        return log.counts.astype(np.float32)
    if config.task == "ranking" and config.min_rating is not None:
        return np.ones(len(log.users), dtype=np.float32)
    if config.task != "classification":
        return log.ratings.astype(np.float32)
    classes = log.ratings >= config.min_rating
    if classes.all() or not classes.any():
        raise DataError(
            f"{source}: {'every' if classes.all() else 'no'} {config.rating_column} is at least {config.min_rating:g}, and "
            f"telling classes apart needs two (they go from {log.ratings.min():g} to {log.ratings.max():g}); choose another "
            "data.min_rating"
        )
    return classes.astype(np.float32)


def _class_names(config: InteractionsConfig) -> tuple[str, str] | None:
    if config.task != "classification":
        return None
    return f"{config.rating_column} < {config.min_rating:g}", f"{config.rating_column} >= {config.min_rating:g}"


def _refuse_clashes(config: InteractionsConfig, *tables: TableExamples | None) -> None:
    """Raise DataError where a feature has the name of a column of the log, or of a feature of the other table."""
    owners = {name: f"data.{setting}" for setting, name in _columns(config).items()}
    problems = []
    for setting, table in zip(("user_features", "item_features"), tables, strict=True):
        for name in () if table is None else (*table.schema.numeric, *table.schema.categorical):
            if name in owners:
                problems.append(
                    f"data.{setting}: column {name!r} is also that of {owners[name]}; rename it, or name it under "
                    f"data.{setting}.drop"
                )
            owners.setdefault(name, f"data.{setting}")
    if problems:
        raise DataError("\n".join(problems))
