"""METRICS: what a model is judged by, each with the direction that is better.

In the config a metric's name has the split before it: `val_acc`, `train_loss`, `test_rmse`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from mlframework.metrics import classification, regression
from mlframework.registry import unknown

Direction = Literal["maximize", "minimize"]
Task = Literal["classification", "regression"]
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Metric:
    """A metric: its function of (targets, outputs), and which direction is better."""

    compute: Callable[[NDArray[Any], NDArray[Any]], float]
    direction: Direction


METRICS: dict[Task, dict[str, Metric]] = {
    "classification": {
        "loss": Metric(classification.log_loss, "minimize"),
        "log_loss": Metric(classification.log_loss, "minimize"),
        "acc": Metric(classification.accuracy, "maximize"),
        "f1": Metric(classification.f1, "maximize"),
        "auc": Metric(classification.auc, "maximize"),
    },
    "regression": {
        "loss": Metric(regression.mse, "minimize"),
        "rmse": Metric(regression.rmse, "minimize"),
        "mae": Metric(regression.mae, "minimize"),
        "r2": Metric(regression.r2, "maximize"),
    },
}
ALWAYS: dict[Task, tuple[str, ...]] = {"classification": ("loss", "acc"), "regression": ("loss", "rmse", "mae")}
"""What is computed whatever the config asks for: cheap, and everybody looks at it."""


def direction_of(name: str) -> Direction:
    """Return which direction of a metric such as `val_acc` is better.

    Raises:
        ValueError: no such metric; the message has the nearest.
    """
    split, _, base = name.partition("_")
    for metrics in METRICS.values():
        if split in SPLITS and base in metrics:
            return metrics[base].direction
    raise ValueError(unknown(name, names(), "metric"))


def _known(name: str) -> str:
    direction_of(name)
    return name


MetricName = Annotated[str, AfterValidator(_known)]
"""Type of a config's setting that names a metric."""


def names(splits: Iterable[str] = ("train", "val")) -> list[str]:
    """Return the names that a config may use."""
    bases = dict.fromkeys(base for metrics in METRICS.values() for base in metrics)
    return [f"{split}_{base}" for split in splits for base in bases]


def tasks_of(name: str) -> list[Task]:
    """Return the tasks in which a metric such as `val_acc` has a meaning."""
    base = name.partition("_")[2]
    return [task for task, metrics in METRICS.items() if base in metrics]


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
        task: what the outputs are.
        bases: names such as `acc`.
        targets: (n,) class indices or values.
        outputs: probabilities (n, n_classes) or values (n,).
    """
    return {base: METRICS[task][base].compute(targets, outputs) for base in bases}
