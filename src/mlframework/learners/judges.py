"""What a torch learner is measured by: its outputs for each example, or its ranking of items for each user."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlframework import metrics
from mlframework.data.batches import Batches
from mlframework.errors import TrainingError
from mlframework.learners.base import Outputs, RankingReport
from mlframework.learners.distribution import Distribution
from mlframework.learners.ranking import Ranker, Vectors
from mlframework.learners.tasks import Task

Autocast = Callable[[], AbstractContextManager[None]]
Forward = Callable[[nn.Module, tuple[Tensor, ...]], Tensor]
ItemVectors = Callable[[nn.Module], NDArray[np.float32]]
"""Gives what a module has learnt each item to be like, (n_items, d), without biases."""


class Judge(Protocol):
    """Measures a module, batch by batch while it trains, and on a split at the end of an epoch."""

    def note(self, raw: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Take note of a training batch."""

    def epoch(self) -> dict[str, float]:
        """Return the metrics of the batches noted since the last call."""

    def forget(self) -> None:
        """Forget what was found of a split: the module's weights are others now."""

    def evaluate(self, module: nn.Module, split: str) -> dict[str, float]:
        """Return the metrics of a split."""

    def outputs(self, module: nn.Module, split: str) -> Outputs | None:
        """Return what the module says of each example of a split, or None."""

    def ranking(self, module: nn.Module, split: str) -> RankingReport | None:
        """Return what the module recommends to the users of a split, or None."""

    def item_vectors(self, module: nn.Module) -> NDArray[np.float32] | None:
        """Return the vectors of the items, or None for a module that knows none."""

    def data_seconds(self) -> float:
        """Return how long it has fetched batches."""


class ExampleJudge:
    """Measures a classifier or a regressor by its output for each example.

    Args:
        task: what raw outputs mean.
        batches: of `val` and `test`, in the order of the rows.
        wanted: names of the metrics of each split, without split.
        autocast: gives the precision's context.
        distribution: puts together what several processes found.
        forward: passes a batch through the module.
        items: gives the vectors of the items, of a module that knows any.
    """

    def __init__(
        self, task: Task, batches: Mapping[str, Batches], wanted: Mapping[str, tuple[str, ...]], autocast: Autocast,
        distribution: Distribution, forward: Forward, items: ItemVectors | None = None,
    ) -> None:  # fmt: skip
        self._forward, self._items = forward, items
        self._task, self._batches, self._wanted, self._autocast = task, batches, wanted, autocast
        self._distribution = distribution
        self._raw: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._outputs: dict[str, Outputs] = {}

    def note(self, raw: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Keep a training batch's outputs as they were while training."""
        self._raw.append(raw)
        self._targets.append(targets)

    def epoch(self) -> dict[str, float]:
        """Return the metrics of the outputs as they were while training."""
        values = self._values(self._raw)
        targets = self._distribution.gather(torch.cat(self._targets)).cpu().numpy()
        self._raw, self._targets = [], []
        return self._measure("train", targets, values)

    def forget(self) -> None:
        """Forget the outputs of the splits."""
        self._outputs.clear()

    def evaluate(self, module: nn.Module, split: str) -> dict[str, float]:
        """Return the metrics of a split."""
        outputs = self.outputs(module, split)
        return self._measure(split, outputs.targets, outputs.values)

    def outputs(self, module: nn.Module, split: str) -> Outputs:
        """Return what the module says of each example of a split, without dropout; kept until the next epoch."""
        if split in self._outputs:
            return self._outputs[split]
        if split not in self._batches:
            raise ValueError(f"{split} comes in random order, if at all; it has no outputs, only val and test have")
        batches = self._batches[split]
        module.eval()
        blocks = batches.block(self._distribution.rank, self._distribution.world)
        with torch.inference_mode(), self._autocast():
            raw = [self._forward(module, batch.inputs) for batch in blocks]
            # A process without a batch takes part with no rows.
            raw = raw or [module(*batches.peek(1))[:0]]
        found = Outputs(self._task.name, batches.targets, self._values(raw), self._task.class_names)
        self._outputs[split] = found
        return found

    def ranking(self, module: nn.Module, split: str) -> None:
        """Return None: examples are not ranked."""

    def item_vectors(self, module: nn.Module) -> NDArray[np.float32] | None:
        """Return the vectors of the items, where the examples are of users and items."""
        return None if self._items is None else self._items(module)

    def data_seconds(self) -> float:
        """Return how long it has fetched batches."""
        return sum(batches.seconds for batches in self._batches.values())

    def _values(self, raw: list[Tensor]) -> NDArray[np.floating]:
        return self._task.values(self._distribution.gather(torch.cat(raw))).cpu().numpy()

    def _measure(self, split: str, targets: NDArray[Any], values: NDArray[np.floating]) -> dict[str, float]:
        try:
            return dict(metrics.compute(self._task.name, self._wanted[split], targets, values))
        except ValueError as error:
            raise TrainingError(f"{split} metrics: {error}") from None


class RankingJudge:
    """Measures a recommender by its ranking of all items for each user.

    Args:
        ranker: the splits, and what is measured.
        vectors: gives the module's user and item vectors.
        items: gives those of the items alone.
        distribution: adds up the losses of several processes. A ranking needs no other process: the first one makes it.
    """

    def __init__(
        self, ranker: Ranker, vectors: Callable[[nn.Module], Vectors], items: ItemVectors, distribution: Distribution
    ) -> None:
        self._ranker, self._vectors, self._items, self._distribution = ranker, vectors, items, distribution
        self._losses: list[tuple[Tensor, int]] = []

    def note(self, raw: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Keep a training batch's loss."""
        self._losses.append((loss, len(targets)))

    def epoch(self) -> dict[str, float]:
        """Return the mean training loss of an example."""
        losses = torch.stack([loss for loss, _ in self._losses]).double().cpu()
        sizes = torch.tensor([size for _, size in self._losses], dtype=torch.float64)
        self._losses = []
        total, n = self._distribution.total(torch.stack([(losses * sizes).sum(), sizes.sum()])).tolist()
        return {"loss": total / n}

    def forget(self) -> None:
        """Do nothing: vectors are not kept."""

    def evaluate(self, module: nn.Module, split: str) -> dict[str, float]:
        """Return the ranking metrics of a split."""
        return self._ranker.measure(split, self._vectors(module))

    def outputs(self, module: nn.Module, split: str) -> None:
        """Return None: there is no class or value for an example."""

    def ranking(self, module: nn.Module, split: str) -> RankingReport:
        """Return what is recommended to the users of a split."""
        return self._ranker.report(split, self._vectors(module))

    def item_vectors(self, module: nn.Module) -> NDArray[np.float32]:
        """Return the vectors of the items."""
        return self._items(module)

    def data_seconds(self) -> float:
        """Return 0: a ranking takes the vectors of all users and items."""
        return 0.0
