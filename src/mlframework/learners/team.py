"""A learner whose work several processes share: rank 0 leads, the others follow, learner by learner and epoch by epoch.

Only the leader has an epoch loop, a run folder, a study or a terminal. It tells the followers what to do with their
learner, and does the same with its own; within it the two meet in torch's process group. So all that stands above a
learner, from early stopping to a search, knows nothing of them.
"""

from __future__ import annotations

import functools
import io
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from mlframework.errors import Terminated, TrainingError
from mlframework.learners.base import Codec, GradientNorm, Learner, LearnerSpec, Outputs, RankingReport, Steps
from mlframework.learners.follower import given_lrs
from mlframework.learners.group import PATIENCE, Group, is_cut
from mlframework.learners.ranks import BuildsLearner, Place, RankError, place
from mlframework.learners.sending import Sender, send_bytes

T = TypeVar("T")
_GRACE = 10.0  # seconds in which every rank says how it came off after one has failed


class Leader:
    """Tells the other ranks what to do.

    Args:
        here: the place of this process.
    """

    def __init__(self, here: Place) -> None:
        self.group, self._others = Group(here), range(1, here.world)
        self.sender = Sender()
        self._n_orders, self._generation = 0, 0
        self._is_open = False  # whether the last order may not have been carried out by all yet
        self.newest = 0

    def build(self, model: BuildsLearner, spec: LearnerSpec) -> LedLearner:
        """Return a learner of all ranks; the one before it cannot be used any more."""

        def own() -> Learner:
            self.group.join(self._generation)
            self.sender.send((model, spec))
            return model.learner(spec)

        learner = self.do(f"build {self._generation}", own)
        self.newest += 1
        return LedLearner(self, learner, self.newest)

    def do(self, order: str, own: Callable[[], T]) -> T:
        """Give an order and do one's own part of it.

        Raises:
            RankError: a rank is gone.
            Exception: what this rank or another one raised; the next learner can be built.
        """
        self._settle()
        self.group.tell(f"order/{self._n_orders}", order)
        self._n_orders, self._is_open = self._n_orders + 1, True
        try:
            return own()
        except Exception as error:
            self._failed(error)
            raise

    def dismiss(self) -> None:
        """Let the other ranks end."""
        self.group.tell(f"order/{self._n_orders}", "end")

    def _settle(self) -> None:
        """Wait until all ranks have carried the last order out."""
        if not self._is_open:
            return
        reports = self._reports(PATIENCE.total_seconds())
        if len(reports) < len(self._others) or any(report["kind"] != "done" for report in reports.values()):
            self._failed(None)
        self._close()

    def _close(self) -> None:
        """Take the last order out of the store, and what was said of it."""
        last, self._is_open = self._n_orders - 1, False
        self.group.forget(f"order/{last}")
        for rank in self._others:
            self.group.forget(f"done/{last}/{rank}")

    def _reports(self, patience: float) -> dict[int, dict[str, str]]:
        """Return how each rank came off with the last order; those that say nothing in time are left out."""
        deadline = time.monotonic() + patience
        keys = {rank: f"done/{self._n_orders - 1}/{rank}" for rank in self._others}
        while time.monotonic() < deadline and not all(self.group.is_told(key) for key in keys.values()):
            time.sleep(0.001)
        return {rank: json.loads(self.group.read(key)) for rank, key in keys.items() if self.group.is_told(key)}

    def _failed(self, error: Exception | None) -> None:
        """Bring all ranks to the end of an order that failed, and raise what was the cause, unless it is this error."""
        self.group.cut()
        self._generation += 1
        self.sender = Sender()
        try:
            reports = self._reports(_GRACE)
        except Terminated:
            if error is not None and is_cut(error):
                sys.stderr.write("a process of this training has ended; torchrun's report says which and why\n")
            raise
        if len(reports) < len(self._others):
            raise self._gone(reports) from error
        self._close()
        if error is None or is_cut(error):
            for rank, report in reports.items():
                if report["kind"] not in ("done", "cut"):
                    raise _as_error(rank, report) from None
            raise self._gone({}) from error

    def _gone(self, answered: Mapping[int, object]) -> RankError:
        silent = [str(rank) for rank in self._others if rank not in answered]
        return RankError(
            f"rank {', '.join(silent)} of this training does not answer: its process was killed or stopped, or its machine is "
            "gone; go on with --resume"
        )


class LedLearner:
    """A learner of all ranks, on the one that leads."""

    def __init__(self, leader: Leader, learner: Learner, number: int) -> None:
        self._leader, self._learner, self._number = leader, learner, number

    @property
    def on_batch(self) -> Callable[[int, int], None]:
        """Told of progress within an epoch."""
        return self._learner.on_batch

    @on_batch.setter
    def on_batch(self, told: Callable[[int, int], None]) -> None:
        self._learner.on_batch = told

    @property
    def codec(self) -> Codec:
        """How its state lies on disk."""
        return self._learner.codec

    @property
    def n_parameters(self) -> int:
        """How many numbers it learns."""
        return self._learner.n_parameters

    @property
    def n_examples(self) -> int:
        """How many examples all ranks train on in an epoch."""
        return self._learner.n_examples

    def train_epoch(self) -> dict[str, float]:
        """Train for one epoch; the metrics are those of the rows of all ranks."""
        return self._all("train", self._learner.train_epoch)

    def evaluate(self, split: str) -> dict[str, float]:
        """Return the metrics of a split."""
        return self._all(f"outputs {split}", lambda: self._learner.evaluate(split))

    def outputs(self, split: str) -> Outputs | None:
        """Return what the model says of each example of a split."""
        return self._all(f"outputs {split}", lambda: self._learner.outputs(split))

    def ranking(self, split: str) -> RankingReport | None:
        """Return what is recommended to the users of a split."""
        return self._learner.ranking(split)

    def item_vectors(self) -> NDArray[np.float32] | None:
        """Return the vectors of the items."""
        return self._learner.item_vectors()

    def learning_rate(self) -> float | None:
        """Return the learning rate now."""
        return self._learner.learning_rate()

    def gradient_norm(self) -> GradientNorm | None:
        """Return how long the gradients of the last epoch were: each rank has those of all."""
        return self._learner.gradient_norm()

    def data_seconds(self) -> float:
        """Return how long this rank has fetched batches."""
        return self._learner.data_seconds()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, which is the same on all ranks; a learner of a single process can take it, too."""
        return self._learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state back, on all ranks."""

        def own() -> None:
            buffer = io.BytesIO()
            torch.save(dict(state), buffer)
            send_bytes(buffer.getvalue())
            self._learner.load_state_dict(state)

        self._all("load", own)

    def export(self, folder: Path) -> None:
        """Write the serving artifact."""
        self._learner.export(folder)

    @property
    def steps_per_epoch(self) -> int:
        """How many steps an epoch has."""
        return self._steps.steps_per_epoch

    def steps(self, lrs: Iterable[float]) -> Iterator[float]:
        """Take a step at each learning rate, and yield its loss; see `Steps`."""
        given: deque[float] = deque()
        taken = self._steps.steps(given_lrs(given))
        self._all("steps", lambda: None)
        for lr in lrs:
            given.append(lr)
            yield self._all(f"step {lr!r}", functools.partial(next, taken))

    @property
    def _steps(self) -> Steps:
        assert isinstance(self._learner, Steps)  # only torch learners are shared
        return self._learner

    def _all(self, order: str, own: Callable[[], T]) -> T:
        if self._number != self._leader.newest:
            raise RuntimeError("the ranks have built another learner since; this one has no followers any more")
        return self._leader.do(order, own)


def _as_error(rank: int, report: Mapping[str, str]) -> Exception:
    text = f"rank {rank}: {report['text']}"
    if report["kind"] == "memory":
        return MemoryError(text)
    if report["kind"] == "user":
        return TrainingError(text)
    return RuntimeError(f"{text}\n{report['where']}")


@functools.cache
def _leader() -> Leader:
    here = place()
    assert here is not None and here.rank == 0
    return Leader(here)


def lead(model: BuildsLearner, spec: LearnerSpec) -> Learner:
    """Return a learner of all ranks.

    Raises:
        TrainingError: this process is none that leads.
    """
    here = place()
    if here is None or here.rank:
        raise TrainingError(
            "training.trainer_type: distributed: only the first process that torchrun starts leads a training, and the others "
            "must follow it: use the commands ml-train and ml-search"
        )
    return _leader().build(model, spec)


def dismiss() -> None:
    """Let the followers end, also those that were never needed."""
    try:
        _leader().dismiss()
    except RuntimeError:  # the store is gone, and with it whoever would read this
        return
