"""From a claimed place of the study to a finished trial: suggest, train, tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mlframework.errors import LeaseLost, RunError, Stopped, StorageError, TrialPruned
from mlframework.plans import Evaluation, Report
from mlframework.runs import unwritable
from mlframework.search.attempts import Attempts
from mlframework.search.draws import Verdict, judge, sampler_of
from mlframework.search.duplicates import PARTS, REDRAWN, SAME_AS
from mlframework.search.faults import DISK, FAULT, OUT_OF_MEMORY, Fault, Kind, take_note
from mlframework.search.goal import resources
from mlframework.search.interrupted import WORKED
from mlframework.search.lease import Heartbeat, Lease
from mlframework.search.mirror import mirror_of
from mlframework.search.places import open_trial
from mlframework.search.quiet import quiet_optuna
from mlframework.search.reports import Reports
from mlframework.search.results import BEST_EPOCH, METRICS, TOOK, VALUE, VALUES
from mlframework.search.storage import translated
from mlframework.search.study import REASON, OpenStudy, SearchSpec

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial, TrialState


class Training(Protocol):
    """What a trial trains."""

    @property
    def num_epochs(self) -> int:
        """How many epochs it has."""

    @property
    def last_step(self) -> int:
        """The step of its last report: what has come so far has cost all that it can cost."""

    def evaluate(self, report: Report) -> Evaluation:
        """Train, reporting on the way; a trial that was interrupted goes on."""


Trainer = Callable[[SearchSpec, int, Mapping[str, Any], int | None], Training]
"""Makes of a trial's number, its parameters and its seed (None: the study's) what is trained."""


class Watcher(Protocol):
    """Is told what a search does."""

    def trial_started(self, number: int, params: Mapping[str, Any], num_epochs: int) -> None:
        """A trial starts, or goes on from its checkpoint."""

    def epoch_ended(self, number: int, epoch: int, value: float) -> None:
        """A trial reported a value."""

    def trial_ended(self, number: int) -> None:
        """A trial ended, and the storage knows it."""

    def trial_lost(self, number: int, why: str) -> None:
        """Whoever trained the trial does so no longer, and another one goes on with it."""

    def waiting(self, n_trials: int) -> None:
        """There is nothing more to begin: the last trials are those of other processes."""

    def news(self, text: str) -> None:
        """Something happened that the user should know."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, as the storage is told.

    Attributes:
        state: Optuna's name of the state: COMPLETE, PRUNED or FAIL.
        evaluation: what was found, for a complete trial.
        values: the value of each objective, for a complete trial.
        reason: why it was pruned or failed, or not trained.
        redrawn: `infeasible` or `duplicate` where its place draws again; it is none of the study's trials then.
        same_as: number of the trial whose outcome it took over.
        fault: why it failed: the kind of its fault.
    """

    state: str
    evaluation: Evaluation | None = None
    values: Mapping[str, float] | None = None
    reason: str | None = None
    redrawn: str | None = None
    same_as: int | None = None
    fault: Kind | None = None

    @classmethod
    def of_fault(cls, fault: Fault, same_as: int | None = None) -> Outcome:
        """Return how a trial ends that failed.

        Samplers learn nothing from what failed. Where memory does not suffice they are told of an infeasible trial instead,
        so that they draw fewer like it.
        """
        state = "PRUNED" if fault.kind == OUT_OF_MEMORY else "FAIL"
        return cls(state, reason=fault.reason, same_as=same_as, fault=fault.kind)


def run_place(study: OpenStudy, lease: Lease, trainer: Trainer, watcher: Watcher) -> int | None:
    """Train the trial of a claimed place to its end, and tell the storage; what it draws in vain is drawn again.

    Returns:
        The trial's number, or None where another worker took it over.

    Raises:
        RunError: the study's folder cannot be written: nothing further can work.
        StorageError: the storage does not answer.
        StudyError: nothing that is drawn keeps the constraints.
        KeyboardInterrupt, Terminated: the place is let go, its checkpoint kept.
    """
    spec = study.spec
    trial: Trial | None = None
    try:
        while True:
            with translated(spec.storage), quiet_optuna():
                # A place that was never bound to a trial has drawn nothing yet.
                trials = [] if lease.trial is None else study.trials()
                study.study.sampler = sampler_of(spec, lease.place, trials)
                held = lease
                trial = study.patience(lambda: open_trial(study.study, held))  # noqa: B023 - called at once
                lease = study.leases.bind(lease, trial.number)
            with Heartbeat(study.leases, lease, spec.lease_seconds) as heartbeat:
                outcome = _outcome(study, trial, lease, trainer, watcher, heartbeat)
            with translated(spec.storage), quiet_optuna():
                _commit(study, lease, trial, outcome)
            watcher.trial_ended(trial.number)
            if outcome.redrawn is None:
                return trial.number
    except LeaseLost:
        if trial is not None:
            mirror_of(study.study).forget(trial._trial_id)
            watcher.trial_lost(trial.number, "taken over by another process; this one lets go of it")
        return None
    except BaseException:
        study.patience.hurry()
        # Where the storage is gone, the lease runs out by itself; what is raised is why the search ends.
        with suppress(StorageError), translated(spec.storage):
            if trial is not None:
                Attempts(study, trial, lease).let_go()
                mirror_of(study.study).let_go(trial._trial_id)
            study.leases.release(lease)
        raise


def _outcome(
    study: OpenStudy, trial: Trial, lease: Lease, trainer: Trainer, watcher: Watcher, heartbeat: Heartbeat
) -> Outcome:
    """Suggest and train, as often as it takes; returns how the trial ends."""
    spec = study.spec
    try:
        with translated(spec.storage), quiet_optuna():
            with mirror_of(study.study).together(trial._trial_id):
                params = spec.space.suggest(trial)
            verdict = judge(study, trial, lease.place, params)
        if verdict.kind != "train":
            return _untrained(verdict, spec)
        if FAULT in trial.user_attrs:  # its process died before it could end it
            return Outcome.of_fault(Fault(trial.user_attrs[FAULT], trial.user_attrs[REASON]))
        attempts = Attempts(study, trial, lease)
        if (fault := attempts.begin()) is not None:
            return Outcome.of_fault(fault)
        training = trainer(spec, trial.number, params, verdict.seed)
        watcher.trial_started(trial.number, params, training.num_epochs)
        report = Reports(study, trial, watcher, heartbeat, attempts, training.last_step)
        evaluation = attempts.train(training, report, watcher.news)
        return Outcome("COMPLETE", evaluation, spec.goal.measured(evaluation))
    except TrialPruned as pruned:
        return Outcome("PRUNED", reason=str(pruned))
    except RunError:
        # The files of a trial that was taken over are another worker's, who may have cleared them away.
        with suppress(StorageError), translated(spec.storage):
            heartbeat.look()
        raise
    except (Stopped, StorageError, BrokenPipeError):  # not the trial's fault
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK:
            # What has no name is what the search prints into.
            raise unwritable(error.filename or "the output", error) from error
        return Outcome.of_fault(take_note(error, spec.folder.trial(trial.number).path))


def _untrained(verdict: Verdict, spec: SearchSpec) -> Outcome:
    """Return how a trial ends that is not trained.

    A draw that breaks a constraint counts as pruned, since samplers learn from those; one that is there already as
    failed, since they learn nothing from it.
    """
    if verdict.kind == "infeasible":
        return Outcome("PRUNED", reason=verdict.reason, redrawn=verdict.kind)
    former = verdict.same_as
    if former is None:
        return Outcome("FAIL", reason=verdict.reason, redrawn=verdict.kind)
    if (kind := former.user_attrs.get(FAULT)) is not None:
        return Outcome.of_fault(Fault(kind, verdict.reason or ""), former.number)
    if former.state.name != "COMPLETE":
        return Outcome(former.state.name, reason=verdict.reason, same_as=former.number)
    marks = former.user_attrs
    values = dict(zip(spec.goal.metrics, former.values or (), strict=True))
    evaluation = Evaluation(values[spec.goal.main], marks[BEST_EPOCH], marks[METRICS], [])
    return Outcome("COMPLETE", evaluation, values, verdict.reason, same_as=former.number)


def _commit(study: OpenStudy, lease: Lease, trial: Trial, outcome: Outcome) -> None:
    # The last look before: whoever lost the place meanwhile must not tell.
    study.leases.renew(lease)
    try:
        _tell(study.study, trial, outcome, Attempts(study, trial, lease).seconds())
    except LeaseLost:
        if not study.patience.outage_within(study.spec.lease_seconds):
            raise
        # Who still owns the place was the one to finish it: the first answer got lost with the connection.
        study.leases.renew(lease)


def _tell(study: Study, trial: Trial, outcome: Outcome, worked: float | None = None) -> None:
    from optuna.trial import TrialState

    state: TrialState = TrialState[outcome.state]
    storage = mirror_of(study)
    try:
        # In one transaction with the end: a trial that is over has all that is told of it.
        with storage.together(trial._trial_id):
            for key, value in _marks(outcome, worked).items():
                trial.set_user_attr(key, value)
            if outcome.fault == OUT_OF_MEMORY and "memory" not in storage.get_trial(trial._trial_id).constraints:
                trial.set_constraint("memory", 1.0)
            study.tell(trial, list(outcome.values.values()) if outcome.values is not None else None, state=state)
    except (ValueError, RuntimeError) as error:
        if storage.get_trial(trial._trial_id).state.is_finished():
            raise LeaseLost(f"trial {trial.number} was finished by another worker") from error
        raise


def _marks(outcome: Outcome, worked: float | None) -> dict[str, Any]:
    """Return the attributes of a trial that ends so."""
    # From where a trial is marked as redrawn on the place is open again, whoever ends it.
    told: dict[str, Any] = {
        WORKED: worked, REASON: outcome.reason, FAULT: outcome.fault, SAME_AS: outcome.same_as, REDRAWN: outcome.redrawn
    }  # fmt: skip
    marks: dict[str, Any] = {key: value for key, value in told.items() if value is not None}
    if (evaluation := outcome.evaluation) is not None:
        marks |= {BEST_EPOCH: evaluation.best_epoch, METRICS: dict(evaluation.metrics)}
        marks |= {TOOK: resources(evaluation.runs)}
        if evaluation.parts:
            marks[PARTS] = evaluation.parts
        if len(outcome.values or {}) > 1:
            marks |= {VALUES: dict(outcome.values or {}), VALUE: evaluation.value}
    return marks
