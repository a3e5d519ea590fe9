"""From a config to a search: the steps that `ml-search` and `mlframework.search` have in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlframework.errors import ConfigError, Problem, TrainingError
from mlframework.learners.ranks import require_place

if TYPE_CHECKING:
    from mlframework.config.yaml import Document
    from mlframework.data.splits import Splits
    from mlframework.experiment import ExperimentConfig
    from mlframework.metrics import Direction
    from mlframework.search.config import ConfigFile
    from mlframework.search.confirm import Candidate
    from mlframework.search.goal import Goal
    from mlframework.search.read import ReadConfig
    from mlframework.search.results import TrialRecord
    from mlframework.search.study import OpenStudy, SearchSpec

SHORT = {name: f"search.{name}" for name in ("n_trials", "timeout", "study_name", "storage")}
"""Settings of the search that are called by their last part, whatever else has such a part."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        study_name: of the study.
        folder: of the study: results.json, trials.csv, a run folder a trial.
        metric: what was searched for.
        direction: which direction of it is better.
        best_params: of the best trial, by dotted key: of the one that was picked, where the best were confirmed, and of
            several objectives the one that `search.prefer` chooses.
        best_value: its value of `metric` in the search.
        best_config: the file that trains it.
        trials: all of them.
        why: `done`, `timeout`, or `others` while other processes still train the last trials.
        front: the trials that none of the others is better than in every objective; of one objective those with the best
            value.
        confirmed: what further seeds said of the best trial; None without `search.confirm`.
    """

    study_name: str
    folder: Path
    metric: str
    direction: Direction
    best_params: Mapping[str, Any]
    best_value: float
    best_config: Path
    trials: Sequence[TrialRecord]
    why: str
    front: Sequence[TrialRecord]
    confirmed: Candidate | None


def as_option(value: Any) -> str:
    """Return a value as the command line would have it."""
    return json.dumps(value)


def options_of(overrides: Mapping[str, Any]) -> dict[str, str]:
    """Return overrides from Python as the command line would have them: `lr=0.1`, or `**{"optimizer.lr": 0.1}`.

    Raises:
        ConfigError: a value that a config can't hold.
    """
    options: dict[str, str] = {}
    for name, value in overrides.items():
        try:
            options[SHORT.get(name, name)] = as_option(value)
        except (TypeError, ValueError):
            kind = type(value).__name__
            what = f"should be a plain value that YAML can write, got {value!r} ({kind})"
            raise ConfigError([Problem("", name, what)]) from None
    return options


def read_any(
    config: str | Path | Mapping[str, Any] | ConfigFile, overrides: Mapping[str, Any],
    at_once: int = 1, threads: int | None = None,
) -> ReadConfig:  # fmt: skip
    """Read a config file, a tree of one, or one that was loaded already, with overrides.

    Raises:
        ConfigError: with every problem of it.
    """
    from mlframework.search.read import read_config

    return read_config(_source(config), options_of(overrides), at_once=at_once, threads=threads)


def _source(config: str | Path | Mapping[str, Any] | ConfigFile) -> str | Document:
    from mlframework.config.yaml import Document

    if isinstance(config, str | Path):
        return str(config)
    if isinstance(config, Mapping):
        return Document(dict(config))
    # What was written, and no defaults: some of those mean nothing beside other settings.
    return Document(config.model_dump(exclude_unset=True))


def require_search(read: ReadConfig) -> None:
    """Refuse a config that can't be searched.

    Raises:
        ConfigError: it has no search section, or overrides of what is searched.
    """
    if read.conflicts:
        raise ConfigError(read.conflicts)
    if read.config.search is None or read.space is None:
        what = "there is no search: section; ml-init-config DATA --optuna writes one"
        raise ConfigError([Problem(read.document.name, "search", what)])


def open_search(
    read: ReadConfig, resume: bool, add_trials: int, accept_data_change: bool = False, is_worker: bool = False,
    address: str | None = None,
) -> OpenStudy:  # fmt: skip
    """Make the study that a config asks for, or open the one that exists, on other data where that is accepted.

    What a worker was told, such as the time that is left, is no setting that its user has changed, and is not recorded.

    Args:
        read: the config.
        resume: go on with a study that exists.
        add_trials: trials more than it has.
        accept_data_change: whether other data than the study's is accepted.
        is_worker: whether a parent has opened it before.
        address: where its storage is reached, if that is not the config's: of a proxy.

    Raises:
        MlframeworkError: the data, the storage or the study can't be used.
    """
    from mlframework.search.setup import build_spec
    from mlframework.search.storage import open_storage
    from mlframework.search.study import open_study, require_optuna

    require_optuna()
    assert read.config.search is not None
    storage = open_storage(address or read.document.tree["search"].get("storage") or read.config.search.storage)
    spec = build_spec(read, storage, add_trials)
    check_data(spec)
    spec = replace(spec, settings={}) if is_worker else spec
    return open_study(spec, storage, resume, accept_data_change)


def check_data(spec: SearchSpec) -> None:
    """Load the data of what the trials have in common, so that data that can't be used leaves no study behind.

    Raises:
        DataError: it is not there, is damaged, or can't be cut into folds.
        TrainingError: torchrun did not start the processes that the trials need.
    """
    from mlframework.config.decode import decode
    from mlframework.config.yaml import Document
    from mlframework.experiment import ExperimentConfig

    config = decode(ExperimentConfig, Document(dict(spec.space.base)))
    if "training.trainer_type" not in spec.space.parameters:
        require_place(config.training.trainer_type)
    splits = load(config)
    # A trial may cut or read its data in another way.
    if not any(key.startswith("data.") for key in spec.space.parameters):
        spec.plan.check(config, splits)


def load(config: ExperimentConfig) -> Splits[Any]:
    """Return the splits that a search may see."""
    from mlframework.experiment import load_data

    return load_data(config).without_test()


def require_best(records: Sequence[TrialRecord], goal: Goal) -> TrialRecord:
    """Return the best trial.

    Raises:
        TrainingError: no trial came to its end; the message has the reasons.
    """
    best = goal.best(records)
    if best is None:
        reasons = sorted({record.reason or record.state for record in records if record.counts})
        listed = "".join(f"\n  {reason}" for reason in reasons[:10])
        raise TrainingError(f"no trial came to its end, there is no best one:{listed}")
    return best


def search_config(
    config: str | Path | Mapping[str, Any] | ConfigFile, *, resume: bool = False, add_trials: int = 0,
    accept_data_change: bool = False, workers: int | None = None, launcher: str = "local", ray_address: str | None = None,
    storage_proxy: bool = False, progress: bool = False, **overrides: Any,
) -> SearchResult:  # fmt: skip
    """Search the hyperparameters that a config's `search:` section names, as `ml-search` does.

    Args:
        config: the YAML file, a tree of one, or what `load_config` returned.
        resume: go on with the study where it exists, or join it while other processes search.
        add_trials: with `resume`: so many trials more than the study has.
        accept_data_change: with `resume`: go on although the data is other than the study's trials were trained on.
        workers: how many processes search; None: this one alone, or two with Ray.
        launcher: `local` starts workers on this machine, `ray` as tasks of a Ray cluster.
        ray_address: with Ray: of the cluster, `auto` for the one that runs here; None: a Ray of its own on this machine.
        storage_proxy: with Ray: let the workers reach the study's database through this process alone.
        progress: write a line a trial to stdout.
        overrides: settings by their dotted key or their last part: `lr=0.1`, `n_trials=20`, `**{"optimizer.lr": 0.1}`.

    Raises:
        ConfigError: the config or an override; with `file:line:column` of every problem.
        StudyError: the study exists and `resume` is false, or it was started with other settings or on other data.
        TrainingError: no trial came to its end.
        MlframeworkError: the data or the storage can't be used.
    """
    if add_trials and (not resume or "n_trials" in overrides):
        what = "adds to a study that exists: give resume=True with it, and leave out n_trials"
        raise ConfigError([Problem("search", "add_trials", what)])
    from mlframework.search.workers.launch import Workers, search_as

    group = Workers.asked_for(workers, launcher, ray_address, storage_proxy)
    read = read_any(config, overrides, group.at_once, group.threads)
    require_search(read)
    group.check(read)
    study = open_search(read, resume, add_trials, accept_data_change)
    from mlframework.search.lines import watcher_of
    from mlframework.search.results import pick
    from mlframework.search.resume_plan import resume_plan

    if progress:
        sys.stdout.write("".join(f"{line}\n" for line in (*study.news, *resume_plan(study).lines())))
    end = search_as(study, read, group, load, watcher_of(study, progress))
    spec = study.spec
    require_best(end.records, spec.goal)
    assert read.config.search is not None
    if end.why == "done" and read.config.search.confirm is not None:
        from mlframework.search.confirming import confirm
        from mlframework.search.lines import RetrainingLines

        confirm(study, read.config.search.confirm, load, RetrainingLines(spec.metric, progress))
    chosen = pick(spec, end.records)
    assert chosen is not None and chosen.record.value is not None  # there is a best one
    return SearchResult(
        spec.name, spec.folder.path, spec.metric, spec.direction, dict(chosen.record.params), chosen.record.value,
        spec.folder.best_config, end.records, end.why, spec.goal.front(end.records), chosen.confirmed,
    )  # fmt: skip
