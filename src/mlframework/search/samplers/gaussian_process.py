"""Optuna's Gaussian process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlframework.config.base import Config
from mlframework.search.parameters import Parameter
from mlframework.search.samplers.base import Traits, conditional, require, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class GPSampler(Config):
    """Gaussian process with the logarithm of expected improvement (Ament et al., 2023, https://arxiv.org/abs/2310.20708)."""

    type: Literal["GPSampler"]
    n_startup_trials: Annotated[int, Field(ge=1)] = 10
    """Complete trials that it draws at random before it learns from them."""
    deterministic_objective: bool = False
    """Whether the same settings always give the same value, so that it looks for no noise."""

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return Optuna's sampler for the trial at a place of the study.

        Raises:
            MissingExtraError: torch or scipy is not installed; Optuna itself would say so after the random trials.
        """
        require("torch", "optuna", "GPSampler")
        require("scipy", "optuna", "GPSampler")
        from optuna.samplers import GPSampler as Gp
        from optuna.samplers import RandomSampler as Random

        seed = trial_seed(study_seed, place)
        return Gp(
            seed=seed,
            independent_sampler=Random(seed=seed),
            n_startup_trials=self.n_startup_trials,
            deterministic_objective=self.deterministic_objective,
            warn_independent_sampling=False,
        )

    def traits(self, space: Mapping[str, Parameter]) -> Traits:
        """Say what the sampler can do with a space: it models what exists in every trial."""
        return Traits(random_trials=self.n_startup_trials, ignores_pruned=True, at_random=conditional(space))
