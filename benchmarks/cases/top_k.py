"""Ranking metrics of all users at the first ten items, of 64 factors that ALS might have learnt. Measured: one evaluation."""

from typing import Any

import ratings
from common import main, quick

CALLS, FACTORS, SEED = quick(30, 3), 64, 42
CONFIG = {
    "name": "top_k",
    "device": "cpu",
    "data": {"type": "interactions", "path": str(ratings.LOG), "split": {"val_fraction": 0.1, "test_fraction": 0.1}},
    "model": {"architecture": "als", "factors": FACTORS},
    "metric": "val_recall_at_10",
}


def prepare() -> dict[str, Any]:
    """Write the log, the pairs of its splits, and the factors of a truncated singular value decomposition."""
    import numpy as np
    from scipy.sparse.linalg import svds

    from mlframework import load_config
    from mlframework.experiment import load_data

    ratings.write_log()
    splits = load_data(load_config(CONFIG))
    left, values, right = svds(splits.train.matrix().astype(np.float64), FACTORS, random_state=SEED)
    pairs = {"train": splits.train, "val": splits.val}
    arrays: dict[str, Any] = {
        f"{side}_{name}": getattr(part, side).astype(np.int64)
        for name, part in pairs.items()
        for side in ("users", "items")
    }
    factors = {"user_factors": left * values, "item_factors": right.T}
    arrays |= {name: np.ascontiguousarray(each, np.float32) for name, each in factors.items()}
    np.savez("factors.npz", **arrays)
    return {}


def ours() -> dict[str, Any]:
    """Evaluate as every epoch of a recommender does."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    from mlframework import load_config
    from mlframework.experiment import load_data
    from mlframework.learners.ranking import Ranker, Vectors

    arrays = np.load("factors.npz")
    ranker = Ranker(load_data(load_config(CONFIG)).without_test(), ("val_recall_at_10",))
    vectors = Vectors(arrays["user_factors"], arrays["item_factors"])
    with threadpool_limits(1):
        return _timed(lambda: ranker.measure("val", vectors))


def hand() -> dict[str, Any]:
    """Multiply, mask and take the first ten with torch; the same metrics but for MRR, which needs all ranks."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    arrays = {name: torch.from_numpy(each) for name, each in np.load("factors.npz").items()}
    shape = len(arrays["user_factors"]), len(arrays["item_factors"])
    seen, held = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    seen[arrays["users_train"], arrays["items_train"]] = True
    held[arrays["users_val"], arrays["items_val"]] = True
    known = (seen.any(1) & held.any(1)).nonzero().squeeze(1)
    seen, held = seen[known], held[known]
    n_held = held.sum(1)
    discounts = 1 / torch.log2(torch.arange(2, 12, dtype=torch.float64))
    ideal = discounts.cumsum(0)[n_held.clamp(max=10) - 1]
    places = torch.arange(1, 11, dtype=torch.float64)

    def evaluate() -> dict[str, float]:
        with torch.inference_mode():
            scores = arrays["user_factors"][known] @ arrays["item_factors"].T
            scores.masked_fill_(seen, -torch.inf)
            hits = held.gather(1, scores.topk(10, dim=1).indices).double()
            found = {
                "precision_at_10": hits.sum(1) / 10,
                "recall_at_10": hits.sum(1) / n_held,
                "ndcg_at_10": (hits * discounts).sum(1) / ideal,
                "map_at_10": (hits * hits.cumsum(1) / places).sum(1) / n_held.clamp(max=10),
            }
            return {name: each.mean().item() for name, each in found.items()}

    return _timed(evaluate)


def implicit() -> dict[str, Any]:
    """Evaluate with `implicit`, whose precision and AUC are others than ours."""
    import numpy as np
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k
    from scipy.sparse import csr_matrix

    arrays = np.load("factors.npz")
    model = AlternatingLeastSquares(FACTORS, num_threads=1)
    model.user_factors, model.item_factors = arrays["user_factors"], arrays["item_factors"]
    shape = len(model.user_factors), len(model.item_factors)
    train, held = (
        csr_matrix(
            (np.ones(len(arrays[f"users_{name}"]), np.float32), (arrays[f"users_{name}"], arrays[f"items_{name}"])),
            shape,
        )
        for name in ("train", "val")
    )
    renamed = {"precision": "precision_of_implicit", "ndcg": "ndcg_at_10", "map": "map_at_10", "auc": "auc"}

    def evaluate() -> dict[str, float]:
        found = ranking_metrics_at_k(model, train, held, 10, show_progress=False, num_threads=1)
        return {renamed[name]: float(each) for name, each in found.items()}

    return _timed(evaluate)


def _timed(evaluate: Any) -> dict[str, Any]:
    """Return the median time of a call, and what it found."""
    import time
    from statistics import median

    seconds = []
    for _ in range(CALLS):
        started = time.perf_counter()
        found = evaluate()
        seconds.append(time.perf_counter() - started)
    return {"seconds": median(seconds), **found}


if __name__ == "__main__":
    main(prepare=prepare, ours=ours, hand=hand, implicit=implicit)
