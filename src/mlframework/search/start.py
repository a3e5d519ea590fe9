"""From a config to a search: the steps that `ml-search` and `mlframework.search` have in common."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from mlframework.config.wording import PYTHON
from mlframework.errors import ConfigError, Problem, TrainingError
from mlframework.learners.ranks import require_place

if TYPE_CHECKING:
    from mlframework.config.yaml import Document
    from mlframework.data.splits import Splits
    from mlframework.experiment import ExperimentConfig
    from mlframework.read_run import ReadRun
    from mlframework.search.config import ConfigFile
    from mlframework.search.goal import Goal
    from mlframework.search.read import ReadConfig
    from mlframework.search.results import TrialRecord
    from mlframework.search.study import OpenStudy, SearchSpec

SHORT = {name: f"search.{name}" for name in ("n_trials", "timeout", "study_name", "storage")}
"""Settings of the search that are called by their last part, whatever else has such a part."""


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
    at_once: int = 1, threads: int | None = None, own: Collection[str] = (),
) -> ReadConfig:  # fmt: skip
    """Read a config file, a tree of one, or one that was loaded already, with overrides.

    Args:
        config: the file, the tree, or what was loaded.
        overrides: settings by name, as Python has them.
        at_once: how many trials are trained at once on this machine.
        threads: of each, where the config does not say.
        own: the other arguments that the caller takes: a typing error may mean one of them.

    Raises:
        ConfigError: with every problem of it.
    """
    from mlframework.search.read import read_config

    wording = replace(PYTHON, own=own)
    return read_config(_source(config), options_of(overrides), at_once=at_once, threads=threads, wording=wording)


def read_plain(config: str | Path | Mapping[str, Any] | ConfigFile) -> ReadRun | None:
    """Read a run that its config describes as it stands, and import nothing of a search.

    Returns:
        What was read, or None of a config that has a search, or that something is wrong with: `read_config` tells more.

    Raises:
        ConfigError: it is no file of YAML.
    """
    from mlframework.config import yaml
    from mlframework.config.decode import check
    from mlframework.experiment import ExperimentConfig
    from mlframework.read_run import ReadRun

    source = _source(config)
    document = yaml.read(source) if isinstance(source, str) else source
    is_plain = "search" not in document.tree and not check(ExperimentConfig, document)[1]
    return ReadRun(document, {}) if is_plain else None


def _source(config: str | Path | Mapping[str, Any] | ConfigFile) -> str | Document:
    from pydantic import BaseModel

    from mlframework.config.yaml import Document

    if isinstance(config, str | Path):
        return str(config)
    if isinstance(config, Mapping):
        return Document(_plain(config))
    if not isinstance(config, BaseModel):
        what = f"should be a file, a mapping of settings, or what load_config returned, got {config!r} ({type(config).__name__})"
        raise ConfigError([Problem("", "config", what)])
    # What was written, and no defaults: some of those mean nothing beside other settings.
    return Document(config.model_dump(exclude_unset=True))


def _plain(value: Any, path: tuple[str, ...] = ()) -> Any:
    """Return a tree in types that YAML can write: a run's config is written before it is trained.

    Raises:
        ConfigError: a value that YAML can't write.
    """
    if isinstance(value, Mapping):
        return {key: _plain(inner, (*path, str(key))) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, (*path, str(number))) for number, inner in enumerate(value)]
    for kind in (bool, int, float, str):  # NumPy's float64 is a float, too, and its str_ a str
        if isinstance(value, kind):
            return kind(value)
    if value is None or isinstance(value, date):
        return value
    if isinstance(value, PurePath):
        return str(value)
    what = f"should be a plain value that YAML can write, got {value!r} ({type(value).__name__})"
    raise ConfigError([Problem("", ".".join(path), what)])


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
    from mlframework.search.quiet import require_optuna
    from mlframework.search.setup import build_spec
    from mlframework.search.storage import open_storage
    from mlframework.search.study import open_study
    from mlframework.search.tracking import introduce
    from mlframework.training.tracking.start import require_trackers

    require_optuna()
    require_trackers(read.config.tracking)
    assert read.config.search is not None
    storage = open_storage(address or read.document.tree["search"].get("storage") or read.config.search.storage)
    spec = build_spec(read, storage, add_trials)
    check_data(spec)
    spec = replace(spec, settings={}) if is_worker else spec
    study = open_study(spec, storage, resume, accept_data_change)
    introduce(study, read.config.tracking)
    return study


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
