"""The trial of a place: the one that a former owner left, or a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlframework.errors import LeaseLost
from mlframework.search.attempts import ATTEMPTS, first_attempt
from mlframework.search.duplicates import PLACE, REDRAWN
from mlframework.search.head_start import enqueued
from mlframework.search.lease import Lease
from mlframework.search.mirror import mirror_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial


def open_trial(study: Study, lease: Lease) -> Trial:
    """Return the place's trial: the one that a former owner left, or a new one.

    The trial is made with its place in it, so that a death between making and binding loses no trial.
    """
    from optuna.trial import Trial, TrialState, create_trial

    storage = mirror_of(study)
    # What others have finished or begun is seen before anything is drawn.
    storage.refresh(study._study_id)
    trials = study.get_trials(deepcopy=False) if lease.trial is not None else []
    bound = [frozen for frozen in trials if frozen.number == lease.trial]
    is_open = not bound or REDRAWN in bound[0].user_attrs
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    left = [frozen for frozen in running if frozen.number == lease.trial]
    left += [frozen for frozen in running if is_open and frozen.user_attrs.get(PLACE) == lease.place]
    if left:
        storage.hold(study._study_id, left[0]._trial_id)
        return Trial(study, left[0]._trial_id)
    if not is_open:
        raise LeaseLost(f"trial {lease.trial} was finished by another worker")
    # What is drawn again is not what was to be tried first.
    first = enqueued(study, lease.place) if lease.trial is None else None
    template = create_trial(
        state=TrialState.RUNNING,
        user_attrs={PLACE: lease.place, ATTEMPTS: first_attempt(lease)},
        system_attrs={"fixed_params": first} if first else {},
    )
    made = storage.create_new_trial(study._study_id, template_trial=template)
    _close_twins(study, lease.place, made)
    return Trial(study, made)


def _close_twins(study: Study, place: int, made: int) -> None:
    """End the trials of a place that were made when the storage's answer got lost on the way."""
    from optuna.trial import TrialState

    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if frozen.user_attrs.get(PLACE) == place and frozen._trial_id != made:
            study._storage.set_trial_user_attr(frozen._trial_id, REDRAWN, "duplicate")
            study._storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)
