"""Batch normalisation over the rows of all processes: what a single process would do with the whole batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass
class Counting:
    """Whether the rows that go through the module now are to be counted: borrowed ones are not.

    One is shared by all layers of a module.
    """

    on: bool = True


class RankBatchNorm(_BatchNorm):
    """Batch normalisation that trains on the statistics of the rows of all processes.

    torch's SyncBatchNorm does so on CUDA only. Each process must pass something through; where it has no rows of its own,
    rows that are not counted.

    Args:
        norm: the layer whose place it takes, with its weights and its state.
        counting: says whether the rows count.
    """

    def __init__(self, norm: _BatchNorm, counting: Counting) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self._counting = counting

    def _check_input_dim(self, _input: Tensor) -> None:
        """Take what the layer took whose place this is."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the normalised input (b, c, ...)."""
        if not self.training:
            out: Tensor = super().forward(inputs)
            return out
        normalised, mean, variance, count = _Normalise.apply(inputs, self.eps, self._counting.on)
        self._track(mean, variance, int(count))
        if self.weight is not None:
            shape = (1, -1) + (1,) * (inputs.dim() - 2)
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        found: Tensor = normalised
        return found

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * (count / (count - 1)), share)


class _Normalise(Function):
    """(x - mean) / deviation, both of all counted rows of all processes."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, eps: float, counts: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes = [0, *range(2, inputs.dim())]
        shape = (1, -1) + (1,) * (inputs.dim() - 2)
        rows = inputs if counts else inputs[:0]
        n = rows.numel() // inputs.shape[1]
        mean = rows.mean(axes) if n else inputs.new_zeros(inputs.shape[1])
        squares = (rows - mean.view(shape)).square().sum(axes)
        mine = torch.cat([mean.double(), squares.double(), mean.new_tensor([n], dtype=torch.float64)])
        each = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        distributed.all_gather(each, mine)
        c = inputs.shape[1]
        # Chan, Golub and LeVeque: means and sums of squares are put together without subtracting large numbers.
        counted = torch.stack([part[-1] for part in each])
        total = counted.sum()
        if total < 2:
            raise ValueError(f"Expected more than 1 value per channel when training, got {int(total)} in all processes")
        means, sums = torch.stack([part[:c] for part in each]), torch.stack([part[c:-1] for part in each])
        mean = (counted[:, None] * means).sum(0) / total
        variance = (sums + counted[:, None] * (means - mean).square()).sum(0) / total
        inverse = (variance + eps).rsqrt().to(inputs.dtype)
        mean, variance = mean.to(inputs.dtype), variance.to(inputs.dtype)
        normalised = (inputs - mean.view(shape)) * inverse.view(shape)
        ctx.save_for_backward(normalised, inverse)
        ctx.total, ctx.counts = float(total), counts
        count = total.detach()
        ctx.mark_non_differentiable(mean, variance, count)
        return normalised, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        normalised, inverse = ctx.saved_tensors
        gradient = grads[0]
        axes = [0, *range(2, gradient.dim())]
        shape = (1, -1) + (1,) * (gradient.dim() - 2)
        sums = torch.cat([gradient.sum(axes), (gradient * normalised).sum(axes)])
        if not ctx.counts:
            sums = torch.zeros_like(sums)
        distributed.all_reduce(sums)
        if not ctx.counts:
            return torch.zeros_like(gradient), None, None
        plain, along = (part.view(shape) / ctx.total for part in sums.chunk(2))
        return (gradient - plain - normalised * along) * inverse.view(shape), None, None


def with_rank_norms(module: nn.Module, counting: Counting) -> nn.Module:
    """Put a `RankBatchNorm` in the place of each batch normalisation of a module; its state keeps its names."""
    if isinstance(module, _BatchNorm):
        return RankBatchNorm(module, counting)
    for name, child in module.named_children():
        replaced = with_rank_norms(child, counting)
        if replaced is not child:
            setattr(module, name, replaced)
    return module
