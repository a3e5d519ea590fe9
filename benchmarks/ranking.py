"""Ranking metrics side by side with `implicit`: the same factors, the same interactions, the same process.

We run on one thread; `implicit` on one (num_threads=1) and on as many as there are cores (num_threads=0).
Ours computes MRR besides, `implicit` the AUC.

Run it with `python benchmarks/ranking.py`. It ends with exit 1 where the two disagree, or where we are not faster.
"""

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse
from implicit.cpu.als import AlternatingLeastSquares
from implicit.evaluation import ranking_metrics_at_k
from threadpoolctl import threadpool_limits

from mlframework.metrics import ranking

N_USERS, N_ITEMS, FACTORS, K = 1000, 2000, 64, 10
N_SEEN, N_HELD = 50, 10
ROUNDS = 11
SEED = 42
OURS, THEIRS = "mlframework", ("implicit, num_threads=1", "implicit, num_threads=0")


def problem() -> tuple[Any, Any, Any]:
    """Return a model with random factors and the interactions of training and test, (n_users, n_items) each.

    Held-out items are drawn by the model's own scores with noise, so that there are hits at many ranks.
    """
    rng = np.random.default_rng(SEED)
    model = AlternatingLeastSquares(factors=FACTORS, num_threads=1)
    model.user_factors = rng.normal(size=(N_USERS, FACTORS)).astype(np.float32)
    model.item_factors = rng.normal(size=(N_ITEMS, FACTORS)).astype(np.float32)
    liking = model.user_factors @ model.item_factors.T + rng.normal(scale=8, size=(N_USERS, N_ITEMS))
    items = np.argsort(-liking, axis=1)[:, : N_SEEN + N_HELD]
    items = rng.permuted(items, axis=1)
    return model, interactions(items[:, :N_SEEN]), interactions(items[:, N_SEEN:])


def interactions(items: Any) -> Any:
    users = np.repeat(np.arange(len(items)), items.shape[1])
    ones = np.ones(items.size, np.float32)
    return scipy.sparse.csr_matrix((ones, (users, items.ravel())), shape=(N_USERS, N_ITEMS))


def disagreements(ranks: ranking.Ranks, theirs: dict[str, float]) -> list[str]:
    """Return where the two differ, of the numbers that mean the same.

    What `implicit` calls precision is hits / sum over users of min(K, held-out items): we compute it from our ranks.
    """
    hits = np.count_nonzero((ranks.ranks > 0) & (ranks.ranks <= K))
    ours = {
        "precision": hits / np.minimum(K, ranks.n_held).sum(),
        "ndcg": ranking.ndcg(ranks, K),
        "map": ranking.average_precision(ranks, K),
    }
    return [
        f"{name}: {ours[name]!r}, implicit {theirs[name]!r}" for name in ours if abs(ours[name] - theirs[name]) > 1e-9
    ]


def milliseconds(run: Callable[[], object], threads: int | None) -> float:
    with threadpool_limits(threads):  # outside of what is measured
        start = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - start)


def measure(model: Any, train: Any, test: Any, held: ranking.HeldOut) -> dict[str, list[float]]:
    """Return milliseconds of each run, the runs taken in turn."""

    def ours() -> list[float]:
        ranks = ranking.rank(model.user_factors, model.item_factors, held, K)
        at_k = (ranking.precision, ranking.recall, ranking.ndcg, ranking.average_precision)
        return [*(metric(ranks, K) for metric in at_k), ranking.reciprocal_rank(ranks)]

    runs: dict[str, tuple[Callable[[], object], int | None]] = {
        OURS: (ours, 1),
        THEIRS[0]: (lambda: theirs(model, train, test, 1), 1),
        THEIRS[1]: (lambda: theirs(model, train, test, 0), None),
        "mlframework, once a run": (lambda: ranking.HeldOut.of(train, test), 1),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, (run, threads) in runs.items():
            times[name].append(milliseconds(run, threads))
    return times


def theirs(model: Any, train: Any, test: Any, num_threads: int) -> dict[str, float]:
    model.num_threads = num_threads  # for its top K; the argument below is for its metrics
    found: dict[str, float] = ranking_metrics_at_k(model, train, test, K, show_progress=False, num_threads=num_threads)
    return found


def main() -> int:
    with threadpool_limits(1):
        model, train, test = problem()
        held = ranking.HeldOut.of(train, test)
        ranks = ranking.rank(model.user_factors, model.item_factors, held, K)
        if found := disagreements(ranks, theirs(model, train, test, 1)):
            print("they disagree:", *found, sep="\n  ")  # noqa: T201
            return 1
    times = measure(model, train, test, held)
    print(f"{N_USERS} users, {N_ITEMS} items, {FACTORS} factors, K={K}; both agree to 1e-9; median of {ROUNDS} rounds")  # noqa: T201
    for name, each in times.items():
        print(f"{name:26}{median(each):8.2f} ms   (from {min(each):.2f} to {max(each):.2f})")  # noqa: T201
    ratios = {name: median(times[OURS]) / median(times[name]) for name in THEIRS}
    for name, ratio in ratios.items():
        print(f"{OURS} / {name}: {ratio:.2f}, {'below' if ratio < 1 else 'NOT below'} 1")  # noqa: T201
    return int(max(ratios.values()) >= 1)


if __name__ == "__main__":
    sys.exit(main())
