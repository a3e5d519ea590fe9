"""How many threads the libraries of linear algebra have for a while."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


def blas_threads(n: int) -> AbstractContextManager[object]:
    """Have BLAS work with so many threads in a block. Called first when `implicit` is there, and with it all that it uses."""
    found: AbstractContextManager[object] = _controller().limit(limits=n, user_api="blas")
    return found


@cache
def _controller() -> ThreadpoolController:
    # To look for the libraries takes 1.5 ms, which would be spent twice an epoch.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
