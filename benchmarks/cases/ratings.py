"""The log of ratings that the recommenders' cases share: MovieLens-100K where there is one, else a synthetic log.

MLFRAMEWORK_MOVIELENS names the real file, `u.data` or one with a header; its terms forbid shipping it.
"""

import os
from pathlib import Path

from common import quick

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
