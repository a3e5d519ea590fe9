"""The score of a factorization machine of two columns, whose gradient is written out."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class PairScore(torch.autograd.Function):
    """The score of two columns, such as users and items: to the same bits as that of any columns.

    Its gradient is written out: autograd takes three times as long to go back through each step of the sum. What was
    looked up comes column by column, (2, b, n_scores + n_scores * k): each step is then one pass through memory.
    """

    @staticmethod
    def forward(ctx: Any, found: Tensor, bias: Tensor, kept: Tensor | None) -> Tensor:
        (one, other), n = found, len(bias)
        total = one + other
        ctx.save_for_backward(found, total, kept)
        squares = one.square().add_(other.square())
        pooled = total.square().sub_(squares).div_(2)[:, n:].reshape(len(total), n, -1)
        linear: Tensor = bias + total[:, :n]
        return linear.add_((pooled if kept is None else pooled * kept).sum(dim=2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (of_score,), (found, total, kept) = grads, ctx.saved_tensors
        b, n = of_score.shape
        k = (found.shape[2] - n) // n
        of_pooled = of_score.unsqueeze(2).expand(b, n, k) if kept is None else of_score.unsqueeze(2) * kept
        scale = torch.cat([of_score, of_pooled.reshape(b, -1)], dim=1)
        grad = found * scale
        torch.sub(total * scale, grad, out=grad)
        grad[:, :, :n] = of_score
        return grad, of_score.sum(0), None
