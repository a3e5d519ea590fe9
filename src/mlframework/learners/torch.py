"""A torch module as a Learner."""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from mlframework.data.batches import Batch, Batches, Fetch
from mlframework.errors import CheckpointError
from mlframework.learners.base import (
    GradientNorm,
    LearnerSpec,
    Outputs,
    RankingReport,
    Tracer,
    ignore_batches,
    wanted_metrics,
)
from mlframework.learners.device import on_device as on_device
from mlframework.learners.distribution import Distribution, build_distribution
from mlframework.learners.judges import ExampleJudge, ItemVectors, Judge
from mlframework.learners.memory import Splitting, build_splitting
from mlframework.learners.precision import Accumulation, Clip, Precision, build_precision
from mlframework.learners.tasks import Loss, Penalty, Task, penalised
from mlframework.learners.torch_codec import TorchCodec
from mlframework.learners.try_out import try_out
from mlframework.schedules import Schedule

Export = Callable[[nn.Module, Path], None]
"""Writes a trained module, and what a predictor needs beside it, into a folder."""


@dataclass(frozen=True)
class Stepping:
    """How a step is taken: the objects that vary, so that the learner branches on none of them."""

    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    accumulation: Accumulation
    clip: Clip
    distribution: Distribution
    splitting: Splitting


class TorchLearner:
    """Trains a torch module for a task on batches.

    Args:
        module: takes the batches' inputs and returns raw outputs.
        loss: of raw outputs and targets, the mean over the batch.
        weight: of targets: what that mean was divided by.
        batches: of the training split, in random order.
        stepping: how a step is taken.
        judge: what the module is measured by.
        export: writes the serving artifact.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        weight: Callable[[Tensor], Tensor | int],
        batches: Batches,
        stepping: Stepping,
        judge: Judge,
        export: Export,
    ) -> None:
        self.codec = TorchCodec()
        self.on_batch: Callable[[int, int], None] = ignore_batches
        self.module = module
        self.n_parameters = sum(parameter.numel() for parameter in module.parameters())
        self._loss, self._weight, self._batches, self._stepping = loss, weight, batches, stepping
        self._judge, self._export = judge, export
        self._forward = stepping.distribution.forward(module, batches)
        self._watched: float | None = None

    @property
    def n_examples(self) -> int:
        """How many examples it trains on in an epoch, over all processes."""
        return len(self._batches.targets)

    def train_epoch(self) -> dict[str, float]:
        """Train for one epoch; the metrics are of the outputs as they were while training."""
        stepping, n_batches, done = self._stepping, len(self._batches), 0
        torch.set_grad_enabled(True)  # an interrupt of an earlier training may have left them off
        stepping.distribution.reseed(self._batches.order)
        self._watched = stepping.distribution.first(self._watched)
        if self._watched is not None:
            with warnings.catch_warnings():
                # The first epoch after a resume: torch does not know of the steps that were taken before.
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
                stepping.schedule.after_epoch(self._watched)
        self.module.train()
        stepping.clip.restart()
        for group in stepping.accumulation.groups(self._batches):
            self._step(group, self._judge.note)
            stepping.schedule.after_step()
            done += len(group)
            self.on_batch(done, n_batches)
        self._judge.forget()
        found = self._judge.epoch()
        self._watched = found["loss"]
        return found

    @property
    def steps_per_epoch(self) -> int:
        """How many steps an epoch has."""
        return self._stepping.accumulation.steps_per_epoch(len(self._batches))

    def steps(self, lrs: Iterable[float]) -> Iterator[float]:
        """Take a step at each learning rate, and yield its loss; the schedule has no say. See `Steps`."""
        stepping = self._stepping
        stepping.distribution.reseed(self._batches.order)
        self.module.train()
        epochs = iter(lambda: stepping.accumulation.groups(self._batches), None)
        for lr, group in zip(lrs, chain.from_iterable(epochs), strict=False):
            for parameters in stepping.optimizer.param_groups:
                parameters["lr"] = lr
            shares = torch.stack(self._step(group, _pass_over))
            yield float(stepping.distribution.total(shares.sum()))

    def _step(self, group: list[Batch], note: Callable[[Tensor, Tensor, Tensor], None]) -> list[Tensor]:
        """Take a step on its batches, tell `note` of each, and return their shares of the step's mean loss."""
        stepping, shares = self._stepping, []
        for *noted, share in stepping.splitting.take(group, self._backward):
            note(*noted)
            shares.append(share)
        stepping.precision.step(stepping.optimizer, stepping.clip)
        stepping.optimizer.zero_grad(set_to_none=True)
        return shares

    def _backward(self, parts: list[Batch]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Sum up the gradients of a step's batches; returns outputs, targets, loss and share of the loss of each."""
        stepping, found = self._stepping, []
        for part in parts:
            with stepping.distribution.batch(part, part is parts[-1]):
                with stepping.precision.autocast():
                    raw = self._forward(*part.inputs)
                    loss = self._loss(raw, part.targets)
                share = stepping.accumulation.share(loss, part, parts, self._weight)
                stepping.precision.backward(stepping.distribution.scaled(share))
            found.append((raw.detach()[: len(part.own)], part.own, loss.detach(), share.detach()))
        return found

    def evaluate(self, split: str) -> dict[str, float]:
        """Return the metrics of a split."""
        found = self._judge.evaluate(self.module, split)
        if split == "val":
            self._watched = found.get("loss", self._watched)
        return found

    def outputs(self, split: str) -> Outputs | None:
        """Return what the module says of each example of a split, without dropout."""
        return self._judge.outputs(self.module, split)

    def ranking(self, split: str) -> RankingReport | None:
        """Return what the module recommends to the users of a split."""
        return self._judge.ranking(self.module, split)

    def item_vectors(self) -> NDArray[np.float32] | None:
        """Return the vectors of the items of a recommender."""
        return self._judge.item_vectors(self.module)

    def learning_rate(self) -> float | None:
        """Return the learning rate of the first parameter group."""
        return float(self._stepping.optimizer.param_groups[0]["lr"])

    def gradient_norm(self) -> GradientNorm | None:
        """Return how long the gradients of the last epoch's steps were, of all processes together."""
        return self._stepping.clip.measured()

    def data_seconds(self) -> float:
        """Return how long it has fetched batches of any split."""
        return self._batches.seconds + self._judge.data_seconds()

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimizer, schedule, precision, and every random state that the next epoch draws from."""
        order = self._batches.order
        return {
            "module": self.module.state_dict(),
            "optimizer": self._stepping.optimizer.state_dict(),
            "schedule": self._stepping.schedule.state_dict(),
            "precision": self._stepping.precision.state_dict(),
            "splitting": self._stepping.splitting.state_dict(),
            "watched": self._watched,
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "rng_order": order.get_state() if order is not None else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state back.

        Raises:
            CheckpointError: it is the state of another model.
        """
        try:
            self.module.load_state_dict(state["module"])
            # torch would keep the very tensors of the state, and the next step would write into them.
            self._stepping.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
            self._stepping.schedule.load_state_dict(state["schedule"])
            self._stepping.precision.load_state_dict(state["precision"])
            self._stepping.splitting.load_state_dict(state.get("splitting", {}))
            self._watched = state["watched"]
            torch.set_rng_state(state["rng"])
            if state["rng_cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["rng_cuda"])
            order = self._batches.order
            if order is not None:
                order.set_state(state["rng_order"])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"the checkpoint is of another model or optimizer: {reason}") from None
        # A step that was cut short leaves gradients, which the next one would add to.
        self._stepping.optimizer.zero_grad(set_to_none=True)
        self._judge.forget()

    def tracer(self) -> Tracer:
        """Return a tracer of torch's operations."""
        from mlframework.learners.tracing import OperationTracer

        return OperationTracer(next(self.module.parameters()).device)

    def export(self, folder: Path) -> None:
        """Write the serving artifact."""
        self._export(self.module, folder)


def _pass_over(raw: Tensor, targets: Tensor, loss: Tensor) -> None:
    """Take no note of a batch."""


def build_learner(
    spec: LearnerSpec,
    make_module: Callable[[], nn.Module],
    task: Task,
    fetches: Mapping[str, Fetch],
    export: Export,
    penalty: Penalty | None = None,
    item_vectors: ItemVectors | None = None,
) -> TorchLearner:
    """Put together the learner of a classifier or regressor from a model's parts.

    Args:
        spec: the settings, the data and the seed, on its device.
        make_module: called after seeding, so that the weights depend on the seed alone.
        task: the loss, and what raw outputs mean.
        fetches: where the inputs of each split come from; `train` may augment.
        export: writes the serving artifact.
        penalty: of the module, added to the training loss of each batch.
        item_vectors: of the module; None where it knows no items.
    """
    torch.manual_seed(spec.seed)
    distribution = build_distribution(spec.settings, spec.device)
    module = distribution.prepare(make_module()).to(spec.device)
    batches = _batches(spec, fetches, distribution)
    train = batches.pop("train")
    try_out(module, train)
    loss = task.loss if penalty is None else penalised(task.loss, penalty, module)
    stepping = build_stepping(spec, module, len(train), distribution)
    wanted = wanted_metrics(task.name, spec.metrics)
    forward = stepping.splitting.forward
    judge = ExampleJudge(task, batches, wanted, stepping.precision.autocast, distribution, forward, item_vectors)
    return TorchLearner(module, loss, task.weight, train, stepping, judge, export)


def build_stepping(
    spec: LearnerSpec, module: nn.Module, n_batches: int, distribution: Distribution, differs: Sequence[str] = ()
) -> Stepping:
    """Return how steps are taken for a module whose epoch has so many batches; `differs` is what `build_splitting` says."""
    accumulation = Accumulation(spec.settings.accumulation_steps)
    optimizer = spec.optimizer.build(module.parameters())
    return Stepping(
        optimizer=optimizer,
        schedule=spec.scheduler.build(optimizer, spec.num_epochs, accumulation.steps_per_epoch(n_batches)),
        precision=build_precision(spec.settings, spec.device),
        accumulation=accumulation,
        clip=Clip(module, spec.settings.gradient_clipping),
        distribution=distribution,
        splitting=build_splitting(spec.settings, module, differs),
    )


def _batches(spec: LearnerSpec, fetches: Mapping[str, Fetch], distribution: Distribution) -> dict[str, Batches]:
    parts = {"train": spec.splits.train, "val": spec.splits.val, "test": spec.splits.test}
    found: dict[str, Batches] = {}
    for split, fetch in fetches.items():
        part = parts[split]
        if part is not None:
            order = torch.Generator().manual_seed(spec.seed) if split == "train" else None
            # Without gradients four times the batch fits, and fewer, larger batches are faster.
            batch_size = spec.settings.batch_size * (1 if order is not None else 4)
            found[split] = Batches(fetch, part.targets, batch_size, spec.device, order, distribution.cut)
    return found
