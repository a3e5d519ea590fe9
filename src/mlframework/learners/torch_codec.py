"""The states of torch learners on disk."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mlframework.errors import CheckpointError, RunError
from mlframework.learners.archives import damaged, open_checkpoint


class TorchCodec:
    """States on disk as torch files; read with `weights_only`, so that a file can hold no code."""

    def encode(self, state: Mapping[str, Any]) -> memoryview:
        """Return the bytes of a file that holds the state as it is now."""
        # In memory: torch reports a full disk as a RuntimeError without errno, a plain write does not.
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        return buffer.getbuffer()

    def load(self, path: Path) -> dict[str, Any]:
        """Read a state.

        Raises:
            CheckpointError, RunError: see `Codec`.
        """
        try:
            with open_checkpoint(path) as file:
                state = torch.load(file, map_location="cpu", weights_only=True)
        except (MemoryError, RunError, CheckpointError):
            raise
        except Exception as error:  # noqa: BLE001 - the unpickler raises whatever the bytes lead it to
            raise damaged(path, error) from None
        if not isinstance(state, dict):
            raise CheckpointError(f"{path}: is a torch file, but not a checkpoint of mlframework")
        return state
