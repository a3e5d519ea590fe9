"""`ml-train --find-lr`: sweep the learning rate, and suggest one."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlframework.cli import console
from mlframework.cli.options import Parser, positive_float, positive_int
from mlframework.errors import ConfigError, MissingExtraError, Problem, TrainingError

if TYPE_CHECKING:
    from rich.console import Console

    from mlframework.experiment import ExperimentConfig
    from mlframework.read_run import ReadRun
    from mlframework.runs import RunDir
    from mlframework.training.lr_finder import Finding, Sweep

_BOUNDS = ("low", "high", "steps")


def add_options(parser: Parser) -> None:
    """Add `--find-lr` and what belongs to it."""
    parser.add_argument(
        "--find-lr", action="store_true",
        help="train nothing: sweep the learning rate for some steps, and suggest one",
    )  # fmt: skip
    parser.add_argument(
        "--find-lr-low", type=positive_float, metavar="LR", help="with --find-lr: where it begins (default: 1e-7)"
    )
    parser.add_argument(
        "--find-lr-high", type=positive_float, metavar="LR", help="with --find-lr: where it ends (default: 10)"
    )
    parser.add_argument(
        "--find-lr-steps", type=positive_int, metavar="N", help="with --find-lr: steps at most (default: 100)"
    )


def check(arguments: argparse.Namespace, overrides: Mapping[str, str]) -> None:
    """Refuse what has no effect beside `--find-lr`, or without it.

    Raises:
        ConfigError: with all of it.
    """
    bounds = [f"--find-lr-{name}" for name in _BOUNDS if getattr(arguments, f"find_lr_{name}") is not None]
    others = {
        "--mode final": arguments.mode == "final",
        "--resume": arguments.resume is not None,
        "--cross-validate": arguments.cross_validate is not None,
        "--print-config": arguments.print_config,
        **{f"--{key}": key in overrides for key in ("lr", "optimizer.lr")},
    }
    if arguments.find_lr:
        refused = [
            (option, "has no effect beside --find-lr; leave it out") for option, is_given in others.items() if is_given
        ]
    else:
        refused = [(option, "has an effect only with --find-lr") for option in bounds]
    if refused:
        raise ConfigError([Problem("ml-train", option, what) for option, what in refused])


def find(
    read: ReadRun, config: ExperimentConfig, arguments: argparse.Namespace, overrides: Mapping[str, str], root: Path
) -> None:
    """Sweep, write lr_finder.json and its plot into a folder under `root`, and print the suggestion.

    Raises:
        TrainingError: the model takes no steps, or the sweep shows nothing.
    """
    from mlframework.runs import RunDir, run_name, write_json
    from mlframework.training.lr_finder import Sweep

    given = {name: getattr(arguments, f"find_lr_{name}") for name in _BOUNDS}
    names = {"low": "low", "high": "high", "steps": "num_steps"}
    sweep = Sweep(**{names[name]: value for name, value in given.items() if value is not None})
    finding = _sweep(config, sweep)
    run_overrides = {key: value for key, value in read.overrides.items() if not key.startswith("search.")}
    run = RunDir.create(root, run_name(f"{config.name}_find_lr", run_overrides))
    # No config.yaml: it would make the folder one that can be resumed.
    write_json(run.path / "lr_finder.json", {**finding.to_dict(), "config": read.tree})
    _draw(finding, config, run)
    _say(finding, arguments, overrides, run)


def _sweep(config: ExperimentConfig, sweep: Sweep) -> Finding:
    from mlframework.experiment import build_learner, load_data
    from mlframework.learners.base import Steps
    from mlframework.training.lr_finder import find_lr

    screen = console.out()
    splits = load_data(config).without_test()
    learner = build_learner(config, splits)
    if not isinstance(learner, Steps):
        own = "; search its model.lr with ml-search" if hasattr(config.model, "lr") else ""
        raise TrainingError(
            f"--find-lr: {config.model.architecture} has no optimizer, so there is no learning rate to find{own}"
        )
    screen.print(
        f"{config.name}: {config.model.architecture} on {len(splits.train)} examples, lr from {sweep.low:g} to "
        f"{sweep.high:g} in {sweep.num_steps} steps"
    )
    with _progress(screen, sweep.num_steps) as on_step:
        return find_lr(learner, sweep, on_step)


@contextmanager
def _progress(screen: Console, num_steps: int) -> Iterator[Callable[[int, int], None]]:
    """Yield what moves a bar; without a terminal there is none."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("sweep", total=num_steps)
        yield lambda done, _total: progress.update(task, completed=done)


def _draw(finding: Finding, config: ExperimentConfig, run: RunDir) -> None:
    """Draw the sweep; its numbers are there without a picture, so one that cannot be drawn is only told."""
    from mlframework.visualise.export import write
    from mlframework.visualise.run_plots import lr_finder

    try:
        figure = lr_finder.draw(lr_finder.compute(finding, config.name, config.optimizer.type))
        written = write({"lr_finder": figure}, run.path / "plots")
    except MissingExtraError as error:
        console.err().print(f"no plot: {error}")
        return
    if written.reason is not None:
        console.err().print(written.reason)
    console.out().print(f"lr_finder: {' '.join(str(path) for path in written.paths)}")


def _say(finding: Finding, arguments: argparse.Namespace, overrides: Mapping[str, str], run: RunDir) -> None:
    """Print what was found, and the command that trains with it."""
    if finding.doubt is not None:
        console.err().print(f"warning: {finding.doubt}")
    words = ["ml-train", "--config", arguments.config]
    if arguments.hyperparameters is not None:
        words += ["--hyperparameters", arguments.hyperparameters]
    for key, value in overrides.items():
        words += [f"--{key}", value]
    words += ["--optimizer.lr" if any(key.endswith(".lr") for key in overrides) else "--lr", f"{finding.suggested:g}"]
    listed = ", ".join(f"{rule} {lr:g}" for rule, lr in finding.suggestions.items())
    console.out().print(
        f"{finding.stopped_why}; {listed}\nfound: {run.path / 'lr_finder.json'}\n"
        f"suggested lr: {finding.suggested:g}   train with it: {shlex.join(words)}"
    )
