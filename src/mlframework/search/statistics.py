"""The statistics of proof: intervals, paired tests, and tests of several candidates over the same blocks.

Every test here is two-sided. Papers are named beside what they introduced; tests/search/test_statistics.py holds the
published example of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEVEL = 0.95
"""Of the intervals."""
SIGNIFICANT = 0.05
"""At or below which a p-value, corrected for the number of tests, is called significant."""


@dataclass(frozen=True)
class Interval:
    """A mean with its uncertainty.

    Attributes:
        n: how many values it is of.
        mean: of the values.
        std: their standard deviation, with n - 1; None for one value.
        low: lower end of the 95 % confidence interval of the mean; None for one value.
        high: upper end.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of at least one value with its confidence interval by Student's t (1908, 10.2307/2331554)."""
    import numpy as np
    from scipy.stats import t

    given = np.asarray(values, dtype=np.float64)
    mean = float(given.mean())
    if len(given) < 2:
        return Interval(len(given), mean, None, None, None)
    std = float(given.std(ddof=1))
    reach = float(t.ppf((1 + LEVEL) / 2, len(given) - 1)) * std / math.sqrt(len(given))
    return Interval(len(given), mean, std, mean - reach, mean + reach)


def paired_t(first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> float:
    """Return the p-value of the paired t-test (Student, 1908): 1 where no pair differs, 0 where all differ alike."""
    import numpy as np
    from scipy.stats import t

    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    n, mean, std = len(differences), float(differences.mean()), float(differences.std(ddof=1))
    # What is left of equal differences is the last digits' error, from which no t can be made.
    if std <= 1e-12 * abs(mean) or std == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * t.sf(abs(mean) / (std / math.sqrt(n)), n - 1))


def signed_rank(first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> float:
    """Return the exact p-value of Wilcoxon's signed-rank test (Wilcoxon, 1945, https://doi.org/10.2307/3001968).

    Pairs that do not differ are left out, equal differences share their ranks, and the distribution is that of all
    2^n ways to give the differences a sign, so that p is exact with ties, too. 1 where no pair differs.
    """
    import numpy as np
    from scipy.stats import rankdata

    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    doubled = np.rint(2 * rankdata(np.abs(differences))).astype(np.int64)  # shared ranks are halves
    ways = np.zeros(int(doubled.sum()) + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] = (ways[rank:] + ways[: len(ways) - rank]) / 2
        ways[:rank] /= 2
    positive = int(doubled[differences > 0].sum())
    tail = min(ways[: positive + 1].sum(), ways[positive:].sum())
    return float(min(1.0, 2 * tail))


def fewest_pairs(n_tests: int) -> int:
    """Return how many pairs the signed-rank test needs at least, so that one of `n_tests` can be significant after Holm.

    The smallest p-value of n pairs is 2 / 2^n, and Holm multiplies the smallest by the number of tests.
    """
    n = 1
    while n_tests * smallest_p(n) > SIGNIFICANT:
        n += 1
    return n


def smallest_p(n_pairs: int) -> float:
    """Return the smallest p-value that the signed-rank test can give."""
    return min(1.0, 2.0 / 2.0**n_pairs)


def holm(p: Sequence[float] | Floats) -> Floats:
    """Return p-values corrected for their number (Holm, 1979, https://www.jstor.org/stable/4615733), in the same order.

    The smallest is multiplied by their number, the next by one less, and so on; none gets smaller than one before it.
    """
    import numpy as np

    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    factors = np.arange(len(given), 0, -1)
    corrected = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
    found = np.empty_like(given)
    found[order] = corrected
    return found


@dataclass(frozen=True)
class Friedman:
    """Friedman's test: whether some candidate is better than another over the blocks at all."""

    statistic: float
    p: float


def block_ranks(badness: Floats) -> Floats:
    """Return the ranks within each block, 1 for the best; equal ones share theirs.

    Args:
        badness: (n_blocks, n_candidates), smaller is better.
    """
    import numpy as np
    from scipy.stats import rankdata

    return np.asarray(rankdata(badness, axis=1), dtype=np.float64)


def friedman(badness: Floats) -> Friedman:
    """Return Friedman's test (1937, 10.1080/01621459.1937.10503522), its p-value by the chi-squared approximation.

    Args:
        badness: (n_blocks, n_candidates) of three or more candidates.
    """
    import numpy as np
    from scipy.stats import friedmanchisquare

    if not (np.ptp(badness, axis=1) > 0).any():
        return Friedman(0.0, 1.0)  # every block is a tie: scipy would divide by zero
    result = friedmanchisquare(*badness.T)
    return Friedman(float(result.statistic), float(result.pvalue))


@dataclass(frozen=True)
class Pair:
    """Two candidates, compared over the blocks.

    Attributes:
        first: index of one.
        second: index of the other.
        p: of the signed-rank test.
        p_holm: corrected for the number of pairs.
    """

    first: int
    second: int
    p: float
    p_holm: float


def all_pairs(badness: Floats) -> list[Pair]:
    """Return the signed-rank test of every two candidates; see `friedman` for the argument."""
    indices = list(combinations(range(badness.shape[1]), 2))
    p = [signed_rank(badness[:, i], badness[:, j]) for i, j in indices]
    corrected = holm(p)
    return [Pair(i, j, one, float(two)) for (i, j), one, two in zip(indices, p, corrected, strict=True)]
