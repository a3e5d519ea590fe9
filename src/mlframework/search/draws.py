"""From a place of the study to the parameters that are trained: what draws them, and what becomes of a draw.

A draw that breaks a constraint, or that a former trial has trained already, is told to the storage as a trial of its own,
marked as drawn again, and the same place draws anew. So it takes none of the study's trials, and a death in between
loses none: a place whose trial is marked is open still. Each further draw has a seed of its own, made from the study's
seed, the place and how often the place has drawn, so that a search that is resumed draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mlframework.errors import StudyError
from mlframework.search.duplicates import PLACE, REDRAWN, SEED, Point, by_point, original, point_of, trained
from mlframework.search.feasibility import DRAWS, combinations, draw, is_feasible
from mlframework.search.parameters import Scalar
from mlframework.search.primary import for_several
from mlframework.search.samplers import GridSampler, trial_seed
from mlframework.search.samplers.base import fixed
from mlframework.search.study import REASON, OpenStudy, SearchSpec

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

SAMPLER_DRAWS: Mapping[str, int] = {"infeasible": 20, "duplicate": 2}
"""How many draws of each kind a sampler may make for one place, before a draw that is sure to be right is made for it."""
MOST_REDRAWS = 100


@dataclass(frozen=True)
class Verdict:
    """What becomes of a draw.

    Attributes:
        kind: it is trained; it is drawn again, as `infeasible` or `duplicate`; or it takes over a former trial's outcome.
        reason: why it is not trained.
        same_as: the former trial.
        seed: what to train with, where it is not the config's seed.
    """

    kind: Literal["train", "infeasible", "duplicate", "reuse"]
    reason: str | None = None
    same_as: FrozenTrial | None = None
    seed: int | None = None


def sampler_of(spec: SearchSpec, place: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    """Return what draws for a place: the study's sampler, or a fixed draw once that has been wrong too often.

    Raises:
        StudyError: no draw keeps the constraints.
    """
    kinds = _redrawn(trials, place)
    draws = len(kinds)
    patient = not isinstance(spec.sampler, GridSampler) and all(
        kinds.count(kind) < most for kind, most in SAMPLER_DRAWS.items()
    )
    if not draws or patient:
        # The seed is the study's own for the first draw of a place.
        seed = trial_seed(spec.seed, draws) if draws else spec.seed
        return _build(spec, seed, place)
    found = _sure_draw(spec, place, draws, _taken(spec, trials)) if draws < MOST_REDRAWS else None
    if found is None and kinds[-1] == "infeasible":
        texts = "; ".join(each.text for each in spec.space.constraints)
        raise StudyError(
            f"{draws} draws for one trial broke a constraint, and so did {DRAWS:,} random ones: {texts}; widen the search "
            "space or mend search.constraints, and start another study by --study-name"
        )
    return _build(spec, trial_seed(spec.seed, draws), place) if found is None else fixed(found)


def _build(spec: SearchSpec, seed: int, place: int) -> BaseSampler:
    sampler = spec.sampler.build(seed, place, spec.space.parameters)
    return sampler if spec.goal.is_single else for_several(sampler)


def judge(study: OpenStudy, trial: Trial, place: int, params: Mapping[str, Scalar]) -> Verdict:
    """Decide what becomes of a draw, and tell the sampler how it stands with the constraints.

    A trial that was taken over in the middle is judged as before.
    """
    spec, marks = study.spec, trial.user_attrs
    if REDRAWN in marks:  # its process died before it could end it
        return Verdict(marks[REDRAWN], marks.get(REASON))
    broken = _record(trial, study, spec.space.violations(params))
    if broken is not None:
        return Verdict("infeasible", f"infeasible: {broken}")
    if SEED in marks:
        return Verdict("train", seed=marks[SEED])
    if study.study._storage.get_trial(trial._trial_id).intermediate_values:
        return Verdict("train")
    trials = study.trials()
    twins = by_point(spec.space.parameters, trained(trials, trial.number)).get(point_of(spec.space.parameters, params))
    return Verdict("train") if not twins else _duplicate(spec, trial, place, trials, twins)


def _duplicate(
    spec: SearchSpec, trial: Trial, place: int, trials: Sequence[FrozenTrial], twins: Sequence[FrozenTrial]
) -> Verdict:
    if spec.on_duplicate == "replicate":
        seed = max(twin.user_attrs.get(SEED, spec.training_seed) for twin in twins) + spec.plan.n_seeds
        trial.set_user_attr(SEED, seed)
        return Verdict("train", seed=seed)
    if spec.on_duplicate == "resample":
        draws = len(_redrawn(trials, place)) + 1
        if draws <= MOST_REDRAWS and _sure_draw(spec, place, draws, _taken(spec, trials, trial.number)) is not None:
            return Verdict("duplicate", f"trial {twins[0].number} has the same parameters; drawn again")
    former = original(twins)
    if former is None:  # it is still being trained elsewhere
        return Verdict("train")
    why = former.user_attrs.get(REASON)
    return Verdict("reuse", f"= trial {former.number}" + (f": {why}" if why else ""), former)


def _record(trial: Trial, study: OpenStudy, violations: Mapping[str, float]) -> str | None:
    """Tell the storage by how much each constraint is missed; returns the first that is."""
    known = study.study._storage.get_trial(trial._trial_id).constraints if violations else {}
    for text, amount in violations.items():
        if text not in known:
            trial.set_constraint(text, amount)
    return next((text for text, amount in violations.items() if amount > 0), None)


def _redrawn(trials: Sequence[FrozenTrial], place: int) -> list[str]:
    """Return how the draws of a place ended that were drawn again."""
    ended = [trial for trial in trials if trial.user_attrs.get(PLACE) == place and trial.state.is_finished()]
    return [trial.user_attrs[REDRAWN] for trial in ended if REDRAWN in trial.user_attrs]


def _taken(spec: SearchSpec, trials: Sequence[FrozenTrial], number: int | None = None) -> Collection[Point]:
    """Return the points that are not to be drawn again."""
    if spec.on_duplicate != "resample":
        return ()
    last = len(trials) if number is None else number
    return by_point(spec.space.parameters, trained(trials, last)).keys()


def _sure_draw(spec: SearchSpec, place: int, draws: int, taken: Collection[Point]) -> dict[str, Scalar] | None:
    """Return a random draw that keeps the constraints and is not taken, or None where there is none to be found."""
    rng = np.random.default_rng([spec.seed, place, draws])
    space = spec.space
    cells = combinations(space)
    if cells is not None:
        left = [cell for cell in cells if point_of(space.parameters, cell) not in taken]
        return left[int(rng.integers(len(left)))] if left else None
    for _ in range(DRAWS):
        params = draw(space, rng)
        if point_of(space.parameters, params) not in taken and is_feasible(space, params):
            return params
    return None
