"""`ml-visualise --mode predictions RUN`: what a run's model says of examples."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mlframework.cli import console
from mlframework.cli.modes.drawn import say_written
from mlframework.cli.modes.named import run_folder
from mlframework.errors import ConfigError, DataError, Problem

if TYPE_CHECKING:
    from mlframework.data.interactions import InteractionsConfig
    from mlframework.data.splits import Splits
    from mlframework.experiment import ExperimentConfig
    from mlframework.runs import RunDir
    from mlframework.visualise.export import Written
    from mlframework.visualise.predictions.answers import Answers

_FINAL = "The run is a final one: it was trained on val too, so this is what it says of examples that it has seen."
_CHANGED = (
    "The data has changed since the run was trained, so the validation split may not be the one that it was: some of these "
    "examples may have been trained on."
)


def show(arguments: argparse.Namespace) -> None:
    """Predict, and write a page and a table."""
    from mlframework.config import yaml
    from mlframework.config.decode import decode
    from mlframework.experiment import ExperimentConfig
    from mlframework.face import load
    from mlframework.runs import RunDir

    run = RunDir(run_folder(arguments.given[0], "predictions"))
    model = load(run.path)
    config = decode(ExperimentConfig, yaml.read(run.config))
    _check(arguments, config)
    folder = Path(arguments.output) if arguments.output else run.path / "predictions"
    show_kind = _recommend if _recommends(arguments, config) else _answer
    written = show_kind(arguments, config, run, model, folder)
    say_written(written)


def _check(arguments: argparse.Namespace, config: ExperimentConfig) -> None:
    """Refuse what this run's model has no use for.

    Raises:
        ConfigError: with all of it.
    """
    problems = []
    given = {"--users": bool(arguments.users), "--k": arguments.k is not None, "--items": arguments.items is not None}
    for option, is_given in given.items():
        if is_given and config.data.type != "interactions":
            what = f"is for recommenders; this run's data is of type {config.data.type}, use --input"
            problems.append(Problem("ml-visualise", option, what))
    if arguments.users and arguments.input:
        problems.append(Problem("ml-visualise", "--users", "and --input both name what to predict: give one of them"))
    if problems:
        raise ConfigError(problems)


def _recommends(arguments: argparse.Namespace, config: ExperimentConfig) -> bool:
    """Whether users are recommended items: a ranking does, and what predicts ratings where users or K are named."""
    if config.data.type != "interactions":
        return False
    return config.data.task == "ranking" or any((arguments.users, arguments.k, arguments.items))


def _answer(arguments: argparse.Namespace, config: ExperimentConfig, run: RunDir, model: Any, folder: Path) -> Written:
    from mlframework.visualise.predictions.page import SHOWN, write_answers

    n_shown = arguments.samples or SHOWN
    notes: list[str] = []
    if arguments.input:
        found = _of_input(arguments.input, config, model)
    else:
        found, notes = _of_val(config, run, model, n_shown)
    notes = [*notes, *found.notes]
    for note in notes:
        console.err().print(f"note: {note}")
    said = f": {found.summary}" if found.summary else ""
    console.out().print(f"{run.path}: {len(found.answers):,} predictions of {found.target}{said}")
    return write_answers(found, f"Predictions of {run.path.resolve().name}", notes, folder, arguments.format, n_shown)


def _of_input(given: list[str], config: ExperimentConfig, model: Any) -> Answers:
    from mlframework.visualise.predictions import answers

    if config.data.type == "image_folder":
        return answers.of_files(model, given)
    if config.data.type == "table":
        return answers.of_tables(model, given, config.data)
    return answers.of_pairs(model, given, config.data)


def _of_val(config: ExperimentConfig, run: RunDir, model: Any, number: int) -> tuple[Answers, list[str]]:
    from mlframework.visualise.predictions import answers

    splits, notes = _data_of(config, run)
    if splits.val is None:
        raise DataError(f"{run.path}: there is no validation split; name what to predict by --input")
    if config.data.type == "image_folder":
        return answers.of_images(model, splits.val, number), notes
    if config.data.type == "table":
        return answers.of_rows(model, splits.val, number), notes
    return answers.of_ratings(model, splits.val, config.data, number), notes


def _data_of(config: ExperimentConfig, run: RunDir) -> tuple[Splits[Any], list[str]]:
    """Return the data without its test split, and what is to be said of it."""
    from mlframework.config import yaml
    from mlframework.experiment import is_of_data, load_data
    from mlframework.final import final_epochs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said when the run was trained
        splits = load_data(config).without_test()
    notes = [_FINAL] if final_epochs(run) is not None else []
    return splits, notes if is_of_data(run, yaml.read(run.config).tree) else [*notes, _CHANGED]


def _recommend(
    arguments: argparse.Namespace, config: ExperimentConfig, run: RunDir, model: Any, folder: Path
) -> Written:
    from mlframework.visualise.predictions import recommendations as made
    from mlframework.visualise.predictions.page import USERS_SHOWN, write_recommendations

    data, n_shown = cast("InteractionsConfig", config.data), arguments.samples or USERS_SHOWN
    splits: Splits[Any] | None = None
    named = arguments.users or (made.users_of(arguments.input, data.user_column) if arguments.input else [])
    users = made.known_users(model, named)
    try:
        splits, notes = _data_of(config, run)
    except DataError as error:
        if not users:
            raise
        notes = [f"The data is not to be had, so no history is shown: {error}"]
    train, val = (None, None) if splits is None else (splits.train, splits.val)
    if train is not None and val is not None and _FINAL in notes:
        train, val = train.concat(val), None  # nothing was held out
    source = "users that were named"
    if not users:
        assert splits is not None and splits.val is not None
        users = made.some_users(splits.val, splits.train, n_shown)
        source = f"{len(users):,} users of val, drawn at random"
    k = arguments.k or min(made.K, len(model.items))
    found = made.recommend(model, users, k, source, _names(arguments.items, data, notes), train, val)
    for note in notes:
        console.err().print(f"note: {note}")
    screen = console.out()
    screen.print(f"{run.path}: {k} items for each of {len(users):,} users")
    for each in found.users[:3]:
        screen.print(f"  {each.user}: {', '.join(str(item.item) for item in each.items)}")
    return write_recommendations(
        found, f"Recommendations of {run.path.resolve().name}", notes, folder, arguments.format, n_shown
    )


def _names(given: str | None, data: InteractionsConfig, notes: list[str]) -> dict[str, str]:
    from mlframework.visualise.predictions.recommendations import item_names

    if given is not None:
        return item_names(given, "--items", data.item_column)
    if data.item_features is None:
        return {}
    try:
        return item_names(data.item_features.path, "data.item_features.path", data.item_column)
    except DataError as error:
        notes.append(f"The items are shown without names: {error}")
        return {}
