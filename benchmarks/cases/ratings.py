"""The log of ratings that the recommenders' cases share: MovieLens-100K where there is one, else a synthetic log.

MLFRAMEWORK_MOVIELENS names the real file, `u.data` or one with a header; its terms forbid shipping it.
"""

import os
from pathlib import Path
from typing import Any

from common import quick

Arrays = tuple[Any, ...]

N_USERS, N_ITEMS, N_RATINGS, SEED = 943, 1682, 100_000, 42
LOG = Path("ratings.tsv")


def write_log() -> str:
    """Write `ratings.tsv` into the current folder, with a header; returns what it is: `movielens` or `synthetic`."""
    given = os.environ.get("MLFRAMEWORK_MOVIELENS")
    rows = _read(Path(given)) if given else _drawn()
    LOG.write_text("user_id\titem_id\trating\ttimestamp\n" + "".join(f"{row}\n" for row in rows))
    kind = "movielens" if given else "synthetic"
    Path("kind").write_text(kind)
    return kind


def kind_of_log() -> str:
    """Return what the log is that `write_log` wrote; in a rehearsal no result need be good."""
    return quick(1, 0) * Path("kind").read_text()


def _read(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return lines if lines[0][0].isdigit() else lines[1:]


def _drawn() -> list[str]:
    """Return as many ratings as MovieLens-100K has: a third of them say no more than that popular items are popular."""
    import numpy as np

    rng = np.random.RandomState(SEED)
    users, items = rng.normal(size=(N_USERS, 8)), rng.normal(size=(N_ITEMS, 8))
    liking = users @ items.T / np.sqrt(8)
    popularity = -0.8 * np.log(rng.permutation(N_ITEMS) + 10.0)
    # The largest of log-probability plus Gumbel noise are a draw without replacement.
    keys = liking + popularity + rng.gumbel(size=liking.shape)
    # Each user has 20 or more, so that there is something to hold out.
    counts = 20 + rng.multinomial(N_RATINGS - 20 * N_USERS, rng.dirichlet(np.full(N_USERS, 1.5)))
    rows = []
    for user, n in enumerate(np.minimum(counts, N_ITEMS // 2)):
        chosen = np.argsort(-keys[user])[:n]
        values = np.clip(np.rint(3.5 + 0.8 * liking[user, chosen] + 0.7 * rng.normal(size=n)), 1, 5).astype(int)
        rows += [f"{user + 1}\t{item + 1}\t{value}\t0" for item, value in zip(chosen, values, strict=True)]
    return [rows[row] for row in rng.permutation(len(rows))]


def read_and_split(val_fraction: float, test_fraction: float, seed: int) -> Arrays:
    """Read the log and hold out a share of each user's ratings, as one would by hand: the same cut as ours.

    Returns:
        The training interactions as a matrix (n_users, n_items), and whether each pair is in val, bool of the same shape.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    rows = np.loadtxt(LOG, delimiter="\t", skiprows=1, usecols=(0, 1), dtype=np.int64)
    user_ids, users = np.unique(rows[:, 0], return_inverse=True)
    item_ids, items = np.unique(rows[:, 1], return_inverse=True)
    order = np.lexsort((np.random.RandomState(seed).random_sample(len(users)), users))
    size = np.bincount(users)
    rank = np.empty(len(users), np.int64)
    rank[order] = np.arange(len(users)) - np.repeat(np.cumsum(size) - size, size)
    n_test, n_val = (np.maximum(1, np.rint(share * size).astype(np.int64)) for share in (test_fraction, val_fraction))
    in_val = (rank >= n_test[users]) & (rank < (n_test + n_val)[users])
    in_train = rank >= (n_test + n_val)[users]
    shape = len(user_ids), len(item_ids)
    train = csr_matrix((np.ones(in_train.sum(), np.float32), (users[in_train], items[in_train])), shape)
    held = np.zeros(shape, bool)
    held[users[in_val], items[in_val]] = True
    return train, held


class Ndcg:
    """NDCG@10 of all users, with numpy; seen items are masked.

    Args:
        train: the training interactions (n_users, n_items).
        held: whether each pair is held out.
    """

    def __init__(self, train: Any, held: Any) -> None:
        import numpy as np

        seen = train.toarray() > 0
        self.users = np.flatnonzero(seen.any(1) & held.any(1))
        self.seen, self.held = seen[self.users], held[self.users]
        self.discounts = 1 / np.log2(np.arange(2, 12))
        self.ideal = np.cumsum(self.discounts)[np.minimum(self.held.sum(1), 10) - 1]

    def __call__(self, user_factors: Any, item_factors: Any) -> float:
        """Return the mean over users."""
        import numpy as np

        scores = user_factors[self.users] @ item_factors.T
        scores[self.seen] = -np.inf
        first = np.argpartition(-scores, 10, axis=1)[:, :10]
        first = np.take_along_axis(first, np.argsort(-np.take_along_axis(scores, first, 1), axis=1), 1)
        hits = np.take_along_axis(self.held, first, 1)
        return float(((hits * self.discounts).sum(1) / self.ideal).mean())
