"""What samplers share: seeds, values that are fixed, packages that are asked for, what is known of a space."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mlframework.errors import MissingExtraError
from mlframework.search.parameters import Categorical, Parameter, Scalar

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class Traits:
    """What a sampler can do with a space, for what is said before trial 0.

    Attributes:
        refusal: why it cannot search the space at all, and what to do about it.
        random_trials: trials that it draws before it learns; 0 where it has nothing to learn.
        ignores_pruned: whether it learns from complete trials only.
        one_objective: whether it searches for one objective only.
        at_random: keys of the parameters that it draws at random for good, as it has no model of them.
    """

    refusal: str | None = None
    random_trials: int = 0
    ignores_pruned: bool = False
    one_objective: bool = False
    at_random: Sequence[str] = ()


class Sampler(Protocol):
    """What every config of SAMPLERS can do."""

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return Optuna's sampler for the trial at a place of the study."""

    def traits(self, space: Mapping[str, Parameter]) -> Traits:
        """Say what the sampler can do with a space."""


def trial_seed(study_seed: int, place: int) -> int:
    """Return the seed of the suggestions of the trial at a place of the study."""
    return int(np.random.SeedSequence([study_seed, place]).generate_state(1)[0])


def require(package: str, extra: str, purpose: str) -> None:
    """Raise where a package is missing, without importing it.

    Raises:
        MissingExtraError: with the command that installs the extra.
    """
    # What is loaded already may be a stand-in of the package's own making, which find_spec takes for a defect.
    there = (
        sys.modules[package] is not None if package in sys.modules else importlib.util.find_spec(package) is not None
    )
    if not there:
        raise MissingExtraError(package, extra, purpose)


def fixed(values: Mapping[str, Scalar]) -> BaseSampler:
    """Return a sampler that suggests these values, whatever the study's trials are like."""
    from optuna.samplers import PartialFixedSampler, RandomSampler

    return PartialFixedSampler(dict(values), RandomSampler(seed=0))


def conditional(space: Mapping[str, Parameter]) -> list[str]:
    """Return the keys of the parameters that do not exist in every trial."""
    return [key for key, parameter in space.items() if parameter.when]


def numbers_of_every_trial(space: Mapping[str, Parameter]) -> list[str]:
    """Return the keys of the numbers that exist in every trial and have more than one value."""
    return [
        key
        for key, parameter in space.items()
        if not parameter.when and not isinstance(parameter, Categorical) and parameter.low < parameter.high
    ]
