"""A study as Optuna's parts are to see it: to pruners with one objective, and without trials of other studies.

Optuna refuses to report and to prune where there are several objectives. Here trials report one of them, the primary one, and
pruners are asked about a study that has this objective alone. The other way round, TPE cannot rank the reports of a pruned
trial among several objectives: to samplers a pruned trial has none, and is merely one that is worse than the complete ones.
Imported trials have reported nothing, so pruners do not count them among those that they wait for. Trials that were condemned
and let finish are pruned ones to them, so that they judge as they would without an audit.

All are views of the same storage: what is written goes through, what is read is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

from mlframework.search.audit import AUDITED, as_condemned
from mlframework.search.duplicates import IMPORTED
from mlframework.search.goal import Goal

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, Trial, TrialState

Show = Callable[["FrozenTrial"], "FrozenTrial"]


class _View:
    """A storage whose trials look different.

    Args:
        storage: the storage.
        show: how a trial looks.
        directions: those of the study's objectives that are seen.
        imported: whether trials of other studies are seen.
    """

    def __init__(self, storage: BaseStorage, show: Show, directions: list[StudyDirection], imported: bool) -> None:
        self._storage, self._show, self._directions, self._imported = storage, show, directions, imported

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the directions that are seen."""
        return self._directions

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial as it looks."""
        return self._show(self._storage.get_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials as they look."""
        trials = self._storage.get_all_trials(study_id, deepcopy)
        shown = [self._show(trial) for trial in trials if self._imported or IMPORTED not in trial.user_attrs]
        # In which state a trial looks to be may be another one than it is in.
        return [trial for trial in shown if states is None or trial.state in states]

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the best of the trials as they look."""
        from optuna.storages import BaseStorage

        return BaseStorage.get_best_trial(self, study_id)  # type: ignore[arg-type]


def reporting(study: Study, trial: Trial, goal: Goal, pruner: BasePruner, audits: bool = False) -> Trial:
    """Return a trial that can report values of the main objective and be pruned by them, compared with the study's own.

    It is the trial itself where the study has one objective, and neither imported nor audited trials.

    Args:
        study: whose trials it is compared with.
        trial: the trial.
        goal: has the main objective.
        pruner: is asked.
        audits: whether trials may come to be audited while this one is trained.
    """
    marks = {
        mark for each in study.get_trials(deepcopy=False) for mark in (IMPORTED, AUDITED) if mark in each.user_attrs
    }
    if goal.is_single and not audits and not marks:
        return trial
    from optuna import Study
    from optuna.samplers import RandomSampler
    from optuna.trial import Trial

    at = goal.metrics.index(goal.main)
    view: Any = _View(
        study._storage, lambda each: _condemned(of_objective(each, at)), [study.directions[at]], imported=False
    )
    return Trial(Study(study.study_name, view, RandomSampler(seed=0), pruner), trial._trial_id)


def of_objective(trial: FrozenTrial, at: int) -> FrozenTrial:
    """Return a trial as it looks in one of its objectives."""
    if trial.values is None:
        return trial
    return _changed(trial, values=[trial.values[at]])


def _condemned(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as it looked when it was condemned, where it was let finish after that."""
    if AUDITED not in trial.user_attrs:
        return trial
    from optuna.trial import TrialState

    state = TrialState.PRUNED if trial.state == TrialState.COMPLETE else trial.state
    return _changed(
        trial, state=state, intermediate_values=as_condemned(trial.user_attrs, trial.intermediate_values),
        values=None,
    )  # fmt: skip


def without_reports(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial without what it reported."""
    return _changed(trial, intermediate_values={})


def _pruned_without_reports(trial: FrozenTrial) -> FrozenTrial:
    return without_reports(trial) if trial.state.name == "PRUNED" else trial


def _changed(trial: FrozenTrial, **changes: Any) -> FrozenTrial:
    import copy

    changed = copy.copy(trial)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


def for_several(sampler: BaseSampler) -> BaseSampler:
    """Return a sampler that passes on to another one what can be ranked in several objectives."""
    from optuna import Study
    from optuna.samplers import BaseSampler

    def view(study: Study) -> Study:
        storage: Any = _View(study._storage, _pruned_without_reports, study.directions, imported=True)
        return Study(study.study_name, storage, sampler, study.pruner)

    class ForSeveral(BaseSampler):
        """Asks the other sampler, and shows it the view."""

        def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            """Ask the other sampler."""
            return sampler.infer_relative_search_space(view(study), trial)

        def sample_relative(
            self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            """Ask the other sampler."""
            return sampler.sample_relative(view(study), trial, search_space)

        def sample_independent(
            self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            """Ask the other sampler."""
            return sampler.sample_independent(view(study), trial, param_name, param_distribution)

        def before_trial(self, study: Study, trial: FrozenTrial) -> None:
            """Tell the other sampler."""
            sampler.before_trial(view(study), trial)

        def after_trial(
            self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
        ) -> None:
            """Tell the other sampler."""
            sampler.after_trial(view(study), trial, state, values)

    return ForSeveral()
