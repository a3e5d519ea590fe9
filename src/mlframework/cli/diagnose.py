"""`ml-search --diagnose STUDY`: what went wrong in a study, and a config for the next search."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlframework.cli import console
from mlframework.cli.options import Parser
from mlframework.errors import ConfigError, Problem

if TYPE_CHECKING:
    from rich.console import Console

    from mlframework.search.diagnose import Diagnosis

_TITLES = {
    "failures": "Failed trials", "pruning": "Pruning", "draws": "Draws", "idle": "Parameters that do nothing",
    "bounds": "Where the best trials lie",
}  # fmt: skip


def add_options(parser: Parser) -> None:
    """Add `--diagnose`."""
    parser.add_argument(
        "--diagnose", metavar="STUDY",
        help="search nothing: say what went wrong in a study, and write suggested_search.yaml into its folder; needs no "
        "--config, takes --storage",
    )  # fmt: skip


def check(arguments: argparse.Namespace, overrides: Mapping[str, str]) -> None:
    """Refuse what has no effect beside `--diagnose`.

    Raises:
        ConfigError: with all of it.
    """
    beside = [
        name
        for name, value in vars(arguments).items()
        if name not in ("diagnose", "storage") and value not in (None, False)
    ]
    names = [f"--{name.replace('_', '-')}" for name in beside] + [f"--{key}" for key in overrides]
    if names:
        what = "has no effect beside --diagnose, which reads a study as it is; leave it out"
        raise ConfigError([Problem("ml-search", name, what) for name in names])


def diagnose(name: str, storage: str | None) -> None:
    """Diagnose a study, write what was found into its folder, and print it.

    Raises:
        StudyError: there is no such study.
        RunError: its folder cannot be written.
    """
    from mlframework.search.diagnose import diagnose as look
    from mlframework.search.diagnose import write
    from mlframework.search.diagnosis.case import read_case
    from mlframework.search.lookup import find_study

    case = read_case(*find_study(name, storage))
    screen = console.out()
    with _progress(screen) as on_look:
        diagnosis = look(case, on_look)
    write(diagnosis)
    _say(diagnosis, screen)


@contextmanager
def _progress(screen: Console) -> Iterator[Callable[[str], None]]:
    """Yield what shows the present topic; without a terminal nothing does."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("reading")
        yield lambda topic: progress.update(task, description=_TITLES[topic].lower())


def _say(diagnosis: Diagnosis, screen: Console) -> None:
    case = diagnosis.case
    counts = ", ".join(f"{count} {state}" for state, count in diagnosis.counts.items()) or "none"
    screen.print(f"study {case.name}: {case.direction} {case.metric}; trials: {counts}")
    if case.ranked:
        screen.print(f"best {case.metric}: {case.ranked[0].value:.6g} in trial {case.ranked[0].number}")
    topic = None
    for finding in diagnosis.findings:
        if finding.topic != topic:
            topic = finding.topic
            screen.print(f"\n{_TITLES[topic]}")
        screen.print(f"  {finding.says}")
        screen.print(f"    -> {finding.remedy}")
    if not diagnosis.findings:
        screen.print("\nnothing to complain about" + (", as far as can be told" if diagnosis.untold else ""))
    for text in diagnosis.untold:
        screen.print(f"\nnot told: {text}")
    screen.print(f"\nwritten: {diagnosis.json_path}")
    suggestion = diagnosis.suggestion
    if suggestion is None:
        console.err().print(
            f"no suggested search: the study's config does not read any more: {diagnosis.no_suggestion}"
        )
        return
    for change, reason in suggestion.refused:
        screen.print(f"not suggested: {change.key} {change.field}".rstrip() + f" {change.value}: {reason}")
    what = f"{len(suggestion.changes)} changed" if suggestion.changes else "nothing changed but the study's name"
    screen.print(f"suggested search ({what}): ml-search --config {diagnosis.suggestion_path}")
