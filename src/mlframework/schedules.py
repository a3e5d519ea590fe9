"""SCHEDULERS: each with its config. torch is imported where one is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import Field

from mlframework.config.base import Config

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


class Schedule(Protocol):
    """Moves the learning rate."""

    def after_step(self) -> None:
        """Tell it that the optimizer took a step."""

    def after_epoch(self, watched: float) -> None:
        """Tell it that an epoch ended; `watched` is the validation loss, or the training loss without a val split."""

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact resume needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back."""


class _WithWarmUp(Config, ABC):
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which the learning rate climbs linearly, step by step, to its full value."""

    def build(self, optimizer: Optimizer, num_epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule of a training of `num_epochs`."""
        after_warm_up = self.torch_scheduler(optimizer, max(1, num_epochs - self.warmup_epochs))
        return WarmUpThen(optimizer, after_warm_up, self.warmup_epochs * steps_per_epoch)

    @abstractmethod
    def torch_scheduler(self, optimizer: Optimizer, num_epochs: int) -> LRScheduler:
        """Return the torch scheduler that follows the warm-up, stepped once an epoch."""


class NoScheduler(_WithWarmUp):
    """A constant learning rate."""

    type: Literal["none"] = "none"

    def torch_scheduler(self, optimizer: Optimizer, num_epochs: int) -> LRScheduler:
        """Return a scheduler that keeps the learning rate."""
        from torch.optim.lr_scheduler import LambdaLR

        return LambdaLR(optimizer, _one)


class Step(_WithWarmUp):
    """Multiplies the learning rate by `gamma` every `step_size` epochs."""

    type: Literal["step"]
    step_size: Annotated[int, Field(gt=0)] = 7
    """Epochs between two reductions."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of each reduction."""

    def torch_scheduler(self, optimizer: Optimizer, num_epochs: int) -> LRScheduler:
        """Return torch's StepLR."""
        from torch.optim.lr_scheduler import StepLR

        return StepLR(optimizer, self.step_size, self.gamma)


class Cosine(_WithWarmUp):
    """Half a cosine from the full learning rate to `min_lr` (https://arxiv.org/abs/1608.03983, without restarts)."""

    type: Literal["cosine"]
    min_lr: Annotated[float, Field(ge=0)] = 0.0
    """Learning rate at the end."""

    def torch_scheduler(self, optimizer: Optimizer, num_epochs: int) -> LRScheduler:
        """Return torch's CosineAnnealingLR over the epochs after the warm-up."""
        from torch.optim.lr_scheduler import CosineAnnealingLR

        return CosineAnnealingLR(optimizer, T_max=num_epochs, eta_min=self.min_lr)


class Exponential(_WithWarmUp):
    """Multiplies the learning rate by `gamma` every epoch."""

    type: Literal["exponential"]
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Factor of each epoch."""

    def torch_scheduler(self, optimizer: Optimizer, num_epochs: int) -> LRScheduler:
        """Return torch's ExponentialLR."""
        from torch.optim.lr_scheduler import ExponentialLR

        return ExponentialLR(optimizer, self.gamma)


class Plateau(_WithWarmUp):
    """Multiplies the learning rate by `factor` when the validation loss has not fallen for `patience` epochs."""

    type: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor of each reduction."""
    patience: Annotated[int, Field(ge=0)] = 3
    """Epochs without improvement that are waited for."""
    min_lr: Annotated[float, Field(ge=0)] = 0.0
    """Learning rate below which it never goes."""

    def torch_scheduler(self, optimizer: Optimizer, num_epochs: int) -> LRScheduler:
        """Return torch's ReduceLROnPlateau."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        return ReduceLROnPlateau(optimizer, "min", self.factor, self.patience, min_lr=self.min_lr)


class OneCycle(Config):
    """One rise and one fall over the whole training, step by step (Smith and Topin, https://arxiv.org/abs/1708.07120).

    `optimizer.lr` is the peak.
    """

    type: Literal["one_cycle"]
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the training in which the learning rate rises."""
    div_factor: Annotated[float, Field(ge=1)] = 25.0
    """The first learning rate is the peak divided by this."""
    final_div_factor: Annotated[float, Field(ge=1)] = 1e4
    """The last learning rate is the first divided by this."""

    def build(self, optimizer: Optimizer, num_epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule of a training of `num_epochs`."""
        from torch.optim.lr_scheduler import OneCycleLR

        peaks = [float(group["lr"]) for group in optimizer.param_groups]
        steps = num_epochs * steps_per_epoch + 1
        # torch divides by zero where the rise would end with the first step.
        rise = self.pct_start if self.pct_start * steps != 1 else self.pct_start * 0.99
        # The momentum stays the optimizer's own: a searched momentum that a schedule overwrites would not be searched.
        return EveryStep(OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=rise, div_factor=self.div_factor,
                                    final_div_factor=self.final_div_factor, cycle_momentum=False))  # fmt: skip


SCHEDULERS: dict[str, type[Config]] = {
    "none": NoScheduler,
    "step": Step,
    "cosine": Cosine,
    "exponential": Exponential,
    "plateau": Plateau,
    "one_cycle": OneCycle,
}
SchedulerConfig = Annotated[NoScheduler | Step | Cosine | Exponential | Plateau | OneCycle, Field(discriminator="type")]


def _one(_epoch: int) -> float:
    return 1.0


class EveryStep:
    """A torch scheduler that moves after each optimizer step."""

    def __init__(self, scheduler: LRScheduler) -> None:
        self._scheduler = scheduler

    def after_step(self) -> None:
        """Move the learning rate."""
        self._scheduler.step()

    def after_epoch(self, watched: float) -> None:
        """Do nothing: the steps did it."""

    def state_dict(self) -> dict[str, Any]:
        """Return the torch scheduler's state."""
        return {"scheduler": self._scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back."""
        self._scheduler.load_state_dict(state["scheduler"])


class WarmUpThen:
    """A linear warm-up step by step, then a torch scheduler that moves once an epoch."""

    def __init__(self, optimizer: Optimizer, scheduler: LRScheduler, warm_up_steps: int) -> None:
        self._optimizer, self._scheduler, self._warm_up_steps = optimizer, scheduler, warm_up_steps
        self._peaks = [float(group["lr"]) for group in optimizer.param_groups]
        self._steps = 0
        self._warm_up()

    def after_step(self) -> None:
        """Climb, while the warm-up lasts."""
        self._steps += 1
        if self._steps <= self._warm_up_steps:
            self._warm_up()

    def after_epoch(self, watched: float) -> None:
        """Move the learning rate, once the warm-up is over."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        if self._steps <= self._warm_up_steps:
            return
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.step(watched)
        else:
            self._scheduler.step()

    def _warm_up(self) -> None:
        if self._warm_up_steps == 0:
            return
        share = min(1.0, (self._steps + 1) / self._warm_up_steps)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * share

    def state_dict(self) -> dict[str, Any]:
        """Return the steps taken and the torch scheduler's state."""
        return {"steps": self._steps, "scheduler": self._scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back; the learning rate itself is part of the optimizer's state."""
        self._steps = state["steps"]
        self._scheduler.load_state_dict(state["scheduler"])
