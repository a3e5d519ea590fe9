"""What a run or a trial has stored that it can be trained again from: its config, how it was judged, its epochs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlframework.config import yaml
from mlframework.config.override import apply, override
from mlframework.data.fingerprint import Fingerprint
from mlframework.errors import RunError, StudyError
from mlframework.experiment import ExperimentConfig
from mlframework.final import final_epochs
from mlframework.folds import CrossValidation
from mlframework.plans import Plan, SingleSplit, build_plan, marked_folds
from mlframework.replay.verdict import Epochs
from mlframework.runs import RunDir, read_json
from mlframework.search.lookup import find_study
from mlframework.search.recorded import Record
from mlframework.search.results import TrialRecord
from mlframework.search.started import started_with
from mlframework.search.storage import translated
from mlframework.search.study import STUDIES, StudyFolder, seeded
from mlframework.search.versions import original_name

if TYPE_CHECKING:
    from optuna import Study

REPORTS = "reports"
"""The part whose epochs are a trial's reports to the storage, where its folder is gone."""
_TRIAL = re.compile(r"trial_(\d+)")


@dataclass(frozen=True)
class Original:
    """A run that was trained, as far as it is stored.

    Attributes:
        name: what messages call it: `trial 23 of study digits`, `run runs/digits`.
        slug: what the replay's folder is named after.
        tree: its config.
        plan: how it was judged.
        final_epochs: of a final run, how many; None for others.
        state: `complete`; `pruned` or `interrupted` where it ended before; `failed`.
        reason: why it failed.
        epochs: what it stored of each.
        environment: what it ran on; empty where that was not recorded.
        data: what it learnt from; None where that was not recorded.
    """

    name: str
    slug: str
    tree: Mapping[str, Any]
    plan: Plan
    final_epochs: int | None
    state: Literal["complete", "pruned", "interrupted", "failed"]
    reason: str | None
    epochs: Epochs
    environment: Mapping[str, Any]
    data: Fingerprint | None

    @property
    def n_epochs(self) -> int:
        """How many epochs are stored, of all parts."""
        return sum(len(lines) for lines in self.epochs.values())


def find_original(target: str, storage: str | None = None) -> Original:
    """Find a run or a trial.

    Args:
        target: a run's folder, or STUDY/NUMBER, where STUDY is a study's name or folder.
        storage: of the study; None: the one that its folder records.

    Raises:
        RunError: there is no such run, or nothing that could be compared.
        StudyError: there is no such study or trial, or the trial was not trained.
    """
    path = Path(target)
    if (path / "config.yaml").is_file():
        found = _TRIAL.fullmatch(path.name)
        if found is not None and (path.parent / "study.json").is_file():
            return _of_trial(StudyFolder(path.parent), int(found[1]), storage)
        return _of_run(RunDir(path), storage)
    study, _, last = target.rstrip("/").rpartition("/")
    found = _TRIAL.fullmatch(last)
    number = int(found[1]) if found is not None else int(last) if last.isascii() and last.isdigit() else None
    if study and number is not None:
        folder = Path(study) if (Path(study) / "study.json").is_file() else STUDIES / study
        return _of_trial(StudyFolder(folder), number, storage)
    raise RunError(
        f"{target!r} is neither a run's folder nor a trial; name a trial as STUDY/NUMBER: digits_optimization/23"
    )


def _of_run(run: RunDir, storage: str | None) -> Original:
    """Return a run that is no trial: one of ml-train, or a training of a confirmation."""
    of_study = next((folder for folder in list(run.path.parents)[:2] if (folder / "study.json").is_file()), None)
    plan: Plan = marked_folds(run) or SingleSplit()
    if of_study is not None:
        plan = _plan_of(_find(StudyFolder(of_study), storage)[0])
    outcome = run.path / "outcome.json"  # of a training of a confirmation
    ending = read_json(outcome) if outcome.is_file() else {}
    is_done = run.result.is_file() or ending.get("state") == "complete"
    state: Any = "failed" if ending.get("state") == "failed" else "complete" if is_done else "interrupted"
    epochs = stored_epochs(run, plan)
    if not epochs and state != "failed":
        raise RunError(f"{run.path}: no epoch of it is stored, there is nothing that a replay could be compared with")
    environment, data = recorded_of(run)
    return Original(
        f"run {run.path}", run.path.name, yaml.read(run.config).tree, plan, final_epochs(run), state, ending.get("reason"),
        epochs, environment, data,
    )  # fmt: skip


def _of_trial(folder: StudyFolder, number: int, storage: str | None) -> Original:
    study, url = _find(folder, storage)
    with translated(url):
        trials, record = study.get_trials(deepcopy=False), Record.of(study.user_attrs)
    name = f"trial {number} of study {folder.path.name}"
    if number >= len(trials):
        there = f"it has trials 0 to {len(trials) - 1}" if trials else "it has none"
        raise StudyError(f"there is no {name}: {there}")
    trial = trials[number]
    told = TrialRecord.of(trial)
    _require_trained(name, told, study)
    run, plan = folder.trial(number), _plan_of(study)
    epochs = stored_epochs(run, plan)
    environment, data = recorded_of(run)
    if epochs or (run.config.is_file() and told.state == "failed"):
        tree = yaml.read(run.config).tree
    else:
        tree = _tree_of(study, told, data or record.data_of(number))
        metric = str(_started(study)["metric"])
        lines = [{"epoch": step, metric: value} for step, value in sorted(trial.intermediate_values.items())]
        epochs = {REPORTS: lines} if lines else {}
    if not epochs and told.state != "failed":
        raise StudyError(f"{name}: no epoch of it is stored, there is nothing that a replay could be compared with")
    state: Any = told.state if told.state in ("complete", "pruned", "failed") else "interrupted"
    return Original(
        name, f"{folder.path.name}_{number:04d}", tree, plan, None, state, told.reason, epochs,
        environment or record.environment, data or record.data_of(number),
    )  # fmt: skip


def _find(folder: StudyFolder, storage: str | None) -> tuple[Study, str]:
    """Return Optuna's study of a folder, and its storage."""
    told = read_json(folder.study) if folder.study.is_file() else {}
    url = storage or told.get("storage")
    study = find_study(folder.path.name, url)[0]
    return study, str(url)


def _require_trained(name: str, told: TrialRecord, study: Study) -> None:
    """Refuse a trial of which there was no training.

    Raises:
        StudyError: with what it is instead.
    """
    if not _started(study).get("config"):
        raise StudyError(
            f"{name} is a call of a Python function, or of a study that another program made: it has no config"
        )
    if told.same_as is not None:
        what = f"took over the outcome of trial {told.same_as} without a training; replay that one"
    elif not told.counts:
        what = f"was never trained, it is {told.state}" + (f" ({told.reason})" if told.reason else "")
    elif told.state in ("running", "waiting"):
        what = f"is not over, it is {told.state}; replay it when it has ended"
    else:
        return
    raise StudyError(f"{name} {what}")


def _started(study: Study) -> dict[str, Any]:
    return started_with(study.user_attrs, original_name(study.study_name))


def _plan_of(study: Study) -> Plan:
    started = _started(study)
    return build_plan(CrossValidation(**started.get("cross_validation", {})), started.get("repeats", 1))


def _tree_of(study: Study, told: TrialRecord, data: Fingerprint | None) -> dict[str, Any]:
    """Return the config of a trial whose folder is gone: what the study was started with, and the trial's parameters."""
    base = _started(study)["config"]
    tree = seeded(apply(ExperimentConfig, base, told.params)[0], told.seed)
    # The study may have gone on with the data at another path.
    return override(tree, {source.setting: source.path for source in data.sources} if data is not None else {})


def recorded_of(run: RunDir) -> tuple[dict[str, Any], Fingerprint | None]:
    """Return what a run says that it ran on, and learnt from."""
    about = read_json(run.environment) if run.environment.is_file() else {}
    data = about.get("data")
    return about, Fingerprint.from_dict(data) if data is not None else None


def stored_epochs(run: RunDir, plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of metrics.jsonl of each part of a run that has any, in order.

    Raises:
        RunError: a file is damaged.
    """
    names = [""] if plan.n_parts == 1 else [f"{plan.part}_{number}" for number in range(1, plan.n_parts + 1)]
    found = {name: _lines(RunDir(run.path / name).metrics) for name in names}
    return {name: lines for name, lines in found.items() if lines}


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not all(isinstance(line, dict) and isinstance(line.get("epoch"), int) for line in lines):
            raise ValueError("a line is no epoch")
    except ValueError as error:
        raise RunError(f"{path}: is damaged: {error}") from None
    return lines
