"""Optuna: whether it is there, and that it says nothing of itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mlframework.errors import MissingExtraError
from mlframework.imports import preload


def require_optuna() -> None:
    """Raise where the extra is missing.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    with warnings.catch_warnings():
        # Its progress bar, which is not shown, asks notebooks for widgets when it is imported.
        warnings.filterwarnings("ignore", message="IProgress not found")
        preload("optuna")
        try:
            import optuna
        except ImportError:
            raise MissingExtraError("optuna", "optuna", "A search") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's warnings about its experimental parts from the terminal."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
