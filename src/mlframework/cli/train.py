"""`ml-train`: train the run that a config describes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlframework.cli import console, find_lr, replay, tracking
from mlframework.cli.cross_validate import cross_validate, evaluate_folds
from mlframework.cli.options import OVERRIDES_HELP, Parser, parse_overrides
from mlframework.cli.ranks import in_these_processes, led, with_processes
from mlframework.errors import ConfigError, Problem, RunError
from mlframework.face import RUNS, experiment_of, new_run, or_no_trace, select
from mlframework.imports import preload
from mlframework.search.start import read_plain

if TYPE_CHECKING:
    from mlframework.experiment import ExperimentConfig
    from mlframework.read_run import ReadRun
    from mlframework.runs import RunDir
    from mlframework.training.result import RunResult

_PROCESSES = ("trainer_type", "training.trainer_type")  # what a resume may set, see `with_processes`
HYPERPARAMETERS = "models/best_hyperparameters.json"


def main() -> None:
    """Entry point."""
    console.run(led(_main))


def _parser() -> Parser:
    parser = Parser(
        "ml-train", "Train the run that a config describes, into a folder of its own under runs/.", OVERRIDES_HELP
    )
    parser.add_argument("--config", metavar="F", help="the YAML file; not needed with --resume RUN")
    parser.add_argument(
        "--mode", choices=["train", "final"], default="train",
        help="final: train, then refit on train and val for the best number of epochs, and open the test split once",
    )  # fmt: skip
    parser.add_argument(
        "--hyperparameters", nargs="?", const=HYPERPARAMETERS, metavar="F",
        help=f"take the best hyperparameters of a search (default: {HYPERPARAMETERS})",
    )  # fmt: skip
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="RUN",
        help="go on with a run that was stopped: its folder, or the config's newest unfinished one",
    )  # fmt: skip
    parser.add_argument(
        "--cross-validate", nargs="?", const=0, type=int, metavar="N",
        help="train on N folds instead of one split (default: search.cross_validation.n_folds), and show a table",
    )  # fmt: skip
    parser.add_argument(
        "--profile", action="store_true",
        help="also tell where the time of the training goes (not of --mode final's second one), and write a trace of an epoch",
    )  # fmt: skip
    tracking.add_options(parser)
    find_lr.add_options(parser)
    replay.add_options(parser)
    parser.add_argument(
        "--print-config", action="store_true", help="show every setting with its value, and train nothing"
    )
    return parser


def _main() -> None:
    arguments, extra = _parser().parse_known_args()
    overrides = parse_overrides(extra)
    tracking.add_overrides(arguments, overrides)
    replay.check(arguments, overrides)
    if arguments.replay is not None:
        return replay.run_replay(arguments, overrides)
    find_lr.check(arguments, overrides)
    _check_profile(arguments)
    if arguments.resume is not None:
        return _resume(arguments, overrides)
    if arguments.config is None:
        raise ConfigError([Problem("ml-train", "", "--config F is needed; ml-init-config DATA writes one")])
    if (plain := _read_plain(arguments, overrides)) is not None:
        return _run(plain, arguments, overrides)
    preload("mlframework.search.read")
    from mlframework.search.read import print_config, read_config

    read = read_config(arguments.config, overrides, arguments.hyperparameters)
    if arguments.print_config:
        console.out().print(print_config(read), end="", markup=False, soft_wrap=True)
        return None
    if arguments.hyperparameters is not None:
        shown = ", ".join(f"{key}={value}" for key, value in read.hyperparameters.items())
        console.out().print(f"hyperparameters of {arguments.hyperparameters}: {shown}")
    if read.dropped:
        console.out().print(f"dropped, since the new choice has no such setting: {', '.join(read.dropped)}")
    if arguments.cross_validate is None:
        return _run(read, arguments, overrides)
    if arguments.mode == "final":
        raise ConfigError([Problem("ml-train", "--cross-validate", "the folds only judge; leave out --mode final")])
    return cross_validate(read, arguments.cross_validate)


def _read_plain(arguments: argparse.Namespace, overrides: Mapping[str, str]) -> ReadRun | None:
    """Return what is trained, where the config alone says it: then nothing of a search is imported, which takes as long."""
    if overrides or arguments.hyperparameters or arguments.print_config or arguments.cross_validate is not None:
        return None
    preload("mlframework.experiment")
    return read_plain(arguments.config)


def _run(read: ReadRun, arguments: argparse.Namespace, overrides: Mapping[str, str]) -> None:
    if arguments.find_lr:
        return find_lr.find(read, experiment_of(read)[0], arguments, overrides, RUNS)
    return _train(read, arguments.mode, arguments.profile)


def _check_profile(arguments: argparse.Namespace) -> None:
    """Refuse `--profile` where no single training would be profiled; and keep the profiler's own log out of the output."""
    if not arguments.profile:
        return
    others = {
        "--cross-validate": arguments.cross_validate is not None,
        "--find-lr": arguments.find_lr,
        "--print-config": arguments.print_config,
    }
    for name, is_given in others.items():
        if is_given:
            raise ConfigError([Problem("ml-train", "--profile", f"tells of one training; leave out {name}")])
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch reads it when it is imported


def _train(read: ReadRun, mode: str, profile: bool) -> None:
    from mlframework.experiment import load_data

    config, tree = experiment_of(read)
    splits = load_data(config)
    if mode == "final" and splits.test is None:
        raise ConfigError(
            [Problem("ml-train", "--mode final", "there is no test split; set data.split.test_fraction above 0")]
        )
    with new_run(read, config, tree) as run:
        result = _select(config, run, is_final=mode != "final", profile=profile)
    if mode == "final":
        final_of(run, result.best_epoch, f"{run.path.name}-final", config.training.trainer_type)


def _select(config: ExperimentConfig, run: RunDir, is_final: bool, profile: bool = False) -> RunResult:
    """Train on train, choose the best epoch on val, and write the artifact of that epoch."""
    from mlframework.cli.progress import ProgressBar
    from mlframework.experiment import load_data
    from mlframework.training.profile import Profile

    screen = console.out()
    splits = load_data(config).without_test()
    n_val = len(splits.val) if splits.val is not None else 0
    screen.print(
        f"{config.name}: {config.model.architecture} on {len(splits.train)} examples, {n_val} to validate, into {run.path}"
    )
    console.say_on_interrupt(f"the last finished epoch is saved; go on with: ml-train --resume {run.path}")
    profiles = [Profile(run.path / "profile", config.training.num_epochs)] if profile else []
    result = select(config, run, [ProgressBar(screen, config.training.num_epochs), *profiles], is_final)
    screen.print(
        f"{result.reason}: best {result.metric} {result.value:.6g} at epoch {result.best_epoch} of {result.last_epoch}, "
        f"{result.seconds:.1f} s\nrun: {run.path}   curves: tensorboard --logdir {RUNS}"
    )
    for each in profiles:
        screen.print("\n".join(each.summary), soft_wrap=True, highlight=False)
    if is_final:
        _say_recorded(config, run)
    return result


def final_of(selected: RunDir, num_epochs: int, name: str, trainer_type: str) -> None:
    """Make the final run of a run or trial that was selected, into a folder of its own.

    It is trained in as many processes as this command has, by its own `trainer_type`, where that trains the same.
    """
    from mlframework.config import yaml
    from mlframework.config.decode import decode
    from mlframework.experiment import ExperimentConfig, start_run
    from mlframework.final import mark_final
    from mlframework.runs import RunDir

    document = in_these_processes(yaml.read(selected.config), trainer_type)
    run = RunDir.create(RUNS, name)
    with or_no_trace(run):
        start_run(run, document.tree)
        mark_final(run, num_epochs, selected)
        _refit(decode(ExperimentConfig, document), run, num_epochs)


def _refit(config: ExperimentConfig, run: RunDir, num_epochs: int) -> None:
    from mlframework.cli.progress import ProgressBar
    from mlframework.experiment import load_data
    from mlframework.final import run_final

    screen = console.out()
    splits = load_data(config)
    screen.print(f"final: refit on {len(splits.refit().train)} examples for {num_epochs} epochs, into {run.path}")
    console.say_on_interrupt(f"the last finished epoch is saved; go on with: ml-train --resume {run.path}")
    final = run_final(config, splits, run, num_epochs, [ProgressBar(screen, num_epochs)])
    screen.print("test: " + "  ".join(f"{name} {value:.6g}" for name, value in final.test_metrics.items()))
    screen.print(f"run: {run.path}   opened the test split: {run.test_ledger}   artifact: {run.artifacts}")
    _say_recorded(config, run)


def _say_recorded(config: ExperimentConfig, run: RunDir) -> None:
    tracking.say_recorded(config.name, config.tracking, f"ml-train --resume {run.path}", run.path)


def _resume(arguments: argparse.Namespace, overrides: Mapping[str, str]) -> None:
    from mlframework.config import yaml
    from mlframework.config.decode import decode
    from mlframework.experiment import ExperimentConfig
    from mlframework.final import final_epochs
    from mlframework.plans import marked_folds
    from mlframework.runs import RunDir
    from mlframework.training.tracking.start import require_trackers

    others = {
        "hyperparameters": arguments.hyperparameters is not None,
        "cross-validate": arguments.cross_validate is not None,
        "print-config": arguments.print_config,
    }
    given = [
        *(key for key in overrides if key not in _PROCESSES and not key.startswith("tracking.")),
        *(name for name, is_given in others.items() if is_given),
    ]
    if given:
        listed = ", ".join(f"--{name}" for name in given)
        raise ConfigError([Problem("ml-train", "--resume", f"a run goes on with its own settings; leave out {listed}")])
    run = RunDir.open(Path(arguments.resume)) if arguments.resume else _newest_unfinished(arguments.config)
    if (run.path.parent / "study.json").is_file():
        what = f"is a trial of a study: ml-search --resume goes on with the study, ml-train --config {run.config} trains it anew"
        raise ConfigError([Problem(str(run.path), "", what)])
    document = tracking.with_tracking(with_processes(yaml.read(run.config), overrides), overrides)
    config = decode(ExperimentConfig, document)
    tracking.check(overrides, config.tracking)
    require_trackers(config.tracking)
    epochs, folds = final_epochs(run), marked_folds(run)
    done = run.read_result()
    if done is not None and _is_finished(run):
        if arguments.profile:
            what = f"{run.path} is finished: there is nothing left to profile; train its config anew: --config {run.config}"
            raise ConfigError([Problem("ml-train", "--profile", what)])
        console.out().print(
            f"{run.path} is finished already: {done['metric']} {done['value']} at epoch {done['best_epoch']}"
        )
        if epochs is None and folds is None and arguments.mode == "final":
            best_epoch = _select(config, run, is_final=False).best_epoch
            final_of(run, best_epoch, f"{run.path.name}-final", config.training.trainer_type)
        else:
            is_final = folds is None and not (run.path.parent / f"{run.path.name}-final").is_dir()
            tracking.send_missed(config, run, is_final, f"ml-train --resume {run.path}")
        return
    for line in replay.changed_data(run, document.tree, arguments.accept_data_change):
        console.out().print(f"changed since: {line}")
    if arguments.profile and (epochs is not None or folds is not None):
        what = "a final run" if epochs is not None else "folds"
        raise ConfigError([Problem("ml-train", "--profile", f"tells of one training on train; {run.path} is {what}")])
    if epochs is not None:
        _refit(config, run, epochs)
        return
    if folds is not None:
        evaluate_folds(config, run, folds)
        return
    result = _select(config, run, is_final=arguments.mode != "final", profile=arguments.profile)
    if arguments.mode == "final":
        final_of(run, result.best_epoch, f"{run.path.name}-final", config.training.trainer_type)


def _is_finished(run: RunDir) -> bool:
    """Whether nothing is left to do: a training ends with its artifact, a final run with the test, folds with their result."""
    from mlframework.final import final_epochs
    from mlframework.plans import marked_folds

    result = run.read_result()
    if result is None:
        return False
    if final_epochs(run) is not None:
        return "test_metrics" in result
    return marked_folds(run) is not None or (run.artifacts / "model_meta.json").is_file()


def _newest_unfinished(config_path: str | None) -> RunDir:
    from mlframework.runs import RunDir
    from mlframework.search.read import read_config

    if config_path is None:
        raise ConfigError([Problem("ml-train", "--resume", "name the run's folder, or its config with --config")])
    name = read_config(config_path, {}).config.name
    found = [path.parent for path in RUNS.glob("*/config.yaml") if path.parent.name.startswith(name)]
    unfinished = [path for path in found if not _is_finished(RunDir(path))]
    if not unfinished:
        there = f"{len(found)} are finished" if found else "there is none at all"
        raise RunError(f"{RUNS}/{name}*: there is no unfinished run to resume: {there}")
    return RunDir.open(max(unfinished, key=lambda path: (path / "config.yaml").stat().st_mtime))
