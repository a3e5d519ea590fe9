"""In how many processes a torch learner trains: the object that it takes, so that it branches on none of it.

Several processes, the ranks, hold the same module each. Of every batch each rank takes a part, in the order in which a
single process would take the whole; gradients are put together by torch's DistributedDataParallel, and so are the
statistics of batch normalisation, so that a step is that of the whole batch but for the order of sums.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn

from mlframework.data.batches import Batch, Batches, Cut, Fetch, Rows, whole_batch
from mlframework.errors import TrainingError
from mlframework.learners.rank_norm import Counting, with_rank_norms
from mlframework.learners.ranks import place
from mlframework.learners.settings import StepSettings

Forward = Callable[..., Tensor]


class Distribution(Protocol):
    """How a learner shares its work with other processes."""

    rank: int
    world: int

    @property
    def cut(self) -> Cut:
        """What takes this process's part of a training batch."""

    @property
    def cut_pairs(self) -> Cut:
        """The same of batches whose second input every row is held against."""

    def prepare(self, module: nn.Module) -> nn.Module:
        """Return the module as it is to be trained; its state keeps its names."""

    def forward(self, module: nn.Module, batches: Batches) -> Forward:
        """Return what passes a training batch through a module."""

    def batch(self, batch: Batch, is_last: bool) -> AbstractContextManager[Any]:
        """Return the context of a batch's forward and backward pass; the last one of a step puts the gradients together."""

    def scaled(self, share: Tensor) -> Tensor:
        """Scale a share of a step's loss so that the gradient that is put together is that of the sum of all shares."""

    def reseed(self, order: torch.Generator | None) -> None:
        """Set this process's random numbers for an epoch whose order is still to be drawn."""

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows (n, ...) of all processes, in the order of their ranks."""

    def first(self, value: float | None) -> float | None:
        """Return the number that the first process has."""


class Alone:
    """One process."""

    cut: Cut = staticmethod(whole_batch)
    cut_pairs: Cut = staticmethod(whole_batch)
    rank, world = 0, 1

    def prepare(self, module: nn.Module) -> nn.Module:
        """Return the module as it is."""
        return module

    def forward(self, module: nn.Module, batches: Batches) -> Forward:
        """Return the module itself."""
        return module

    def batch(self, batch: Batch, is_last: bool) -> AbstractContextManager[Any]:
        """Return no context."""
        return nullcontext()

    def scaled(self, share: Tensor) -> Tensor:
        """Return the share."""
        return share

    def reseed(self, order: torch.Generator | None) -> None:
        """Leave the random numbers as they are: a checkpoint holds their state."""

    def total(self, value: Tensor) -> Tensor:
        """Return the value."""
        return value

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows."""
        return rows

    def first(self, value: float | None) -> float | None:
        """Return the value."""
        return value


class Ranks:
    """The processes of torch's default process group, of which this is one.

    Args:
        device: of this process.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self.rank, self.world = distributed.get_rank(), distributed.get_world_size()
        self._counting = Counting()
        self._parallel: nn.parallel.DistributedDataParallel | None = None

    def prepare(self, module: nn.Module) -> nn.Module:
        """Give the module's batch normalisations the statistics of all ranks."""
        for parameter in module.parameters():
            # Of no numbers there is no gradient that the ranks would wait for.
            parameter.requires_grad_(parameter.requires_grad and parameter.numel() > 0)
        return with_rank_norms(module, self._counting)

    def forward(self, module: nn.Module, batches: Batches) -> Forward:
        """Return the module in a DistributedDataParallel, which begins with the first rank's weights on all ranks."""
        on_gpu = self._device.type == "cuda"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the newest torch has another name for the last argument
            # Buffers need no broadcast: statistics are those of all ranks, and other buffers do not change.
            self._parallel = nn.parallel.DistributedDataParallel(
                module, device_ids=[self._device.index] if on_gpu else None, broadcast_buffers=False
            )
        _settle(self._parallel, batches)
        return self._parallel

    def batch(self, batch: Batch, is_last: bool) -> AbstractContextManager[Any]:
        """Keep the gradients of all but a step's last batch to this rank until then."""
        self._counting.on = len(batch.own) > 0
        assert self._parallel is not None
        return nullcontext() if is_last else self._parallel.no_sync()

    def scaled(self, share: Tensor) -> Tensor:
        """Multiply by the number of ranks: DistributedDataParallel takes the mean of their gradients."""
        return share * self.world

    def reseed(self, order: torch.Generator | None) -> None:
        """Seed by the seed, the epoch and the rank.

        The first two are in the state of the order, which is the same on all ranks and part of a checkpoint. So a resumed
        epoch draws what it would have drawn, without a random state of each rank.
        """
        draws = torch.Generator()
        if order is not None:
            draws.set_state(order.get_state())
        torch.manual_seed(int(torch.randint(2**62, (), generator=draws)) + self.rank)

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks."""
        found = value.detach().to(self._device, copy=True)
        distributed.all_reduce(found)
        return found

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows (n, ...) of all ranks, in the order of their numbers, on each."""
        counts = self.total(nn.functional.one_hot(torch.tensor(self.rank), self.world) * len(rows)).tolist()
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows.detach()
        each = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(each, padded)
        return torch.cat([part[:count] for part, count in zip(each, counts, strict=True)])

    def first(self, value: float | None) -> float | None:
        """Return the number that rank 0 has."""
        found = torch.tensor([float("nan") if value is None else value], dtype=torch.float64, device=self._device)
        distributed.broadcast(found, 0)
        return None if torch.isnan(found) else float(found)

    def cut(self, fetch: Fetch, rows: Rows, targets: Tensor) -> Batch:
        """Take this rank's part of a batch, one row that is not counted where there are fewer rows than ranks."""
        start, end = self._part(len(targets))
        own = targets[start:end]
        if start == end:
            return Batch(fetch(rows[:1]), targets[:1], own, targets)  # type: ignore[index]
        return Batch(fetch(rows[start:end]), own, own, targets)  # type: ignore[index]

    def cut_pairs(self, fetch: Fetch, rows: Rows, targets: Tensor) -> Batch:
        """Take this rank's users and all items of a batch, the users' own ones first, in the same order."""
        start, end = self._part(len(targets))
        users, items = fetch(rows)
        if start == end:
            return Batch((users[:1], items), targets, targets[:0], targets)
        rolled = targets.roll(-start, 0)
        return Batch((users[start:end], items.roll(-start, 0)), rolled, rolled[: end - start], targets)

    def _part(self, n: int) -> tuple[int, int]:
        return self.rank * n // self.world, (self.rank + 1) * n // self.world


def _settle(parallel: nn.parallel.DistributedDataParallel, batches: Batches) -> None:
    """Take a step that changes nothing.

    After its first one DistributedDataParallel sorts the gradients anew, and with three ranks or more the order decides in
    which order numbers are added. So a resumed training would differ from a whole one in last digits.
    """
    rng = torch.get_rng_state()
    buffers = [(buffer, buffer.clone()) for buffer in parallel.buffers()]
    parallel.train()  # type: ignore[no-untyped-call]
    (parallel(*batches.peek(2)).sum() * 0).backward()
    parallel.zero_grad(set_to_none=True)
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    torch.set_rng_state(rng)


def build_distribution(settings: StepSettings, device: str) -> Distribution:
    """Return the distribution that the settings ask for.

    Raises:
        TrainingError: several processes are asked for, and this one belongs to none.
    """
    if settings.trainer_type != "distributed":
        return Alone()
    if not distributed.is_initialized():
        raise TrainingError("training.trainer_type: distributed works in ml-train and ml-search, started by torchrun")
    return Ranks(device)


def device_of_rank(device: str) -> str:
    """Return the device of this rank: each has a GPU of its own, or all train on the CPU.

    Raises:
        TrainingError: there are fewer GPUs than ranks on this machine, or the device is one for all.
    """
    here = place()
    local, on_machine = (here.local_rank if here else 0), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    there = torch.cuda.device_count()
    if device == "cpu" or (device == "auto" and not there):
        return "cpu"
    if device not in ("auto", "cuda"):
        raise TrainingError(
            f"device: {device} is one for all processes of trainer_type: distributed; use auto, cuda (a GPU each) or cpu"
        )
    if there < on_machine:
        raise TrainingError(
            f"device: {device}: {on_machine} processes and {there} GPUs on this machine; start torchrun with "
            "--nproc-per-node of no more than there are, or use device: cpu"
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"
