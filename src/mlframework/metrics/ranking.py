"""Ranking metrics of recommenders: one implementation for all that have a vector for each user and each item.

The score of an item for a user is the dot product of their vectors. Items that the user has seen in training are
masked, all other items are candidates. Users with no held-out item are left out, and so are users with no training
interaction: nobody can know them. Every metric is a mean over the users that remain. Of two candidates with the same
score the one with the lower position comes first.

A score that is not a number makes every metric not a number, so that the trial fails; so do vectors so large that a
score could overflow float32. In shapes, `m` is the number of evaluated users, `h` of their held-out items, `d` of a
vector's dimensions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 1 << 19
"""Scores held at a time: 2 MiB, near what a core caches. Fixed, so that no result depends on the machine."""
_MIN_ROWS = 32
"""Users held at a time where there are many items: with fewer, most of the time goes into reading the items."""


class Sparse(Protocol):
    """A matrix in compressed rows (CSR): row `u` has its entries in columns `indices[indptr[u]:indptr[u + 1]]`."""

    @property
    def indptr(self) -> NDArray[Any]: ...
    @property
    def indices(self) -> NDArray[Any]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class HeldOut:
    """What a split holds out, prepared once by `HeldOut.of` and used in every epoch; items are sorted for each user."""

    users: Ints
    """(m,) rows of the evaluated users in the user vectors, ascending."""
    seen_indptr: Ints
    """(m + 1,) where each user's seen items begin."""
    seen_items: Ints
    """Items with a training interaction, user by user."""
    held_indptr: Ints
    """(m + 1,) where each user's held-out items begin."""
    held_items: Ints
    """(h,) held-out items, user by user; none of them is seen."""
    n_items: int
    """Number of all items."""
    n_left_out: int
    """Users who have a held-out item, but no training interaction."""

    @classmethod
    def of(cls, seen: Sparse, held_out: Sparse) -> "HeldOut":
        """Prepare the evaluation of a split from two matrices of interactions, (n_users, n_items) each.

        A stored entry is an interaction, whatever its value. A held-out item that is also seen is not held out.

        Raises:
            ValueError: the matrices differ in shape, or no user is left to evaluate.
        """
        if tuple(seen.shape) != tuple(held_out.shape):
            raise ValueError(f"the seen items are {tuple(seen.shape)}, but the held-out items {tuple(held_out.shape)}")
        n_users, n_items = seen.shape
        before, after = _keys(seen), _keys(held_out)
        after = after[np.append(before, -1)[np.searchsorted(before, after)] != after]
        n_seen, n_held = (np.bincount(keys // n_items, minlength=n_users) for keys in (before, after))
        evaluated = (n_seen > 0) & (n_held > 0)
        if not evaluated.any():
            raise ValueError("no user is left to evaluate: none has a training interaction and a new held-out item")
        return cls(
            users=np.flatnonzero(evaluated),
            seen_indptr=np.append(0, np.cumsum(n_seen[evaluated])),
            seen_items=before[evaluated[before // n_items]] % n_items,
            held_indptr=np.append(0, np.cumsum(n_held[evaluated])),
            held_items=after[evaluated[after // n_items]] % n_items,
            n_items=int(n_items),
            n_left_out=int(np.count_nonzero((n_seen == 0) & (n_held > 0))),
        )

    def __len__(self) -> int:
        """Return the number of evaluated users."""
        return len(self.users)


@dataclass(frozen=True)
class Ranks:
    """Where a model ranks the held-out items: what every metric is computed from."""

    depth: int
    """Largest K that a metric may ask for: a larger one, and one below 1, raise ValueError."""
    ranks: Ints
    """(h,) rank of each held-out item among its user's candidates, from 1; 0 where it is beyond `depth`."""
    owner: Ints
    """(h,) position of the item's user, 0 to m - 1, ascending."""
    n_held: Ints
    """(m,) number of each user's held-out items."""
    first: Floats
    """(m,) rank of the user's best held-out item, however deep; 0 where not asked for, NaN where a score is not a number."""


def rank(user_vecs: Vectors, item_vecs: Vectors, held: HeldOut, depth: int, first: bool = True) -> Ranks:
    """Rank the held-out items of every evaluated user, exactly.

    Args:
        user_vecs: (n_users, d), rows as in the matrices that `held` was made from.
        item_vecs: (n_items, d).
        held: what is held out.
        depth: the largest K that will be asked for; it may exceed the number of items.
        first: whether `Ranks.first` is wanted, which only `reciprocal_rank` needs. It costs about a quarter of the time.

    Raises:
        ValueError: `depth` is below 1, or the vectors do not fit `held`.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}; it must be at least 1")
    if len(item_vecs) != held.n_items:
        raise ValueError(f"there are {held.n_items} items, but vectors of {len(item_vecs)}")
    if len(user_vecs) <= held.users[-1]:
        raise ValueError(f"user {held.users[-1]} is evaluated, but there are vectors of {len(user_vecs)} users only")
    users, n_held = user_vecs[held.users], np.diff(held.held_indptr)
    owner, ranks = np.repeat(np.arange(len(held)), n_held), np.zeros(len(held.held_items), np.int64)
    if not _finite(users, item_vecs):
        return Ranks(depth, ranks, owner, n_held, np.full(len(held), np.nan))
    best = np.zeros(len(held))
    for block, scores in _blocks(users, item_vecs, held.seen_indptr, held.seen_items):
        wanted = _flat(held.held_indptr, held.held_items, block, held.n_items)
        ranks[held.held_indptr[block.start] : held.held_indptr[block.stop]] = _places(scores, wanted, depth)
        if first:
            best[block] = _first(scores, wanted, n_held[block])
    return Ranks(depth, ranks, owner, n_held, best)


def top(
    user_vecs: Vectors, item_vecs: Vectors, seen_indptr: Ints | None, seen_items: Ints | None, k: int
) -> tuple[Ints, Vectors]:
    """Return the k best items that each user has not seen, best first, and their scores: (m, k) both.

    Args:
        user_vecs: (m, d).
        item_vecs: (n_items, d).
        seen_indptr: (m + 1,) where each user's items begin in `seen_items`; both None: nothing is masked.
        seen_items: seen items, user by user.
        k: how many; where a user has fewer candidates the rest is item -1 with a score of minus infinity.

    Raises:
        ValueError: `k` is below 1, a score is not a number, or the seen items do not fit the vectors.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    m, n_items = len(user_vecs), len(item_vecs)
    indptr = np.zeros(m + 1, np.int64) if seen_indptr is None else seen_indptr
    seen = np.empty(0, np.int64) if seen_items is None else seen_items
    inside = seen.min(initial=0) >= 0 and seen.max(initial=-1) < n_items
    if len(indptr) != m + 1 or indptr[-1] != len(seen) or not inside:
        raise ValueError(f"the seen items do not fit {m} users and {n_items} items")
    if not _finite(user_vecs, item_vecs):
        raise ValueError("a score is not a number, or too large for float32: these vectors can recommend nothing")
    items, values = np.full((m, k), -1, np.int64), np.full((m, k), -np.inf, np.float32)
    for block, scores in _blocks(user_vecs, item_vecs, indptr, seen):
        flat, places = _best(scores, k)
        flat, places = flat[places <= k], places[places <= k]
        items[block][flat // n_items, places - 1] = flat % n_items
        values[block][flat // n_items, places - 1] = scores.reshape(-1)[flat]
    return items, values


def precision(ranks: Ranks, k: int) -> float:
    """Precision@K: hits among the first K, divided by K, also where the user has fewer held-out items or candidates.

    Formula: hits(K) / K

    From: Herlocker et al. 2004, https://doi.org/10.1145/963770.963772
    """
    owner, _ = _hits(ranks, k)
    return _mean(ranks, owner, None, k)


def recall(ranks: Ranks, k: int) -> float:
    """Recall@K: hits among the first K, divided by the number of the user's held-out items.

    Formula: hits(K) / held-out

    From: Herlocker et al. 2004, https://doi.org/10.1145/963770.963772
    """
    owner, _ = _hits(ranks, k)
    return _mean(ranks, owner, None, ranks.n_held)


def ndcg(ranks: Ranks, k: int) -> float:
    """NDCG@K: sum over hits at a rank r <= K of 1 / log2(r + 1), divided by that sum of an ideal ranking.

    Gains are binary; the ideal ranking begins with min(K, held-out items) hits.

    Formula: Σ over hits at r ≤ K of 1 / log₂(r + 1), divided by Σ for r = 1 ... min(K, held-out) of the same

    From: Järvelin and Kekäläinen 2002, https://doi.org/10.1145/582415.582418
    """
    owner, at = _hits(ranks, k)
    n_ideal = np.minimum(k, ranks.n_held)
    ideal = np.cumsum(1 / np.log2(np.arange(1, n_ideal.max() + 1) + 1))
    return _mean(ranks, owner, 1 / np.log2(at + 1), ideal[n_ideal - 1])


def average_precision(ranks: Ranks, k: int) -> float:
    """MAP@K: sum over hits at a rank r <= K of (hits up to r) / r, divided by min(K, held-out items).

    Formula: Σ over hits at r ≤ K of hits(r) / r, divided by min(K, held-out)

    From: Manning, Raghavan and Schütze 2008, https://nlp.stanford.edu/IR-book/html/htmledition/evaluation-of-ranked-retrieval-results-1.html
    """
    owner, at = _hits(ranks, k)
    hits_up_to = np.arange(1, len(owner) + 1) - np.searchsorted(owner, owner)
    return _mean(ranks, owner, hits_up_to / at, np.minimum(k, ranks.n_held))


def reciprocal_rank(ranks: Ranks) -> float:
    """MRR: 1 / rank of the best ranked held-out item, over the full ranking, with no cut-off. Needs `Ranks.first`.

    Formula: 1 / rank of the first hit

    From: Voorhees 1999, https://trec.nist.gov/pubs/trec8/papers/qa_report.pdf
    """
    if (ranks.first == 0).any():
        raise ValueError("the reciprocal rank needs the best rank of every user: rank with first=True")
    return float(np.mean(1 / ranks.first))


def curve(ranks: Ranks) -> Floats:
    """Return recall at every K from 1 to the depth of the ranks: (depth,)."""
    owner, at = _hits(ranks, ranks.depth)
    # Users with equally many held-out items are counted together: a sum of sevenths would miss 1 by a last digit.
    sizes, group = np.unique(ranks.n_held[owner], return_inverse=True)
    hits = np.zeros((len(sizes), ranks.depth), np.int64)
    np.add.at(hits, (group, at - 1), 1)
    found: Floats = (np.cumsum(hits, axis=1) / sizes[:, None]).sum(axis=0) / len(ranks.n_held)
    return np.full(ranks.depth, np.nan) if np.isnan(ranks.first).any() else found


def _hits(ranks: Ranks, k: int) -> tuple[Ints, Ints]:
    """Return the user and the rank of each held-out item among the first k, user by user, best rank first."""
    if not 1 <= k <= ranks.depth:
        raise ValueError(f"K is {k}; it must be from 1 to {ranks.depth}, the depth that the items were ranked to")
    hits = np.flatnonzero((ranks.ranks > 0) & (ranks.ranks <= k))
    owner, at = ranks.owner[hits], ranks.ranks[hits]
    # Summed in this order a perfect ranking gives the ideal sum to the last digit, and nothing exceeds it.
    order = np.lexsort((at, owner))
    return owner[order], at[order]


def _mean(ranks: Ranks, owner: Ints, gains: Floats | None, ideal: Ints | Floats | int) -> float:
    """Return the mean over users of the sum of their hits' gains, 1 each where None, divided by the ideal sum."""
    values = np.bincount(owner, gains, minlength=len(ranks.n_held)) / ideal
    return float("nan") if np.isnan(ranks.first).any() else float(np.mean(values))


def _keys(matrix: Sparse) -> Ints:
    """Return row * n_columns + column of each entry, ascending, each once."""
    n_rows, n_columns = matrix.shape
    keys: Ints = np.repeat(np.arange(n_rows), np.diff(matrix.indptr)) * n_columns + matrix.indices
    return keys if (keys[1:] > keys[:-1]).all() else np.unique(keys)


def _flat(indptr: Ints, items: Ints, block: slice, n_items: int) -> Ints:
    """Return where the items of a block of users stand in the block's scores laid out as one row."""
    begins = indptr[block.start : block.stop + 1]
    return np.add(np.repeat(np.arange(len(begins) - 1) * n_items, np.diff(begins)), items[begins[0] : begins[-1]])


def _finite(users: Vectors, items: Vectors) -> bool:
    """Whether no score, nor part of its sum, can be infinite or not a number: a look at the vectors, not the scores."""
    large = [float(np.maximum(vecs.max(initial=0), -vecs.min(initial=0))) for vecs in (users, items)]
    return bool(large[0] * large[1] * items.shape[1] < float(np.finfo(np.float32).max))


def _blocks(users: Vectors, items: Vectors, indptr: Ints, seen: Ints) -> Iterator[tuple[slice, Vectors]]:
    """Yield slices of users and their scores, minus infinity for seen items: (rows, n_items), overwritten by the next."""
    n_rows = max(_BLOCK // len(items), _MIN_ROWS)
    # Getting fresh memory for each block would take as long as the product.
    memory = np.empty((min(n_rows, len(users)), len(items)), np.float32)
    for start in range(0, len(users), n_rows):
        block = slice(start, min(start + n_rows, len(users)))
        scores = np.matmul(users[block], items.T, out=memory[: block.stop - start])
        scores.reshape(-1)[_flat(indptr, seen, block, len(items))] = -np.inf
        yield block, scores


def _best(scores: Vectors, k: int) -> tuple[Ints, Ints]:
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
    places[np.argsort(key, kind="stable")] = np.arange(1, len(flat) + 1)
    return flat, places - np.searchsorted(rows, rows)


def _places(scores: Vectors, wanted: Ints, k: int) -> Ints:
    """Return the place in its row of each wanted position, 0 where it is not among the k best."""
    flat, places = _best(scores, k)
    found = np.searchsorted(flat, wanted)
    known, places = np.append(flat, -1)[found] == wanted, np.append(places, 0)[found]
    return np.where(known & (places <= k), places, 0)


def _first(scores: Vectors, wanted: Ints, n_held: Ints) -> Floats:
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
