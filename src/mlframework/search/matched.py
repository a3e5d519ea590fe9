"""Pruning between folds or repeats: a trial is compared with the best one on those that both have finished.

Folds differ from one another more than trials do, so means over different folds say little; the same folds are compared
one by one (Birattari et al., 2002, "A racing algorithm for configuring metaheuristics", is the idea; the test is that of
Wilcoxon, 1945, https://doi.org/10.2307/3001968).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlframework.metrics import Direction
from mlframework.search.pruners import NoPruner, PatientPruner, PrunerConfig, WilcoxonPruner

MIN_PAIRS = 5
"""Pairs from which on the test can find a difference at 0.05; with fewer, a trial has to be behind on all of them."""
P_THRESHOLD = 0.1


@dataclass(frozen=True)
class Matching:
    """When a trial is stopped between folds or repeats.

    Attributes:
        n_startup_trials: complete trials before any is stopped.
        min_parts: folds or repeats that both must have finished.
        p_threshold: stop below this p-value of the one-sided test.
        always_test: whether the test alone decides, also where there are few pairs.
    """

    n_startup_trials: int
    min_parts: int = 2
    p_threshold: float = P_THRESHOLD
    always_test: bool = False

    def reason(
        self, mine: Sequence[float], number: int, its: Sequence[float], direction: Direction, part: str, n_parts: int
    ) -> str | None:
        """Say why a trial is stopped, or None where it goes on.

        Args:
            mine: the trial's values of the folds that it has finished.
            number: of the best trial.
            its: the values of the best trial, in the same order of folds.
            direction: which direction of them is better.
            part: `fold` or `repeat`.
            n_parts: how many there are in all.
        """
        sign = 1 if direction == "maximize" else -1
        lags = [sign * (other - own) for own, other in zip(mine, its, strict=False)]
        if len(lags) < self.min_parts:
            return None
        place = f"pruned at {part} {len(mine)}/{n_parts}: behind trial {number} on"
        behind = sum(lag > 0 for lag in lags)
        if len(lags) < MIN_PAIRS and not self.always_test:
            every = "both" if len(lags) == 2 else f"all {len(lags)}"
            return f"{place} {every}" if behind == len(lags) else None
        p_value = signed_rank_p(lags)
        if p_value >= self.p_threshold:
            return None
        return f"{place} {behind} of {len(lags)} (Wilcoxon, p = {p_value:.2g})"


def signed_rank_p(lags: Sequence[float]) -> float:
    """Return the p-value of Wilcoxon's signed-rank test that lags are not positive on the whole; 1 where all are 0."""
    if not any(lags):
        return 1.0
    from scipy.stats import wilcoxon

    # Pratt's treatment keeps pairs without a difference in the ranking: equal folds speak for the trial.
    return float(wilcoxon(lags, alternative="greater", zero_method="pratt").pvalue)


def matching_of(pruner: PrunerConfig) -> Matching | None:
    """Return when a trial is stopped between folds under a pruner, or None where it stops nothing."""
    inner = pruner.wrapped if isinstance(pruner, PatientPruner) else pruner
    if isinstance(inner, NoPruner):
        return None
    if isinstance(inner, WilcoxonPruner):
        return Matching(1, max(2, inner.n_startup_steps), inner.p_threshold, always_test=True)
    return Matching(max(1, getattr(inner, "n_startup_trials", 1)))
