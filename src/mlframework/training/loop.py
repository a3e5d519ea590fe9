"""The only epoch loop of the project."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlframework.errors import RunError, Stopped, StorageError, TrainingError, TrialPruned
from mlframework.learners.base import Learner
from mlframework.training.callbacks import Callback, EpochRecord, Guard, History
from mlframework.training.checkpoint import Checkpoints

ALL_DONE = "all epochs done"


@dataclass(frozen=True)
class Fit:
    """A training: what trains, for how long, and who is told.

    Attributes:
        learner: what is trained.
        num_epochs: epochs in all, those before a resume included.
        evaluate: whether there is a val split.
        stop: says of the history so far why to end here, or None.
        checkpoints: where best and last state go.
        callbacks: are told of every epoch.
    """

    learner: Learner
    num_epochs: int
    evaluate: bool
    stop: Callable[[History], str | None]
    checkpoints: Checkpoints
    callbacks: Sequence[Callback]


def fit(plan: Fit, history: History) -> str:
    """Train, going on after the epochs that `history` has.

    After every epoch the learner is evaluated on `val` (where there is one), the epoch is recorded, its checkpoint begun,
    and every callback told: in that order, so that what a callback raises loses no epoch. The checkpoint of an epoch of
    `checkpoint.PACE` or more is on the disk before that of the next one is begun; of faster ones the best and the last are
    written at that pace. All are before this function is left, whichever way, but where the run is another process's by now.

    Returns:
        Why it ended: `all epochs done`, or what `stop` said.

    Raises:
        TrainingError: the loss or the metric is not a number.
        Stopped: a callback ended it.
    """
    status, ended = "failed", time.perf_counter()
    try:
        for callback in plan.callbacks:
            callback.on_start(plan.learner, history)
        try:
            reason = plan.stop(history)
            while reason is None and len(history.records) < plan.num_epochs:
                ended = _epoch(plan, history, ended)
                reason = plan.stop(history)
        finally:
            _settle(plan)
        status = "finished"
        return reason or ALL_DONE
    except TrialPruned:
        status = "pruned"
        raise
    except (Stopped, RunError, StorageError, KeyboardInterrupt):  # it can go on
        status = "interrupted"
        raise
    finally:
        for callback in plan.callbacks:
            callback.on_end(plan.learner, history, status)


def _epoch(plan: Fit, history: History, before: float) -> float:
    """Train, evaluate and record an epoch; the one before it was evaluated at `before`, this one at what is returned."""
    learner, started = plan.learner, time.perf_counter()
    fetched = learner.data_seconds()
    metrics = {f"train_{name}": value for name, value in learner.train_epoch().items()}
    throughput = learner.n_examples / max(time.perf_counter() - started, 1e-9)
    if plan.evaluate:
        metrics |= {f"val_{name}": value for name, value in learner.evaluate("val").items()}
    ended = time.perf_counter()
    seconds = ended - started
    norm = learner.gradient_norm()
    record = EpochRecord(
        epoch=len(history.records) + 1,
        metrics=metrics,
        seconds=seconds,
        lr=learner.learning_rate(),
        throughput=round(throughput, 2),
        gradient_norm=None if norm is None else norm.mean,
        gradient_norm_max=None if norm is None else norm.largest,
        **_shares(learner.data_seconds() - fetched, seconds, started - before),
    )
    _check(record, history)
    history.records.append(record)
    _ask(plan.callbacks)
    plan.checkpoints.save(plan.learner, history)
    for callback in plan.callbacks:
        callback.on_epoch(plan.learner, history)
    return ended


def _ask(callbacks: Sequence[Callback]) -> None:
    """Ask whether something may be written."""
    for callback in callbacks:
        if isinstance(callback, Guard):
            callback.before_save()


def _settle(plan: Fit) -> None:
    """Write what is not written yet, if it may be."""
    try:
        _ask(plan.callbacks)
    except BaseException:
        plan.checkpoints.drop()
        raise
    finally:
        plan.checkpoints.settle()


def _shares(data: float, seconds: float, writing: float) -> dict[str, float]:
    """Return the shares of data, compute and writing in the time since the epoch before; `seconds` has data in it."""
    whole = max(seconds + writing, 1e-9)
    fetching, telling = round(data / whole, 4), round(writing / whole, 4)
    return {
        "share_data": fetching,
        "share_compute": round(1 - fetching - telling, 4),
        "share_writing": telling,
    }


def _check(record: EpochRecord, history: History) -> None:
    """A loss or metric that is not a number ends the training: nothing after it would mean anything."""
    for name, value in (("train_loss", record.metrics["train_loss"]), (history.metric, history.value(record))):
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value} at epoch {record.epoch}; a smaller optimizer.lr or training.gradient_clipping may help"
            )
