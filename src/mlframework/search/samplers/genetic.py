"""Genetic algorithms. They are made for several objectives; with one they work as a plain elitist one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mlframework.config.base import Config
from mlframework.search.parameters import Parameter
from mlframework.search.samplers.base import Traits, conditional, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class _Genetic(Config):
    population_size: Annotated[int, Field(ge=2)] = 20
    """Trials of a generation; those of the first one are random."""
    mutation_prob: Annotated[float, Field(ge=0, le=1)] | None = None
    """Probability that a parameter is drawn anew; null: one divided by the number of parameters."""
    crossover_prob: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Probability that a trial has two parents."""
    swapping_prob: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that a parameter comes from the second parent."""

    def traits(self, space: Mapping[str, Parameter]) -> Traits:
        """Say what the sampler can do with a space: what does not exist in every trial is not inherited."""
        return Traits(random_trials=self.population_size, ignores_pruned=True, at_random=conditional(space))

    def _arguments(self, study_seed: int, place: int) -> dict[str, Any]:
        """Return what Optuna's genetic samplers are made with."""
        return {
            "population_size": self.population_size,
            "mutation_prob": self.mutation_prob,
            "crossover_prob": self.crossover_prob,
            "swapping_prob": self.swapping_prob,
            "seed": trial_seed(study_seed, place),
        }


class NSGAIISampler(_Genetic):
    """Non-dominated sorting genetic algorithm II (Deb et al., 2002, https://doi.org/10.1109/4235.996017)."""

    type: Literal["NSGAIISampler"]

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return Optuna's sampler for the trial at a place of the study; the generations are in the storage."""
        from optuna.samplers import NSGAIISampler as NsgaII

        return NsgaII(**self._arguments(study_seed, place))


class NSGAIIISampler(_Genetic):
    """Non-dominated sorting genetic algorithm III (Deb and Jain, 2014, https://doi.org/10.1109/TEVC.2013.2281535)."""

    type: Literal["NSGAIIISampler"]

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return Optuna's sampler for the trial at a place of the study; the generations are in the storage."""
        from optuna.samplers import NSGAIIISampler as NsgaIII

        return NsgaIII(**self._arguments(study_seed, place))
