"""What the loop tells others, and how they end it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from mlframework.errors import TrainingError
from mlframework.learners.base import Learner
from mlframework.metrics import Direction, is_better
from mlframework.training.config import EarlyStopping

SHARES = ("share_data", "share_compute", "share_writing")
"""Keys of metrics.jsonl on where the time went; together they are 1."""
TIMES = ("seconds", "throughput", *SHARES)
"""Keys of metrics.jsonl that are another number every time."""
GRADIENTS = ("gradient_norm", "gradient_norm_max")
"""Keys of metrics.jsonl on the way that the training took, which metrics do not depend on."""
NO_METRICS = ("epoch", "lr", *GRADIENTS, *TIMES)
"""Keys of metrics.jsonl that are no metrics."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch, as it stands in metrics.jsonl.

    Attributes:
        epoch: 1-based.
        metrics: by name with split: `{"train_loss": 0.3, "val_acc": 0.9}`.
        seconds: wall time of training and evaluation.
        lr: the learning rate at the end of the epoch, None for a learner that has none.
        throughput: examples that were trained on in a second; None in a record that an earlier version wrote.
        gradient_norm: mean length of the gradients before clipping, None for a learner that has none.
        gradient_norm_max: the largest one.
        share_data: of the time since the epoch before, what was spent on fetching batches; None as with throughput.
        share_compute: what was spent on steps and on the evaluation.
        share_writing: what was spent after the epoch before: on its checkpoint, its curves, and reports to a study.
    """

    epoch: int
    metrics: Mapping[str, float]
    seconds: float
    lr: float | None
    throughput: float | None = None
    gradient_norm: float | None = None
    gradient_norm_max: float | None = None
    share_data: float | None = None
    share_compute: float | None = None
    share_writing: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return {
            "epoch": self.epoch,
            **self.metrics,
            "lr": self.lr,
            "gradient_norm": self.gradient_norm,
            "gradient_norm_max": self.gradient_norm_max,
            "seconds": round(self.seconds, 4),
            "throughput": self.throughput,
            **{name: getattr(self, name) for name in SHARES},
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "EpochRecord":
        """Return the record that `to_dict` wrote."""
        metrics = {k: v for k, v in record.items() if k not in NO_METRICS}
        others = (record.get(key) for key in ("throughput", *GRADIENTS, *SHARES))
        return cls(record["epoch"], metrics, record["seconds"], record["lr"], *others)


@dataclass
class History:
    """The epochs so far, and the best of them.

    Attributes:
        metric: what the best epoch is chosen by.
        direction: which direction of the metric is better.
        records: one an epoch.
    """

    metric: str
    direction: Direction
    records: list[EpochRecord] = field(default_factory=list)

    def value(self, record: EpochRecord) -> float:
        """Return the metric in force of an epoch.

        Raises:
            TrainingError: this data or model does not have that metric.
        """
        if self.metric not in record.metrics:
            raise TrainingError(
                f"metric: {self.metric} is not computed here; this run has {', '.join(sorted(record.metrics))}"
            )
        return record.metrics[self.metric]

    @property
    def best(self) -> EpochRecord | None:
        """The first epoch with the best value, or None before the first epoch."""
        best: EpochRecord | None = None
        for record in self.records:
            if is_better(self.value(record), None if best is None else self.value(best), self.direction):
                best = record
        return best


class Callback(Protocol):
    """Is told of a training; it ends one by raising `Stopped`."""

    def on_start(self, learner: Learner, history: History) -> None:
        """Training starts, or goes on after the epochs in `history`."""

    def on_epoch(self, learner: Learner, history: History) -> None:
        """An epoch ended, the last in `history`; its checkpoint is written."""

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Training ended: `finished`, `pruned`, `interrupted` or `failed`, perhaps before `on_start` was reached."""


@runtime_checkable
class Guard(Protocol):
    """What a callback may offer as well: a last look before anything is written of an epoch."""

    def before_save(self) -> None:
        """Raise `Stopped` where the run belongs to another process by now."""


def early_stop(config: EarlyStopping | None, history: History) -> str | None:
    """Return why the training should end now, or None; all of it follows from the history, so a resume agrees."""
    if config is None:
        return None
    best: float | None = None
    waited = 0
    for record in history.records:
        value = history.value(record)
        margin = config.min_delta if history.direction == "maximize" else -config.min_delta
        if is_better(value, None if best is None else best + margin, history.direction):
            best, waited = value, 0
        else:
            waited += 1
    if waited < config.patience:
        return None
    return f"early stopping: {history.metric} has not improved for {waited} epochs"
