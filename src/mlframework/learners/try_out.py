"""The first pass through a module: whether it can take the data at all."""

import torch
from torch import nn

from mlframework.data.batches import Batches
from mlframework.errors import TrainingError
from mlframework.memory import is_out_of_memory


def try_out(module: nn.Module, batches: Batches) -> None:
    """Pass two examples through, so that a model that does not fit its data is said before any training.

    As in training: batch normalisation refuses a batch of one only there. What it notes of the two is taken back.

    Raises:
        TrainingError: the model cannot take them.
    """
    rng = torch.get_rng_state()
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    module.train()
    try:
        with torch.no_grad():
            module(*batches.peek(min(2, batches.smallest)))
            for buffer, before in buffers:
                buffer.copy_(before)
    except (RuntimeError, ValueError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"the model cannot take this data: {reason}; another data.image_size or training.batch_size may help"
        ) from None
    finally:
        torch.set_rng_state(rng)
