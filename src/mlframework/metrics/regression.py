"""Metrics of regressors. `targets` and `predictions` are float (n,), both in the target's own unit."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]


def mse(targets: Values, predictions: Values) -> float:
    """Mean squared error."""
    return float(np.mean(np.square(targets.astype(np.float64) - predictions)))


def rmse(targets: Values, predictions: Values) -> float:
    """Root of the mean squared error, in the target's unit."""
    return float(np.sqrt(mse(targets, predictions)))


def mae(targets: Values, predictions: Values) -> float:
    """Mean absolute error, in the target's unit."""
    return float(np.mean(np.abs(targets.astype(np.float64) - predictions)))


def r2(targets: Values, predictions: Values) -> float:
    """Coefficient of determination: 1 is perfect, 0 is as good as always saying the mean.

    Raises:
        ValueError: all targets are the same, which leaves it undefined.
    """
    if targets.min() == targets.max():
        raise ValueError("R2 is undefined: all targets are the same; use rmse or mae")
    spread = mse(targets, np.full(len(targets), targets.astype(np.float64).mean()))
    return 1.0 - mse(targets, predictions) / spread
