"""What a space holds: random draws of it, its combinations where there are few, and whether its constraints can be kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mlframework.config.yaml import Document
from mlframework.errors import ConfigError, Problem
from mlframework.search.constraints import Constraint, parse_constraint
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Scalar
from mlframework.search.space import Space, undecided, unknown_setting

if TYPE_CHECKING:
    from optuna.trial import Trial

DRAWS = 1_000
MOST_COMBINATIONS = 5_000  # of a space whose combinations are counted; larger ones count as endless
_KEY = "search.constraints"


class Dice:
    """Draws parameters at random, as a trial without a sampler and without a storage would.

    Args:
        rng: where the draws come from.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """Draw one of the choices."""
        return choices[int(self._rng.integers(len(choices)))]

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Draw a number between two bounds."""
        if step is not None:
            # Rounded, so that the last value is not a hair above the bound.
            return float(f"{low + step * int(self._rng.integers(_steps(low, high, step))):.12g}")
        if log:
            drawn = math.exp(self._rng.uniform(math.log(low), math.log(high)))
            return min(max(drawn, low), high)
        return float(self._rng.uniform(low, high))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Draw a whole number, both bounds included."""
        if log:
            drawn = round(math.exp(self._rng.uniform(math.log(low - 0.5), math.log(high + 0.5))))
            return min(max(drawn, low), high)
        return low + step * int(self._rng.integers((high - low) // step + 1))


def draw(space: Space, rng: np.random.Generator) -> dict[str, Scalar]:
    """Return one random draw of a space, whether it keeps the constraints or not."""
    return space.suggest(cast("Trial", Dice(rng)))


def is_feasible(space: Space, params: Mapping[str, Scalar]) -> bool:
    """Tell whether parameters keep every constraint."""
    return all(amount <= 0 for amount in space.violations(params).values())


def combinations(space: Space) -> list[dict[str, Scalar]] | None:
    """Return every combination that keeps the constraints, or None where there is no end of them, or are too many."""
    cells = _cells(space)
    return None if cells is None else [cell for cell in cells if is_feasible(space, cell)]


def _cells(space: Space) -> list[dict[str, Scalar]] | None:
    from mlframework.search.samplers import grid_cells

    most = math.prod(_size(parameter) for parameter in space.parameters.values())
    return grid_cells(space.parameters) if most <= MOST_COMBINATIONS else None


def _size(parameter: Parameter) -> float:
    """Return how many values a parameter has."""
    if isinstance(parameter, Categorical):
        return len(parameter.choices)
    if isinstance(parameter, Int):
        return (parameter.high - parameter.low) // parameter.step + 1
    if isinstance(parameter, LogUniform) or parameter.step is None:
        return math.inf
    return _steps(parameter.low, parameter.high, parameter.step)


def _steps(low: float, high: float, step: float) -> int:
    return math.floor((high - low) / step + 1e-9) + 1


@dataclass(frozen=True)
class Kept:
    """How often constraints were kept.

    Attributes:
        draws: how many were looked at.
        exact: whether those are all that there are.
        each: for every constraint, by how many draws it is kept.
        together: by how many draws all of them are kept.
    """

    draws: int
    exact: bool
    each: Mapping[str, int]
    together: int

    def of(self, count: int) -> str:
        """Return a count in words: `none of 1,000 random draws`."""
        drawn = f"{self.draws:,} {'combinations' if self.exact else 'random draws'}"
        return f"{'none' if not count else 'all' if count == self.draws else f'{count:,}'} of {drawn}"


def kept(space: Space) -> Kept:
    """Count which constraints the combinations of a space keep, or where there are too many, seeded random draws.

    Raises:
        ConfigError: a setting's value is of another kind than a constraint needs.
    """
    cells = _cells(space)
    rng = np.random.default_rng(0)
    looked_at = cells if cells is not None else [draw(space, rng) for _ in range(DRAWS)]
    amounts = [space.violations(params) for params in looked_at]
    each = {one.text: sum(found[one.text] <= 0 for found in amounts) for one in space.constraints}
    together = sum(all(amount <= 0 for amount in found.values()) for found in amounts)
    return Kept(len(looked_at), cells is not None, each, together)


def build_constraints(
    written: object, space: Space, document: Document, wrong: set[str]
) -> tuple[Space, list[Problem]]:
    """Return the space with its constraints, and what is wrong with them.

    Args:
        written: what stands at `search.constraints`.
        space: without constraints; without parameters where something is wrong with those.
        document: knows where each constraint stands.
        wrong: keys of the config that have problems: what is said about settings there is left open.
    """
    constraints: list[Constraint] = []
    problems: list[Problem] = []
    texts = [*enumerate(written)] if isinstance(written, list) else []
    for number, text in texts:
        if not isinstance(text, str):  # decoding says so
            continue
        place, key = document.value_place(("search", "constraints", number)), f"{_KEY}.{number}"
        try:
            constraint = parse_constraint(text, place, key)
        except ConfigError as error:
            problems += error.problems
            continue
        if any(text.split() == other.text.split() for other in constraints):
            problems.append(Problem(place, key, "stands there twice; leave one out"))
        problems += _unknown_keys(constraint, space, wrong)
        constraints.append(constraint)
    found = replace(space, constraints=tuple(constraints))
    if not problems and not wrong and constraints and space.parameters:
        problems += _never_kept(found, document)
    return found, problems


def _unknown_keys(constraint: Constraint, space: Space, wrong: set[str]) -> Iterator[Problem]:
    for key, column in constraint.settings().items():
        if not undecided(key, wrong) and (what := unknown_setting(key, space.parameters, space.base)) is not None:
            yield constraint.problem(column, f"{key}: {what}")


def _never_kept(space: Space, document: Document) -> list[Problem]:
    """Say which constraints nothing satisfies."""
    try:
        found = kept(space)
    except ConfigError as error:
        return list(error.problems)
    wanting = [one for one in space.constraints if not found.each[one.text]]
    remedy = "widen the space or mend the constraint"
    problems = [Problem(one.place, one.key, f"{found.of(0)} keeps it; {remedy}") for one in wanting]
    if not problems and not found.together:
        place = document.key_place(("search", "constraints"))
        counts = "; ".join(f"{text!r} alone is kept by {found.of(count)}" for text, count in found.each.items())
        problems = [Problem(place, _KEY, f"{found.of(0)} keeps all of them together; {remedy} ({counts})")]
    return problems


def shares(space: Space) -> dict[str, Any]:
    """Return what the plan says of each constraint: how much of the space keeps it."""
    found = kept(space)
    return {
        text: f"kept by {found.of(count)}" + ("; it changes nothing" if count == found.draws else "")
        for text, count in found.each.items()
    }
