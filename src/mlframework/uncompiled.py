"""Torch's optimizers without torch's compiler, which nothing here uses and which takes seconds to import."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import Optimizer

_MARK = "__dynamo_disable"  # torch's own name for a method that is marked


def without_compiler(optimizer: type[Optimizer]) -> type[Any]:
    """Return a class that is one of torch's optimizers, but does not import the compiler, which takes seconds.

    Torch keeps its compiler out of the methods of optimizers, and imports it for that: when one of the marked methods is
    first called (`torch._compile`), and in every step. Nothing is compiled here before somebody else has imported it; until
    then the marked methods are called as they are, and a step is the same step without gradients. A torch that does this
    otherwise merely starts more slowly.
    """
    import torch

    for method in vars(torch.optim.Optimizer).values():
        function = getattr(method, "__wrapped__", None)
        if function is not None and getattr(function, _MARK, None) is None:
            setattr(function, _MARK, _marked_late(function))
    step: Any = optimizer.step
    while hasattr(step, "__wrapped__"):
        step = step.__wrapped__
    step = torch.no_grad()(step)
    # Torch would wrap it in what calls hooks and names each step to its profiler: a third of a small model's step.
    step.hooked = True
    return type(optimizer.__name__, (optimizer,), {"step": step, "zero_grad": _zero_grad})


def _zero_grad(self: Optimizer, set_to_none: bool = True) -> None:
    """Forget the gradients, as `Optimizer.zero_grad` does, without a name for the profiler."""
    if not set_to_none:
        from torch.optim import Optimizer

        return Optimizer.zero_grad(self, set_to_none=False)
    for group in self.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    return None


def _marked_late(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what calls a function, and marks it once the compiler is there."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        if (compiler := sys.modules.get("torch._dynamo")) is None:
            return function(*arguments, **keywords)
        marked = compiler.disable(function, wrapping=False)
        setattr(function, _MARK, marked)
        return marked(*arguments, **keywords)

    return call
