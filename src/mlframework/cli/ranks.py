"""Commands under torchrun: the first process runs the command, the others follow it."""

from __future__ import annotations

from collections.abc import Callable

from mlframework.learners.ranks import place


def led(command: Callable[[], None]) -> Callable[[], None]:
    """Return what this process is to run of a command: all of it, unless it is one of several that torchrun started."""
    here = place()
    if here is None or here.world == 1:
        return command
    if here.rank:
        return _follow

    def leading() -> None:
        try:
            command()
        finally:
            from mlframework.learners.team import dismiss

            dismiss()

    return leading


def _follow() -> None:
    from mlframework.learners.team import follow

    follow()
