"""Memory that is freed and asked for again in every step: glibc keeps it, where it would give it back to the kernel."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as in malloc.h
_KEPT = 1 << 30
_USUAL = 1 << 25  # the most that glibc comes to by itself
_OWN_SAY = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed() -> None:
    """Keep up to 1 GiB that is freed for what is asked for next; does nothing where the environment has set thresholds.

    Otherwise what a step of a large network frees goes back to the kernel, which hands it out again page by page, filled
    with zeros. The most memory that is used at a time may grow by some percent: docs/decisions/0064 has the figures. See
    https://man7.org/linux/man-pages/man3/mallopt.3.html.
    """
    _set_thresholds(_KEPT, _KEPT)


@contextmanager
def given_back() -> Iterator[None]:
    """Give what is kept in here back in the end, and keep no more from then on than glibc would come to keep: for Python."""
    try:
        yield
    finally:
        if _set_thresholds(_USUAL, 2 * _USUAL):
            _glibc().malloc_trim(0)


def _set_thresholds(mmap: int, trim: int) -> bool:
    glibc = None if any(name in os.environ for name in _OWN_SAY) else _glibc()
    if glibc is None:
        return False
    glibc.mallopt(_M_MMAP_THRESHOLD, mmap)
    glibc.mallopt(_M_TRIM_THRESHOLD, trim)
    return True


@cache
def _glibc() -> Any:
    """Return the C library of the process, or None where it is none that has thresholds."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
