"""PRUNERS: which trials are stopped before their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlframework.config.base import Config

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class _AfterWarmUp(Config):
    n_startup_trials: Annotated[int, Field(ge=0)] = 5
    """Trials that run to their end before any is stopped."""
    n_warmup_steps: Annotated[int, Field(ge=0)] = 5
    """Epochs that every trial may train."""
    interval_steps: Annotated[int, Field(gt=0)] = 1
    """Epochs between two checks."""


class MedianPruner(_AfterWarmUp):
    """Stops a trial whose best value so far is worse than the median of the others' at the same epoch."""

    type: Literal["MedianPruner"] = "MedianPruner"

    def build(self, num_epochs: int) -> BasePruner:
        """Return Optuna's pruner."""
        from optuna import pruners

        return pruners.MedianPruner(self.n_startup_trials, self.n_warmup_steps, self.interval_steps)


class PercentilePruner(_AfterWarmUp):
    """Stops a trial whose best value so far is outside the best `percentile` of the others' at the same epoch."""

    type: Literal["PercentilePruner"]
    percentile: Annotated[float, Field(gt=0, lt=100)] = 25.0
    """Percentage of trials that may go on."""

    def build(self, num_epochs: int) -> BasePruner:
        """Return Optuna's pruner."""
        from optuna import pruners

        return pruners.PercentilePruner(
            self.percentile, self.n_startup_trials, self.n_warmup_steps, self.interval_steps
        )


class HyperbandPruner(Config):
    """Successive halving from several first budgets (Li et al., 2018, https://arxiv.org/abs/1603.06560)."""

    type: Literal["HyperbandPruner"]
    min_resource: Annotated[int, Field(gt=0)] = 1
    """Epochs before the first halving."""
    max_resource: Annotated[int, Field(gt=0)] | None = None
    """Epochs of a trial that is never stopped; null: `training.num_epochs`."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One trial in so many goes on at each halving."""

    def build(self, num_epochs: int) -> BasePruner:
        """Return Optuna's pruner."""
        from optuna import pruners

        # With "auto" nothing would be pruned until a first trial is complete.
        return pruners.HyperbandPruner(self.min_resource, self.max_resource or num_epochs, self.reduction_factor)


class NoPruner(Config):
    """Every trial runs to its end."""

    type: Literal["none", "NopPruner"]

    def build(self, num_epochs: int) -> BasePruner:
        """Return Optuna's pruner that prunes nothing."""
        from optuna import pruners

        return pruners.NopPruner()


PRUNERS: dict[str, type[Config]] = {
    "MedianPruner": MedianPruner,
    "PercentilePruner": PercentilePruner,
    "HyperbandPruner": HyperbandPruner,
    "none": NoPruner,
    "NopPruner": NoPruner,
}
PrunerConfig = Annotated[MedianPruner | PercentilePruner | HyperbandPruner | NoPruner, Field(discriminator="type")]
