"""Optuna's tree-structured Parzen estimator, the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlframework.config.base import Config
from mlframework.search.parameters import Parameter
from mlframework.search.samplers.base import Traits, trial_seed

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

    def traits(self, space: Mapping[str, Parameter]) -> Traits:
        """Say what the sampler can do with a space: it learns from pruned trials, too."""
        return Traits(random_trials=self.n_startup_trials)
