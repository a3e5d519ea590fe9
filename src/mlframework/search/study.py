"""A study: made or opened, with its folder, its leases, and what it was started with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from mlframework.config.override import get, override
from mlframework.data.fingerprint import fingerprint_of
from mlframework.errors import StudyError
from mlframework.metrics import Direction
from mlframework.plans import Plan
from mlframework.runs import FORMAT, make_folder, write_json, writing
from mlframework.search.duplicates import REDRAWN, OnDuplicate
from mlframework.search.faults import FaultPolicy
from mlframework.search.folder import STUDIES as STUDIES
from mlframework.search.folder import StudyFolder as StudyFolder
from mlframework.search.goal import Goal
from mlframework.search.head_start import HeadStart, give
from mlframework.search.keep import Keep
from mlframework.search.lease import RENEWALS_PER_LEASE, Leases, Ledger
from mlframework.search.ledgers import DatabaseLedger, open_ledger
from mlframework.search.mirror import Mirror, mirror_of
from mlframework.search.parameters import Scalar
from mlframework.search.patience import Patience, PatientStorage
from mlframework.search.pruners import PrunerConfig
from mlframework.search.recorded import (
    Record,
    paths_that_may_change,
    record,
    refuse_other_data,
    refuse_other_settings,
    supersede_interrupted,
)
from mlframework.search.samplers import SamplerConfig
from mlframework.search.space import Space
from mlframework.search.started import STARTED_WITH as STARTED_WITH
from mlframework.search.started import started_with
from mlframework.search.storage import masked, patient, translated
from mlframework.search.versions import latest, new_version

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

REASON = "mlframework:reason"


@dataclass(frozen=True)
class SearchSpec:
    """All that a search was asked to do, decided before trial 0.

    Attributes:
        name: of the study.
        folder: of the study.
        storage: the URL as written: a `${VAR}` in it is not expanded.
        goal: what is searched for.
        n_trials: trials of the study in all; None goes on with as many as there are, plus `add_trials`.
        add_trials: trials more than the study has.
        most_trials: as many as differ from one another, where none is trained twice; None where there is no end of them.
        timeout: seconds after which no further trial is started.
        seed: seeds the suggestions.
        num_epochs: the most epochs that a trial may have.
        space: what is searched.
        head_start: what the study begins with, or is given on the way.
        on_duplicate: what becomes of a draw that a former trial has trained.
        sampler: what suggests.
        pruner: what stops.
        plan: how a trial is judged.
        lease_seconds: how long a silent worker is waited for.
        storage_patience: seconds for which a database that does not answer is waited for.
        fingerprint: what trials of one study must have in common.
        keep: whose checkpoints are kept.
        settings: what may be other the next time; it is only said.
        shares_best: whether its best hyperparameters go into models/best_hyperparameters.json, too.
        faults: how often a trial is tried again, and when the search is given up.
    """

    name: str
    folder: StudyFolder
    storage: str
    goal: Goal
    n_trials: int
    add_trials: int
    most_trials: int | None
    timeout: float | None
    seed: int
    num_epochs: int
    space: Space
    sampler: SamplerConfig
    pruner: PrunerConfig
    plan: Plan
    lease_seconds: float
    storage_patience: float
    fingerprint: Mapping[str, Any]
    on_duplicate: OnDuplicate
    head_start: HeadStart
    settings: Mapping[str, Any] = field(default_factory=dict)
    shares_best: bool = True
    keep: Keep = field(default_factory=Keep)
    faults: FaultPolicy = field(default_factory=FaultPolicy)

    @property
    def training_seed(self) -> int:
        """What trials are trained with, whatever seeds the suggestions."""
        seed = get(self.space.base, "seed")
        return _default_seed() if seed is None else int(seed)

    @property
    def metric(self) -> str:
        """What trials report and choose their best epoch by; with one objective, what is searched for."""
        return self.goal.main

    @property
    def direction(self) -> Direction:
        """Which direction of it is better."""
        return self.goal.main_objective.direction

    def tree(self, params: Mapping[str, Scalar], seed: int | None) -> dict[str, Any]:
        """Return the config tree of a trial; one that is trained again has another seed, and the same split."""
        return seeded(self.space.tree(params), seed)


def seeded(tree: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    """Return a config tree with another seed, None: its own, and with the same split."""
    if seed is None:
        return dict(tree)
    own = get(tree, "seed")
    split_seed = get(tree, "data.split.seed")
    changed = (_default_seed() if own is None else own) if split_seed is None else split_seed
    return override(tree, {"seed": seed, "data.split.seed": changed})


def _default_seed() -> int:
    from mlframework.experiment import ExperimentConfig

    return int(ExperimentConfig.model_fields["seed"].default)


@dataclass(frozen=True)
class OpenStudy:
    """A study that trials can be added to.

    Attributes:
        spec: what it was asked to do.
        study: Optuna's study.
        leases: who owns which trial.
        n_trials: trials of the study in all.
        patience: waits for the storage where it is away.
        news: what opening it did that the user should know: histories imported, the space changed.
        cleaned: trials whose checkpoints this process has removed.
        warned: what this process has warned of, which it does once.
        changes: what has changed since it was made: settings, data, versions.
    """

    spec: SearchSpec
    study: Study
    leases: Leases
    n_trials: int
    patience: Patience
    news: Sequence[str] = ()
    cleaned: set[int] = field(default_factory=set)
    warned: set[str] = field(default_factory=set)
    changes: Sequence[str] = ()

    def record(self) -> Record:
        """Return what the study has recorded of its data, its versions and its settings."""
        with translated(self.spec.storage):
            return Record.of(self.study.user_attrs)

    def trials(self, lately: bool = False) -> list[FrozenTrial]:
        """Return the trials so far, by number; `lately`: what others wrote in the last second may be missing."""
        with translated(self.spec.storage):
            if not lately:
                mirror_of(self.study).refresh(self.study._study_id)
            return self.study.get_trials(deepcopy=False)

    def unfinished(self) -> set[int]:
        """Return the numbers of the trials that leave their place open: not finished, or to be drawn again."""
        trials = self.trials()
        return {trial.number for trial in trials if not trial.state.is_finished() or REDRAWN in trial.user_attrs}


def stored_fingerprint(storage: BaseStorage, name: str, url: str) -> dict[str, Any] | None:
    """Return what a study was started with, or None where the storage has no such study."""
    with translated(url):
        attributes = study_attributes(storage, name)
    return None if attributes is None else started_with(attributes, name)


def study_attributes(storage: BaseStorage, name: str) -> dict[str, Any] | None:
    """Return the user attributes of a study's newest version, or None where there is no such study."""
    try:
        return storage.get_study_user_attrs(storage.get_study_id_from_name(latest(storage, name)))
    except KeyError:
        return None


def open_study(spec: SearchSpec, storage: BaseStorage, resume: bool, accept_data_change: bool = False) -> OpenStudy:
    """Make the study, or open the one that exists.

    Raises:
        StudyError: it exists and `resume` is false, or it was started with other settings; or on other data, and
            `accept_data_change` is false.
    """
    import optuna

    waiting = patient(storage, spec.storage, spec.storage_patience)
    storage = cast("BaseStorage", Mirror(waiting))
    has_folder = spec.folder.study.exists()
    before = stored_fingerprint(storage, spec.name, spec.storage)
    if before is not None and not resume:
        raise StudyError(
            f"the study {spec.name!r} exists already in {masked(spec.storage)}, its folder is {spec.folder.path}; "
            "go on with it by --resume (in Python resume=True), or start another one by --study-name (study_name=)"
        )
    if before is None and has_folder:
        raise StudyError(
            f"{spec.folder.path} is the folder of a study {spec.name!r} that {masked(spec.storage)} does not have; "
            "move it away, name its storage with --storage, or start another one by --study-name"
        )
    # Empty where its maker has not come further than making it, or never did.
    with translated(spec.storage):
        recorded = Record.of(study_attributes(storage, spec.name) or {})
    data = fingerprint_of(spec.space.base)
    changed_data = refuse_other_data(spec.name, recorded, data, accept_data_change)
    moved = paths_that_may_change(recorded, data, accept_data_change)
    news = refuse_other_settings(spec.name, before, spec.fingerprint, moved) if before else []
    with translated(spec.storage):
        # Two workers that find no study both make it: the second one's attempt is told that it exists.
        study = optuna.create_study(
            study_name=latest(storage, spec.name), storage=storage, load_if_exists=True,
            directions=[each.direction for each in spec.goal.objectives],
        )  # fmt: skip
        fingerprint = json.dumps(spec.fingerprint, sort_keys=True)
        if news:
            study = new_version(study, storage, spec.space.parameters, {STARTED_WITH: fingerprint})
        elif not before:
            study.set_user_attr(STARTED_WITH, fingerprint)
        if changed_data:
            changed_data += [
                f"trial {number}, which was interrupted, is drawn again: it was begun on the former data"
                for number in supersede_interrupted(study, storage)
            ]
        moves = [line for line in moved.values() if line]
        changes = [*changed_data, *moves, *record(study, recorded, data, spec.settings)]
        study.pruner = _pruner(spec)
        ledger = open_ledger(storage, study._study_id)
        _check_clock(spec, ledger)
        patience = waiting.patience if isinstance(waiting, PatientStorage) else Patience(0, "")
        leases = Leases(ledger, spec.lease_seconds, patience)
        news += give(study, spec.head_start, spec.space, leases.places())
        n_trials = leases.places() + spec.add_trials if spec.add_trials else spec.n_trials
        n_trials = min(n_trials, spec.most_trials or n_trials)
    _write_study_file(spec)
    return OpenStudy(spec, study, leases, n_trials, patience, news, changes=changes)


def _check_clock(spec: SearchSpec, ledger: Ledger) -> None:
    """Refuse a machine whose clock is wrong: its leases would run out early or late."""
    offset = ledger.clock_offset() if isinstance(ledger, DatabaseLedger) else 0.0
    if abs(offset) > spec.lease_seconds / RENEWALS_PER_LEASE:
        raise StudyError(
            f"this machine's clock and that of {masked(spec.storage)} differ by {abs(offset):.0f} s: trials that are still "
            "trained would be taken over; set the clocks by NTP, or raise search.lease_seconds"
        )


def _pruner(spec: SearchSpec) -> BasePruner:
    """Return what prunes Optuna's study; one of several objectives is pruned by a view of it, see `primary`."""
    from optuna.pruners import NopPruner

    return spec.pruner.build(spec.num_epochs) if spec.goal.is_single else NopPruner()


def _write_study_file(spec: SearchSpec) -> None:
    with writing(spec.folder.path):
        make_folder(spec.folder.path)
    content = {
        "format": FORMAT,
        "study_name": spec.name,
        "storage": masked(spec.storage),
        "metric": spec.metric,
        "direction": spec.direction,
        **({} if spec.goal.is_single else {"prefer": spec.goal.prefer}),
        "search": {
            "n_trials": spec.n_trials,
            "sampler": spec.sampler.model_dump(),
            "pruner": spec.pruner.model_dump(),
            "on_duplicate": spec.on_duplicate,
        },
    }
    write_json(spec.folder.study, content)
