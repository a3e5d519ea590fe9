"""How the state of a learner without torch lies on disk."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlframework.errors import CheckpointError, RunError
from mlframework.learners.archives import damaged, open_checkpoint

_TREE = "tree"


class ArrayCodec:
    """States on disk as NumPy archives: arrays as they are, all else as JSON, so that a file can hold no code."""

    def encode(self, state: Mapping[str, Any]) -> memoryview:
        """Return the bytes of a file that holds the state as it is now."""
        arrays: dict[str, Any] = {}

        def walk(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                arrays[f"array{len(arrays)}"] = value
                return {"array": len(arrays) - 1}
            if isinstance(value, Mapping):
                return {"keys": {str(key): walk(inner) for key, inner in value.items()}}
            return {"value": value}

        tree = json.dumps(walk(state)).encode()
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{_TREE: np.frombuffer(tree, np.uint8), **arrays})
        return buffer.getbuffer()

    def load(self, path: Path) -> dict[str, Any]:
        """Read a state.

        Raises:
            CheckpointError: the file is cut short or damaged, or holds something else.
            RunError: it cannot be opened.
        """
        try:
            with open_checkpoint(path) as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            state = _unpacked(json.loads(arrays[_TREE].tobytes()), arrays)
        except (MemoryError, RunError, CheckpointError):
            raise
        except Exception as error:  # noqa: BLE001 - zipfile and NumPy raise whatever the bytes lead them to
            raise damaged(path, error) from None
        if not isinstance(state, dict):
            raise CheckpointError(f"{path}: is a NumPy archive, but not a checkpoint of mlframework")
        return state


def _unpacked(node: Any, arrays: Mapping[str, Any]) -> Any:
    """Return what a node of the tree stands for: keys and what is in them, an array, or a plain value."""
    if "keys" in node:
        return {key: _unpacked(inner, arrays) for key, inner in node["keys"].items()}
    return arrays[f"array{node['array']}"] if "array" in node else node["value"]
