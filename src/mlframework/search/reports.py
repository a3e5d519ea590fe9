"""What a trial reports goes to the storage, and the pruner is asked about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlframework.errors import TrialPruned
from mlframework.search.attempts import Attempts
from mlframework.search.audit import Sentence, audit_fraction
from mlframework.search.duplicates import PARTS
from mlframework.search.goal import Goal
from mlframework.search.lease import Heartbeat
from mlframework.search.matched import matching_of
from mlframework.search.mirror import mirror_of
from mlframework.search.primary import reporting
from mlframework.search.pruners import WilcoxonPruner
from mlframework.search.results import TrialRecord
from mlframework.search.storage import translated
from mlframework.search.study import OpenStudy

if TYPE_CHECKING:
    from optuna.trial import Trial

    from mlframework.search.objective import Watcher


class Reports:
    """Passes a trial's values to the storage, and ends it where the pruner says so or the lease is lost."""

    def __init__(
        self, study: OpenStudy, trial: Trial, watcher: Watcher, heartbeat: Heartbeat, attempts: Attempts, last_step: int
    ) -> None:
        self._study, self._watcher, self._heartbeat, self._attempts = study, watcher, heartbeat, attempts
        self._last_step = last_step
        self._matching = matching_of(study.spec.pruner)
        spec = study.spec
        with translated(spec.storage):
            pruner = study.study.pruner if spec.goal.is_single else spec.pruner.build(spec.num_epochs)
            fraction = audit_fraction(spec.pruner)
            self._sentence = Sentence(trial, spec.seed, fraction)
            self._trial = reporting(study.study, trial, spec.goal, pruner, audits=fraction > 0)
            self._storage = mirror_of(study.study)
            self._storage.guard(trial._trial_id, heartbeat.check)
            self._known = set(self._storage.get_trial(trial._trial_id).intermediate_values)

    def before_save(self) -> None:
        """Keep a worker that was stopped for a while from writing into what is another one's by now."""
        with translated(self._study.spec.storage):
            self._heartbeat.check()

    def restored(self, values: Mapping[int, float]) -> None:
        """Report epochs before a resume that the storage does not have: the process was killed before they were written."""
        with translated(self._study.spec.storage), self._storage.together(self._trial._trial_id):
            for step, value in values.items():
                self._report(step, value)

    def _report(self, step: int, value: float) -> None:
        if step not in self._known:
            self._trial.report(value, step)
            self._known.add(step)

    def __call__(self, step: int, value: float, parts: Sequence[float] = (), /) -> None:
        self.before_save()
        with translated(self._study.spec.storage):
            if step in self._known:
                self._attempts.reached(step)
            is_first = step not in self._known and not self._attempts.has_won
            with self._storage.together(self._trial._trial_id, at_once=is_first):
                self._report(step, value)
                if parts:
                    self._trial.set_user_attr(PARTS, list(parts))
                # A trial that has come to its end has nothing left to save, and its best epoch may be an earlier one.
                condemned = None
                if step < self._last_step and not self._sentence.is_suspended:
                    condemned = self._behind_on_parts(parts) if parts else self._behind_at(step, value)
            self._attempts.has_won |= is_first
            if condemned is not None and self._sentence.suspend(step, value):
                condemned = None
        self._watcher.epoch_ended(self._trial.number, step, value)
        if condemned is not None:
            raise TrialPruned(condemned)

    def _behind_at(self, step: int, value: float) -> str | None:
        """Say why the pruner stops the trial after an epoch."""
        spec = self._study.spec
        # What WilcoxonPruner compares are folds or repeats; where there are none it has the epochs.
        by_parts = spec.plan.n_parts > 1 and isinstance(spec.pruner, WilcoxonPruner)
        if by_parts or not self._trial.should_prune():
            return None
        return f"{spec.metric} {value:.6g} at step {step} is behind the other trials ({spec.pruner.type})"

    def _behind_on_parts(self, parts: Sequence[float]) -> str | None:
        """Say why the trial is stopped after a fold or a repeat: it is compared with the best one on the same."""
        spec = self._study.spec
        by_main = Goal.single(spec.metric, spec.direction)
        ranked = by_main.ranked(TrialRecord.of(trial) for trial in self._study.trials(lately=True))
        rivals = [record for record in ranked if record.parts and record.audited is None]
        if self._matching is None or not rivals or len(rivals) < self._matching.n_startup_trials:
            return None
        best = rivals[0]
        return self._matching.reason(parts, best.number, best.parts, spec.direction, spec.plan.part, spec.plan.n_parts)
