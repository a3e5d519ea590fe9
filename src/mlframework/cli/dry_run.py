"""`ml-search --dry-run`: one batch at the corners of the space, and what the search would take."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlframework.cli import console
from mlframework.cli.options import Parser
from mlframework.errors import ConfigError, Problem, TrainingError

if TYPE_CHECKING:
    from rich.console import Console

    from mlframework.search.corners import Corners
    from mlframework.search.dry_run import DryRun
    from mlframework.search.read import ReadConfig

_REFUSED = (
    "resume", "refit", "print_config", "add_trials", "compare", "seeds", "workers", "launcher", "ray_address",
    "storage_proxy",
)  # fmt: skip


def add_options(parser: Parser) -> None:
    """Add `--dry-run`."""
    parser.add_argument(
        "--dry-run", action="store_true",
        help="search nothing: train one batch at the corners of the space, and predict time, memory and disk",
    )  # fmt: skip


def check(arguments: argparse.Namespace) -> None:
    """Refuse what has no effect beside `--dry-run`.

    Raises:
        ConfigError: with all of it.
    """
    given = [f"--{name.replace('_', '-')}" for name in _REFUSED if getattr(arguments, name)]
    if given:
        what = "has no effect beside --dry-run, which makes no study; leave it out"
        raise ConfigError([Problem("ml-search", name, what) for name in given])


def dry_run(read: ReadConfig) -> None:
    """Try the corners, and print what was found.

    Raises:
        TrainingError: no corner trains.
    """
    from mlframework.search.dry_run import dry_run as run

    screen = console.out()
    console.say_on_interrupt("a dry run makes no study, so there is nothing to go on with")
    with _progress(screen) as on_corner:
        found = run(read, on_corner)
    _say(read, found, screen)


@contextmanager
def _progress(screen: Console) -> Iterator[Callable[[int, Corners], None]]:
    """Yield what moves a bar; without a terminal there is none."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("corner"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def move(done: int, found: Corners) -> None:
            name = found.tried[done].name if done < len(found.tried) else ""
            progress.update(task, completed=done, total=len(found.tried), description=name)

        yield move


def _say(read: ReadConfig, found: DryRun, screen: Console) -> None:
    screen.print(
        f"dry run of {read.config.study_name}: one batch at {len(found.measured)} corners of the search space; no study is made"
    )
    _table(found, screen)
    for name in found.corners.infeasible:
        screen.print(f"not tried: {name}: breaks a constraint")
    if found.corners.left_out:
        screen.print(
            f"not tried: {found.corners.left_out} more ends of parameters that hardly change what a trial costs"
        )
    bad = [
        f"{corner.name}: {each.error}"
        for corner, each in zip(found.corners.tried, found.measured, strict=True)
        if each.error is not None
    ]
    if not found.good:
        raise TrainingError("no corner of the search space trains:\n" + "\n".join(f"  {line}" for line in bad))
    for line in bad:
        console.err().print(f"fails: {line}")
    if bad:
        console.err().print(
            f"{len(bad)} of {len(found.measured)} corners fail: trials there will be recorded as failed; narrow the space, or "
            "keep them out by search.constraints"
        )
    _predict(read, found, screen)


def _table(found: DryRun, screen: Console) -> None:
    from rich.table import Column, Table

    from mlframework.search.keep import shown_bytes

    with_gpu = any(each.gpu_bytes for each in found.measured)
    gpu = ["GPU memory"] if with_gpu else []
    names = ("corner", "result", "epoch", "trial", "memory", *gpu, "checkpoint")
    table = Table(*(Column(name, no_wrap=True) for name in names), box=None, padding=(0, 1))
    for corner, each in zip(found.corners.tried, found.measured, strict=True):
        if each.error is not None:
            table.add_row(corner.name, "fails")
            continue
        on_gpu = [shown_bytes(each.gpu_bytes)] if with_gpu else []
        table.add_row(
            corner.name, "ok", _seconds(each.epoch_seconds), _seconds(found.n_trainings * each.training_seconds),
            shown_bytes(each.peak_bytes) if each.peak_bytes else "?", *on_gpu, shown_bytes(each.checkpoint_bytes),
        )  # fmt: skip
    screen.print(table)


def _predict(read: ReadConfig, found: DryRun, screen: Console) -> None:
    from mlframework.search.dry_run import CHECKPOINTS, WHILE_TRAINING, conditions
    from mlframework.search.keep import shown_bytes

    assert read.config.search is not None and found.mean_seconds is not None
    low, high = found.trial_seconds
    expected, most = found.search_seconds
    timeout = read.config.search.timeout
    limit = f"; the timeout ends it after {_seconds(timeout)}" if timeout and timeout < expected else ""
    screen.print(
        f"time     {_seconds(found.mean_seconds)} a trial on average, {_seconds(low)} to {_seconds(high)} at the corners; "
        f"{found.n_trials} trials: {_seconds(expected)}, at most {_seconds(most)}, of which {_seconds(found.seconds_before)} "
        f"to start{limit}"
    )
    peak = max(each.peak_bytes for each in found.good)
    on_gpu = max(each.gpu_bytes for each in found.good)
    screen.print(
        f"memory   {shown_bytes(peak) if peak else 'not known on this system'}"
        + (f", GPU {shown_bytes(on_gpu)}" if on_gpu else "")
    )
    screen.print(
        f"disk     up to {shown_bytes(found.disk_bytes)}; checkpoints: {found.keep.describe()}, the running one has up to "
        f"{CHECKPOINTS + WHILE_TRAINING}"
    )
    screen.print(f"assumed  {'; '.join(conditions(read.config))}")


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
