"""How large a torch module is, before it is made."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from mlframework.errors import TrainingError
from mlframework.machine import require_memory

Module = TypeVar("Module", bound=nn.Module)
_COPIES = 3
"""How often training holds a weight at the least: itself, its gradient, and in a checkpoint that is being written."""


def sized(make: Callable[[], Module], setting: str) -> Module:
    """Make a module that fits into memory.

    Args:
        make: makes it.
        setting: the key that says how wide it is, for the message.

    Raises:
        TrainingError: it does not fit. A module of a hundred gigabytes would not fail: the kernel would kill the process.
    """
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]), _Undrawn():
            outline = make()
    except (RuntimeError, TypeError, OverflowError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(f"{setting}: there is no module of this size ({reason}); make it smaller") from None
    tensors = [*outline.parameters(), *outline.buffers()]
    n_bytes = _COPIES * sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    n_weights = sum(tensor.numel() for tensor in outline.parameters())
    require_memory(n_bytes, f"training a model of {n_weights:,} weights", f"make {setting} smaller")
    return make()


class _Undrawn(TorchFunctionMode):
    """Draws no normal numbers: of tensors without memory torch has them drawn by its compiler, which takes seconds to import."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        # Those of torch.nn.init have the tensor by name.
        return (*args, named.get("tensor"))[0] if func.__name__.endswith("normal_") else func(*args, **named)
