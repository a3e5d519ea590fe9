"""Covariance matrix adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlframework.config.base import Config
from mlframework.search.parameters import Parameter
from mlframework.search.samplers.base import Traits, numbers_of_every_trial, require, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


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
        require("cmaes", "optuna", "CmaEsSampler")
        from optuna.samplers import CmaEsSampler as CmaEs
        from optuna.samplers import RandomSampler as Random

        from mlframework.search.samplers.cma_state import guard

        guard()
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

    def traits(self, space: Mapping[str, Parameter]) -> Traits:
        """Say what the sampler can do with a space: it models the numbers of every trial, and needs two of them."""
        numbers = numbers_of_every_trial(space)
        refusal = None
        if len(numbers) < 2:
            have = f"only {numbers[0]}" if numbers else "none"
            refusal = (
                "CmaEsSampler needs two numbers or more that exist in every trial, as it models nothing else: here is "
                f"{have}; all would be drawn at random. Take TPESampler, or HyperoptSampler"
            )
        return Traits(
            refusal,
            random_trials=self.n_startup_trials,
            one_objective=True,
            ignores_pruned=not self.consider_pruned_trials,
            at_random=[key for key in space if key not in numbers],
        )
