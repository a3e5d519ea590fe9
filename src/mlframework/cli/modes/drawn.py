"""Saying what was drawn, and why the rest was not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlframework.cli import console
from mlframework.errors import PlotError

if TYPE_CHECKING:
    from mlframework.visualise.draw_all import Outcome
    from mlframework.visualise.export import Written


@contextmanager
def drawing() -> Iterator[None]:
    """Show on a terminal that something goes on: a browser makes the PNGs, which takes it some seconds."""
    screen = console.out()
    if not screen.is_terminal:
        yield
        return
    with screen.status("drawing"):
        yield


def report(outcomes: Sequence[Outcome], asked: bool) -> None:
    """Print what was written, and why the rest was not.

    Raises:
        PlotError: nothing was drawn, or not all that was asked for by name.
    """
    screen = console.out()
    reasons: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.paths:
            screen.print(f"{outcome.name}: {' '.join(str(path) for path in outcome.paths)}")
        if outcome.reason is not None:
            reasons.setdefault(outcome.reason, []).append(outcome.name)
    for reason, names in reasons.items():
        console.err().print(f"{', '.join(names)}: {reason}")
    missing = [outcome.name for outcome in outcomes if not outcome.paths]
    if len(missing) == len(outcomes):
        raise PlotError("no plot could be drawn")
    if asked and missing:
        raise PlotError(f"not drawn: {', '.join(missing)}")


def say_written(written: Written, reasons: Sequence[str] = ()) -> None:
    """Print the files that a page is made of, and why something that belongs to it is missing."""
    for path in written.paths:
        console.out().print(str(path))
    for reason in (*reasons, *([] if written.reason is None else [written.reason])):
        console.err().print(reason)
