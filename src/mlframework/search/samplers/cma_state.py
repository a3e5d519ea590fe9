"""CMA-ES's state in a study's storage, which Optuna writes and reads by pickle: read here without executing anything.

A pickle may name any function and call it. Who can write to a study's storage could so run a program in every process that
goes on with the study. It is known what the state that Optuna writes is made of; a pickle that names anything else is refused.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from mlframework.errors import StorageError

_NAMES = {
    ("cmaes._cma", "CMA"),
    ("cmaes._cmawm", "CMAwM"),
    ("cmaes._sepcma", "SepCMA"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.random.mtrand", "RandomState"),
    ("numpy.random._mt19937", "MT19937"),
    ("numpy.random._pickle", "__randomstate_ctor"),
    ("numpy.random._pickle", "__bit_generator_ctor"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
}
"""All that a state is made of: the optimizer, arrays, and a random generator. None of them runs a program."""


class _Unpickler(pickle.Unpickler):
    """Looks names up in a list. This is the hook that pickle has for that."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of it")
        return super().find_class(module, name)


class _StatePickle:
    """What Optuna's CMA-ES uses of the module `pickle`."""

    dumps = staticmethod(pickle.dumps)

    @staticmethod
    def loads(content: bytes) -> Any:
        """Read a state.

        Raises:
            StorageError: it is damaged, or holds something else.
        """
        try:
            return _Unpickler(io.BytesIO(content)).load()
        except Exception as error:  # noqa: BLE001 - the unpickler raises whatever the bytes lead it to
            reason = str(error) or type(error).__name__
            raise StorageError(
                f"the study's storage holds a state of CmaEsSampler that is not its own ({reason}); nothing of it was "
                "executed; start another study, and find out who can write to this storage"
            ) from None


def guard() -> None:
    """Have Optuna's CMA-ES read its state from a storage by the list."""
    from optuna.samplers import _cmaes

    _cmaes.pickle = _StatePickle  # type: ignore[attr-defined, assignment]
