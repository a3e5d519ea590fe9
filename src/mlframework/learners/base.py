"""What every learner is, whatever it is made of. No torch here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlframework.errors import TrainingError
from mlframework.imports import preload
from mlframework.metrics import ALWAYS, METRICS, SPLITS, Task, key_of, shown

if TYPE_CHECKING:
    from mlframework.data import DataConfig
    from mlframework.data.splits import Splits
    from mlframework.learners.settings import StepSettings
    from mlframework.optim import OptimizerConfig
    from mlframework.schedules import SchedulerConfig


class Codec(Protocol):
    """How the state of a learner lies on disk."""

    def encode(self, state: Mapping[str, Any]) -> memoryview:
        """Return the bytes of a file that holds the state as it is now."""

    def load(self, path: Path) -> dict[str, Any]:
        """Read it back.

        Raises:
            DamagedCheckpointError: the file is cut short, or its bytes are not those that were written.
            CheckpointError: it is not there, or holds something else.
            RunError: it cannot be opened.
        """


@dataclass(frozen=True)
class Outputs:
    """What a learner says of a split.

    Attributes:
        task: what the values are.
        targets: (n,) class indices or values.
        values: probabilities (n, n_classes), or values (n,) in the target's unit.
        class_names: names of the classes, in the order of the columns; None in a regression.
    """

    task: Task
    targets: NDArray[Any]
    values: NDArray[np.floating]
    class_names: Sequence[str] | None


@dataclass(frozen=True)
class RankingReport:
    """What a recommender recommends to the users of a split.

    Attributes:
        k: how many items are recommended to each.
        n_users: users that are evaluated.
        recall_at: recall@1, recall@2, ... to 100 or the number of items.
        precision_at, ndcg_at: precision and NDCG at the same K.
        popularity_recall_at, popularity_precision_at, popularity_ndcg_at: the same of recommending the most popular items
            to everybody.
        users_by_hits: (k + 1,) how many users have 0, 1, ... k of their held-out items among the k recommended.
        recommended: (n_items,) to how many users each item is recommended.
        interactions: (n_items,) how many training interactions each item has.
    """

    k: int
    n_users: int
    recall_at: NDArray[np.float64]
    precision_at: NDArray[np.float64]
    ndcg_at: NDArray[np.float64]
    popularity_recall_at: NDArray[np.float64]
    popularity_precision_at: NDArray[np.float64]
    popularity_ndcg_at: NDArray[np.float64]
    users_by_hits: NDArray[np.int64]
    recommended: NDArray[np.int64]
    interactions: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return {
            "k": self.k,
            "n_users": self.n_users,
            "n_items": len(self.interactions),
            "recall_at": self.recall_at.tolist(),
            "precision_at": self.precision_at.tolist(),
            "ndcg_at": self.ndcg_at.tolist(),
            "popularity_recall_at": self.popularity_recall_at.tolist(),
            "popularity_precision_at": self.popularity_precision_at.tolist(),
            "popularity_ndcg_at": self.popularity_ndcg_at.tolist(),
            "users_by_hits": self.users_by_hits.tolist(),
            "recommended": self.recommended.tolist(),
            "interactions": self.interactions.tolist(),
        }


@dataclass(frozen=True)
class GradientNorm:
    """How long the gradients of an epoch's steps were, before clipping: their Euclidean norm over all weights.

    Attributes:
        mean: over the steps that were measured.
        largest: of those steps.
    """

    mean: float
    largest: float


def ignore_batches(done: int, total: int) -> None:
    """Do nothing with the news of a batch."""


class Learner(Protocol):
    """One epoch is the interface: after every epoch a learner is a usable model.

    A learner that has its state taken and is given it back goes on bit for bit as if nothing had happened
    (on one device with the same number of threads).
    """

    on_batch: Callable[[int, int], None]
    """Told of progress within an epoch: batches done, and how many the epoch has. For progress bars."""

    @property
    def codec(self) -> Codec:
        """How its state lies on disk."""

    @property
    def n_parameters(self) -> int:
        """How many numbers it learns."""

    @property
    def n_examples(self) -> int:
        """How many examples it trains on in an epoch."""

    def train_epoch(self) -> dict[str, float]:
        """Train for one epoch and return its metrics by name without split: `{"loss": 0.3, "acc": 0.9}`."""

    def evaluate(self, split: str) -> dict[str, float]:
        """Return the metrics of a split (`val`, `test`) by name without split."""

    def outputs(self, split: str) -> Outputs | None:
        """Return what the model says of each example of a split (`val`, `test`); None for a recommender."""

    def ranking(self, split: str) -> RankingReport | None:
        """Return what is recommended to the users of a split (`val`, `test`); None for what is no recommender."""

    def item_vectors(self) -> NDArray[np.float32] | None:
        """Return what each item is like, (n_items, d), without biases; None for what knows no items."""

    def learning_rate(self) -> float | None:
        """Return the learning rate now, or None for a learner that has none."""

    def gradient_norm(self) -> GradientNorm | None:
        """Return how long the gradients of the last epoch were; None for a learner that has none, or before an epoch."""

    def data_seconds(self) -> float:
        """Return how long it has fetched batches since it was made, evaluations included; 0 where it has no batches."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that an exact resume needs; it changes as training goes on, so dump or copy it at once."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the state back."""

    def export(self, folder: Path) -> None:
        """Write what a predictor needs into a folder: weights and `model_meta.json`."""


class Tracer(Protocol):
    """Traces what a learner computes, operation by operation."""

    def start(self) -> None:
        """Begin."""

    def stop(self, file: Path) -> list[str]:
        """End, write the trace (Chrome's format) to a file, and return what it comes to, in lines."""


@runtime_checkable
class Traceable(Protocol):
    """What a learner offers besides whose operations can be traced; the epoch loop has no need of it."""

    def tracer(self) -> Tracer:
        """Return a tracer of this learner."""


@runtime_checkable
class Steps(Protocol):
    """What a learner offers besides whose epochs are made of optimizer steps; the epoch loop has no need of it.

    These steps belong to no epoch: no schedule moves, and nothing is measured but their loss. Whoever takes them keeps a
    copy of the state beforehand, and gives it back afterwards.
    """

    @property
    def steps_per_epoch(self) -> int:
        """How many steps an epoch has."""

    def steps(self, lrs: Iterable[float]) -> Iterator[float]:
        """Take a step at each learning rate, as in training, and yield the mean loss of its examples before the step.

        A step is taken when its loss is asked for. The training split begins again where it ends.
        """


@dataclass(frozen=True)
class LearnerSpec:
    """All that a model's config needs to become a learner.

    Attributes:
        data: the data's config.
        splits: the data; `val` is None in a refit, `test` is None wherever the test split must not be reached.
        settings: how a step is taken.
        optimizer: the optimizer's config.
        scheduler: the scheduler's config.
        device: as the config has it: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        num_threads: CPU threads; None: `n_threads`.
        seed: seeds the weights, the order of the examples, augmentation and dropout.
        num_epochs: how long the training is planned to be: schedules stretch over it.
        metrics: what is computed beside the metrics that always are: names with split, such as `val_auc`.
    """

    data: DataConfig
    splits: Splits[Any]
    settings: StepSettings
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    device: str
    num_threads: int | None
    seed: int
    num_epochs: int
    metrics: tuple[str, ...]


def n_threads() -> int:
    """Return how many threads a training has where nobody says: as OMP_NUM_THREADS has it, else one a core it may use.

    The processes that torchrun starts on a machine share its cores.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    n_processes = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    # Where nobody says, torchrun itself sets 1.
    if given.isdecimal() and int(given) > 0 and (n_processes == 1 or int(given) > 1):
        return int(given)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, n_cores // n_processes)


def resolve_threads(tree: Mapping[str, Any], at_once: int = 1) -> dict[str, Any]:
    """Return the tree with `training.num_threads` written out: the number changes the last digits of a result.

    Args:
        tree: of a training run.
        at_once: how many trainings share the threads that there are.
    """
    training = dict(tree.get("training") or {})
    if training.get("num_threads") is None:
        training["num_threads"] = max(1, n_threads() // at_once)
    return {**tree, "training": training}


def wanted_metrics(task: Task, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return what is computed of each split, by names without split: what always is, and what is asked for.

    What these metrics import is imported, so that the first epoch's time is its own.

    Args:
        task: what the data is.
        names: names with split, such as `val_auc`.

    Raises:
        TrainingError: a metric has no meaning in this task.
    """
    known = METRICS[task]
    for name in names:
        key, _ = key_of(name.partition("_")[2])
        if key not in known:
            fitting = ", ".join(f"val_{shown(key)}" for key in known)
            raise TrainingError(f"metric: {name} has no meaning in a {task}, which this data is; it has {fitting}")
        preload(*known[key].imports)
    found: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        asked = [name.partition("_")[2] for name in names if name.partition("_")[0] == split or split == "test"]
        found[split] = tuple(dict.fromkeys([*ALWAYS[task], *asked]))
    return found


@dataclass(frozen=True)
class Prediction:
    """What a model says of one example.

    Attributes:
        value: the class's name, or the number.
        probabilities: probability of each class by name; empty in a regression.
    """

    value: str | float
    probabilities: Mapping[str, float]


class Predictor(Protocol):
    """A trained model that takes what a user has: image files, or a table."""

    def predict(self, source: Any) -> list[Prediction]:
        """Return a prediction for each example of `source`."""
