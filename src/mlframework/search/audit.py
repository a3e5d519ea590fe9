"""Whether pruning was right: some of the trials that the pruner condemns are let finish, and looked at in the end.

Which ones is drawn by lot, before anybody knows how they would end, so they stand for all that were condemned: of those
that were pruned, about as many would have been among the best. The pruner itself sees them as pruned where it condemned
them, so that it judges the other trials as it would without an audit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlframework.search.goal import Goal

if TYPE_CHECKING:
    from optuna.trial import Trial

    from mlframework.search.pruners import PrunerConfig
    from mlframework.search.results import TrialRecord

AUDITED = "mlframework:audited"
"""Attribute of a trial that was condemned and is let finish: at which epoch, and with which value."""
TOP_SHARE, TOP_LEAST = 0.1, 3
LEVEL = 0.95
_LOT = 0x61756469  # keeps these draws apart from others with the same seed and number


def audit_fraction(pruner: PrunerConfig) -> float:
    """Return which share of the condemned trials is let finish."""
    return float(getattr(pruner, "audit_fraction", 0.0))


def is_drawn(seed: int, number: int, fraction: float) -> bool:
    """Whether a trial is let finish, should it be condemned: the same answer in every process, before and after a resume."""
    return bool(np.random.default_rng([seed, number, _LOT]).random() < fraction)


class Sentence:
    """What becomes of a trial that is condemned.

    Args:
        trial: the trial.
        seed: of the study.
        fraction: the share of the condemned trials that is let finish.
    """

    def __init__(self, trial: Trial, seed: int, fraction: float) -> None:
        self._trial = trial
        self._is_drawn = is_drawn(seed, trial.number, fraction)
        self.is_suspended = AUDITED in trial.user_attrs
        """Whether it was condemned and goes on: nobody asks the pruner about it again."""

    def suspend(self, step: int, value: float) -> bool:
        """Let the trial go on where the lot has fallen on it, which is marked first; returns whether it goes on."""
        if self._is_drawn:
            self._trial.set_user_attr(AUDITED, {"epoch": step, "value": value})
            self.is_suspended = True
        return self._is_drawn


@dataclass(frozen=True)
class Audit:
    """What became of the trials that were condemned and let finish.

    Attributes:
        condemned: how many trials were condemned: those that were pruned, and those that were let finish.
        trials: numbers of the complete ones among the latter, the best first.
        best: the main metric of the best of these.
        among_best: how many of them are among the best.
        top: how many trials are called the best.
        low: lower end of the interval of the share that would have been among the best; None where none was let finish.
        high: upper end.
    """

    condemned: int
    trials: Sequence[int]
    best: float | None
    among_best: int
    top: int
    low: float | None
    high: float | None

    def told(self) -> dict[str, Any]:
        """Return what results.json tells of it."""
        n = len(self.trials)
        return {
            "audited": n,
            "condemned": self.condemned,
            "among_best": self.among_best,
            "top": self.top,
            "trials": list(self.trials),
            "best": self.best,
            "share": self.among_best / n if n else None,
            "low": self.low,
            "high": self.high,
        }

    def sentence(self) -> str:
        """Return it in words."""
        n = len(self.trials)
        if not self.condemned:
            return "pruning: no trial was condemned"
        said = f"pruning: {self.condemned} condemned"
        if self.low is None or self.high is None:
            return f"{said}, none let finish: whether that was right nobody knows"
        return (
            f"{said}, {n} let finish, {self.among_best or 'none'} of them among the best {self.top}; of those that were pruned "
            f"{100 * self.low:.0f} to {100 * self.high:.0f} % would have been ({100 * LEVEL:.0f} % interval)"
        )


def audit_of(goal: Goal, records: Sequence[TrialRecord], fraction: float) -> Audit | None:
    """Return what became of the condemned trials; None where none was to be let finish.

    Args:
        goal: says which trials are the best: of the complete ones a tenth, and three at least.
        records: of the study's trials.
        fraction: the share that was to be let finish.
    """
    ranked = goal.ranked(record for record in records if record.counts)
    audited = [record for record in ranked if record.audited is not None]
    if not fraction and not audited:
        return None
    pruned = [record for record in records if record.state == "pruned" and record.same_as is None]
    top = max(TOP_LEAST, math.ceil(TOP_SHARE * len(ranked)))
    among = sum(record.audited is not None for record in ranked[:top])
    low, high = _interval(among, len(audited)) if audited else (None, None)
    best = audited[0].value if audited else None
    return Audit(
        len(pruned) + len(audited), [record.number for record in audited], best, among, min(top, len(ranked)), low, high
    )


def _interval(hits: int, n: int) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson, 1934, https://doi.org/10.1093/biomet/26.4.404)."""
    from scipy.stats import binomtest

    found = binomtest(hits, n).proportion_ci(LEVEL, method="exact")
    return float(found.low), float(found.high)


def as_condemned(attributes: Mapping[str, Any], intermediate: Mapping[int, float]) -> dict[int, float]:
    """Return what an audited trial had reported when it was condemned."""
    last = attributes[AUDITED]["epoch"]
    return {step: value for step, value in intermediate.items() if step <= last}
