"""METRICS: what a model is judged by, each with the direction that is better.

In the config a metric's name has the split before it: `val_acc`, `train_loss`, `test_rmse`. Where a name ends in K, as
`ndcg_at_K` does, the config says how many: `val_ndcg_at_10`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from mlframework.metrics import classification, ranking, regression
from mlframework.registry import unknown

Direction = Literal["maximize", "minimize"]
Task = Literal["classification", "regression", "ranking"]
SPLITS = ("train", "val", "test")
_AT_K = re.compile(r"([a-z]+)_at_([1-9]\d*)")


@dataclass(frozen=True)
class Metric:
    """A metric: its function, and which direction is better.

    The function is one of (targets, outputs), or in a ranking of the `Ranks` and, where the name has a K, of that.
    `imports` are the modules that it imports when called: seconds, which belong to no epoch.
    """

    compute: Callable[..., float]
    direction: Direction
    imports: tuple[str, ...] = ()


METRICS: dict[Task, dict[str, Metric]] = {
    "classification": {
        "loss": Metric(classification.log_loss, "minimize"),
        "log_loss": Metric(classification.log_loss, "minimize"),
        "acc": Metric(classification.accuracy, "maximize"),
        "f1": Metric(classification.f1, "maximize", ("sklearn.metrics",)),
        "auc": Metric(classification.auc, "maximize", ("sklearn.metrics",)),
    },
    "regression": {
        "loss": Metric(regression.mse, "minimize"),
        "rmse": Metric(regression.rmse, "minimize"),
        "mae": Metric(regression.mae, "minimize"),
        "r2": Metric(regression.r2, "maximize"),
    },
    "ranking": {
        "precision_at_K": Metric(ranking.precision, "maximize"),
        "recall_at_K": Metric(ranking.recall, "maximize"),
        "ndcg_at_K": Metric(ranking.ndcg, "maximize"),
        "map_at_K": Metric(ranking.average_precision, "maximize"),
        "mrr": Metric(ranking.reciprocal_rank, "maximize"),
    },
}
ALWAYS: dict[Task, tuple[str, ...]] = {
    "classification": ("loss", "acc"),
    "regression": ("loss", "rmse", "mae"),
    "ranking": ("precision_at_10", "recall_at_10", "ndcg_at_10", "map_at_10", "mrr"),
}
"""What is computed whatever the config asks for: cheap, and everybody looks at it."""
RESOURCES: dict[str, Direction] = {"fit_seconds": "minimize", "n_parameters": "minimize"}
"""What a training takes, beside what its model is worth: no metrics of an epoch, but a search may be for them."""


def direction_of(name: str) -> Direction:
    """Return which direction of a metric such as `val_acc` is better.

    Raises:
        ValueError: no such metric; the message has the nearest.
    """
    split, _, base = name.partition("_")
    key, _ = key_of(base)
    for metrics in METRICS.values():
        if split in SPLITS and key in metrics and (split != "train" or key not in METRICS["ranking"]):
            return metrics[key].direction
    raise ValueError(unknown(name, names(), "metric"))


def _known(name: str) -> str:
    direction_of(name)
    return name


MetricName = Annotated[str, AfterValidator(_known)]
"""Type of a config's setting that names a metric."""


def names(splits: Iterable[str] = ("train", "val")) -> list[str]:
    """Return the names that a config may use, with 10 for K."""
    bases = dict.fromkeys(base for metrics in METRICS.values() for base in metrics)
    ranks = METRICS["ranking"]
    return [f"{split}_{shown(base)}" for split in splits for base in bases if split != "train" or base not in ranks]


def shown(key: str) -> str:
    """Return a key of METRICS as a config may have it: `ndcg_at_10` for `ndcg_at_K`."""
    return key.replace("_at_K", "_at_10")


def key_of(base: str) -> tuple[str, int | None]:
    """Return the key in METRICS of a name without split, and its K: `("ndcg_at_K", 10)`; None where it has none."""
    match = _AT_K.fullmatch(base)
    if match is not None:
        return f"{match[1]}_at_K", int(match[2])
    # K itself is no number: the key alone is no name.
    return ("" if base.endswith("_at_K") else base), None


def tasks_of(name: str) -> list[Task]:
    """Return the tasks in which a metric such as `val_acc` has a meaning."""
    key, _ = key_of(name.partition("_")[2])
    return [task for task, metrics in METRICS.items() if key in metrics]


def is_better(value: float, best: float | None, direction: Direction) -> bool:
    """Whether `value` beats `best`; anything beats None, nothing that is not a number beats anything."""
    if not np.isfinite(value):
        return False
    if best is None or np.isnan(best):
        return True
    return value > best if direction == "maximize" else value < best


def compute(task: Task, bases: Iterable[str], targets: NDArray[Any], outputs: NDArray[Any]) -> Mapping[str, float]:
    """Compute metrics by their names without split: `{"acc": 0.97}`.

    Args:
        task: what the outputs are: classification or regression.
        bases: names such as `acc`.
        targets: (n,) class indices or values.
        outputs: probabilities (n, n_classes) or values (n,).
    """
    return {base: METRICS[task][base].compute(targets, outputs) for base in bases}


def compute_ranking(bases: Iterable[str], ranks: ranking.Ranks) -> dict[str, float]:
    """Compute metrics of a ranking by their names without split: `{"ndcg_at_10": 0.24}`."""
    found: dict[str, float] = {}
    for base in bases:
        key, k = key_of(base)
        found[base] = METRICS["ranking"][key].compute(ranks, *(() if k is None else (k,)))
    return found
