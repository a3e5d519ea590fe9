"""Running a comparison of samplers: a study for each sampler and seed, all decided before the first trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlframework.config.override import override
from mlframework.errors import ConfigError, MlframeworkError, Problem, StudyError
from mlframework.registry import unknown
from mlframework.search.compare import ENDED, Comparison, Curve, conclude, curve_of
from mlframework.search.compare_files import write_comparison
from mlframework.search.keep import remove_checkpoints
from mlframework.search.loop import search
from mlframework.search.objective import Watcher
from mlframework.search.read import ReadConfig
from mlframework.search.results import TrialRecord
from mlframework.search.samplers import ALGORITHMS, SAMPLERS
from mlframework.search.setup import build_spec
from mlframework.search.storage import masked
from mlframework.search.study import STUDIES, OpenStudy, SearchSpec, StudyFolder, open_study, stored_fingerprint
from mlframework.search.tracking import tracked
from mlframework.search.training_run import LoadSplits
from mlframework.training.config import TrackingConfig

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

FEWEST_SEEDS, FEWEST_SAMPLERS = 2, 2


class CompareWatcher(Watcher, Protocol):
    """Is told what a comparison does, and what each of its searches does."""

    def study_started(self, study: OpenStudy) -> None:
        """A study is searched, or gone on with."""

    def study_ended(self, curve: Curve) -> None:
        """It has all its trials."""


@dataclass(frozen=True)
class ComparePlan:
    """A comparison, decided before its first trial.

    Attributes:
        name: of the comparison.
        folder: of its results.
        seeds: of the suggestions.
        specs: by seed, then by sampler: a comparison that is cut short has as much of each.
    """

    name: str
    folder: Path
    seeds: tuple[int, ...]
    specs: tuple[SearchSpec, ...]

    @property
    def samplers(self) -> list[str]:
        """Names of the samplers, in the order they were asked for."""
        return [spec.sampler.type for spec in self.specs[: len(self.specs) // len(self.seeds)]]


def sampler_configs(names: Sequence[str], own: Any) -> list[Any]:
    """Return the samplers that names mean, with the config's settings where its own sampler is of that type.

    Args:
        names: of samplers, or the short names of `search.algorithm`.
        own: the config's sampler.

    Raises:
        ConfigError: unknown names, one given twice, or fewer than two; all at once.
    """
    problems = []
    full = [ALGORITHMS.get(name, name) for name in names]
    for name, meant in zip(names, full, strict=True):
        if meant not in SAMPLERS:
            problems.append(unknown(name, [*SAMPLERS, *ALGORITHMS], "sampler"))
    problems += [f"{name} is named twice" for name in dict.fromkeys(full) if full.count(name) > 1]
    if len(names) < FEWEST_SAMPLERS:
        problems.append("there is nothing to compare one sampler with; name two or more")
    if problems:
        raise ConfigError([Problem("ml-search", "--compare", what) for what in problems])
    return [own if own.type == name else SAMPLERS[name].model_validate({"type": name}) for name in full]


def comparison_folder(study_name: str) -> Path:
    """Return where the results of a comparison lie."""
    return STUDIES / f"{study_name}_compare"


def build_plan(read: ReadConfig, names: Sequence[str], n_seeds: int, storage: BaseStorage, url: str) -> ComparePlan:
    """Decide everything before the first trial.

    Raises:
        ConfigError: the names are wrong.
        StudyError: samplers cannot search the space, or their packages are missing: all of them at once.
        MissingExtraError: one package is missing, and nothing else is wrong.
    """
    config = read.config
    assert config.search is not None
    samplers = sampler_configs(names, config.search.sampler)
    if config.search.objectives is not None:
        what = (
            "compares by one metric, and search.objectives lists several; put the one to compare by into search.metric"
        )
        raise ConfigError([Problem("ml-search", "--compare", what)])
    seeds = tuple((config.seed + place) % 2**32 for place in range(n_seeds))
    problems: dict[str, MlframeworkError] = {}
    by_sampler: list[SearchSpec] = []
    for sampler in samplers:
        name = _study_name(config.study_name, sampler.type, seeds[0])
        changes = {"sampler": sampler, "study_name": name, "timeout": None, "confirm": None}
        changed = config.model_copy(update={"search": config.search.model_copy(update=changes)})
        try:
            by_sampler.append(build_spec(replace(read, config=changed), storage, 0))
        except MlframeworkError as error:
            problems.setdefault(str(error), error)
    if len(problems) == 1:
        raise next(iter(problems.values()))
    if problems:
        raise StudyError("\n".join(problems))
    # One number of threads for all: it changes the last digits, and a study that is there has its own.
    base = override(by_sampler[0].space.base, {"seed": config.seed})
    given = config.search.model_dump(mode="json", include={"on_duplicate", "warm_start", "enqueue"})
    specs = [
        _of_seed(replace(spec, space=replace(spec.space, base=base), storage=url), config.study_name, seed, given)
        for seed in seeds
        for spec in by_sampler
    ]
    return ComparePlan(f"{config.study_name}_compare", comparison_folder(config.study_name), seeds, tuple(specs))


def _study_name(study: str, sampler: str, seed: int) -> str:
    return f"{study}_compare-{sampler}-{seed}"


def _of_seed(spec: SearchSpec, study: str, seed: int, given: Mapping[str, Any]) -> SearchSpec:
    """Return the study of one seed; its trials cannot be mixed with those of other settings of the sampler."""
    name = _study_name(study, spec.sampler.type, seed)
    own = {
        "sampler": spec.sampler.model_dump(), "pruner": spec.pruner.model_dump(), "sampler_seed": seed,
        # A study's own space may grow; here those that are done would have searched another one than the rest.
        "search_space": spec.fingerprint["search_space"], **given,
    }  # fmt: skip
    return replace(
        spec, name=name, folder=StudyFolder(STUDIES / name), seed=seed, shares_best=False,
        fingerprint={**spec.fingerprint, "comparison": own},
    )  # fmt: skip


def open_studies(
    plan: ComparePlan, storage: BaseStorage, resume: bool, accept_data_change: bool = False
) -> list[OpenStudy]:
    """Make the studies, or open those that are there, on other data where that is accepted.

    Raises:
        StudyError: some exist and `resume` is false, or they were started with other settings.
    """
    url = plan.specs[0].storage
    there = [spec.name for spec in plan.specs if stored_fingerprint(storage, spec.name, url) is not None]
    if there and not resume:
        raise StudyError(
            f"the comparison {plan.name!r} exists already: {len(there)} of its studies are in {masked(url)}; go on with it "
            "by --resume, or start another one by --study-name"
        )
    return [open_study(spec, storage, True, accept_data_change) for spec in plan.specs]


def compare(
    plan: ComparePlan, studies: Sequence[OpenStudy], load: LoadSplits, watcher: CompareWatcher, command: str
) -> Comparison | None:
    """Run every study to its end, compare them, and write compare.json and compare.csv.

    Args:
        plan: the comparison.
        studies: of it.
        load: loads a trial's data.
        watcher: is told of it all.
        command: that goes on with it.

    Returns:
        What was found; None where other processes still train the last trials.

    Raises:
        RunError: a folder cannot be written.
        StorageError: the storage does not answer.
    """
    for study in studies:
        watcher.study_started(study)
        told = study.spec.settings
        tracking = TrackingConfig.model_validate(told["tracking"])
        with tracked(study, tracking, told["name"], command) as tracked_by:
            search(study, load, tracked_by(watcher))
        watcher.study_ended(_curve(study))
    # Only now: of a study that other processes shared, the last trials may have ended meanwhile.
    records = [[TrialRecord.of(trial) for trial in study.trials()] for study in studies]
    if any(record.state in ("running", "waiting") for each in records for record in each):
        return None
    for study, each in zip(studies, records, strict=True):
        for record in each:
            remove_checkpoints(study.spec.folder.trial(record.number))
    curves = [_curve(study) for study in studies]
    n_samplers = len(plan.samplers)
    first = plan.specs[0]
    found = conclude(
        plan.name, first.metric, first.direction, [curves[place::n_samplers] for place in range(n_samplers)]
    )
    settings: dict[str, dict[str, Any]] = {
        spec.sampler.type: spec.sampler.model_dump() for spec in plan.specs[:n_samplers]
    }
    write_comparison(plan.folder, found, settings)
    return found


def _curve(study: OpenStudy) -> Curve:
    spec = study.spec
    records = [TrialRecord.of(trial) for trial in study.trials()]
    return curve_of(spec.sampler.type, spec.seed, spec.name, records, spec.direction, spec.n_trials)


def reasons(studies: Sequence[OpenStudy]) -> list[str]:
    """Return why trials failed or were pruned, each reason once."""
    found = (TrialRecord.of(trial) for study in studies for trial in study.trials())
    return sorted({record.reason for record in found if record.state in ENDED and record.reason is not None})
