"""Cutting examples into train, val and test, and the `split:` section of the config.

The draws are those of scikit-learn, see draws.py, and those by user are in interaction_splits.py; a seed names the same
split for every run, trial and process.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Protocol, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mlframework.config.base import Config
from mlframework.data.draws import draw, draw_of_classes
from mlframework.data.group_splits import draw_groups
from mlframework.data.interaction_splits import draw_per_user, leave_one_out, subset_per_user, warn_of_strangers
from mlframework.errors import DataError

Strategy: TypeAlias = Literal["random", "stratified", "group", "time", "leave_one_out"]
Rows: TypeAlias = NDArray[np.int64]
Array: TypeAlias = NDArray[Any]
DEFAULT_FRACTION = 0.2


class SplitConfig(Config):
    """How the rows are cut into train, val and test."""

    strategy: Strategy | None = None
    """Random (of interactions: a share of each user's), stratified (every class keeps its share), group (rows of one
    group_column stay together, the fractions are of the groups), time (oldest train, newest test) or leave_one_out
    (interactions: each user's last is the test, the one before it val); null: random for interactions, else group where
    there is a group_column, time where there is a time_column, stratified for classification and random for regression."""
    val_fraction: float = Field(default=DEFAULT_FRACTION, gt=0, lt=1)
    """Share of the rows that validation gets; of the train folder where the data has one and has no val folder; not with
    leave_one_out."""
    test_fraction: float = Field(default=DEFAULT_FRACTION, ge=0, lt=1)
    """Share of the rows that is held back for the test, 0 for none; not used where the data has a train folder, and nothing
    but 0 may be set with leave_one_out."""
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    """Seed of the cut; null: the experiment's seed."""

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Self:
        held_out = self.val_fraction + self.test_fraction
        if held_out >= 1:
            raise ValueError(
                f"val_fraction {self.val_fraction} and test_fraction {self.test_fraction} add up to {held_out:g}, which "
                "leaves nothing to train on; make their sum less than 1"
            )
        return self

    @model_validator(mode="after")
    def _leaves_one_out_without_fractions(self) -> Self:
        if self.strategy != "leave_one_out":
            return self
        for name in ("val_fraction", "test_fraction"):
            value = getattr(self, name)
            if name in self.model_fields_set and (name, value) != ("test_fraction", 0):
                rest = "; test_fraction: 0 leaves the test out" if name == "test_fraction" else ""
                raise ValueError(
                    f"{name}: {value} means nothing to leave_one_out, which holds out one interaction a user; take it "
                    f"out{rest}"
                )
        return self


class Examples(Protocol):
    """Rows of data that can be taken apart and put together again."""

    @property
    def targets(self) -> Array:
        """What is to be predicted, (n,): int64 class indices, or float32 values."""

    def __len__(self) -> int: ...

    def take(self, rows: Rows) -> Self:
        """Return the examples at these positions, in this order, as a copy."""

    def concat(self, other: Self) -> Self:
        """Return these examples followed by the others."""


E = TypeVar("E", bound=Examples)


@dataclass(frozen=True)
class Splits(Generic[E]):
    """The examples by what they are for. Rows cut by time stay in the order of time."""

    train: E
    val: E | None
    test: E | None

    def without_test(self) -> "Splits[E]":
        """Return the splits that a search may see: nothing in them refers to a test row."""
        return replace(self, test=None)

    def refit(self) -> "Splits[E]":
        """Return the splits for a final run: train and val together, test as it was."""
        if self.val is None:
            return self
        return Splits(train=self.train.concat(self.val), val=None, test=self.test)

    def subset_train(self, fraction: float, seed: int, strategy: Strategy, groups: Rows | None = None) -> "Splits[E]":
        """Return splits that train on a part of the training rows; val and test are as they were.

        The number of rows kept is `round(fraction * n)` and at least one (stratified: at least one a class). With the
        time strategy the newest rows are kept, otherwise a draw from `seed`. Where `groups` has the user of each training
        row, the share is drawn of each user's rows, at least one, but for the time strategy.
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must be above 0 and at most 1, got {fraction}")
        if fraction == 1:
            return self
        n = len(self.train)
        wanted = max(1, round(fraction * n))
        if strategy == "time":
            rows = np.arange(n - wanted, n)
        elif groups is not None:
            rows = subset_per_user(groups, fraction, seed)
        else:
            labels = self.train.targets if strategy == "stratified" else None
            _, rows = _draw(np.arange(n), wanted, labels, seed)
        return replace(self, train=self.train.take(rows.astype(np.int64)))


@dataclass(frozen=True)
class Loaded(Generic[E]):
    """What a data set's loader returns: all rows, and what is known about how to cut them."""

    examples: E
    given: dict[str, Rows] | None = None
    """Rows by split name, where the data itself says so: "train", and perhaps "val" and "test"."""
    time: Array | None = None
    """Value of the time column of each row: numbers or datetime64, NaN or NaT where it is missing."""
    stratify: Rows | None = None
    """Class index of each row; None where the target is a number."""
    class_names: tuple[str, ...] | None = None
    """Names of the class indices, for messages."""
    groups: Rows | None = None
    """User of each row, where rows are interactions: then random splits are drawn user by user."""
    blocks: Rows | None = None
    """Number of the group of each row, 0 or more, where groups must not be cut apart."""

    def strategy(self, config: SplitConfig) -> Strategy:
        """Return the strategy in force: the one asked for, or the one that suits the data."""
        if config.strategy is not None:
            return config.strategy
        if self.groups is not None:
            return "random"
        if self.blocks is not None:
            return "group"
        if self.time is not None:
            return "time"
        return "random" if self.stratify is None else "stratified"


def split(loaded: Loaded[E], config: SplitConfig, seed: int) -> Splits[E]:
    """Cut the loaded examples into disjoint splits that cover every row.

    `seed` (0 to 2**32 - 1) is used where the config names none. Splits that the data itself gives win: then only a
    missing val is cut, from train, and a missing test stays missing.

    Raises:
        DataError: the strategy does not suit the data, or there are too few rows, in all or of one class.
    """
    rng_seed = seed if config.seed is None else config.seed
    if loaded.given:
        train, val, test = _given_rows(loaded, loaded.given, config, rng_seed)
    else:
        train, val, test = _cut(loaded, np.arange(len(loaded.examples)), config, rng_seed)
    return Splits(
        train=loaded.examples.take(train),
        val=loaded.examples.take(val),
        test=None if test is None else loaded.examples.take(test),
    )


_Parts: TypeAlias = tuple[Rows, Rows, Rows | None]


def _given_rows(loaded: Loaded[E], given: dict[str, Rows], config: SplitConfig, seed: int) -> _Parts:
    """Return the rows that the data itself names; val is cut from train where there is none."""
    unused = []
    if config.test_fraction not in (0, DEFAULT_FRACTION):
        unused.append(f"test_fraction: {config.test_fraction}")
    if "val" in given and config.val_fraction != DEFAULT_FRACTION:
        unused.append(f"val_fraction: {config.val_fraction}")
    if unused:
        warnings.warn(
            f"the data brings its own splits ({', '.join(given)}), so these settings of data.split are not used: "
            f"{', '.join(unused)}",
            UserWarning,
            stacklevel=3,
        )
    if "val" in given:
        return given["train"], given["val"], given.get("test")
    train, val, _ = _cut(loaded, given["train"], config.model_copy(update={"test_fraction": 0.0}), seed)
    return train, val, given.get("test")


def _cut(loaded: Loaded[E], rows: Rows, config: SplitConfig, seed: int) -> _Parts:
    """Cut these rows into train, val and, where there is a test_fraction, test."""
    n, parts = len(rows), 3 if config.test_fraction > 0 else 2
    if n < parts:
        raise DataError(f"{n} rows are too few for {parts} splits: add data")
    n_test = _share(n, config.test_fraction, room=n - 2) if parts == 3 else 0
    n_val = _share(n, config.val_fraction, room=n - n_test - 1)
    strategy = loaded.strategy(config)
    groups = None if loaded.groups is None else loaded.groups[rows]
    if strategy == "time":
        order = _time_order(loaded, rows)
        train, val, test = np.split(order, [n - n_val - n_test, n - n_test])
        if groups is not None:
            warn_of_strangers(groups, train, val, test)
    elif strategy == "leave_one_out":
        if groups is None:
            raise DataError(
                "data.split.strategy leave_one_out is for interactions, whose rows have users; use another strategy"
            )
        train, val, test = leave_one_out(groups, _time_places(loaded, rows), parts, seed)
    elif strategy == "group":
        if loaded.blocks is None:
            raise DataError(
                "data.split.strategy is group, but the data has no groups; name a group_column, or use another strategy"
            )
        train, val, test = draw_groups(loaded.blocks[rows], config.val_fraction, config.test_fraction, seed)
    elif groups is not None and strategy == "random":
        train, val, test = draw_per_user(groups, config.val_fraction, config.test_fraction, seed)
    else:
        labels = _labels_to_keep_even(loaded, rows, parts) if strategy == "stratified" else None
        rest, test = _draw(np.arange(n), n_test, labels, seed)
        train, val = _draw(rest, n_val, labels, seed)
    return rows[train], rows[val], rows[test] if parts == 3 else None


def _draw(rows: Rows, n_out: int, labels: Rows | None, seed: int) -> tuple[Rows, Rows]:
    """Draw `n_out` of the rows, with every class's share where there are labels; returns those that stay first."""
    if n_out == 0:
        return rows, rows[:0]
    if labels is None:
        return _parted(rows, draw(len(rows), n_out, seed))
    _, counts = np.unique(labels[rows], return_counts=True)
    # Every class has a row on either side.
    n_out = min(max(n_out, len(counts)), len(rows) - len(counts))
    if counts.min() < 2 or n_out < 1:
        raise DataError(
            f"a class has {counts.min()} of the {len(rows)} rows left to draw from, too few to keep its share in each "
            "split; add rows, draw smaller fractions, or set data.split.strategy to random"
        )
    return _parted(rows, draw_of_classes(labels[rows], n_out, seed))


def _parted(rows: Rows, drawn: Rows) -> tuple[Rows, Rows]:
    """Return the rows that stay, and those at the places that were drawn; rows are in ascending order."""
    return np.delete(rows, drawn), rows[drawn]


def _time_order(loaded: Loaded[E], rows: Rows) -> Rows:
    """Return the positions in `rows` from the oldest to the newest; rows of one time keep the order of the file."""
    if loaded.time is None:
        raise DataError(
            "data.split.strategy is time, but the data has no time; name a time_column, or use another strategy"
        )
    time = loaded.time[rows]
    missing = int((np.isnat(time) if time.dtype.kind == "M" else np.isnan(time)).sum())
    if missing:
        raise DataError(
            f"{missing} of {len(time)} rows have no value in the time column, so they cannot be put in the order of "
            "time; fill them in, take them out, or use another data.split.strategy"
        )
    order: Rows = np.argsort(time, kind="stable")
    return order


def _time_places(loaded: Loaded[E], rows: Rows) -> Rows | None:
    """Return where each of the rows stands in the order of time, (n,), or None where there is no time."""
    if loaded.time is None:
        return None
    places = np.empty(len(rows), dtype=np.int64)
    places[_time_order(loaded, rows)] = np.arange(len(rows))
    return places


def _labels_to_keep_even(loaded: Loaded[E], rows: Rows, parts: int) -> Rows:
    """Return the class of each of the rows.

    Raises:
        DataError: the target is a number, or a class is too small for so many parts.
    """
    if loaded.stratify is None:
        raise DataError(
            "data.split.strategy is stratified, which needs classes, but the target is a number (regression); "
            "set data.split.strategy to random"
        )
    labels: Rows = loaded.stratify[rows]
    _check_class_sizes(labels, loaded.class_names, parts)
    return labels


def _check_class_sizes(labels: Rows, class_names: tuple[str, ...] | None, parts: int) -> None:
    small = []
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count < parts:
            small.append(f"{class_names[label] if class_names else label!s} ({count})")
    if small:
        listing = ", ".join(small[:10]) + (f" and {len(small) - 10} more" if len(small) > 10 else "")
        raise DataError(
            f"a stratified split into {parts} parts needs at least {parts} rows of each class, but there are too few of: "
            f"{listing}; add rows, take these classes out, or set data.split.strategy to random"
        )


def _share(n: int, fraction: float, room: int) -> int:
    return min(max(1, round(fraction * n)), room)
