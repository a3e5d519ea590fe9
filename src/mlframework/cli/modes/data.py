"""`ml-visualise --mode data CONFIG`: what a config is trained on, and what its splits share."""

from __future__ import annotations

import argparse
import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlframework.cli import console
from mlframework.cli.modes.drawn import say_written
from mlframework.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mlframework.data.splits import Splits
    from mlframework.experiment import ExperimentConfig

FOLDER = Path("runs/data")


def show(arguments: argparse.Namespace) -> None:
    """Look at a config's data: warnings on stderr, and a page."""
    from mlframework.face import experiment_of
    from mlframework.search.read import read_config
    from mlframework.visualise.data_plots.page import inspect, write_inspection

    _refuse_data(arguments.given[0])
    config, _ = experiment_of(read_config(arguments.given[0], {}))
    splits, said = _loaded(config)
    found = inspect(config, splits, said, arguments.samples)
    folder = Path(arguments.output) if arguments.output else FOLDER / config.name
    written = write_inspection(found, folder, arguments.format)
    screen = console.out()
    counts = ", ".join(f"{number:,} {name}" for name, number in found.n.items())
    screen.print(f"{config.name}: {config.data.path}: {counts}")
    for what, how_much in found.facts:
        screen.print(f"  {what}: {how_much}")
    for warning in found.all_warnings:
        console.err().print(f"warning: {warning}")
    if not found.leakage.found:
        screen.print(f"  no {found.leakage.unit} of one split stands in another")
    say_written(written)


def _refuse_data(given: str) -> None:
    """Refuse the data itself, of which YAML would say something else.

    Raises:
        ConfigError: it is a folder, or called as a table is.
    """
    from mlframework.data.table_file import known_suffix

    path = Path(given)
    if (path / "config.yaml").is_file():
        raise ConfigError([Problem(given, "", f"is a folder; name the config file in it: {path / 'config.yaml'}")])
    if path.is_dir() or (path.is_file() and known_suffix(path) is not None):
        kind = "a folder" if path.is_dir() else "a table"
        what = f"is {kind}; --mode data wants a config of it, which this writes: ml-init-config {shlex.quote(given)}"
        raise ConfigError([Problem(given, "", what)])


def _loaded(config: ExperimentConfig) -> tuple[Splits[Any], list[str]]:
    """Load the data as a training does, and return what that warns of."""
    from mlframework.experiment import load_data

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        splits = load_data(config)
    ours = [each for each in caught if each.category is UserWarning and "mlframework" in Path(each.filename).parts]
    return splits, list(dict.fromkeys(str(each.message) for each in ours))
