"""Every combination once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlframework.config.base import Config
from mlframework.errors import StudyError
from mlframework.search.parameters import Parameter, Scalar
from mlframework.search.samplers.base import Traits, fixed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class GridSampler(Config):
    """Every combination once, in an order drawn from the study's seed; `BruteForceSampler` is another name for it."""

    # Optuna's brute force finds its tree of combinations as it goes, and two processes may take the same one. Here the
    # space, `when` included, is known before the first trial: places share its combinations out without asking.
    type: Literal["GridSampler", "BruteForceSampler"]

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return a sampler of the cell at a place of the study: each place is claimed once, and so is each cell."""
        cells = grid_cells(space)
        order = np.random.default_rng(study_seed).permutation(len(cells))
        return fixed(cells[order[place % len(cells)]])

    def traits(self, space: Mapping[str, Parameter]) -> Traits:
        """Say what the sampler can do with a space: it needs an end of values."""
        endless = ", ".join(key for key, parameter in space.items() if parameter.values() is None)
        return Traits(_endless(self.type, endless) if endless else None)


def grid_cells(space: Mapping[str, Parameter]) -> list[dict[str, Scalar]]:
    """Return every combination of a space's values, without repeats where a parameter does not exist.

    Raises:
        StudyError: a parameter has no end of values.
    """
    from mlframework.search.space import active

    axes: list[Sequence[Scalar]] = []
    endless = [key for key, parameter in space.items() if parameter.values() is None]
    if endless:
        raise StudyError(_endless("GridSampler", ", ".join(endless)))
    for parameter in space.values():
        axes.append(parameter.values() or [])
    cells: dict[tuple[Any, ...], dict[str, Scalar]] = {}
    for values in itertools.product(*axes):
        cell = active(space, dict(zip(space, values, strict=True)))
        cells.setdefault(_identity(cell), cell)
    return list(cells.values())


def grid_coverage(cells: Iterable[Mapping[str, Scalar]], tried: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Count what of a grid was tried.

    Args:
        cells: the grid's combinations.
        tried: the parameters of the trials that count; of what is no cell, as a former sampler draws it, none is counted.

    Returns:
        How many of the cells stand among them, however often, and how many cells there are.
    """
    known = {_identity(cell) for cell in cells}
    return len(known & {_identity(params) for params in tried}), len(known)


def _identity(cell: Mapping[str, Scalar]) -> tuple[Any, ...]:
    """Return what tells a cell from others: 1, 1.0 and true are three values."""
    return tuple((key, type(value), value) for key, value in sorted(cell.items()))


def _endless(name: str, keys: str) -> str:
    return (
        f"{name} needs a finite number of values: {keys} has no end of them; give it a step:, "
        "or type: categorical with choices:, or take another sampler"
    )
