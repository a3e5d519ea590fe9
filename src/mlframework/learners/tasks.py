"""A task holds what differs between torch learners: the loss, and what the module's raw outputs mean."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mlframework.errors import TrainingError
from mlframework.learners.settings import StepSettings
from mlframework.metrics import Task as TaskName

Loss = Callable[[Tensor, Tensor], Tensor]
"""Mean loss of raw outputs and targets."""
Penalty = Callable[[nn.Module], Tensor]
"""What a module's weights add to the loss."""


class Task(Protocol):
    """Classification or regression."""

    name: TaskName
    class_names: Sequence[str] | None

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Return the mean training loss of a batch, a scalar."""

    def weight(self, targets: Tensor) -> Tensor | int:
        """Return what the mean loss of a batch was divided by: the sum of its examples' weights."""

    def values(self, raw: Tensor) -> Tensor:
        """Turn raw outputs (n, width) into probabilities (n, n_classes) or values (n,)."""


class Classification:
    """Cross-entropy over classes."""

    name: TaskName = "classification"

    def __init__(self, class_names: Sequence[str], weights: Tensor | None, label_smoothing: float) -> None:
        self.class_names: Sequence[str] | None = class_names
        self._weights, self._label_smoothing = weights, label_smoothing

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy, with class weights and label smoothing."""
        return functional.cross_entropy(raw, targets, self._weights, label_smoothing=self._label_smoothing)

    def weight(self, targets: Tensor) -> Tensor | int:
        """Return the sum of the class weights."""
        return len(targets) if self._weights is None else self._weights[targets].sum()

    def values(self, raw: Tensor) -> Tensor:
        """Return the softmax."""
        return softmax(raw.float())


class Regression:
    """Squared error. The module learns the standardised target, so that the learning rate has no unit."""

    name: TaskName = "regression"
    class_names: Sequence[str] | None = None

    def __init__(self, mean: float, scale: float) -> None:
        self._mean, self._scale = mean, scale

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error of the standardised target."""
        return functional.mse_loss(raw.squeeze(1), (targets - self._mean) / self._scale)

    def weight(self, targets: Tensor) -> Tensor | int:
        """Return the number of examples."""
        return len(targets)

    def values(self, raw: Tensor) -> Tensor:
        """Return the predictions in the target's unit."""
        return raw.float().squeeze(1) * self._scale + self._mean


def classification(
    class_names: Sequence[str], train_targets: NDArray[np.int64], settings: StepSettings, device: str
) -> Classification:
    """Return the classification task that the settings ask for.

    Raises:
        TrainingError: class weights that do not fit the classes.
    """
    weights = settings.class_weights
    if weights is None:
        return Classification(class_names, None, settings.label_smoothing)
    if weights == "balanced":
        counts = np.bincount(train_targets, minlength=len(class_names))
        values = len(train_targets) / (len(class_names) * np.maximum(counts, 1))
    elif len(weights) != len(class_names):
        raise TrainingError(
            f"training.class_weights has {len(weights)} weights, the data has {len(class_names)} classes: "
            f"{', '.join(class_names)}"
        )
    else:
        values = np.asarray(weights)
    return Classification(
        class_names, torch.tensor(values, dtype=torch.float32, device=device), settings.label_smoothing
    )


def softmax(raw: Tensor) -> Tensor:
    """Return torch's softmax of rows float32 (n, n_classes); of two classes to the same bits in a tenth of the time.

    Torch goes through the rows one by one, which takes long where they are short. For the smaller of two outputs it has
    e / (1 + e), where e = exp(-|difference|); e is what it keeps of the log of a sigmoid for that one's gradient.
    """
    if raw.shape[1] != 2 or not raw.is_cpu:
        return raw.softmax(dim=1)
    ahead = raw[:, 1] - raw[:, 0]
    if not ahead.isfinite().all():
        return raw.softmax(dim=1)
    _, e = torch.ops.aten.log_sigmoid_forward(ahead)
    larger = (1 + e).reciprocal_()
    smaller, is_second = e.mul_(larger), ahead > 0
    return torch.stack([torch.where(is_second, smaller, larger), torch.where(is_second, larger, smaller)], dim=1)


def penalised(loss: Loss, penalty: Penalty, module: nn.Module) -> Loss:
    """Return the loss with a penalty on a module's weights."""
    return lambda raw, targets: loss(raw, targets) + penalty(module)


def regression(train_targets: NDArray[np.float32], settings: StepSettings) -> Regression:
    """Return the regression task, standardised by the training targets.

    Raises:
        TrainingError: settings that only classes have.
    """
    if settings.label_smoothing or settings.class_weights is not None:
        key = "label_smoothing" if settings.label_smoothing else "class_weights"
        raise TrainingError(f"training.{key} is for classes, and this is a regression; take it out")
    return Regression(float(train_targets.mean()), float(train_targets.std()) or 1.0)
