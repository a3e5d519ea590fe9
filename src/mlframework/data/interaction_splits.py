"""Cutting interactions user by user: everybody trains, and everybody is evaluated. No Python loop over users."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlframework.errors import DataError
from mlframework.order import stable_order


def draw_per_user(
    groups: NDArray[np.int64], val_fraction: float, test_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Draw the share of each user's rows, at least one, for val and for test; one or more stay in train.

    Args:
        groups: the user of each row, (n,).
        val_fraction: share of a user's rows that val gets.
        test_fraction: share of a user's rows that the test gets; 0 for no test.
        seed: 0 to 2**32 - 1.

    Returns:
        The rows of train, val and test, each in ascending order.

    Raises:
        DataError: a user has too few rows to have one in each.
    """
    parts = 3 if test_fraction > 0 else 2
    rank, size = _places(groups, _noise(groups, seed))
    _require(groups, size, parts)
    n_test = _share(size, test_fraction, room=size - 2) if parts == 3 else np.zeros_like(size)
    n_val = _share(size, val_fraction, room=size - n_test - 1)
    test, val = rank < n_test, (rank >= n_test) & (rank < n_test + n_val)
    return np.flatnonzero(~(test | val)), np.flatnonzero(val), np.flatnonzero(test)


def leave_one_out(
    groups: NDArray[np.int64], time: NDArray[Any] | None, parts: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Hold out each user's last row for the test and the one before it for val, as in He et al. 2017 (NCF), section 4.1.

    Args:
        groups: the user of each row, (n,).
        time: by which the rows are put in order, (n,), ties in the order of the rows; None: a random order.
        parts: 3, or 2 for no test: then the last row is val's.
        seed: of the random order, 0 to 2**32 - 1.

    Returns:
        The rows of train, val and test, each in ascending order.

    Raises:
        DataError: a user has too few rows to have one in each.
    """
    rank, size = _places(groups, _noise(groups, seed) if time is None else time)
    _require(groups, size, parts)
    from_end = size - rank
    rows = [np.flatnonzero(from_end >= parts), np.flatnonzero(from_end == parts - 1)]
    return rows[0], rows[1], np.flatnonzero(from_end == 1) if parts == 3 else rows[0][:0]


def subset_per_user(groups: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """Draw `round(fraction * n)` of each user's n rows, at least one; returns them in ascending order."""
    rank, size = _places(groups, _noise(groups, seed))
    return np.flatnonzero(rank < _share(size, fraction, room=size))


def warn_of_strangers(
    groups: NDArray[np.int64], train: NDArray[np.int64], val: NDArray[np.int64], test: NDArray[np.int64] | None
) -> None:
    """Say how many users of val and test have nothing in train, as a cut by time may leave them."""
    known = np.unique(groups[train])
    found = []
    for name, rows in (("val", val), ("test", test)):
        users = np.unique(groups[rows]) if rows is not None else known[:0]
        strangers = np.setdiff1d(users, known, assume_unique=True)
        if len(strangers):
            found.append(f"{len(strangers):,} of {len(users):,} users of {name}")
    if found:
        warnings.warn(
            f"{' and '.join(found)} have nothing in train; with task ranking they are left out of the evaluation: nobody "
            "can recommend to them",
            UserWarning,
            stacklevel=4,
        )


def _noise(groups: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    # RandomState's stream is frozen for good, which numpy does not promise of its newer generators.
    return np.random.RandomState(seed).random_sample(len(groups))


def _places(groups: NDArray[np.int64], key: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the position of each row among its user's rows in the order of `key`, and how many these are, both (n,)."""
    order = _by_group(groups, key)
    _, first, counts = np.unique(groups[order], return_index=True, return_counts=True)
    rank, size = np.empty(len(groups), dtype=np.int64), np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(first, counts)
    size[order] = np.repeat(counts, counts)
    return rank, size


def _by_group(groups: NDArray[np.int64], key: NDArray[Any]) -> NDArray[np.int64]:
    """Return what `np.lexsort((key, groups))` does, in a third of its time where keys and users allow it."""
    by_key = stable_order(key)
    # Numbers of 16 bits are sorted without being compared.
    small = groups.astype(np.uint16) if groups.max(initial=0) < 1 << 16 else groups
    return by_key[np.argsort(small[by_key], kind="stable")]


def _share(size: NDArray[np.int64], fraction: float, room: NDArray[np.int64]) -> NDArray[np.int64]:
    shares: NDArray[np.int64] = np.minimum(np.maximum(1, np.rint(fraction * size).astype(np.int64)), room)
    return shares


def _require(groups: NDArray[np.int64], size: NDArray[np.int64], parts: int) -> None:
    few = len(np.unique(groups[size < parts]))
    if few:
        raise DataError(
            f"{few:,} of {len(np.unique(groups)):,} users have fewer than {parts} interactions, too few to have one in "
            f"each of {parts} splits; set data.min_user_interactions: {parts}"
            + ("" if parts == 2 else ", or data.split.strategy: time, which cuts without regard to users")
        )
