"""Matrices in compressed rows (CSR): row `u` has the columns `items[indptr[u]:indptr[u + 1]]`."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def with_pairs(indptr: Ints, items: Ints, pairs: Ints) -> tuple[Ints, Ints]:
    """Return a CSR matrix's indptr and indices with further (user, item) pairs (2, n) in it."""
    users = np.concatenate([np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), pairs[0]])
    order = np.argsort(users, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(indptr) - 1))])
    return starts, np.concatenate([items, pairs[1]])[order]


def some_rows(indptr: Ints, items: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Return some rows of a CSR matrix, as its indptr and indices."""
    starts, lengths = indptr[rows], indptr[rows + 1] - indptr[rows]
    chosen = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(chosen[-1]) - np.repeat(chosen[:-1] - starts, lengths)
    return chosen, items[places]
