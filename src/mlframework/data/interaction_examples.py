"""Interactions as arrays: `Catalogue` says what their codes mean, `InteractionExamples` holds them."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlframework.data.splits import Array, Rows
from mlframework.data.table_schema import TableExamples, TableSchema

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

InteractionTask: TypeAlias = Literal["ranking", "classification", "regression"]
Ids: TypeAlias = tuple[int, ...] | tuple[str, ...]


_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The users and items of a log, and what is known about them. All splits of a log share one."""

    user_column: str
    item_column: str
    users: Ids
    """Ids of the users, sorted: code i stands for the i-th."""
    items: Ids
    """Ids of the items, sorted: code i stands for the i-th."""
    user_features: TableExamples | None
    """One row a user in the order of `users`; the targets are zeros."""
    item_features: TableExamples | None
    """One row an item in the order of `items`; the targets are zeros."""
    task: InteractionTask
    target: str
    """Name of the rating column; empty where there is none."""
    class_names: tuple[str, str] | None
    """Names of the classes 0 and 1 in a classification, such as `rating < 4` and `rating >= 4`."""
    rated_low: tuple[NDArray[np.int64], NDArray[np.int64]] = (_NONE, _NONE)
    """Users and items, (n,) codes each, of ratings below `min_rating` in a ranking: nothing is learnt from them, but an item
    that its user disliked is none to recommend."""
    item_names: tuple[str, ...] | None = None
    """What each item is called, in the order of `items`; None where nothing says so. For people to read: it is no part of
    what makes two catalogues equal."""

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Catalogue):
            return NotImplemented
        return (
            self._named() == other._named()
            and _same_rows(self.user_features, other.user_features)
            and _same_rows(self.item_features, other.item_features)
        )

    def __hash__(self) -> int:
        return hash(self._named())

    def _named(self) -> tuple[object, ...]:
        return self.user_column, self.item_column, self.users, self.items, self.task, self.target, self.class_names

    @cached_property
    def table_schema(self) -> TableSchema:
        """What the columns of `InteractionExamples.as_table` are."""
        tables = [table.schema for table in (self.user_features, self.item_features) if table is not None]
        vocabulary = {
            self.user_column: tuple(map(str, self.users)),
            self.item_column: tuple(map(str, self.items)),
        }
        for table in tables:
            vocabulary |= table.vocabulary
        return TableSchema(
            numeric=tuple(name for table in tables for name in table.numeric),
            categorical=tuple(vocabulary),
            vocabulary=vocabulary,
            target=self.target,
            task="classification" if self.task == "classification" else "regression",
            class_names=self.class_names,
        )


@dataclass(frozen=True, eq=False)
class InteractionExamples:
    """Interactions, at most one a user and item, in the order of the file (in a split by time, of time)."""

    catalogue: Catalogue
    users: NDArray[np.int32]
    """Codes into `catalogue.users`, (n,)."""
    items: NDArray[np.int32]
    """Codes into `catalogue.items`, (n,)."""
    values: NDArray[np.float32]
    """(n,). Ranking: weights, above 0: ratings, how often it happened, or 1. Classification: 0 or 1. Regression: ratings."""
    time: Array | None = None
    """When each happened, (n,): numbers or datetime64; None where the log does not say, or that is not known."""

    def __len__(self) -> int:
        return len(self.users)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InteractionExamples):
            return NotImplemented
        pairs = ((self.users, other.users), (self.items, other.items), (self.values, other.values))
        return self.catalogue == other.catalogue and all(np.array_equal(one, two) for one, two in pairs)

    def __hash__(self) -> int:
        return hash((self.catalogue, len(self)))

    @property
    def targets(self) -> Array:
        """What is to be predicted, (n,): int64 classes in a classification, else `values`."""
        return self.values.astype(np.int64) if self.catalogue.task == "classification" else self.values

    def take(self, rows: Rows) -> Self:
        """Return the interactions at these positions, in this order, as a copy."""
        time = None if self.time is None else self.time[rows]
        return type(self)(self.catalogue, self.users[rows], self.items[rows], self.values[rows], time)

    def concat(self, other: Self) -> Self:
        """Return these interactions followed by the others, which must be of an equal catalogue."""
        if self.catalogue != other.catalogue:
            raise ValueError("interactions of different catalogues cannot be put together")
        return type(self)(
            self.catalogue,
            np.concatenate([self.users, other.users]),
            np.concatenate([self.items, other.items]),
            np.concatenate([self.values, other.values]),
            None if self.time is None or other.time is None else np.concatenate([self.time, other.time]),
        )

    def matrix(self) -> "csr_matrix":
        """Return the values as float32 (n_users, n_items), built once; callers share it and must not write into it.

        The indices of each row are sorted. A value of 0 (a class, a rating) is stored as any other.

        Raises:
            ValueError: the same user and item stand in it twice.
        """
        return self._matrix

    @cached_property
    def _matrix(self) -> "csr_matrix":
        from scipy.sparse import csr_matrix

        shape = len(self.catalogue.users), len(self.catalogue.items)
        found = csr_matrix((self.values, (self.users, self.items)), shape=shape)
        if found.nnz < len(self):  # what repeats was added up
            raise ValueError("the same user and item stand twice among these interactions")
        return found

    def as_table(self) -> TableExamples:
        """Return a row for each interaction: the user and the item as categories, then what is known about both.

        The categorical columns are the user, the item, those of the users and those of the items; numeric ones those of
        the users and those of the items. In a ranking the target is the weight, as in a regression.
        """
        sides = [(self.users, self.catalogue.user_features), (self.items, self.catalogue.item_features)]
        known = [(codes, table) for codes, table in sides if table is not None]
        numeric = [np.empty((len(self), 0), dtype=np.float32), *(table.numeric[codes] for codes, table in known)]
        categorical = [self.users[:, None], self.items[:, None], *(table.categorical[codes] for codes, table in known)]
        return TableExamples(
            self.catalogue.table_schema,
            np.concatenate(numeric, axis=1),
            np.concatenate(categorical, axis=1),
            self.targets,
        )


def _same_rows(one: TableExamples | None, two: TableExamples | None) -> bool:
    if one is None or two is None:
        return one is two
    return (
        one.schema == two.schema
        and np.array_equal(one.numeric, two.numeric, equal_nan=True)
        and np.array_equal(one.categorical, two.categorical)
    )
