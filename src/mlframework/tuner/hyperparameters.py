"""What a tuner searches, written in Python: the parameters of `search.search_space`, made in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mlframework.config.decode import decode
from mlframework.config.yaml import Document
from mlframework.errors import ConfigError, Problem
from mlframework.registry import nearest
from mlframework.search import parameters as kinds
from mlframework.search.parameters import Parameter, Scalar, When
from mlframework.search.space import Space, in_order, may_be

P = TypeVar("P", kinds.Categorical, kinds.Uniform, kinds.LogUniform, kinds.Int)


@dataclass(frozen=True)
class Hyperparameter:
    """A parameter and what it is for."""

    parameter: Parameter
    description: str = ""


# They are called like classes, since what they return is an object of the class with that name; the class itself is a
# section of the config, which has a `type` and takes keywords only.
def Uniform(  # noqa: N802
    low: float, high: float, *, log: bool = False, step: float | None = None, when: When | None = None
) -> kinds.Uniform:
    """Return a number between two bounds.

    Args:
        low: smallest value.
        high: largest value.
        log: whether the logarithm is what is uniform; not together with `step`.
        step: distance of the values from one another; None: any value in between.
        when: other parameters, and the value or values that each must have for this one to exist.

    Raises:
        ConfigError: the bounds are no range.
    """
    return _made(kinds.Uniform, type="uniform", low=low, high=high, log=log, step=step, when=when or {})


def LogUniform(low: float, high: float, *, when: When | None = None) -> kinds.LogUniform:  # noqa: N802
    """Return a number between two bounds above 0, on a logarithmic scale; see `Uniform`.

    Raises:
        ConfigError: the bounds are no range, or not above 0.
    """
    return _made(kinds.LogUniform, type="loguniform", low=low, high=high, when=when or {})


def Int(low: int, high: int, *, log: bool = False, step: int = 1, when: When | None = None) -> kinds.Int:  # noqa: N802
    """Return a whole number between two bounds, both included; see `Uniform`.

    Raises:
        ConfigError: the bounds are no range.
    """
    return _made(kinds.Int, type="int", low=low, high=high, log=log, step=step, when=when or {})


def Categorical(choices: Sequence[Scalar], *, when: When | None = None) -> kinds.Categorical:  # noqa: N802
    """Return one of several values: text, numbers, True, False, None; see `Uniform` for `when`.

    Raises:
        ConfigError: there is no choice, or one stands there twice.
    """
    listed = list(choices) if isinstance(choices, tuple | range) else choices
    return _made(kinds.Categorical, type="categorical", choices=listed, when=when or {})


def _made(cls: type[P], **fields: Any) -> P:
    return decode(cls, Document(fields, cls.__name__))


def free_space(hyperparameters: Mapping[str, Hyperparameter]) -> Space:
    """Return the space of parameters whose names are free: they are no settings of a config.

    Raises:
        ConfigError: a `when` that names no other parameter, or a value that it never has, or that leads back to itself.
    """
    searched = {name: each.parameter for name, each in hyperparameters.items()}
    parameters, cycle = in_order(searched)
    problems = [Problem("", name, "its `when` leads back to itself") for name in cycle]
    for name, parameter in searched.items():
        for other, wanted in parameter.when.items():
            what = _wrong_condition(other, wanted, searched)
            problems += [Problem("", name, f"when: {what}")] if what is not None else []
    if problems:
        raise ConfigError(problems)
    return Space({}, parameters)


def _wrong_condition(other: str, wanted: Scalar | list[Scalar], searched: Mapping[str, Parameter]) -> str | None:
    if other not in searched:
        near = nearest(other, searched)
        return f"{other} is no hyperparameter" + (f"; did you mean {near!r}?" if near else "")
    values = wanted if isinstance(wanted, list) else [wanted]
    if not any(may_be(searched[other], value) for value in values):
        return f"{other} is never {' or '.join(map(repr, values))}; it is {searched[other].describe()}"
    return None
