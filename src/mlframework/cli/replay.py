"""`ml-train --replay`: train a run or a trial again, and say whether it comes to the same."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlframework.cli import console
from mlframework.errors import ConfigError, Problem, ReplayDiverged
from mlframework.face import RUNS

if TYPE_CHECKING:
    from rich.table import Table

    from mlframework.cli.options import Parser
    from mlframework.replay.original import Original
    from mlframework.replay.run import Replay
    from mlframework.runs import RunDir
    from mlframework.training.callbacks import Callback

_ALLOWED = {
    "path": "data.path",
    "data.path": "data.path",
    "device": "device",
    "storage": "storage",
    "search.storage": "storage",
}
"""What may be other in a replay: where the data lies, on what it trains, and where the study is kept."""


def add_options(parser: Parser) -> None:
    """Add the options of a replay."""
    parser.add_argument(
        "--replay", metavar="WHAT",
        help="train a trial (STUDY/23) or a run (its folder) again from what it stored, and say whether it comes to the same",
    )  # fmt: skip
    parser.add_argument(
        "--accept-data-change", action="store_true",
        help="with --replay or --resume: train although the data is other than it was",
    )  # fmt: skip


def check(arguments: argparse.Namespace, overrides: Mapping[str, str]) -> None:
    """Refuse options that say nothing with, or without, a replay.

    Raises:
        ConfigError: with all of them.
    """
    if arguments.replay is None:
        if arguments.accept_data_change and arguments.resume is None:
            raise ConfigError([Problem("ml-train", "--accept-data-change", "is for --replay and --resume")])
        return
    others = {
        "config": arguments.config is not None,
        "mode": arguments.mode != "train",
        "hyperparameters": arguments.hyperparameters is not None,
        "resume": arguments.resume is not None,
        "cross-validate": arguments.cross_validate is not None,
        "find-lr": arguments.find_lr,
        "print-config": arguments.print_config,
        "profile": arguments.profile,
    }
    given = [name for name, is_given in others.items() if is_given]
    given += [name for name in overrides if name not in _ALLOWED]
    if given:
        listed = ", ".join(f"--{name}" for name in given)
        what = f"a run is trained again with its own settings; leave out {listed}"
        raise ConfigError([Problem("ml-train", "--replay", what)])


def run_replay(arguments: argparse.Namespace, overrides: Mapping[str, str]) -> None:
    """Train again and compare.

    Raises:
        ReplayDiverged: it comes to something else.
    """
    from mlframework.config.override import get, override
    from mlframework.data.fingerprint import fingerprint_of
    from mlframework.learners.ranks import require_place
    from mlframework.replay.original import find_original
    from mlframework.replay.run import refuse_other_data, replay

    screen = console.out()
    changes = {_ALLOWED[name]: value for name, value in overrides.items()}
    original = find_original(arguments.replay, changes.pop("storage", None))
    tree = override(dict(original.tree), changes)
    require_place(get(tree, "training.trainer_type") or "standard")
    changed = refuse_other_data(original.name, original.data, fingerprint_of(tree), arguments.accept_data_change)
    screen.print(
        f"{original.name}: {original.state}, {original.n_epochs} epochs stored; training it again", soft_wrap=True
    )
    if original.data is None:
        screen.print("its data was not recorded: a change of it would not be seen")
    console.say_on_interrupt("a replay is not gone on with; start it again")
    found = replay(original, tree, RUNS, changed, [_bar(original, tree)])
    if (table := _first_differing_epoch(found)) is not None:
        screen.print(table)
    screen.print(f"replay: {found.run.path}")
    if found.has_diverged:
        raise ReplayDiverged(found.message)
    screen.print(found.message, soft_wrap=True)


def changed_data(run: RunDir, tree: Mapping[str, Any], accept_change: bool) -> list[str]:
    """Return what has changed in the data of a run that goes on, where that is accepted.

    Raises:
        DataError: it has changed, and that is not accepted.
    """
    from mlframework.data.fingerprint import fingerprint_of
    from mlframework.replay.original import recorded_of
    from mlframework.replay.run import refuse_other_data

    return refuse_other_data(f"run {run.path}", recorded_of(run)[1], fingerprint_of(tree), accept_change)


def _bar(original: Original, tree: Mapping[str, Any]) -> Callback:
    from mlframework.cli.cross_validate import FoldBar
    from mlframework.cli.progress import ProgressBar
    from mlframework.config.override import get
    from mlframework.training.config import TrainingConfig

    num_epochs = int(get(tree, "training.num_epochs") or TrainingConfig().num_epochs)
    if original.plan.n_parts > 1:
        return FoldBar(console.out(), original.plan.n_parts, num_epochs, original.plan.part)
    # A run that ended early is trained as far as it came.
    return ProgressBar(console.out(), original.final_epochs or num_epochs)


def _first_differing_epoch(found: Replay) -> Table | None:
    """Return a table of the first epoch that is not the same to the last digit."""
    from rich import box
    from rich.table import Table

    differences = found.comparison.differences
    if not differences:
        return None
    first = found.comparison.diverged or differences[0]
    table = Table(first.at, "then", "now", "apart", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for each in differences:
        if (each.part, each.epoch) == (first.part, first.epoch):
            apart = f"{each.size:.1g}" + (" (noise)" if each.is_noise else "")
            table.add_row(each.name, str(each.then), str(each.now), apart)
    return table
