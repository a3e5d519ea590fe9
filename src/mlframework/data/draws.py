"""Drawing some of the rows, all alike or with every class's share: the draws of scikit-learn, row for row.

Importing scikit-learn, which brings pandas and SciPy's statistics, takes longer than all the rest of a table's start; a
test holds these draws against its own. NumPy keeps the stream of `RandomState` as it is.
"""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def draw(n: int, n_out: int, seed: int) -> Rows:
    """Return which `n_out` of `n` are drawn, in ascending order: as `ShuffleSplit` draws its test."""
    drawn: Rows = np.sort(np.random.RandomState(seed).permutation(n)[:n_out])
    return drawn


def draw_of_classes(labels: Rows, n_out: int, seed: int) -> Rows:
    """Return which `n_out` are drawn, in ascending order, so that every class keeps its share: `StratifiedShuffleSplit`.

    Args:
        labels: the class of each, (n,); every class has two or more.
        n_out: how many; as many as there are classes, or more, and so many are left.
        seed: 0 to 2**32 - 1.
    """
    rng = np.random.RandomState(seed)
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    n_kept = _shares(counts, len(labels) - n_out, rng)
    n_drawn = _shares(counts - n_kept, n_out, rng)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    drawn = []
    for rows, kept, out in zip(members, n_kept, n_drawn, strict=True):
        drawn.append(rows[rng.permutation(len(rows))[kept : kept + out]])
    return np.sort(np.concatenate(drawn))


def _shares(counts: Rows, n: int, rng: np.random.RandomState) -> Rows:
    """Return how many of `n` each class gets by its size; what rounding down leaves goes to the largest remainders."""
    exact = counts / counts.sum() * n
    given = np.floor(exact)
    remainders = exact - given
    left = int(n - given.sum())
    for remainder in np.unique(remainders)[::-1]:
        if left <= 0:
            break
        alike = np.flatnonzero(remainders == remainder)
        chosen = rng.choice(alike, size=min(len(alike), left), replace=False)
        given[chosen] += 1
        left -= len(chosen)
    shares: Rows = given.astype(np.int64)
    return shares
