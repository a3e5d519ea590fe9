"""Cutting rows that belong together: no group is ever in two splits."""

import numpy as np
from numpy.typing import NDArray

from mlframework.data.draws import Rows, draw
from mlframework.errors import DataError


def draw_groups(
    groups: NDArray[np.int64], val_fraction: float, test_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Draw whole groups for val and test, at least one for each, by scikit-learn's GroupShuffleSplit.

    Args:
        groups: number of the group of each row, (n,).
        val_fraction: share of the groups that val gets.
        test_fraction: share of the groups that the test gets; 0 for no test.
        seed: 0 to 2**32 - 1.

    Returns:
        The rows of train, val and test, each in ascending order.

    Raises:
        DataError: there are fewer groups than splits.
    """
    n, parts = len(np.unique(groups)), 3 if test_fraction > 0 else 2
    if n < parts:
        raise DataError(f"{n} groups are too few for {parts} splits; add groups, or use another data.split.strategy")
    n_test = min(max(1, round(test_fraction * n)), n - 2) if parts == 3 else 0
    n_val = min(max(1, round(val_fraction * n)), n - n_test - 1)
    rest, test = np.arange(len(groups)), np.arange(0)
    if n_test:
        rest, test = _draw(rest, groups, n_test, seed)
    train, val = _draw(rest, groups, n_val, seed)
    return train, val, test


def _draw(rows: NDArray[np.int64], groups: NDArray[np.int64], n_out: int, seed: int) -> tuple[Rows, Rows]:
    """Draw `n_out` of the groups that the rows are of; returns the rows of the others first."""
    there, places = np.unique(groups[rows], return_inverse=True)
    drawn = np.isin(places, draw(len(there), n_out, seed))
    return rows[~drawn], rows[drawn]
