"""The progress bar of a training."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlframework.cli.sparkline import sparkline
from mlframework.learners.base import Learner, ignore_batches
from mlframework.training.callbacks import EpochRecord, History

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_SPARKS = 20  # signs of the metric's curve
_REFRESH = 0.1  # seconds between two updates within an epoch


class ProgressBar:
    """A line an epoch, and a bar for the whole training with the metric's curve; without a terminal the lines alone.

    Args:
        console: where to draw.
        num_epochs: epochs of the training.
    """

    def __init__(self, console: Console, num_epochs: int) -> None:
        self._console, self._num_epochs = console, num_epochs
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._epoch, self._drawn = 0, 0.0

    def on_start(self, learner: Learner, history: History) -> None:
        """Draw the bar, and say where a resumed training goes on."""
        self._epoch = len(history.records)
        if self._epoch:
            self._console.print(f"going on after epoch {self._epoch}")
        if not self._console.is_terminal:
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), TextColumn("{task.fields[curve]}"), console=self._console, transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task(
            "training", total=self._num_epochs, completed=self._epoch, curve=self._curve(history)
        )
        self._progress.start()
        learner.on_batch = self._batch

    def _batch(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._progress is not None and self._task is not None and now - self._drawn > _REFRESH:
            self._progress.update(self._task, completed=self._epoch + done / total)
            self._drawn = now

    def on_epoch(self, learner: Learner, history: History) -> None:
        """Write the epoch's line."""
        record = history.records[-1]
        self._epoch = record.epoch
        star = " *" if history.best is record else ""
        self._console.print(f"{record.epoch:>4}/{self._num_epochs}  {_describe(record)}{star}")
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=record.epoch, curve=self._curve(history))

    def _curve(self, history: History) -> str:
        """Return the metric in force so far, in which better is higher."""
        values = [record.metrics[history.metric] for record in history.records if history.metric in record.metrics]
        line = sparkline(values, _SPARKS, history.direction, self._console.options.ascii_only)
        return f"{history.metric} {line}" if line else ""

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Take the bar away."""
        learner.on_batch = ignore_batches
        if self._progress is not None:
            self._progress.stop()


def _describe(record: EpochRecord) -> str:
    values = "  ".join(f"{name} {value:.4f}" for name, value in record.metrics.items())
    lr = f"  lr {record.lr:.2e}" if record.lr is not None else ""
    return f"{values}{lr}  {record.seconds:.1f} s"
