"""Objects from the first rank to the others. Arrays, the data, are sent once and known again in the next object.

Objects are pickled, since configs and data are of many classes; what is read makes objects of the house's classes and of
numpy's arrays, and calls nothing else.
"""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

_HOUSE = __name__.partition(".")[0]
_PLAIN = {
    "builtins": {"set", "frozenset", "bytearray", "complex", "slice", "range"},
    "collections": {"OrderedDict"},
    "copyreg": {"__newobj__", "_reconstructor"},
    "numpy": {"ndarray", "dtype"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "pathlib": {"Path", "PosixPath", "PurePosixPath"},
}
"""What else a pickle may name: nothing that does anything but make a value."""


class _Pickler(pickle.Pickler):
    """Puts a key in the place of each array of numbers."""

    def __init__(self, file: io.BytesIO, known: dict[int, tuple[int, NDArray[Any]]], first_key: int) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._known, self._next = known, first_key
        self.used: dict[int, tuple[int, NDArray[Any]]] = {}

    def persistent_id(self, value: Any) -> int | None:
        """Return the key of an array, the same for the same array."""
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            return None
        if id(value) not in self.used:
            if id(value) not in self._known:
                self._known[id(value)] = (self._next, value)
                self._next += 1
            self.used[id(value)] = self._known[id(value)]
        return self.used[id(value)][0]


class _Unpickler(pickle.Unpickler):
    """Puts the arrays back in the place of their keys, and makes objects of harmless classes only."""

    def __init__(self, file: io.BytesIO, arrays: dict[int, NDArray[Any]]) -> None:
        super().__init__(file)
        self._arrays = arrays

    def persistent_load(self, key: Any) -> NDArray[Any]:
        """Return the array of a key."""
        return self._arrays[key]

    def find_class(self, module: str, name: str) -> Any:
        """Return a class by its name.

        Raises:
            pickle.UnpicklingError: it is none of the house's, and not one of the few others.
        """
        is_known = name in _PLAIN.get(module, ())
        if is_known or module.partition(".")[0] == _HOUSE:
            found = super().find_class(module, name)
            if is_known or (isinstance(found, type) and found.__module__ == module):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is nothing that a rank sends to another one")


class Sender:
    """Sends objects to all other ranks of the default process group; what they share with the last one is not sent again."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, NDArray[Any]]] = {}
        self._n_keys = 0

    def send(self, value: Any) -> None:
        """Send an object; each other rank receives it."""
        before = {key for key, _ in self._known.values()}
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, dict(self._known), self._n_keys)
        pickler.dump(value)
        new = {key: array for key, array in pickler.used.values() if key not in before}
        self._n_keys += len(new)
        # The arrays of the last object are kept, so that no other array can get the identity of one.
        self._known = pickler.used
        heads = [(key, array.dtype.str, array.shape) for key, array in new.items()]
        send_bytes(json.dumps({"arrays": heads, "kept": [key for key, _ in self._known.values()]}).encode())
        send_bytes(buffer.getvalue())
        for array in new.values():
            _broadcast(torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy()))


class Receiver:
    """Receives what a `Sender` sends."""

    def __init__(self) -> None:
        self._arrays: dict[int, NDArray[Any]] = {}

    def receive(self) -> Any:
        """Return the next object."""
        head = json.loads(receive_bytes())
        content = receive_bytes()
        for key, dtype, shape in head["arrays"]:
            array = np.empty(shape, dtype=dtype)
            _broadcast(torch.from_numpy(array.reshape(-1).view(np.uint8)))
            self._arrays[key] = array
        self._arrays = {key: self._arrays[key] for key in head["kept"]}
        return _Unpickler(io.BytesIO(content), self._arrays).load()


def send_bytes(content: bytes) -> None:
    """Send bytes to all other ranks."""
    _broadcast(torch.tensor([len(content)]))
    _broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8))


def receive_bytes() -> bytes:
    """Return the bytes that rank 0 sends."""
    length = torch.zeros(1, dtype=torch.int64)
    _broadcast(length)
    content = torch.empty(int(length), dtype=torch.uint8)
    _broadcast(content)
    return content.numpy().tobytes()


def _broadcast(tensor: torch.Tensor) -> None:
    if tensor.numel():
        distributed.broadcast(tensor, 0)
