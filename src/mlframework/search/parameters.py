"""The four kinds of searched parameters, as they stand under `search.search_space`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from mlframework.config.base import Config

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Scalar = bool | int | float | str | None
When = dict[str, Scalar | list[Scalar]]


class Categorical(Config):
    """One of several values."""

    type: Literal["categorical"]
    choices: Annotated[list[Scalar], Field(min_length=1)]
    """The values to choose from."""
    when: When = {}
    """Settings, and the value or values that each must have for this parameter to exist."""

    @model_validator(mode="after")
    def _differ(self) -> Categorical:
        seen: list[tuple[type, Scalar]] = []
        for choice in self.choices:
            if (type(choice), choice) in seen:
                raise ValueError(f"the choice {choice!r} stands there twice")
            seen.append((type(choice), choice))
        return self

    def distribution(self) -> BaseDistribution:
        """Return what Optuna knows of the values."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def suggest(self, trial: Trial, key: str) -> Scalar:
        """Ask the trial's sampler for a value."""
        return trial.suggest_categorical(key, self.choices)

    def ends(self) -> list[Scalar]:
        """Return the values that the schema is asked about: all of them."""
        return self.choices

    def values(self) -> list[Scalar] | None:
        """Return all values of a grid over this parameter."""
        return self.choices

    def describe(self) -> str:
        """Say what is searched, for the plan."""
        return "one of " + ", ".join(map(_shown, self.choices))


class Uniform(Config):
    """A number between two bounds, on a linear scale unless `log` says otherwise."""

    type: Literal["uniform"]
    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    step: Annotated[float, Field(gt=0)] | None = None
    """Distance of the values from one another; null: any value in between."""
    log: bool = False
    """Whether the logarithm is what is uniform; not together with `step`."""
    when: When = {}
    """Settings, and the value or values that each must have for this parameter to exist."""

    @model_validator(mode="after")
    def _in_order(self) -> Uniform:
        _check_bounds(self.low, self.high, self.log)
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; leave one out")
        return self

    def distribution(self) -> BaseDistribution:
        """Return what Optuna knows of the values."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, step=self.step, log=self.log)

    def suggest(self, trial: Trial, key: str) -> Scalar:
        """Ask the trial's sampler for a value."""
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)

    def ends(self) -> list[Scalar]:
        """Return the values that the schema is asked about: the bounds."""
        return [self.low, self.high]

    def values(self) -> list[Scalar] | None:
        """Return all values of a grid over this parameter, or None where there is no end of them."""
        if self.step is None:
            return None
        count = int((self.high - self.low) / self.step + 1e-9) + 1
        # Rounded, so that the third of 0.1, 0.2 ... is not 0.30000000000000004.
        return [float(f"{self.low + index * self.step:.12g}") for index in range(count)]

    def describe(self) -> str:
        """Say what is searched, for the plan."""
        scale = ", log scale" if self.log else f", step {self.step:g}" if self.step is not None else ""
        return f"{self.low:g} to {self.high:g}{scale}"


class LogUniform(Config):
    """A number between two bounds, on a logarithmic scale."""

    type: Literal["loguniform"]
    low: float
    """Smallest value, above 0."""
    high: float
    """Largest value."""
    when: When = {}
    """Settings, and the value or values that each must have for this parameter to exist."""

    @model_validator(mode="after")
    def _in_order(self) -> LogUniform:
        _check_bounds(self.low, self.high, log=True)
        return self

    def distribution(self) -> BaseDistribution:
        """Return what Optuna knows of the values."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=True)

    def suggest(self, trial: Trial, key: str) -> Scalar:
        """Ask the trial's sampler for a value."""
        return trial.suggest_float(key, self.low, self.high, log=True)

    def ends(self) -> list[Scalar]:
        """Return the values that the schema is asked about: the bounds."""
        return [self.low, self.high]

    def values(self) -> list[Scalar] | None:
        """Return None: there is no end of values."""
        return None

    def describe(self) -> str:
        """Say what is searched, for the plan."""
        return f"{self.low:g} to {self.high:g}, log scale"


class Int(Config):
    """A whole number between two bounds, both included."""

    type: Literal["int"]
    low: int
    """Smallest value."""
    high: int
    """Largest value."""
    step: Annotated[int, Field(gt=0)] = 1
    """Distance of the values from one another."""
    log: bool = False
    """Whether the logarithm is what is uniform; not together with `step`."""
    when: When = {}
    """Settings, and the value or values that each must have for this parameter to exist."""

    @model_validator(mode="after")
    def _in_order(self) -> Int:
        _check_bounds(self.low, self.high, self.log)
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other; leave one out")
        return self

    def distribution(self) -> BaseDistribution:
        """Return what Optuna knows of the values."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, step=self.step, log=self.log)

    def suggest(self, trial: Trial, key: str) -> Scalar:
        """Ask the trial's sampler for a value."""
        return trial.suggest_int(key, self.low, self.high, step=self.step, log=self.log)

    def ends(self) -> list[Scalar]:
        """Return the values that the schema is asked about: the bounds."""
        return [self.low, self.high]

    def values(self) -> list[Scalar] | None:
        """Return all values of a grid over this parameter."""
        return list(range(self.low, self.high + 1, self.step))

    def describe(self) -> str:
        """Say what is searched, for the plan."""
        scale = ", log scale" if self.log else f", step {self.step}" if self.step != 1 else ""
        return f"whole numbers {self.low} to {self.high}{scale}"


Parameter = Annotated[Categorical | Uniform | LogUniform | Int, Field(discriminator="type")]


def _shown(value: Scalar) -> str:
    """Return a value as it stands in the config."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _check_bounds(low: float, high: float, log: bool) -> None:
    if not low <= high:
        raise ValueError(f"high is {high}, below low, which is {low}; swap them")
    if log and low <= 0:
        raise ValueError(f"low is {low}; a logarithmic scale needs it above 0")
