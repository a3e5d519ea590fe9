"""`ml-search`: search the hyperparameters that a config's `search:` section names."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mlframework.cli import console, diagnose, dry_run, tracking
from mlframework.cli.compare import check_options, run_comparison
from mlframework.cli.options import OVERRIDES_HELP, Parser, parse_overrides, positive_float, positive_int
from mlframework.cli.ranks import led, require_one_process
from mlframework.errors import ConfigError, Problem
from mlframework.imports import preload
from mlframework.search.start import SHORT, as_option, load, open_search, require_best, require_search
from mlframework.search.workers.launch import LAUNCHERS, Workers

if TYPE_CHECKING:
    from mlframework.search.loop import SearchEnd
    from mlframework.search.read import ReadConfig
    from mlframework.search.study import OpenStudy


def main() -> None:
    """Entry point."""
    console.run(led(_main))


def _parser() -> Parser:
    parser = Parser("ml-search", "Search hyperparameters: every trial is a training run of the config.", OVERRIDES_HELP)
    parser.add_argument(
        "--config", metavar="F", help="the YAML file, with a search: section; needed but for --diagnose"
    )
    parser.add_argument(
        "--n-trials", type=positive_int, metavar="N", help="trials of the study in all (default: the config's, or 50)"
    )
    parser.add_argument(
        "--add-trials", type=positive_int, metavar="N", help="with --resume: N trials more than the study has"
    )
    parser.add_argument(
        "--timeout", type=positive_float, metavar="S", help="seconds after which no further trial is started"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the study, or join it while other processes search"
    )
    parser.add_argument(
        "--accept-data-change", action="store_true",
        help="with --resume: go on although the data is other than the study's trials were trained on",
    )  # fmt: skip
    parser.add_argument("--study-name", metavar="S", help="name of the study and of its folder")
    parser.add_argument("--storage", metavar="URL", help="sqlite:///file.db, journal:///file.log or postgresql://...")
    parser.add_argument(
        "--refit", action="store_true", help="end with the final run of the best config: refit, and test once"
    )
    parser.add_argument(
        "--compare", nargs="+", metavar="SAMPLER",
        help="search with each of these samplers instead, on equal budgets, and compare them: TPESampler GPSampler ...",
    )  # fmt: skip
    parser.add_argument(
        "--seeds",
        type=positive_int,
        metavar="N",
        help="with --compare: studies a sampler, each with a seed of its own (default: 5)",
    )
    parser.add_argument(
        "--workers", type=positive_int, metavar="N",
        help="search with N processes, which share the study (default: this one alone; with --launcher ray 2)",
    )  # fmt: skip
    parser.add_argument(
        "--launcher", choices=sorted(LAUNCHERS),
        help="where the workers run: on this machine, where they share its threads (local), or on a Ray cluster (ray)",
    )  # fmt: skip
    parser.add_argument(
        "--ray-address", metavar="A",
        help="with --launcher ray: auto for the cluster that runs here, or ray://host:10001 (default: RAY_ADDRESS, or a "
        "Ray of its own on this machine)",
    )  # fmt: skip
    parser.add_argument(
        "--storage-proxy", action="store_true",
        help="with --launcher ray: the workers reach the study's database through this process (gRPC), so it may be SQLite",
    )  # fmt: skip
    parser.add_argument(
        "--print-config", action="store_true", help="show every setting with its value, and search nothing"
    )
    tracking.add_options(parser)
    dry_run.add_options(parser)
    diagnose.add_options(parser)
    return parser


def _main() -> None:
    arguments, extra = _parser().parse_known_args()
    overrides = parse_overrides(extra)
    if arguments.diagnose is not None:
        diagnose.check(arguments, overrides)
        diagnose.diagnose(arguments.diagnose, arguments.storage)
        return None
    if arguments.config is None:
        raise ConfigError([Problem("ml-search", "--config", "is needed: the YAML file with a search: section")])
    if arguments.dry_run:
        dry_run.check(arguments)
    for option, key in SHORT.items():
        if getattr(arguments, option) is not None:
            overrides[key] = as_option(getattr(arguments, option))
    tracking.add_overrides(arguments, overrides)
    if arguments.add_trials and (not arguments.resume or arguments.n_trials):
        what = "adds to a study that exists: give --resume with it, and leave out --n-trials"
        raise ConfigError([Problem("ml-search", "--add-trials", what)])
    if arguments.accept_data_change and not arguments.resume:
        what = "is for a study that exists: give --resume with it"
        raise ConfigError([Problem("ml-search", "--accept-data-change", what)])
    check_options(arguments)
    if (arguments.workers or 1) > 1 or arguments.launcher is not None:
        require_one_process("--workers" if arguments.workers else "--launcher")
    workers = Workers.asked_for(
        arguments.workers, arguments.launcher or "local", arguments.ray_address, arguments.storage_proxy
    )
    if arguments.print_config or arguments.dry_run or arguments.compare is not None:
        return _read_and_search(arguments, overrides, workers)
    with workers.prepared() as prepared:
        return _read_and_search(arguments, overrides, prepared)


def _read_and_search(arguments: argparse.Namespace, overrides: dict[str, str], workers: Workers) -> None:
    preload("mlframework.search.read")
    from mlframework.search.read import print_config, read_config

    read = read_config(arguments.config, overrides, at_once=workers.at_once, threads=workers.threads)
    require_search(read)
    if arguments.print_config:
        console.out().print(print_config(read), end="", markup=False, soft_wrap=True)
        return
    if arguments.dry_run:
        dry_run.dry_run(read)
        return
    if arguments.compare is not None:
        assert read.config.search is not None
        run_comparison(read, arguments, _resuming(read, read.config.search.n_trials, arguments))
        return
    workers.check(read)
    workers.prepare_for(read)
    study = open_search(read, arguments.resume, arguments.add_trials or 0, arguments.accept_data_change)
    _search(read, study, workers, arguments)


def _search(read: ReadConfig, study: OpenStudy, workers: Workers, arguments: argparse.Namespace) -> None:
    from mlframework.cli.search_report import say_report
    from mlframework.cli.search_screen import SearchScreen, print_plan
    from mlframework.search.commands import record_command
    from mlframework.search.resume_plan import resume_plan
    from mlframework.search.tracking import tracked
    from mlframework.search.workers.launch import search_as

    screen = console.out()
    if arguments.resume and not study.trials():
        screen.print(f"there was no study {study.spec.name!r} with trials yet: this starts it")
    print_plan(screen, study, read.dropped)
    if read.config.search is not None and (settings := read.config.search.confirm) is not None:
        screen.print(
            f"  the best {settings.top_k} are trained again with {settings.seeds} further seeds each at the end"
        )
    if not workers.is_this_process:
        screen.print(f"  {workers.describe(study, read)}")
    screen.print(f"  checkpoints: {study.spec.keep.describe()}")
    for line in resume_plan(study).lines():
        screen.print(line)
    resume = _resuming(read, study.n_trials, arguments)
    console.say_on_interrupt(
        f"finished trials are kept, what is being trained goes on from its last epoch; go on with: {resume}"
    )
    record_command(study, resume)
    with tracked(study, read.config.tracking, read.config.name, resume) as told:
        with SearchScreen(screen, study) as watcher:
            end = search_as(study, read, workers, load, told(watcher))
        _confirm(read, study, end)
        try:
            _summarise(study, end, resume)
        finally:
            say_report(study)
    tracking.say_recorded(read.config.name, read.config.tracking, resume, study.spec.folder.path)
    if arguments.refit and end.why != "others":
        _refit(study, read.config.training.trainer_type)


def _confirm(read: ReadConfig, study: OpenStudy, end: SearchEnd) -> None:
    """Confirm the best trials once the study is done, where the config asks for it."""
    settings = read.config.search.confirm if read.config.search is not None else None
    if settings is None or study.spec.goal.best(end.records) is None:
        return
    if end.why != "done":
        console.out().print("search.confirm: the best trials are confirmed when the last trial is done")
        return
    from mlframework.cli.confirm import confirm_best

    confirm_best(console.out(), study, settings, load)


def _resuming(read: ReadConfig, n_trials: int, arguments: argparse.Namespace) -> str:
    """Return the command that goes on with this search: what it asked for is asked for again, as a total."""
    import json
    import shlex

    from mlframework.search.storage import masked

    words = ["ml-search", "--config", arguments.config, "--resume"]
    if arguments.n_trials or arguments.add_trials:
        words += ["--n-trials", str(n_trials)]
    if arguments.compare is not None:
        words += ["--compare", *arguments.compare, *(["--seeds", str(arguments.seeds)] if arguments.seeds else [])]
    if arguments.workers is not None:
        words += ["--workers", str(arguments.workers)]
    if arguments.launcher is not None:
        words += ["--launcher", arguments.launcher]
    if arguments.ray_address is not None:
        words += ["--ray-address", arguments.ray_address]
    if arguments.storage_proxy:
        words += ["--storage-proxy"]
    if arguments.study_name is not None:
        words += ["--study-name", arguments.study_name]
    if arguments.storage is not None:
        words += ["--storage", masked(arguments.storage)]
    # The overrides are part of what the study's trials have in common, so the resuming command has them, too.
    for key, value in read.overrides.items():
        if key not in SHORT.values():
            words += [f"--{key}", masked(value) if isinstance(value, str) else json.dumps(value)]
    return shlex.join(words)


def _summarise(study: OpenStudy, end: SearchEnd, resume: str) -> None:
    from mlframework.cli.search_screen import print_best
    from mlframework.search.cleaning import decide

    screen = console.out()
    if end.why == "timeout":
        done = sum(record.counts for record in end.records)
        screen.print(f"the time is up: {done} of {study.n_trials} trials; go on with: {resume}")
    if end.why == "others":
        screen.print("another process has trained the last trial: confirming and refitting are left to that one")
    require_best(end.records, study.spec.goal)
    print_best(screen, study, end.records)
    screen.print(decide(study, end.records).describe())


def _refit(study: OpenStudy, trainer_type: str) -> None:
    from mlframework.cli.train import final_of
    from mlframework.search.results import TrialRecord, pick

    chosen = pick(study.spec, [TrialRecord.of(trial) for trial in study.trials()])
    assert chosen is not None and chosen.record.best_epoch is not None  # a best trial is complete
    best = chosen.record
    trial = study.spec.folder.trial(best.number)
    final_of(trial, chosen.record.best_epoch, f"{study.spec.name}-final", trainer_type)
