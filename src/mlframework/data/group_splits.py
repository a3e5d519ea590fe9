"""Cutting rows that belong together: no group is ever in two splits."""

import numpy as np
from numpy.typing import NDArray

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
    from sklearn.model_selection import GroupShuffleSplit

    n, parts = len(np.unique(groups)), 3 if test_fraction > 0 else 2
    if n < parts:
        raise DataError(f"{n} groups are too few for {parts} splits; add groups, or use another data.split.strategy")
    n_test = min(max(1, round(test_fraction * n)), n - 2) if parts == 3 else 0
    n_val = min(max(1, round(val_fraction * n)), n - n_test - 1)
    rest, test = np.arange(len(groups)), np.arange(0)
    if n_test:
        rest, test = next(GroupShuffleSplit(1, test_size=n_test, random_state=seed).split(rest, groups=groups))
    kept, drawn = next(GroupShuffleSplit(1, test_size=n_val, random_state=seed).split(rest, groups=groups[rest]))
    return np.sort(rest[kept]), np.sort(rest[drawn]), np.sort(test)
