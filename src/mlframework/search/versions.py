"""A study whose search space has changed: what changed, what of it is safe, and a new version of the study.

Optuna fixes a categorical parameter's choices for the whole study, and samplers compare distributions. So a study whose
space grows goes on as a study of its own in the storage, `name@2`, which has all finished trials, in the same order, with
the distributions of the new space; the old one stays as it is and names its successor.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from mlframework.errors import StudyError
from mlframework.search.duplicates import REDRAWN
from mlframework.search.lease import Lease, is_dead
from mlframework.search.ledgers import open_ledger
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Uniform

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

SUCCESSOR = "mlframework:continued_as"
UNFINISHED = "superseded"


def latest(storage: BaseStorage, name: str) -> str:
    """Return the storage's name of the newest version of a study; the name itself where there is no study."""
    while True:
        try:
            attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
        except KeyError:
            return name
        if SUCCESSOR not in attributes:
            return name
        name = attributes[SUCCESSOR]


def original_name(name: str) -> str:
    """Return a study's name as users know it."""
    return name.partition("@")[0]


def changes_of_space(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what changed between two search spaces, as dumped: what keeps the old trials valid, and what does not."""
    safe: list[str] = []
    unsafe: list[str] = []
    for key in dict.fromkeys((*before, *now)):
        if before.get(key) == now.get(key):
            continue
        if key not in now:
            unsafe.append(f"{key}: was searched, and is not now")
        elif key not in before:
            unsafe.append(f"{key}: is searched now, and was not: the old trials have no value of it")
        else:
            what = _change(_parameter(before[key]), _parameter(now[key]))
            (safe if what is not None else unsafe).append(
                f"{key}: {_parameter(before[key]).describe()} before, {_parameter(now[key]).describe()} now"
                + (f": {what}" if what is not None else "")
            )
    return safe, unsafe


def _parameter(dumped: Mapping[str, Any]) -> Parameter:
    return TypeAdapter[Parameter](Parameter).validate_python(dumped)


def _change(before: Parameter, now: Parameter) -> str | None:
    """Say what a parameter gained, or return None where old values may be none of its values now."""
    if type(before) is not type(now) or before.when != now.when:
        return None
    if isinstance(before, Categorical) and isinstance(now, Categorical):
        kept = [(type(choice), choice) for choice in now.choices]
        return "choices added" if all((type(choice), choice) in kept for choice in before.choices) else None
    assert not isinstance(before, Categorical) and not isinstance(now, Categorical)
    if now.low > before.low or now.high < before.high:
        return None
    return "widened" if _same_scale(before, now) else None


def _same_scale(before: Parameter, now: Parameter) -> bool:
    if isinstance(before, LogUniform) or isinstance(now, LogUniform):
        return True
    assert isinstance(before, Uniform | Int) and isinstance(now, Uniform | Int)
    if (before.log, before.step) != (now.log, now.step):
        return False
    if now.step is None:
        return True
    shift = (before.low - now.low) / now.step
    return abs(shift - round(shift)) < 1e-9


def new_version(
    study: Study, storage: BaseStorage, space: Mapping[str, Parameter], attributes: Mapping[str, Any]
) -> Study:
    """Make the next version of a study, with its finished trials, under another space.

    The successor is named last, so that a death in between leaves the old version in force.

    Args:
        study: the version in force.
        storage: of both.
        space: the new one.
        attributes: user attributes of the new version where they differ from the old one's.

    Raises:
        StudyError: another process is searching the study.
    """
    import optuna

    leases = open_ledger(storage, study._study_id).read()
    _refuse_living(study, leases)
    stem, _, version = study.study_name.partition("@")
    name = f"{stem}@{int(version or 1) + 1}"
    if name in [summary.study_name for summary in storage.get_all_studies()]:
        optuna.delete_study(study_name=name, storage=storage)  # left by a process that died before it was named
    made = optuna.create_study(study_name=name, storage=storage, directions=study.directions)
    for key, value in {**study.user_attrs, **attributes}.items():
        made.set_user_attr(key, value)
    made.add_trials([_under(space, trial) for trial in study.get_trials(deepcopy=False)])
    ledger = open_ledger(storage, made._study_id)
    for lease in leases:
        ledger.insert(Lease(lease.place, 0, lease.owner, 0.0, lease.trial))
    study.set_user_attr(SUCCESSOR, name)
    return made


def _refuse_living(study: Study, leases: list[Lease]) -> None:
    unfinished = {trial.number for trial in study.get_trials(deepcopy=False) if not trial.state.is_finished()}
    living = [lease for lease in leases if lease.trial in unfinished and not is_dead(lease, time.time())]
    if living:
        raise StudyError(
            f"the search space of {original_name(study.study_name)!r} has changed, and another process is searching it: "
            f"trial {living[0].trial} is being trained; end that process, then --resume"
        )


def _under(space: Mapping[str, Parameter], trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as one of another space; one that is not finished leaves its place to be drawn again."""
    from optuna.trial import TrialState, create_trial

    finished = trial.state.is_finished()
    attributes = dict(trial.user_attrs) if finished else {**trial.user_attrs, REDRAWN: UNFINISHED}
    copied = create_trial(
        state=trial.state if finished else TrialState.FAIL,
        values=trial.values,
        params=trial.params,
        distributions={key: space[key].distribution() for key in trial.params},
        user_attrs=attributes,
        system_attrs=trial.system_attrs,
        intermediate_values=trial.intermediate_values,
        constraints=trial.constraints or None,
    )
    copied.datetime_start = trial.datetime_start or copied.datetime_start
    copied.datetime_complete = trial.datetime_complete or copied.datetime_complete
    return copied
