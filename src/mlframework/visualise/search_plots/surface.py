"""A surface through scattered trials."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    NDArray: TypeAlias = npt.NDArray[np.float64]

_REACH = 2.5  # bandwidths; beyond it nothing was tried and nothing is claimed


def smooth(
    trials: tuple[Sequence[float], Sequence[float], Sequence[float]],
    grid: tuple[Sequence[float], Sequence[float]],
    spans: tuple[float, float],
    categorical: tuple[bool, bool],
) -> tuple[tuple[float | None, ...], ...]:
    """Average the trials' values around each grid point, nearer ones weighing more (Nadaraya and Watson's estimator).

    An average copes with what search data is made of: noise, the same point tried twice, points on one line. Its
    bandwidth is Scott's rule for two dimensions. Categories do not blend into each other.

    Args:
        trials: positions x (n,), positions y (n,) and values (n,).
        grid: positions x (a,) and y (b,).
        spans: how long the axes are; distances count in shares of them.
        categorical: whether x and y are category indices.

    Returns:
        b rows of a values; None further than 2.5 bandwidths from every trial.
    """
    import numpy as np

    x, y, values = (np.asarray(column, dtype=float) for column in trials)
    grid_x, grid_y = (np.asarray(column, dtype=float) for column in grid)
    if not len(values):
        return tuple(tuple(None for _ in grid_x) for _ in grid_y)
    bandwidth = min(0.25, 0.29 * len(values) ** (-1 / 6))  # 0.29: the spread of even draws from 0 to 1

    def squared(at: "NDArray", of: "NDArray", span: float, is_category: bool) -> "NDArray":
        """Return squared distances in bandwidths, (grid positions, trials)."""
        apart: NDArray = at[:, None] - of[None, :]
        return np.where(apart == 0, 0.0, np.inf) if is_category else (apart / (span * bandwidth)) ** 2

    apart = (
        squared(grid_y, y, spans[1], categorical[1])[:, None, :]
        + squared(grid_x, x, spans[0], categorical[0])[None, :, :]
    )
    weights = np.exp(-apart / 2)
    near = apart.min(axis=2) <= _REACH**2
    total = np.where(near, weights.sum(axis=2), 1.0)
    surface = (weights @ values) / total
    return tuple(
        tuple(float(value) if known else None for value, known in zip(row, near_row, strict=True))
        for row, near_row in zip(surface, near, strict=True)
    )
