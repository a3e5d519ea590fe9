"""`ml-visualise --mode compare RUN RUN ...`: what differs between runs, and their curves in one picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlframework.cli import console
from mlframework.cli.modes.drawn import say_written
from mlframework.cli.modes.named import folder_of, missing
from mlframework.errors import ConfigError, Problem, RunError

if TYPE_CHECKING:
    from mlframework.visualise.compare_runs.differences import Comparison

COMPARISONS = Path("runs/comparisons")


def show(arguments: argparse.Namespace) -> None:
    """Compare runs: a table on the terminal, and a page."""
    from mlframework.visualise.compare_runs.differences import compare
    from mlframework.visualise.compare_runs.page import folder_name, overlay, write_comparison
    from mlframework.visualise.compare_runs.sides import read_sides

    sides = read_sides(_folders(arguments.given))
    comparison = compare(sides)
    overlaid, reason = overlay(sides)
    folder = Path(arguments.output) if arguments.output else COMPARISONS / folder_name(comparison.names)
    written = write_comparison(comparison, overlaid, folder, arguments.format)
    _print(comparison)
    say_written(written, [] if reason is None else [f"curves: {reason}"])


def _folders(given: Sequence[str]) -> list[Path]:
    """Return the folders that are named, each once.

    Raises:
        RunError: some are not there.
        ConfigError: there are not two different ones.
    """
    found: dict[Path, Path] = {}
    problems = []
    for target in given:
        path = folder_of(target)
        if path is None:
            problems.append(missing(target))
        elif path.resolve() in found:
            console.err().print(f"{target}: is named twice, and compared once")
        else:
            found[path.resolve()] = path
    if problems:
        raise RunError("\n".join(problems))
    if len(found) < 2:
        raise ConfigError([Problem("ml-visualise", "RUN", "is needed twice: name two runs that are not the same")])
    return list(found.values())


def _print(comparison: Comparison) -> None:
    """Print what differs, a column a run, as many as there is room for."""
    from rich import box
    from rich.table import Table

    screen = console.out()
    if not screen.is_terminal:
        screen.width = 10_000  # a file or a pipe has room for all runs
    rows = [*comparison.results, *comparison.settings, *comparison.surroundings]
    texts = [row.texts() for row in rows]
    room = screen.width - max(len(row.key) for row in rows) - 2
    widths = [
        min(28, max(len(name), *(len(each[run]) for each in texts))) + 2 for run, name in enumerate(comparison.names)
    ]
    n_shown = max(2, sum(sum(widths[: run + 1]) <= room for run in range(len(widths))))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for name in comparison.names[:n_shown]:
        table.add_column(name, justify="right", overflow="fold", max_width=28)
    for number, (row, cells) in enumerate(zip(rows, texts, strict=True), 1):
        marked = [f"{text} *" if run in row.best else text for run, text in enumerate(cells[:n_shown])]
        ends = number in (len(comparison.results), len(comparison.results) + len(comparison.settings))
        table.add_row(row.key, *marked, end_section=ends)
    screen.print(table)
    if n_shown < len(comparison.names):
        screen.print(f"and {len(comparison.names) - n_shown} more runs, on the page")
    if any(row.best for row in rows):
        screen.print("* the best")
    for note in comparison.notes:
        console.err().print(f"note: {note}")
