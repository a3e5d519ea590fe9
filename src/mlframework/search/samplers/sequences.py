"""Samplers that learn nothing: independent draws, and a sequence that covers the space evenly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from mlframework.config.base import Config
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Scalar
from mlframework.search.samplers.base import Traits, fixed, require, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class RandomSampler(Config):
    """Independent draws: the baseline."""

    type: Literal["RandomSampler"]

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return Optuna's sampler for the trial at a place of the study."""
        from optuna.samplers import RandomSampler as Random

        return Random(seed=trial_seed(study_seed, place))

    def traits(self, space: Mapping[str, Parameter]) -> Traits:
        """Say what the sampler can do with a space: anything."""
        return Traits()


class QMCSampler(Config):
    """Quasi-Monte Carlo: scrambled points that cover the space more evenly than draws (Owen, https://arxiv.org/abs/2008.08051)."""

    type: Literal["QMCSampler"]
    qmc_type: Literal["sobol", "halton"] = "sobol"
    """The sequence: `sobol`, best with 16, 32, 64 ... trials, or `halton`."""

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return a sampler of the sequence's point at a place of the study.

        The place is the point's number, so that each point is taken once: Optuna's own sampler counts in the storage,
        where two processes may read the same number, and draws conditional parameters at random.

        Raises:
            MissingExtraError: scipy is not installed.
        """
        require("scipy", "optuna", "QMCSampler")
        from scipy.stats import qmc

        engine = {"sobol": qmc.Sobol, "halton": qmc.Halton}[self.qmc_type](len(space), scramble=True, rng=study_seed)
        if place:  # a Sobol engine that is asked to skip nothing fails
            engine.fast_forward(place)
        shares = engine.random(1)[0].tolist()
        return fixed({key: at(parameter, share) for (key, parameter), share in zip(space.items(), shares, strict=True)})

    def traits(self, space: Mapping[str, Parameter]) -> Traits:
        """Say what the sampler can do with a space: anything."""
        return Traits()


def at(parameter: Parameter, share: float) -> Scalar:
    """Return the value below which a share of a parameter's values lies; `share` is from 0 up to, not including, 1."""
    if isinstance(parameter, Categorical):
        return parameter.choices[int(share * len(parameter.choices))]
    if isinstance(parameter, Int):
        if parameter.log:
            # Each whole number has the room from half below it to half above it.
            low, high = math.log(parameter.low - 0.5), math.log(parameter.high + 0.5)
            return min(max(round(math.exp(low + share * (high - low))), parameter.low), parameter.high)
        count = (parameter.high - parameter.low) // parameter.step + 1
        return parameter.low + int(share * count) * parameter.step
    if isinstance(parameter, LogUniform) or parameter.log:
        low, high = math.log(parameter.low), math.log(parameter.high)
        return min(max(math.exp(low + share * (high - low)), parameter.low), parameter.high)
    if (values := parameter.values()) is not None:
        return values[int(share * len(values))]
    return parameter.low + share * (parameter.high - parameter.low)
