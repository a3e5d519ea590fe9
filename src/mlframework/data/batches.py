"""Batches of tensors: whole batches are cut from tensors on the device, no example is touched by itself."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = Tensor | slice
Transform = Callable[[Tensor], Tensor]


class Fetch(Protocol):
    """Gives the inputs of some rows: a tuple of tensors (b, ...) on the device."""

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        """Return the inputs; `rows` is a slice or int64 positions (b,) on the CPU."""


class PixelSource(Protocol):
    """Images in memory or on disk: `pixels[rows]` is uint8 (b, 3, h, w)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]: ...


class FetchTensors:
    """Cuts batches out of tensors that lie on the device."""

    def __init__(self, *arrays: NDArray[np.generic], device: str) -> None:
        self._tensors = tuple(torch.from_numpy(array).to(device) for array in arrays)
        self._device = device

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        """Return the rows of each tensor."""
        if isinstance(rows, slice):
            return tuple(tensor[rows] for tensor in self._tensors)
        rows = rows.to(self._device)
        return tuple(tensor.index_select(0, rows) for tensor in self._tensors)


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


class Batches:
    """The batches of a split: in a new random order every time with a generator, else in the order of the rows.

    A last batch of one example joins the batch before it, since batch normalisation cannot train on one.
    """

    def __init__(
        self, fetch: Fetch, targets: NDArray[np.generic], batch_size: int, device: str, order: torch.Generator | None
    ) -> None:
        self._fetch, self._batch_size, self._order, self._device = fetch, batch_size, order, device
        self.targets = targets
        self._on_device = torch.from_numpy(targets).to(device)
        n = len(targets)
        starts = list(range(0, n, batch_size))
        if batch_size > 1 and len(starts) > 1 and n - starts[-1] == 1:
            starts.pop()
        self._bounds = list(zip(starts, [*starts[1:], n], strict=True))

    def __len__(self) -> int:
        return len(self._bounds)

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        if self._order is None:
            for start, end in self._bounds:
                yield self._fetch(slice(start, end)), self._on_device[start:end]
            return
        permutation = torch.randperm(len(self.targets), generator=self._order)
        for start, end in self._bounds:
            rows = permutation[start:end]
            yield self._fetch(rows), self._on_device[rows.to(self._device)]

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
