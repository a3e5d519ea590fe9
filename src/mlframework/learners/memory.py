"""What becomes of a step, or of an evaluation, that runs out of memory: it ends the training, or is done in smaller parts.

A step on parts is the step on the whole batch: each part's gradient counts by its share of the examples, and the optimizer
is asked once. What is not the same then is said when it happens first.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from mlframework.data.batches import Batch
from mlframework.errors import OutOfMemoryError
from mlframework.learners.settings import StepSettings
from mlframework.memory import free, is_out_of_memory, remedy, said

T = TypeVar("T")
Inputs = tuple[Tensor, ...]


class Splitting(Protocol):
    """How many examples go through a module at once."""

    def take(self, group: list[Batch], work: Callable[[list[Batch]], T]) -> T:
        """Do the work of a step on its batches, or on parts of them."""

    def forward(self, module: nn.Module, inputs: Inputs) -> Tensor:
        """Return what a module that is being evaluated says of a batch."""

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact resume needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back."""


class Whole:
    """All at once; what does not fit ends the training."""

    def take(self, group: list[Batch], work: Callable[[list[Batch]], T]) -> T:
        """Do the work on the batches as they are."""
        return work(group)

    def forward(self, module: nn.Module, inputs: Inputs) -> Tensor:
        """Return what the module says."""
        found: Tensor = module(*inputs)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: it has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take nothing back."""


@dataclass
class Halving:
    """Half as many at once whenever memory runs out, from then on.

    Attributes:
        module: what is trained.
        differs: what is not the same in parts.
        least: examples below which there is nothing to halve: batch normalisation can't train on one.
        at_once: examples at once in training; None: the whole batch.
        evaluated: the same, of evaluations, which keep no activations.
    """

    module: nn.Module
    differs: Sequence[str]
    least: int
    at_once: int | None = None
    evaluated: int | None = None

    def take(self, group: list[Batch], work: Callable[[list[Batch]], T]) -> T:
        """Do the work on parts, and anew on smaller ones where memory runs out: as if nothing had been tried before.

        Raises:
            OutOfMemoryError: the smallest parts do not fit.
        """
        asked, before = self.at_once, _Before(self.module)
        while True:
            parts = [part for batch in group for part in self._parts(batch)]
            with _out_of_memory() as ran_out:
                found = work(parts)
            if not ran_out:
                break
            before.restore()
            largest = max(len(part.targets) for part in parts)
            self.at_once = self._halved(largest, min(largest, self.at_once or largest), self.least, ran_out[0])
        if self.at_once != asked:
            self._tell(max(len(batch.targets) for batch in group))
        return found

    def forward(self, module: nn.Module, inputs: Inputs) -> Tensor:
        """Return what the module says, part by part where memory runs out.

        Raises:
            OutOfMemoryError: a single example does not fit.
        """
        n = len(inputs[0])
        while True:
            size = min(n, self.evaluated or n)
            with _out_of_memory() as ran_out:
                found = [module(*part) for part in _split(inputs, -(-n // size))]
                return torch.cat(found) if len(found) > 1 else found[0]
            self.evaluated = self._halved(size, size, 1, ran_out[0])

    def state_dict(self) -> dict[str, Any]:
        """Return how many are taken at once."""
        return {"at_once": self.at_once, "evaluated": self.evaluated}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back."""
        self.at_once, self.evaluated = state.get("at_once"), state.get("evaluated")

    def _parts(self, batch: Batch) -> list[Batch]:
        """Cut a batch into parts of about the same size, none larger than what is taken at once."""
        n = len(batch.targets)
        if self.at_once is None or n <= self.at_once:
            return [batch]
        count = min(-(-n // self.at_once), n // self.least)
        cuts = zip(_split(batch.inputs, count), torch.tensor_split(batch.targets, count), strict=True)
        return [Batch(inputs, targets, targets, targets) for inputs, targets in cuts]

    @staticmethod
    def _halved(largest: int, limit: int, least: int, what: str) -> int:
        half = max(least, largest // 2)
        if half >= limit:
            few = "a single example" if largest == 1 else f"{largest} examples"
            raise OutOfMemoryError(f"{what}, with {few} at once; {remedy(on_oom='accumulate')}")
        return half

    def _tell(self, batch_size: int) -> None:
        but = f"; not quite the same as whole batches: {'; '.join(self.differs)}" if self.differs else ""
        warnings.warn(
            f"training.on_oom: a step on {batch_size} examples ran out of memory; from here on at most {self.at_once} go "
            f"through the model at once, and their gradients are summed up to that of the batch{but}",
            UserWarning,
            stacklevel=1,
        )


def build_splitting(settings: StepSettings, module: nn.Module, differs: Sequence[str] = ()) -> Splitting:
    """Return what the settings ask for.

    Args:
        settings: how a step is taken.
        module: what is trained.
        differs: what of its loss is not the same in parts of a batch, in words.
    """
    if settings.on_oom == "fail":
        return Whole()
    kinds = list(module.modules())
    normalised = any(isinstance(each, _BatchNorm) for each in kinds)
    also = {
        "BatchNorm goes by the mean and deviation of fewer examples": normalised,
        "dropout leaves out other units": any(isinstance(each, _DropoutNd) and each.p > 0 for each in kinds),
    }
    return Halving(module, [*differs, *(text for text, there in also.items() if there)], 2 if normalised else 1)


def _split(tensors: Inputs, count: int) -> list[Inputs]:
    return list(zip(*(torch.tensor_split(tensor, count) for tensor in tensors), strict=True))


@contextmanager
def _out_of_memory() -> Iterator[list[str]]:
    """Take an error that says that memory ran out, and give the memory back; yields a list that gets what it said."""
    heard: list[str] = []
    try:
        yield heard
    except Exception as error:
        if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
            raise
        heard.append(said(error))
        free(error)


class _Before:
    """What a step that is cut short leaves behind: gradients, random numbers drawn, running means of normalisations."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
        self._rng, self._gpu = torch.get_rng_state(), device if device.type == "cuda" else None
        self._on_gpu = None if self._gpu is None else torch.cuda.get_rng_state(self._gpu)
        norms = (each for each in module.modules() if isinstance(each, _NormBase))
        self._buffers = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]

    def restore(self) -> None:
        """Make it as it was."""
        torch.set_rng_state(self._rng)
        if self._gpu is not None and self._on_gpu is not None:
            torch.cuda.set_rng_state(self._on_gpu, self._gpu)
        with torch.no_grad():
            for buffer, was in self._buffers:
                buffer.copy_(was)
        self._module.zero_grad(set_to_none=True)
