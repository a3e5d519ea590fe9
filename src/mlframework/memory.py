"""Memory that runs out: how that is recognised, said, and given back. No torch here, although most of it is torch's."""

from __future__ import annotations

import errno
import gc
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mlframework.errors import OutOfMemoryError

_SIGNS = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "alloc_failed",
)  # fmt: skip
"""What messages of torch and of CUDA's libraries have in them; most of these errors are plain RuntimeErrors."""
_SMALLER = "a smaller training.batch_size may help"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, on the GPU or beside it."""
    # torch's own has that name, too, and need not be imported to be known by it.
    if isinstance(error, MemoryError) or type(error).__name__ == OutOfMemoryError.__name__:
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def said(error: BaseException, remedy: str = "") -> str:
    """Return an error of memory in one line, and what may help."""
    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    # torch's message goes on about its allocator's settings.
    text = text.split(" GPU ")[0].split("DefaultCPUAllocator: ")[-1].removeprefix("CUDA out of memory. ").rstrip(". ")
    text = f"out of memory: {text[:300].removeprefix('out of memory: ')}"
    return f"{text}; {remedy}" if remedy else text


def remedy(excludes: Sequence[str] = (), on_oom: str = "fail") -> str:
    """Return what may help a training that ran out of memory.

    Args:
        excludes: settings that the model has no use for.
        on_oom: the setting: whether batches were cut already.
    """
    if "training.batch_size" in excludes or on_oom == "accumulate":
        return "a smaller model may help"
    return _SMALLER if "training.on_oom" in excludes else f"{_SMALLER}, or training.on_oom: accumulate"


@contextmanager
def explained(helps: str) -> Iterator[None]:
    """Turn whatever says that memory ran out into one error with a remedy.

    Raises:
        OutOfMemoryError: its cause is what was raised.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(said(error, helps)) from error


def free(error: BaseException) -> None:
    """Give back the memory that an error holds on to: its traceback has all that was computed on the way.

    What torch keeps of a GPU's memory goes back as well, so that others can have it.
    """
    for each in _chain(error):
        if each.__traceback__ is not None:
            traceback.clear_frames(each.__traceback__)
        each.__traceback__ = None
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]
