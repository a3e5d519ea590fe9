"""How much of the differences between trials a parameter explains that no other parameter does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlframework.search.diagnosis.case import Case
from mlframework.search.diagnosis.scales import position
from mlframework.search.parameters import Categorical

Floats = NDArray[np.float64]
_BOOTSTRAP = 200
_UPPER = 0.95


@dataclass(frozen=True)
class Explained:
    """What a parameter explains beside the others, of the variance of the trials' ranks.

    Attributes:
        share: of the trials as they are, from 0 to 1.
        high: upper end of its one-sided 95 % bootstrap interval.
        p: of the F-test that it explains nothing.
    """

    share: float
    high: float
    p: float


def explained(case: Case, keys: Sequence[str], seed: int = 0) -> dict[str, Explained]:
    """Return what each parameter explains beside the others; empty where there are too few trials for so many.

    The values' ranks are regressed on all parameters together: a number by a parabola on its own scale, choices by a mean
    each. What is lost without a parameter is its own; whether that is more than chance says the partial F-test (Draper and
    Smith, Applied Regression Analysis, 1998, section 6.1). Unlike a correlation of the parameter alone it is not misled
    by what the others do in the same trials.

    Args:
        case: the study.
        keys: parameters that every complete trial has, with more than one value.
        seed: of the bootstrap.
    """
    from scipy.stats import f, rankdata

    columns = {key: _columns(case, key) for key in keys}
    ranks = np.asarray(rankdata([record.value for record in case.ranked]), dtype=np.float64)
    n, n_columns = len(ranks), 1 + sum(each.shape[1] for each in columns.values())
    if 2 * n_columns > n:
        return {}
    rng = np.random.default_rng(seed)
    samples = [rng.integers(n, size=n) for _ in range(_BOOTSTRAP)]
    total = float(((ranks - ranks.mean()) ** 2).sum())
    left = _left(columns, ranks)
    resampled = np.array([_shares({key: each[rows] for key, each in columns.items()}, ranks[rows]) for rows in samples])
    highs = np.quantile(resampled, _UPPER, axis=0)
    found = {}
    for key, high in zip(keys, highs.tolist(), strict=True):
        gained = max(0.0, _left(columns, ranks, without=key) - left)
        freedom = columns[key].shape[1]
        # What is left of a perfect fit is the last digits' error, of which no F can be made.
        rest = max(left, 1e-12 * total) / (n - n_columns)
        found[key] = Explained(gained / total, high, float(f.sf(gained / freedom / rest, freedom, n - n_columns)))
    return found


def _columns(case: Case, key: str) -> Floats:
    """Return what a parameter brings into the regression: (n_trials, 2) of a number, (n_trials, n_choices - 1) of choices."""
    parameter = case.space.parameters[key]
    values = [record.params[key] for record in case.ranked]
    if isinstance(parameter, Categorical):
        seen = list(dict.fromkeys((type(value), value) for value in values))
        return np.array([[(type(value), value) == each for each in seen[1:]] for value in values], dtype=np.float64)
    places = np.array([position(parameter, value) for value in values], dtype=np.float64)
    return np.column_stack([places, places**2]) if len(np.unique(places)) > 2 else places[:, None]


def _left(columns: dict[str, Floats], ranks: Floats, without: str | None = None) -> float:
    """Return the sum of squares that the parameters leave."""
    used = [each for key, each in columns.items() if key != without]
    design = np.column_stack([np.ones(len(ranks)), *used])
    solution = np.linalg.lstsq(design, ranks, rcond=None)[0]
    return float(((ranks - design @ solution) ** 2).sum())


def _shares(columns: dict[str, Floats], ranks: Floats) -> list[float]:
    total, left = float(((ranks - ranks.mean()) ** 2).sum()), _left(columns, ranks)
    return [(_left(columns, ranks, without=key) - left) / total if total > 0 else 0.0 for key in columns]
