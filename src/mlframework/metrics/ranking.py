"""Ranking metrics of recommenders: one implementation for all that have a vector for each user and each item.

The score of an item for a user is the dot product of their vectors. Items that the user has seen in training are
masked, all other items are candidates. Users with no held-out item are left out, and so are users with no training
interaction: nobody can know them. Every metric is a mean over the users that remain. Of two candidates with the same
score the one with the lower position comes first.

A score that is not a number makes every metric not a number, so that the trial fails; so do vectors so large that a
score could overflow float32. In shapes, `m` is the number of evaluated users, `h` of their held-out items, `d` of a
vector's dimensions.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlframework.metrics.scores import Floats, Ints, Vectors, best_of, blocks, finite, first_of, flat, places_of


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
    if not finite(users, item_vecs):
        return Ranks(depth, ranks, owner, n_held, np.full(len(held), np.nan))
    best = np.zeros(len(held))
    for block, scores in blocks(users, item_vecs, held.seen_indptr, held.seen_items):
        wanted = flat(held.held_indptr, held.held_items, block, held.n_items)
        ranks[held.held_indptr[block.start] : held.held_indptr[block.stop]] = places_of(scores, wanted, depth)
        if first:
            best[block] = first_of(scores, wanted, n_held[block])
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
    if not finite(user_vecs, item_vecs):
        raise ValueError("a score is not a number, or too large for float32: these vectors can recommend nothing")
    items, values = np.full((m, k), -1, np.int64), np.full((m, k), -np.inf, np.float32)
    for block, scores in blocks(user_vecs, item_vecs, indptr, seen):
        flat, places = best_of(scores, k)
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
