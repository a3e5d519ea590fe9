"""Precision, accumulation and clipping: the objects that a torch learner takes, so that it branches on none of them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mlframework.data.batches import Batch
from mlframework.errors import TrainingError
from mlframework.learners.base import GradientNorm
from mlframework.learners.settings import StepSettings


class Precision(Protocol):
    """In which number type the model computes, and how a step is taken in it."""

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of the forward pass."""

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients."""

    def step(self, optimizer: Optimizer, clip: "Clip") -> None:
        """Clip the gradients and take a step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact resume needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back."""


MEASURED = 16
"""Where nothing is clipped, the gradient of every so many steps is measured, from an epoch's first: of a small network it
takes a quarter of a step. Where it is clipped its length is known of every step."""
_AT_ONCE = 1024


class Clip:
    """Shortens a gradient that is longer than `max_norm`, None leaves all as they are; and measures how long they were."""

    def __init__(self, module: nn.Module, max_norm: float | None) -> None:
        self._parameters, self._max_norm = list(module.parameters()), max_norm
        self.restart()

    def __call__(self) -> None:
        """Clip the gradients in place."""
        if self._max_norm is not None:
            self._norms.append(nn.utils.clip_grad_norm_(self._parameters, self._max_norm))
        elif self._n_steps % MEASURED == 0:
            gradients = [each.grad for each in self._parameters if each.grad is not None]
            self._norms.append(nn.utils.get_total_norm(gradients))
        self._n_steps += 1
        if len(self._norms) == _AT_ONCE:
            self._add_up()

    def restart(self) -> None:
        """Forget the steps so far: an epoch begins."""
        self._n_steps, self._norms = 0, list[Tensor]()
        self._n_measured, self._sum, self._largest = 0, 0.0, 0.0

    def measured(self) -> GradientNorm | None:
        """Return how long the gradients since the last restart were, or None where none was measured.

        One that is not finite is left out: the gradient scaler of fp16 takes no such step.
        """
        self._add_up()
        return GradientNorm(self._sum / self._n_measured, self._largest) if self._n_measured else None

    def _add_up(self) -> None:
        """Read the norms: till then they stay where they were computed, so that a GPU need not be waited for."""
        if not self._norms:
            return
        norms = torch.stack(self._norms).double().cpu()
        finite = norms[norms.isfinite()]
        self._norms = []
        self._n_measured += len(finite)
        self._sum += float(finite.sum())
        self._largest = max(self._largest, float(finite.max())) if len(finite) else self._largest


class Unscaled:
    """float32, or autocast to a type whose range is wide enough to need no scaler (bf16)."""

    def __init__(self, device: str, dtype: torch.dtype | None) -> None:
        self._device, self._dtype = torch.device(device).type, dtype

    def autocast(self) -> AbstractContextManager[Any]:
        """Return autocast, or nothing for float32."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device, self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, optimizer: Optimizer, clip: Clip) -> None:
        """Clip the gradients and take a step."""
        clip()
        optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: it has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take nothing back."""


class Scaled:
    """fp16 on CUDA, with a gradient scaler against underflow (https://arxiv.org/abs/1710.03740)."""

    def __init__(self) -> None:
        self._scaler = torch.amp.GradScaler("cuda")

    def autocast(self) -> AbstractContextManager[Any]:
        """Return autocast to fp16."""
        return torch.autocast("cuda", torch.float16)

    def backward(self, loss: Tensor) -> None:
        """Compute the scaled gradients."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self, optimizer: Optimizer, clip: Clip) -> None:
        """Unscale and clip the gradients, and take a step unless one of them overflowed."""
        self._scaler.unscale_(optimizer)
        clip()
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the scaler's state."""
        return dict(self._scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back."""
        self._scaler.load_state_dict(state)


def build_precision(settings: StepSettings, device: str) -> Precision:
    """Return the precision that the settings ask for.

    Raises:
        TrainingError: fp16 on a device that is not CUDA.
    """
    if settings.trainer_type != "mixed_precision":
        return Unscaled(device, None)
    if settings.precision == "bf16":
        return Unscaled(device, torch.bfloat16)
    if torch.device(device).type != "cuda":
        raise TrainingError(f"training.precision: fp16 needs a CUDA device, got {device!r}; use precision: bf16")
    return Scaled()


class Accumulation:
    """Puts `steps` batches together into one step, whose gradient is that of one batch with all their examples."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def groups(self, batches: Iterable[Batch]) -> Iterator[list[Batch]]:
        """Yield the batches of each step; the last step may have fewer."""
        group: list[Batch] = []
        for batch in batches:
            group.append(batch)
            if len(group) == self._steps:
                yield group
                group = []
        if group:
            yield group

    def share(self, loss: Tensor, batch: Batch, group: list[Batch], weight: Callable[[Tensor], Tensor | int]) -> Tensor:
        """Weigh a batch's mean loss by its share of the step; `weight` says what the mean was divided by."""
        if len(group) == 1 and batch.own is batch.whole:
            return loss
        return loss * (weight(batch.own) / sum(weight(each.whole) for each in group))

    def steps_per_epoch(self, n_batches: int) -> int:
        """Return how many steps `n_batches` make."""
        return -(-n_batches // self._steps)
