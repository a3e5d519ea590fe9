"""PRUNERS: which trials are stopped before their end."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from mlframework.config.base import Config
from mlframework.search.samplers.base import require

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class _Audited(Config):
    audit_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the trials to be stopped that is drawn by lot and let finish all the same: results.json tells how many of them
    came among the best, and so whether stopping was right."""


class _AfterWarmUp(_Audited):
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


class HyperbandPruner(_Audited):
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


class SuccessiveHalvingPruner(_Audited):
    """Asynchronous successive halving (Li et al., 2020, https://arxiv.org/abs/1810.05934): the best go on at each rung."""

    type: Literal["SuccessiveHalvingPruner"]
    min_resource: Annotated[int, Field(gt=0)] = 1
    """Epochs before the first rung."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One trial in so many goes on at each rung, and trains so many times as long until the next."""
    min_early_stopping_rate: Annotated[int, Field(ge=0)] = 0
    """Rungs that are left out at the start."""

    def build(self, num_epochs: int) -> BasePruner:
        """Return Optuna's pruner."""
        from optuna import pruners

        return pruners.SuccessiveHalvingPruner(self.min_resource, self.reduction_factor, self.min_early_stopping_rate)


class ThresholdPruner(_Audited):
    """Stops a trial whose value leaves fixed bounds: one that diverges, or that learns nothing."""

    type: Literal["ThresholdPruner"]
    lower: float | None = None
    """Smallest value with which a trial goes on; null: no bound."""
    upper: float | None = None
    """Largest value with which a trial goes on; null: no bound."""
    n_warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Epochs that every trial may train."""
    interval_steps: Annotated[int, Field(gt=0)] = 1
    """Epochs between two checks."""

    @model_validator(mode="after")
    def _bounds_something(self) -> ThresholdPruner:
        if self.lower is None and self.upper is None:
            raise ValueError("neither lower: nor upper: is given, nothing would ever be stopped; give one of them")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"upper: is {self.upper}, below lower, which is {self.lower}; swap them")
        return self

    def build(self, num_epochs: int) -> BasePruner:
        """Return Optuna's pruner."""
        from optuna import pruners

        return pruners.ThresholdPruner(
            lower=self.lower, upper=self.upper, n_warmup_steps=self.n_warmup_steps, interval_steps=self.interval_steps
        )


class WilcoxonPruner(_Audited):
    """Stops a trial that a signed-rank test finds behind the best one, step by step; made for the folds of a cross-validation."""

    type: Literal["WilcoxonPruner"]
    p_threshold: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Stop below this p-value of the test (Wilcoxon, 1945, https://doi.org/10.2307/3001968); a larger one stops more."""
    n_startup_steps: Annotated[int, Field(ge=0)] = 2
    """Steps that both trials must have before the test is made."""

    def build(self, num_epochs: int) -> BasePruner:
        """Return Optuna's pruner.

        Raises:
            MissingExtraError: scipy is not installed.
        """
        require("scipy", "optuna", "WilcoxonPruner")
        from optuna import pruners

        with warnings.catch_warnings(action="ignore"):  # Optuna calls it experimental
            return pruners.WilcoxonPruner(p_threshold=self.p_threshold, n_startup_steps=self.n_startup_steps)


class PatientPruner(_Audited):
    """Asks another pruner only about a trial that has not improved on itself for some epochs."""

    type: Literal["PatientPruner"]
    wrapped: Annotated[
        MedianPruner | PercentilePruner | HyperbandPruner | SuccessiveHalvingPruner | ThresholdPruner | WilcoxonPruner,
        Field(discriminator="type"),
    ] = MedianPruner()
    """The other pruner."""
    patience: Annotated[int, Field(ge=0)] = 3
    """Epochs without improvement after which the other pruner is asked."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """By how much a trial must fall behind its own best before that counts as no improvement."""

    @model_validator(mode="after")
    def _audits_itself(self) -> PatientPruner:
        if self.wrapped.audit_fraction:
            raise ValueError(
                "wrapped: audit_fraction: has no meaning there; write it beside wrapped:, since PatientPruner stops the trials"
            )
        return self

    def build(self, num_epochs: int) -> BasePruner:
        """Return Optuna's pruner.

        Raises:
            MissingExtraError: what the other pruner needs is not installed.
        """
        from optuna import pruners

        with warnings.catch_warnings(action="ignore"):  # Optuna calls it experimental
            return pruners.PatientPruner(self.wrapped.build(num_epochs), self.patience, self.min_delta)


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
    "SuccessiveHalvingPruner": SuccessiveHalvingPruner,
    "ThresholdPruner": ThresholdPruner,
    "WilcoxonPruner": WilcoxonPruner,
    "PatientPruner": PatientPruner,
    "none": NoPruner,
    "NopPruner": NoPruner,
}
PrunerConfig = Annotated[
    MedianPruner
    | PercentilePruner
    | HyperbandPruner
    | SuccessiveHalvingPruner
    | ThresholdPruner
    | WilcoxonPruner
    | PatientPruner
    | NoPruner,
    Field(discriminator="type"),
]
