"""How much memory there is: what would need more is refused before it is asked for, as the kernel kills who takes too much."""

import os
from pathlib import Path

from mlframework.errors import OutOfMemoryError

_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory() -> int | None:
    """Return how many bytes can be had beside those that are used, or None where the system does not say."""
    of_cgroups = [_of_a_cgroup(*paths) for paths in _CGROUPS]
    found = [each for each in (_of_the_machine(), _of_this_process(), *of_cgroups) if each is not None]
    return max(0, min(found)) if found else None


def _of_the_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        # What is on disk for want of room can be had back; a program that needs it all is slow, but runs.
        return 1024 * sum(int(fields[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _of_this_process() -> int | None:
    """Return what `ulimit -v` leaves, where it is set."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError, ValueError):
        return None
    return None if limit == resource.RLIM_INFINITY else limit - pages * resource.getpagesize()


def _of_a_cgroup(limit: str, used: str) -> int | None:
    try:
        return int(Path(limit).read_text(encoding="ascii")) - int(Path(used).read_text(encoding="ascii"))
    except (OSError, ValueError):  # there is none, or it has the limit `max`
        return None


def require_memory(n_bytes: int, what: str, remedy: str) -> None:
    """Refuse what can't be held.

    Args:
        n_bytes: how much it takes.
        what: it is, for the message.
        remedy: what makes it smaller.

    Raises:
        OutOfMemoryError: that is more than there is.
    """
    free = free_memory()
    if free is not None and n_bytes > free:
        raise OutOfMemoryError(
            f"not enough memory: {what} takes {_gib(n_bytes)} GiB, and {_gib(free)} GiB are free; {remedy}"
        )


def _gib(n_bytes: int) -> str:
    gib = n_bytes / 2**30
    return f"{gib:.1f}" if gib < 100 else f"{gib:.3g}"
