"""SAMPLERS: how hyperparameters are suggested.

A sampler is built anew for each trial, seeded by the study's seed and the trial's place in the study: a study that
is resumed, or shared by several processes, never repeats its draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from mlframework.config.base import Config
from mlframework.errors import MissingExtraError, StudyError
from mlframework.search.parameters import Parameter, Scalar

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class TPESampler(Config):
    """Tree-structured Parzen estimator (Bergstra et al., 2011, https://papers.nips.cc/paper/4443)."""

    type: Literal["TPESampler"] = "TPESampler"
    n_startup_trials: Annotated[int, Field(ge=0)] = 10
    """Random trials before it learns from them."""
    n_ei_candidates: Annotated[int, Field(gt=0)] = 24
    """Candidates of which the most promising is suggested."""

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return Optuna's sampler for the trial at a place of the study."""
        from optuna.samplers import TPESampler as Tpe

        seed = trial_seed(study_seed, place)
        return Tpe(n_startup_trials=self.n_startup_trials, n_ei_candidates=self.n_ei_candidates, seed=seed)


class RandomSampler(Config):
    """Independent draws: the baseline."""

    type: Literal["RandomSampler"]

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return Optuna's sampler for the trial at a place of the study."""
        from optuna.samplers import RandomSampler as Random

        return Random(seed=trial_seed(study_seed, place))


class CmaEsSampler(Config):
    """Covariance matrix adaptation (Hansen, https://arxiv.org/abs/1604.00772), for continuous parameters."""

    type: Literal["CmaEsSampler"]
    n_startup_trials: Annotated[int, Field(ge=1)] = 1
    """Random trials before it learns from them."""
    sigma0: Annotated[float, Field(gt=0)] | None = None
    """First step, as a share of the range; null: a sixth of the smallest range."""
    consider_pruned_trials: bool = False
    """Whether it learns from pruned trials, too."""

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return Optuna's sampler for the trial at a place of the study.

        Raises:
            MissingExtraError: the cmaes package is not installed.
        """
        import importlib.util

        from optuna.samplers import CmaEsSampler as CmaEs
        from optuna.samplers import RandomSampler as Random

        if importlib.util.find_spec("cmaes") is None:
            raise MissingExtraError("cmaes", "optuna", "CmaEsSampler")
        seed = trial_seed(study_seed, place)
        return CmaEs(
            n_startup_trials=self.n_startup_trials,
            sigma0=self.sigma0,
            consider_pruned_trials=self.consider_pruned_trials,
            # What CMA-ES cannot model, categories and conditional parameters, is drawn at random.
            independent_sampler=Random(seed=seed),
            warn_independent_sampling=False,
            seed=seed,
        )


class GridSampler(Config):
    """Every combination once, in an order drawn from the study's seed."""

    type: Literal["GridSampler"]

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return a sampler of the cell at a place of the study: each place is claimed once, and so is each cell."""
        cells = grid_cells(space)
        order = np.random.default_rng(study_seed).permutation(len(cells))
        return _fixed(cells[order[place % len(cells)]])


SAMPLERS: dict[str, type[Config]] = {
    "TPESampler": TPESampler,
    "RandomSampler": RandomSampler,
    "CmaEsSampler": CmaEsSampler,
    "GridSampler": GridSampler,
}
SamplerConfig = Annotated[TPESampler | RandomSampler | CmaEsSampler | GridSampler, Field(discriminator="type")]


def trial_seed(study_seed: int, place: int) -> int:
    """Return the seed of the suggestions of the trial at a place of the study."""
    return int(np.random.SeedSequence([study_seed, place]).generate_state(1)[0])


def grid_cells(space: Mapping[str, Parameter]) -> list[dict[str, Scalar]]:
    """Return every combination of a space's values, without repeats where a parameter does not exist.

    Raises:
        StudyError: a parameter has no end of values.
    """
    from mlframework.search.space import active

    axes: list[Sequence[Scalar]] = []
    endless = [key for key, parameter in space.items() if parameter.values() is None]
    if endless:
        raise StudyError(
            f"GridSampler needs a finite number of values: {', '.join(endless)} has no end of them; give it a step:, "
            "or type: categorical with choices:, or take another sampler"
        )
    for parameter in space.values():
        axes.append(parameter.values() or [])
    cells: dict[tuple[Any, ...], dict[str, Scalar]] = {}
    for values in itertools.product(*axes):
        cell = active(space, dict(zip(space, values, strict=True)))
        cells.setdefault(tuple((key, type(value), value) for key, value in cell.items()), cell)
    return list(cells.values())


def _fixed(cell: Mapping[str, Scalar]) -> BaseSampler:
    from optuna.samplers import PartialFixedSampler, RandomSampler

    return PartialFixedSampler(dict(cell), RandomSampler(seed=0))
