"""Scores of all items for a block of users at a time: which are the best, and in which place a given one stands.

Of two items with the same score the one with the lower position comes first.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlframework.order import stable_order

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 1 << 19
"""Scores held at a time: 2 MiB, near what a core caches. Fixed, so that no result depends on the machine."""
_MIN_ROWS = 32
"""Users held at a time where there are many items: with fewer, most of the time goes into reading the items."""


def flat(indptr: Ints, items: Ints, block: slice, n_items: int) -> Ints:
    """Return where the items of a block of users stand in the block's scores laid out as one row."""
    begins = indptr[block.start : block.stop + 1]
    return np.add(np.repeat(np.arange(len(begins) - 1) * n_items, np.diff(begins)), items[begins[0] : begins[-1]])


def finite(users: Vectors, items: Vectors) -> bool:
    """Whether no score, nor part of its sum, can be infinite or not a number: a look at the vectors, not the scores."""
    large = [float(np.maximum(vecs.max(initial=0), -vecs.min(initial=0))) for vecs in (users, items)]
    return bool(large[0] * large[1] * items.shape[1] < float(np.finfo(np.float32).max))


def blocks(users: Vectors, items: Vectors, indptr: Ints, seen: Ints) -> Iterator[tuple[slice, Vectors]]:
    """Yield slices of users and their scores, minus infinity for seen items: (rows, n_items), overwritten by the next."""
    n_rows = max(_BLOCK // len(items), _MIN_ROWS)
    # Getting fresh memory for each block would take as long as the product.
    memory = np.empty((min(n_rows, len(users)), len(items)), np.float32)
    for start in range(0, len(users), n_rows):
        block = slice(start, min(start + n_rows, len(users)))
        scores = np.matmul(users[block], items.T, out=memory[: block.stop - start])
        scores.reshape(-1)[flat(indptr, seen, block, len(items))] = -np.inf
        yield block, scores


def best_of(scores: Vectors, k: int) -> tuple[Ints, Ints]:
    """Find the k best candidates of each row and perhaps some more, in any case all that are as good as the k-th.

    Returns their positions in the scores laid out as one row, ascending, and their exact places in their rows, from 1.
    """
    n_items = scores.shape[1]
    # Put items into groups: the k-th best of the groups' maxima is a bound that k items reach, and few more do where
    # groups are many. It costs one pass and a sort of few numbers. A group is every n_groups-th item: that is fast.
    n_groups = min(n_items, max(8 * k, -(-n_items // 16)))
    maxima = scores[:, :n_groups].copy()
    for start in range(n_groups, n_items, n_groups):
        part = scores[:, start : start + n_groups]
        np.maximum(maxima[:, : part.shape[1]], part, out=maxima[:, : part.shape[1]])
    kth = max(n_groups - k, 0)
    bound = np.maximum(np.partition(maxima, kth, axis=1)[:, kth], np.finfo(np.float32).min)
    flat = np.flatnonzero(scores >= bound[:, None])
    rows, places = flat // n_items, np.empty(len(flat), np.int64)
    # As integers the bits of positive floats rise, those of negative ones fall; so row and score make one key, which
    # sorts ten times as fast as two. Minus zero becomes zero.
    bits = scores.reshape(-1)[flat].view(np.int32).astype(np.int64)
    key = (rows << 32) - np.where(bits < 0, -(1 << 31) - bits, bits)
    places[stable_order(key)] = np.arange(1, len(flat) + 1)
    return flat, places - np.searchsorted(rows, np.arange(len(scores)))[rows]


def places_of(scores: Vectors, wanted: Ints, k: int) -> Ints:
    """Return the place in its row of each wanted position, 0 where it is not among the k best."""
    flat, places = best_of(scores, k)
    found = np.searchsorted(flat, wanted)
    known, places = np.append(flat, -1)[found] == wanted, np.append(places, 0)[found]
    return np.where(known & (places <= k), places, 0)


def first_of(scores: Vectors, wanted: Ints, n_held: Ints) -> Floats:
    """Return the place in its row of the best of each row's wanted positions, counted on the whole row: (rows,)."""
    n_items, begins = scores.shape[1], np.cumsum(n_held) - n_held
    values = scores.reshape(-1)[wanted]
    best = np.maximum.reduceat(values, begins)
    item = np.minimum.reduceat(np.where(values == np.repeat(best, n_held), wanted % n_items, n_items), begins)
    rows, tied = np.divmod(np.flatnonzero(scores == best[:, None]), n_items)
    ahead = np.bincount(rows[tied < item[rows]], minlength=len(scores))
    # Packed, eight to a byte, they are counted three times as fast.
    above: Ints = np.bitwise_count(np.packbits(scores > best[:, None], axis=1)).sum(axis=1, dtype=np.int64)
    return (1 + above + ahead).astype(np.float64)
