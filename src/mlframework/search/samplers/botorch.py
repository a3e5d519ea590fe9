"""BoTorch's Gaussian process, with a choice of what makes a point promising."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from mlframework.config.base import Config
from mlframework.search.parameters import Parameter
from mlframework.search.samplers.base import Traits, conditional, require, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from torch import Tensor

Acquisition = Literal["ei", "log_ei", "ucb"]
_BETA = 2.0
_RESTARTS, _RAW_SAMPLES = 5, 256  # of the search for the acquisition's maximum


class BoTorchSampler(Config):
    """Gaussian process of BoTorch (Balandat et al., 2020, https://arxiv.org/abs/1910.06403)."""

    type: Literal["BoTorchSampler"]
    acquisition: Acquisition = "log_ei"
    """What is largest at the next point: `ei` expected improvement, `log_ei` its logarithm, which is easier to maximise,
    `ucb` upper confidence bound. With several objectives the first two mean that of the hypervolume."""
    beta: Annotated[float, Field(ge=0)] | None = None
    """With `ucb` only: the bound is mean + sqrt(beta) standard deviations, so a larger one explores more; null: 2."""
    n_startup_trials: Annotated[int, Field(ge=1)] = 10
    """Random trials before it learns from them."""

    @model_validator(mode="after")
    def _beta_has_a_meaning(self) -> BoTorchSampler:
        if self.beta is not None and self.acquisition != "ucb":
            raise ValueError(
                f"beta: means nothing to acquisition: {self.acquisition}; take it out, or set acquisition: ucb"
            )
        return self

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return the sampler for the trial at a place of the study.

        Raises:
            MissingExtraError: botorch or optuna-integration is not installed.
        """
        require("botorch", "botorch", "BoTorchSampler")
        require("optuna_integration", "botorch", "BoTorchSampler")
        from optuna.samplers import RandomSampler as Random

        with warnings.catch_warnings(action="ignore"):
            from optuna_integration import BoTorchSampler as BoTorch

        seed = trial_seed(study_seed, place)
        return BoTorch(  # type: ignore[no-any-return]
            candidates_func=candidates(self.acquisition, _BETA if self.beta is None else self.beta),
            n_startup_trials=self.n_startup_trials,
            # Several processes would otherwise be told the same point.
            consider_running_trials=True,
            independent_sampler=Random(seed=seed),
            seed=seed,
        )

    def traits(self, space: Mapping[str, Parameter]) -> Traits:
        """Say what the sampler can do with a space: it models what exists in every trial."""
        return Traits(
            random_trials=self.n_startup_trials,
            ignores_pruned=True,
            # There is no bound above that all objectives share.
            one_objective=self.acquisition == "ucb",
            at_random=conditional(space),
        )


def candidates(acquisition: Acquisition, beta: float) -> Callable[..., Tensor]:
    """Return the function that suggests the next point from the trials so far.

    It takes (x, y, constraints, bounds, pending): x of shape (n, d) and pending of shape (m, d) in the space's units, y
    of shape (n, m) to be maximised, one column an objective, bounds of shape (2, d); and returns the point, of shape (1, d).

    Args:
        acquisition: what is largest at it.
        beta: of the upper confidence bound mean + sqrt(beta) sd (Srinivas et al., 2010, https://arxiv.org/abs/0912.3995).

    There is nothing to learn of constraints here: what breaks one is drawn again, and is no complete trial.
    """

    def suggest(x: Tensor, y: Tensor, constraints: Tensor | None, bounds: Tensor, pending: Tensor | None) -> Tensor:
        import torch

        # A fit that was tried again, values that are all the same, old names in torch: nothing that a user could mend.
        with warnings.catch_warnings(action="ignore"):
            from botorch.optim.optimize import optimize_acqf
            from botorch.utils.transforms import normalize, unnormalize

            unit = torch.stack([torch.zeros_like(bounds[0]), torch.ones_like(bounds[0])])
            seen, best = normalize(x, bounds), y
            model = _fitted(seen, y)
            if pending is not None and len(pending):
                # What others are training counts with the value that is expected of it, so that it is not new any more
                # (the kriging believer of Ginsbourger et al., 2010, https://doi.org/10.1007/978-3-642-10701-6_6).
                believed = normalize(pending, bounds)
                with torch.no_grad():
                    expected = model.posterior(believed).mean
                model, best = _fitted(torch.cat([seen, believed]), torch.cat([y, expected])), torch.cat([y, expected])
            point, _ = optimize_acqf(
                _function(acquisition, beta, model, best), bounds=unit, q=1, num_restarts=_RESTARTS,
                raw_samples=_RAW_SAMPLES, options={"batch_limit": _RESTARTS, "maxiter": 200},
            )  # fmt: skip
        return unnormalize(point.detach(), bounds)

    return suggest


def _fitted(x: Tensor, y: Tensor) -> Any:
    """Return a Gaussian process fitted to points of the unit cube, of shape (n, d), and their values, of shape (n, m)."""
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms.outcome import Standardize
    from gpytorch.mlls import ExactMarginalLogLikelihood

    model = SingleTaskGP(x, y, outcome_transform=Standardize(m=y.shape[-1]))
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


def _function(acquisition: Acquisition, beta: float, model: Any, seen: Tensor) -> Any:
    """Return what is to be maximised, given the values so far, of shape (n, m)."""
    if seen.shape[-1] > 1:
        return _hypervolume(acquisition, model, seen)
    best = seen.max()
    from botorch.acquisition.analytic import ExpectedImprovement, LogExpectedImprovement, UpperConfidenceBound

    if acquisition == "ucb":
        return UpperConfidenceBound(model, beta=beta)
    return {"ei": ExpectedImprovement, "log_ei": LogExpectedImprovement}[acquisition](model, best_f=best)


def _hypervolume(acquisition: Acquisition, model: Any, seen: Tensor) -> Any:
    """Return the expected improvement of the hypervolume that the front dominates (Daulton et al., 2020,
    https://arxiv.org/abs/2006.05078; its logarithm: Ament et al., 2023, https://arxiv.org/abs/2310.20708)."""
    from botorch.acquisition.multi_objective.logei import qLogExpectedHypervolumeImprovement
    from botorch.acquisition.multi_objective.monte_carlo import qExpectedHypervolumeImprovement
    from botorch.utils.multi_objective.box_decompositions.non_dominated import NondominatedPartitioning

    # A tenth of the range below the worst, so that the ends of the front have a volume of their own.
    worst, spread = seen.min(dim=0).values, seen.max(dim=0).values - seen.min(dim=0).values
    corner = worst - 0.1 * spread
    boxes = NondominatedPartitioning(ref_point=corner, Y=seen, alpha=0.0 if seen.shape[-1] < 4 else 1e-2)
    kind = qLogExpectedHypervolumeImprovement if acquisition == "log_ei" else qExpectedHypervolumeImprovement
    return kind(model, ref_point=corner.tolist(), partitioning=boxes)
