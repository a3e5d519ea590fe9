"""Studies for a diagnosis: a real one's config and space, with trials of which it is known what is the matter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import optuna

from mlframework.search.diagnosis.case import Case, read_case
from mlframework.search.duplicates import PLACE, REDRAWN
from mlframework.search.feasibility import Dice
from mlframework.search.lookup import find_study
from mlframework.search.parameters import Scalar
from mlframework.search.space import Space
from mlframework.search.study import REASON
from support.searches import open_search

Params = Mapping[str, Scalar]


@dataclass(frozen=True)
class Planted:
    """How a trial ended: with a value, or pruned after its steps, or failed for a reason."""

    params: Params
    value: float | None = None
    steps: Sequence[float] = ()
    state: str = "COMPLETE"
    reason: str | None = None
    redrawn: str | None = None
    marks: Mapping[str, Any] = field(default_factory=dict)


def empty_case(changes: Mapping[str, Any] | None = None) -> Case:
    """Make a study in the present folder, and read it."""
    study = open_search(changes)
    return read_case(*find_study(study.spec.name, study.spec.storage))


def with_trials(case: Case, planted: Sequence[Planted]) -> Case:
    """Return the study with these trials."""
    found = []
    for number, each in enumerate(planted):
        marks = {PLACE: number, **each.marks}
        marks |= {REASON: each.reason} if each.reason else {}
        marks |= {REDRAWN: each.redrawn} if each.redrawn else {}
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState[each.state],
            params=dict(each.params),
            distributions={key: case.space.parameters[key].distribution() for key in each.params},
            value=each.value,
            intermediate_values=dict(enumerate(each.steps, 1)),
            user_attrs=marks,
        )
        trial.number = number
        found.append(trial)
    return replace(case, trials=found)


def draws(space: Space, n: int, seed: int = 0) -> list[dict[str, Scalar]]:
    """Return random draws of a space."""
    rng = np.random.default_rng(seed)
    return [space.suggest(cast("optuna.Trial", Dice(rng))) for _ in range(n)]


def complete(case: Case, n: int, value: Callable[[Params], float], seed: int = 0) -> Case:
    """Return the study with complete trials drawn at random, their value a function of the parameters."""
    return with_trials(case, [Planted(params, value(params)) for params in draws(case.space, n, seed)])
