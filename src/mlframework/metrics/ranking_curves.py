"""Ranking metrics at every K at once, for pictures. Each K has what its metric has there.

Of ranks that come of scores which are not numbers every value is none.
"""

import numpy as np

from mlframework.metrics.ranking import Ranks
from mlframework.metrics.scores import Floats, Ints


def recall_curve(ranks: Ranks) -> Floats:
    """Return recall at every K from 1 to the depth of the ranks: (depth,)."""
    owner, at = _hits(ranks)
    # Users with equally many held-out items are counted together: a sum of sevenths would miss 1 by a last digit.
    sizes, group = np.unique(ranks.n_held[owner], return_inverse=True)
    hits = np.zeros((len(sizes), ranks.depth), np.int64)
    np.add.at(hits, (group, at - 1), 1)
    return _numbers(ranks, (np.cumsum(hits, axis=1) / sizes[:, None]).sum(axis=0) / len(ranks.n_held))


def precision_curve(ranks: Ranks) -> Floats:
    """Return precision at every K from 1 to the depth of the ranks: (depth,)."""
    _, at = _hits(ranks)
    hits = np.cumsum(np.bincount(at, minlength=ranks.depth + 1)[1:])
    return _numbers(ranks, hits / (np.arange(1, ranks.depth + 1) * len(ranks.n_held)))


def ndcg_curve(ranks: Ranks) -> Floats:
    """Return NDCG at every K from 1 to the depth of the ranks: (depth,)."""
    owner, at = _hits(ranks)
    every_k = np.arange(1, ranks.depth + 1)
    discounts = 1 / np.log2(every_k + 1)
    # Users with equally many held-out items have the same ideal: they are summed up together.
    sizes, group = np.unique(ranks.n_held[owner], return_inverse=True)
    gains = np.zeros((len(sizes), ranks.depth))
    np.add.at(gains, (group, at - 1), discounts[at - 1])
    ideal = np.cumsum(discounts)[np.minimum(every_k[None, :], sizes[:, None]) - 1]
    found = (np.cumsum(gains, axis=1) / ideal).sum(axis=0) / len(ranks.n_held)
    # Summed in this order a perfect ranking may exceed 1 by a last digit.
    return _numbers(ranks, np.minimum(found, 1.0))


def users_by_hits(ranks: Ranks, k: int) -> Ints:
    """Count the users who have 0, 1, ... k held-out items among their first k: (k + 1,), it sums to the users."""
    owner, at = _hits(ranks)
    return np.bincount(np.bincount(owner[at <= k], minlength=len(ranks.n_held)), minlength=k + 1)


def _hits(ranks: Ranks) -> tuple[Ints, Ints]:
    """Return the user and the rank of each held-out item that is ranked within the depth."""
    hits = np.flatnonzero(ranks.ranks > 0)
    return ranks.owner[hits], ranks.ranks[hits]


def _numbers(ranks: Ranks, values: Floats) -> Floats:
    return np.full(ranks.depth, np.nan) if np.isnan(ranks.first).any() else values
