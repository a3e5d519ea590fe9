"""How sure a study's importances are: bootstrap intervals, permutation p-values, rank correlations with theirs.

A study of thirty trials names a most important parameter whatever it searched. What follows says whether another thirty
trials would name the same one (the interval), and whether values without any meaning would have made it as important (p).
"""

import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlframework.metrics import Direction
from mlframework.search.statistics import LEVEL, holm

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Evaluator = Literal["PED-ANOVA", "fANOVA"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Repeats:
    """How often importances are computed anew.

    Attributes:
        bootstrap: of trials drawn with repeats from the study's.
        permutations: of the trials with their values exchanged at random; the smallest p is 1 / (1 + permutations).
    """

    bootstrap: int
    permutations: int


REPEATS: dict[Evaluator, Repeats] = {"PED-ANOVA": Repeats(200, 499), "fANOVA": Repeats(40, 199)}
"""fANOVA grows a forest each time, which takes a hundred times as long."""
_TREES = 16


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
        value: of the trials as they are.
        low: lower end of the 95 % interval.
        high: upper end.
        p: how often values without meaning give one as extreme.
        p_holm: p corrected for the number of parameters that are looked at.
    """

    value: float
    low: float
    high: float
    p: float
    p_holm: float


def importance(
    trials: "Sequence[FrozenTrial]",
    direction: Direction,
    keys: Sequence[str],
    evaluator: Evaluator,
    repeats: Repeats,
    seed: int,
) -> dict[str, Estimate]:
    """Return each parameter's share of the importance with a bootstrap interval and a permutation p-value.

    The interval is the bootstrap's percentile interval (Efron, 1979, https://doi.org/10.1214/aos/1176344552). The p-value
    compares importances that are not shares: a share is large whenever the others' are small.

    Args:
        trials: finished ones with a value, at least two of which differ.
        direction: `maximize` or `minimize`.
        keys: the parameters, by dotted key.
        evaluator: what computes importances.
        repeats: how often.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    values = np.array([trial.value for trial in trials], dtype=np.float64)
    found = _importances(trials, values, direction, keys, evaluator)
    low, high = _interval(trials, values, direction, keys, evaluator, repeats.bootstrap, rng)
    permuted = np.array(
        [_importances(trials, rng.permutation(values), direction, keys, evaluator) for _ in range(repeats.permutations)]
    )
    p = (1 + (permuted >= found).sum(axis=0)) / (1 + repeats.permutations)
    columns = zip(_shares(found), low, high, p, holm(p), strict=True)
    return {key: Estimate(*map(float, column)) for key, column in zip(keys, columns, strict=True)}


def shares_with_intervals(
    trials: "Sequence[FrozenTrial]", direction: Direction, keys: Sequence[str], bootstrap: int, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Return each parameter's share of the importance (PED-ANOVA) with the ends of its bootstrap interval.

    It is what `importance` says without the permutations, which take most of its time.

    Args:
        trials: finished ones with a value, at least two of which differ.
        direction: `maximize` or `minimize`.
        keys: the parameters, by dotted key.
        bootstrap: how often trials are drawn anew.
        seed: of the draws.
    """
    values = np.array([trial.value for trial in trials], dtype=np.float64)
    found = _shares(_importances(trials, values, direction, keys, "PED-ANOVA"))
    ends = _interval(trials, values, direction, keys, "PED-ANOVA", bootstrap, np.random.default_rng(seed))
    return {key: (float(a), float(b), float(c)) for key, a, b, c in zip(keys, found, *ends, strict=True)}


def _interval(
    trials: "Sequence[FrozenTrial]", values: Floats, direction: Direction, keys: Sequence[str], evaluator: Evaluator,
    bootstrap: int, rng: np.random.Generator,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the ends of the shares' bootstrap intervals: (n_keys,) each."""
    own, resampled = _with_values(trials, values), []
    for _ in range(bootstrap):
        rows = rng.integers(len(own), size=len(own))
        seen = {key for row in rows for key in own[row].params}
        if len(set(values[rows])) > 1 and seen.issuperset(keys):
            resampled.append(_shares(_evaluated([own[row] for row in rows], direction, keys, evaluator)))
    low, high = np.quantile(np.array(resampled), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def correlation(x: Floats, y: Floats, bootstrap: int, seed: int) -> tuple[float, float, float, float]:
    """Return Spearman's rank correlation of two columns (n,), its interval's ends, and its p-value.

    Spearman, 1904, https://doi.org/10.2307/1412159. NaN all four where one of the columns is constant.
    """
    from scipy.stats import spearmanr

    if len(set(x)) < 2 or len(set(y)) < 2:
        return (float("nan"),) * 4
    result = spearmanr(x, y)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(bootstrap):
        rows = rng.integers(len(x), size=len(x))
        if len(set(x[rows])) > 1 and len(set(y[rows])) > 1:
            drawn.append(float(spearmanr(x[rows], y[rows]).statistic))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(result.statistic), float(low), float(high), float(result.pvalue)


def _importances(
    trials: "Sequence[FrozenTrial]", values: Floats, direction: Direction, keys: Sequence[str], evaluator: Evaluator
) -> Floats:
    """Return the importances, which are no shares, of trials that have these values in place of their own: (n_keys,)."""
    return _evaluated(_with_values(trials, values), direction, keys, evaluator)


def _with_values(trials: "Sequence[FrozenTrial]", values: Floats) -> "list[FrozenTrial]":
    from optuna.trial import create_trial

    # Each trial brings its own copies of the distributions: as one object they are told to be equal at once.
    same: dict[Any, Any] = {}

    def shared(trial: "FrozenTrial") -> dict[str, Any]:
        return {key: same.setdefault(each, each) for key, each in trial.distributions.items()}

    return [
        create_trial(params=trial.params, distributions=shared(trial), value=float(value))
        for trial, value in zip(trials, values, strict=True)
    ]


def _evaluated(
    trials: "Sequence[FrozenTrial]", direction: Direction, keys: Sequence[str], evaluator: Evaluator
) -> Floats:
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
    from optuna.storages import InMemoryStorage

    numbered = [copy(trial) for trial in trials]
    for number, trial in enumerate(numbered):  # one that was drawn twice is two trials
        trial.number = trial._trial_id = number

    class Given(InMemoryStorage):
        """Holds trials as they are: to add them copies each one deeply, which takes longer than all that follows."""

        def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> "list[FrozenTrial]":
            return [trial for trial in numbered if states is None or trial.state in states]

    made: Any = (
        FanovaImportanceEvaluator(n_trees=_TREES, seed=0) if evaluator == "fANOVA" else PedAnovaImportanceEvaluator()
    )
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            study = optuna.create_study(direction=direction, storage=Given())
            found = get_param_importances(study, evaluator=made, params=list(keys), normalize=False)
    finally:
        optuna.logging.set_verbosity(before)
    return np.array([float(found[key]) for key in keys])


def _shares(importances: Floats) -> Floats:
    total = importances.sum()
    return importances / total if total > 0 else np.full(len(importances), 1 / len(importances))
