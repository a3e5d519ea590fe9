"""Batches of tensors: whole batches are cut from tensors on the device, no example is touched by itself."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_AHEAD = 1 << 24
"""Bytes of rows that are gathered at once: at random places memory answers many questions at once faster than few."""
Rows = Tensor | slice
Transform = Callable[[Tensor], Tensor]


class Fetch(Protocol):
    """Gives the inputs of some rows: a tuple of tensors (b, ...) on the device."""

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        """Return the inputs; `rows` is a slice or int64 positions (b,) on the CPU."""


class Batch(NamedTuple):
    """What goes through the model at once.

    Attributes:
        inputs: of the module, each (b, ...).
        targets: what the loss is of.
        own: targets of the rows that this process is to count, (c,): the first ones of what comes out of the module.
        whole: targets of the whole batch; those of other processes too, where several share it.
    """

    inputs: tuple[Tensor, ...]
    targets: Tensor
    own: Tensor
    whole: Tensor


class Cut(Protocol):
    """Takes this process's part of a batch."""

    def __call__(self, fetch: Fetch, rows: Rows, targets: Tensor) -> Batch:
        """Return the batch of some rows, whose targets are `targets`, or the part of it that is this process's."""


def whole_batch(fetch: Fetch, rows: Rows, targets: Tensor) -> Batch:
    """Take all rows: there is but one process."""
    return Batch(fetch(rows), targets, targets, targets)


class PixelSource(Protocol):
    """Images in memory or on disk: `pixels[rows]` is uint8 (b, 3, h, w)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]: ...


class FetchTensors:
    """Cuts batches out of tensors that lie on the device."""

    def __init__(self, *arrays: NDArray[np.generic] | Tensor, device: str) -> None:
        self._tensors = tuple(torch.as_tensor(array).to(device) for array in arrays)
        self._device = device

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        """Return the rows of each tensor."""
        if isinstance(rows, slice):
            return tuple(tensor[rows] for tensor in self._tensors)
        rows = rows.to(self._device)
        return tuple(tensor.index_select(0, rows) for tensor in self._tensors)

    @property
    def row_bytes(self) -> int:
        """What a row takes."""
        return sum(tensor[:1].nbytes for tensor in self._tensors)

    def gathered(self, rows: Tensor) -> "FetchTensors":
        """Return one of these rows alone, in this order."""
        return FetchTensors(*self(rows), device=self._device)


class FetchPixels:
    """Gives images that are read when they are asked for."""

    def __init__(self, pixels: PixelSource, device: str) -> None:
        self._pixels, self._device = pixels, device

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        """Return the images, uint8 (b, 3, h, w)."""
        positions = np.arange(len(self._pixels))[rows] if isinstance(rows, slice) else rows.numpy()
        return (torch.from_numpy(self._pixels[positions]).to(self._device),)


class Transformed:
    """Passes the first input of another fetch through transforms."""

    def __init__(self, fetch: Fetch, *transforms: Transform | None) -> None:
        self._fetch, self._transforms = fetch, [transform for transform in transforms if transform is not None]

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        """Return the transformed inputs."""
        first, *others = self._fetch(rows)
        for transform in self._transforms:
            first = transform(first)
        return (first, *others)


class Normalise:
    """uint8 images to float32 of about zero mean and unit deviation a channel; `mean` and `std` in units of 0..1."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: str) -> None:
        self._shift = torch.tensor(mean, device=device).view(1, -1, 1, 1) * 255
        self._scale = 1 / (torch.tensor(std, device=device).view(1, -1, 1, 1) * 255)

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 (b, c, h, w)."""
        return images.float().sub_(self._shift).mul_(self._scale)


def with_channels_last(images: Tensor) -> Tensor:
    """Lay images (b, c, h, w) out pixel by pixel in memory, and with them what convolutions make of them; they stay equal."""
    return images.contiguous(memory_format=torch.channels_last)


class Batches:
    """The batches of a split: in a new random order every time with a generator, else in the order of the rows.

    A last batch of one example joins the batch before it, since batch normalisation cannot train on one.

    Attributes:
        targets: of all rows.
        seconds: how long batches have been fetched so far; on a GPU, how long that kept the processor.

    Args:
        fetch: gives the inputs of rows.
        targets: of all rows.
        batch_size: rows of a batch, over all processes.
        device: where the batches lie.
        order: of the rows; None for that of the rows themselves.
        cut: takes what is this process's of a batch in random order.
    """

    def __init__(
        self, fetch: Fetch, targets: NDArray[np.generic], batch_size: int, device: str, order: torch.Generator | None,
        cut: Cut = whole_batch,
    ) -> None:  # fmt: skip
        self._fetch, self._order, self._device, self._cut = fetch, order, device, cut
        self.targets, self.seconds = targets, 0.0
        self._on_device = torch.from_numpy(targets).to(device)
        n = len(targets)
        starts = list(range(0, n, batch_size))
        if batch_size > 1 and len(starts) > 1 and n - starts[-1] == 1:
            starts.pop()
        self._bounds = list(zip(starts, [*starts[1:], n], strict=True))

    def __len__(self) -> int:
        return len(self._bounds)

    def __iter__(self) -> Iterator[Batch]:
        if self._order is None:
            yield from self.block(0, 1)
            return
        permutation = torch.randperm(len(self.targets), generator=self._order)
        if isinstance(self._fetch, FetchTensors) and self._cut is whole_batch:
            yield from self._gathered(self._fetch, permutation)
            return
        for start, end in self._bounds:
            began = time.perf_counter()
            rows = permutation[start:end]
            batch = self._cut(self._fetch, rows, self._on_device[rows.to(self._device)])
            self.seconds += time.perf_counter() - began
            yield batch

    def _gathered(self, fetch: FetchTensors, permutation: Tensor) -> Iterator[Batch]:
        """Yield the batches of an order, the rows of many gathered at once."""
        size = self._bounds[0][1]
        of_a_block = max(1, _AHEAD // max(1, size * fetch.row_bytes))
        for first in range(0, len(self._bounds), of_a_block):
            began = time.perf_counter()
            bounds = self._bounds[first : first + of_a_block]
            offset = bounds[0][0]
            rows = permutation[offset : bounds[-1][1]]
            block, targets = fetch.gathered(rows), self._on_device.index_select(0, rows.to(self._device))
            for start, end in bounds:
                here = slice(start - offset, end - offset)
                batch = whole_batch(block, here, targets[here])
                self.seconds += time.perf_counter() - began
                yield batch
                began = time.perf_counter()

    def block(self, number: int, of: int) -> Iterator[Batch]:
        """Yield whole batches in the order of the rows: those of one of so many processes, one after the other."""
        n = len(self._bounds)
        for start, end in self._bounds[number * n // of : (number + 1) * n // of]:
            began = time.perf_counter()
            batch = whole_batch(self._fetch, slice(start, end), self._on_device[start:end])
            self.seconds += time.perf_counter() - began
            yield batch

    @property
    def smallest(self) -> int:
        """How many examples the smallest batch has."""
        return min(end - start for start, end in self._bounds)

    def peek(self, n: int) -> tuple[Tensor, ...]:
        """Return the inputs of the first `n` rows, in no random order."""
        return self._fetch(slice(0, n))

    @property
    def order(self) -> torch.Generator | None:
        """The generator of the random order: part of a learner's state."""
        return self._order
