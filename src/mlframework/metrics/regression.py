"""Metrics of regressors. `targets` and `predictions` are float (n,), both in the target's own unit."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]


def mse(targets: Values, predictions: Values) -> float:
    """Mean squared error.

    Formula: 1/n · Σ (y - ŷ)²

    From: https://scikit-learn.org/stable/modules/model_evaluation.html#mean-squared-error
    """
    return float(np.mean(np.square(targets.astype(np.float64) - predictions)))


def rmse(targets: Values, predictions: Values) -> float:
    """Root of the mean squared error, in the target's unit.

    Formula: √(1/n · Σ (y - ŷ)²)

    From: Willmott and Matsuura 2005, https://doi.org/10.3354/cr030079
    """
    return float(np.sqrt(mse(targets, predictions)))


def mae(targets: Values, predictions: Values) -> float:
    """Mean absolute error, in the target's unit.

    Formula: 1/n · Σ |y - ŷ|

    From: Willmott and Matsuura 2005, https://doi.org/10.3354/cr030079
    """
    return float(np.mean(np.abs(targets.astype(np.float64) - predictions)))


def r2(targets: Values, predictions: Values) -> float:
    """Coefficient of determination: 1 is perfect, 0 is as good as always saying the mean.

    Formula: 1 - Σ (y - ŷ)² / Σ (y - mean of y)²

    From: https://scikit-learn.org/stable/modules/model_evaluation.html#r2-score-the-coefficient-of-determination

    Raises:
        ValueError: all targets are the same, which leaves it undefined.
    """
    if targets.min() == targets.max():
        raise ValueError("R2 is undefined: all targets are the same; use rmse or mae")
    spread = mse(targets, np.full(len(targets), targets.astype(np.float64).mean()))
    return 1.0 - mse(targets, predictions) / spread
