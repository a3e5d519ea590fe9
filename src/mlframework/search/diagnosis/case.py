"""A study as a diagnosis sees it: its trials, what it searched, and the config that it came from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from mlframework.config import yaml
from mlframework.config.yaml import Document
from mlframework.errors import ConfigError, StudyError
from mlframework.metrics import Direction
from mlframework.runs import read_json
from mlframework.search.config import SearchConfig
from mlframework.search.constraints import parse_constraint
from mlframework.search.goal import KNEE, Goal
from mlframework.search.parameters import Parameter
from mlframework.search.pruners import PrunerConfig
from mlframework.search.results import TrialRecord
from mlframework.search.samplers import SamplerConfig
from mlframework.search.space import Space, build_space
from mlframework.search.started import started_with
from mlframework.search.study import StudyFolder
from mlframework.search.versions import original_name

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

FEWEST_WINNERS = 5


@dataclass(frozen=True)
class Case:
    """A study as a diagnosis sees it.

    Attributes:
        name: of the study.
        folder: of the study.
        metric: what was searched for.
        direction: which direction of it is better.
        trials: Optuna's, by number.
        objectives: names of several objectives, of which the metric is one; empty where the metric is all.
        tree: the config that trials change, without its search section.
        search: the search section, as far as it is known.
        is_recorded: whether the study's folder says with which sampler and pruner it was searched.
        space: what was searched.
    """

    name: str
    folder: StudyFolder
    metric: str
    direction: Direction
    trials: Sequence[FrozenTrial]
    objectives: Sequence[str]
    tree: Mapping[str, Any]
    search: Mapping[str, Any]
    is_recorded: bool
    space: Space

    @cached_property
    def records(self) -> list[TrialRecord]:
        """All trials, those that were drawn again included."""
        return [TrialRecord.of(trial) for trial in self.trials]

    @cached_property
    def counted(self) -> list[TrialRecord]:
        """The study's own trials that are over and were trained."""
        over = ("complete", "pruned", "failed")
        return [record for record in self.records if record.state in over and record.same_as is None]

    @cached_property
    def ranked(self) -> list[TrialRecord]:
        """The complete trials, the best first."""
        return Goal.single(self.metric, self.direction).ranked(self.records)

    @property
    def sampler(self) -> SamplerConfig:
        """What suggested, or the default where that is not known."""
        return TypeAdapter[SamplerConfig](SamplerConfig).validate_python(self._recorded("sampler"))

    @property
    def pruner(self) -> PrunerConfig:
        """What pruned, or the default where that is not known."""
        return TypeAdapter[PrunerConfig](PrunerConfig).validate_python(self._recorded("pruner"))

    @property
    def n_trials(self) -> int:
        """How many trials were asked for."""
        return int(self._recorded("n_trials"))

    def _recorded(self, key: str) -> Any:
        default = SearchConfig.model_fields[key].default
        return self.search.get(key, default if isinstance(default, int) else default.model_dump())

    def of(self, state: str) -> list[TrialRecord]:
        """Return the study's own trials that ended in a state."""
        return [record for record in self.counted if record.state == state]

    def having(self, key: str) -> list[TrialRecord]:
        """Return the complete trials in which a parameter exists, the best first."""
        return [record for record in self.ranked if key in record.params]

    def badness(self, value: float) -> float:
        """Return a number that is smaller the better the value is."""
        return -value if self.direction == "maximize" else value


def winners(case: Case, ranked: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the best tenth of trials, at least 5, and whoever is as good as the last of them.

    None where that would be more than a third: then there are no winners.
    """
    count = max(FEWEST_WINNERS, math.ceil(len(ranked) / 10))
    if len(ranked) < 2 * count:
        return []
    last = case.badness(ranked[count - 1].value or 0.0)
    found = [record for record in ranked if case.badness(record.value or 0.0) <= last]
    return found if len(found) <= max(count, len(ranked) / 3) else []


def read_case(study: Study, metric: str, direction: Direction, folder: StudyFolder) -> Case:
    """Read all that there is to know of a study.

    Raises:
        StudyError: it does not say what it searched, or in words of another version.
    """
    name = original_name(study.study_name)
    began = started_with(study.user_attrs, name)
    if "search_space" not in began:
        raise StudyError(
            f"the study {name!r} does not say what it searched, as those of ml-search do; there is nothing to compare its "
            "trials with"
        )
    if "config" not in began:
        raise StudyError(
            f"the study {name!r} is that of a Tuner: a function was tuned, there is no config to suggest a next one from; "
            "ml-visualise --mode search draws it"
        )
    recorded = read_json(folder.study) if folder.study.is_file() else {}
    try:
        parameters = {
            key: TypeAdapter[Parameter](Parameter).validate_python(raw) for key, raw in began["search_space"].items()
        }
        texts = began.get("constraints", [])
        constraints = tuple(parse_constraint(text, study.study_name, "search.constraints") for text in texts)
    except (ValidationError, ConfigError) as error:
        raise StudyError(
            f"the study {study.study_name!r} was made by another version of mlframework: {error}"
        ) from None
    base = began["config"]
    # The storage keeps them by name, and a space has each after those that its `when` names.
    space, problems = build_space(parameters, base, Document(base, f"study {study.study_name}"))
    if problems:
        raise StudyError(f"the study {study.study_name!r} was made by another version of mlframework: {problems[0]}")
    search = {"study_name": _next(name, folder), **_section(recorded), "constraints": texts}
    for key in ("metric", "objectives", "cross_validation", "repeats"):
        if key in began:
            search[key] = began[key]
    objectives = [each["metric"] for each in began.get("objectives", ())]
    if objectives:
        search.pop("metric", None)  # each objective is named beside the others
        search["prefer"] = recorded.get("prefer", KNEE)
        if search.get("pruner", {"type": "none"})["type"] != "none":
            search["prune_by"] = metric
    return Case(
        name=name,
        folder=folder,
        metric=metric,
        direction=direction,
        trials=[_alone(trial, objectives, metric) for trial in study.get_trials(deepcopy=False)],
        objectives=objectives,
        tree={**_apart(folder), **base},
        search=search,
        is_recorded="search" in recorded,
        space=replace(space, constraints=constraints),
    )


def _alone(trial: FrozenTrial, objectives: Sequence[str], metric: str) -> FrozenTrial:
    """Return a trial with one value, the metric's, of several objectives: importances and rankings are of one value."""
    if metric not in objectives or trial.values is None:
        return trial
    alone = copy(trial)
    alone.values = [trial.values[objectives.index(metric)]]
    return alone


def _next(name: str, folder: StudyFolder) -> str:
    """Return the first name of `digits-2`, `digits-3` ... that no study has."""
    stem, number = name, 2
    if found := re.fullmatch(r"(.+)-(\d{1,6})", name):
        stem, number = found[1], int(found[2]) + 1
    while (folder.path.parent / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def _section(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what study.json knows of the search section; a storage whose password it does not have is left out."""
    storage = recorded.get("storage", "***")
    return {**({} if "***" in storage else {"storage": storage}), **recorded.get("search", {})}


def _apart(folder: StudyFolder) -> dict[str, Any]:
    """Return the settings in which trials of one study may differ: as one of them has them."""
    for path in (folder.best_config, *sorted(folder.path.glob("trial_*/config.yaml"))):
        if path.is_file():
            tree = yaml.read(path).tree
            return {key: tree[key] for key in ("name", "device", "tracking") if key in tree}
    return {}
