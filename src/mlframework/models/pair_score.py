"""The score of a factorization machine of two columns, whose gradient is written out."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class PairScore(torch.autograd.Function):
    """The score of two columns, such as users and items: to the same bits as that of any columns.

    Its gradient is written out: autograd takes three times as long to go back through each step of the sum.
    """

    @staticmethod
    def forward(ctx: Any, found: Tensor, bias: Tensor, kept: Tensor | None) -> Tensor:
        (one, other), n = found.unbind(1), len(bias)
        total = one + other
        ctx.save_for_backward(found, total, kept)
        squares = one.square() + other.square()
        pooled = ((total.square() - squares)[:, n:] / 2).reshape(len(found), n, -1)
        linear: Tensor = bias + total[:, :n]
        return linear + (pooled if kept is None else pooled * kept).sum(dim=2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (of_score,), (found, total, kept) = grads, ctx.saved_tensors
        b, n = of_score.shape
        grad = torch.empty_like(found)
        grad[:, :, :n] = of_score.unsqueeze(1)
        of_pooled = of_score.unsqueeze(2) if kept is None else of_score.unsqueeze(2) * kept
        both = of_pooled * total[:, n:].reshape(b, n, -1)
        for column in (0, 1):
            own = of_pooled * found[:, column, n:].reshape(b, n, -1)
            grad[:, column, n:] = (both - own).reshape(b, -1)
        return grad, of_score.sum(0), None
