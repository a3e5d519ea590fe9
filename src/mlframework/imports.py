"""Importing what is large, without looking for garbage meanwhile."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def preload(*modules: str) -> None:
    """Import modules, so that the imports that need them find them there; does nothing where they are there already.

    One that cannot be imported is left to the import that needs it, which says what is wrong.
    """
    if missing := [module for module in modules if module not in sys.modules]:
        with _uncollected():
            for module in missing:
                with suppress(Exception):
                    importlib.import_module(module)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Import in here: what modules make lives on, so that looking for garbage in it takes a fifth of the time and finds none.

    What was made meanwhile counts as old afterwards: full collections look at it, quick ones do not. Freezing and
    unfreezing says so without a look (https://docs.python.org/3/library/gc.html#gc.freeze); where somebody has frozen
    something, that stays frozen, and what was made stays young.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        gc.enable()
