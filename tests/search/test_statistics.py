"""Each statistic against a published example, and against scipy where that has it."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mlframework.search.statistics import (
    all_pairs,
    block_ranks,
    fewest_pairs,
    friedman,
    holm,
    mean_interval,
    paired_t,
    signed_rank,
    smallest_p,
)

# Student's sleep data (1908), as R's ?sleep and ?t.test have them.
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# Hamilton depression scale (Hollander and Wolfe, 1973, p. 29), as R's ?wilcox.test has it.
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
# Rounding first base (Hollander and Wolfe, 1973, p. 140), as R's ?friedman.test has it.
BASES = np.array([
    [5.40, 5.50, 5.55], [5.85, 5.70, 5.75], [5.20, 5.60, 5.50], [5.55, 5.50, 5.40], [5.90, 5.85, 5.70],
    [5.45, 5.55, 5.60], [5.40, 5.40, 5.35], [5.45, 5.50, 5.35], [5.25, 5.15, 5.00], [5.85, 5.80, 5.70],
    [5.25, 5.20, 5.10], [5.65, 5.55, 5.45], [5.60, 5.35, 5.45], [5.05, 5.00, 4.95], [5.50, 5.50, 5.40],
    [5.45, 5.55, 5.50], [5.55, 5.55, 5.35], [5.45, 5.50, 5.55], [5.50, 5.45, 5.25], [5.65, 5.60, 5.40],
    [5.70, 5.65, 5.55], [6.30, 6.30, 6.25],
])  # fmt: skip
# The table prints 0.975 twice in its 13th row and ranks them 2 and 3: they were rounded, so a digit is added here.
# AUC of four forms of C4.5 on 14 data sets (Demsar, 2006, https://www.jmlr.org/papers/v7/demsar06a.html, table 6).
AUC = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def test_interval_of_students_sleep_data() -> None:
    """R: t.test(Pair(extra.1, extra.2) ~ 1): mean -1.58, 95 percent confidence interval -2.4598858 -0.7001142."""
    found = mean_interval([one - two for one, two in zip(DRUG_1, DRUG_2, strict=True)])
    assert found.n == 10 and found.mean == pytest.approx(-1.58)
    assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)
    assert found.std == pytest.approx(1.229995, abs=1e-6)


def test_one_value_has_no_interval() -> None:
    found = mean_interval([0.5])
    assert (found.mean, found.std, found.low, found.high) == (0.5, None, None, None)


def test_paired_t_of_students_sleep_data() -> None:
    """R: t = -4.0621, df = 9, p-value = 0.002833."""
    assert paired_t(DRUG_1, DRUG_2) == pytest.approx(0.002833, abs=5e-7)
    assert paired_t(DRUG_2, DRUG_1) == pytest.approx(scipy.stats.ttest_rel(DRUG_1, DRUG_2).pvalue)


def test_paired_t_without_variance() -> None:
    assert paired_t([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1.0
    assert paired_t([1.1, 2.1, 3.1], [1.0, 2.0, 3.0]) == 0.0


def test_signed_rank_of_the_depression_scale() -> None:
    """R: wilcox.test(x, y, paired = TRUE, alternative = "greater"): V = 40, p-value = 0.01953; two-sided twice that."""
    assert signed_rank(BEFORE, AFTER) == pytest.approx(2 * 0.01953125)
    assert signed_rank(AFTER, BEFORE) == pytest.approx(2 * 0.01953125)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
def test_signed_rank_counts_every_way_to_give_signs(differences: list[int]) -> None:
    """With ties, and where pairs do not differ, which scipy's exact form does not take."""
    found = signed_rank([float(each) for each in differences], [0.0] * len(differences))
    kept = np.array([each for each in differences if each])
    if not len(kept):
        assert found == 1.0
        return
    ranks = scipy.stats.rankdata(np.abs(kept))
    observed = ranks[kept > 0].sum()
    all_of_them = [ranks @ np.array(signs) for signs in itertools.product((0, 1), repeat=len(kept))]
    below = np.mean([each <= observed + 1e-9 for each in all_of_them])
    above = np.mean([each >= observed - 1e-9 for each in all_of_them])
    assert found == pytest.approx(min(1.0, 2 * min(below, above)))


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=20, unique_by=abs).filter(lambda each: 0.0 not in each))
def test_signed_rank_is_scipys_exact_one(differences: list[float]) -> None:
    zeros = [0.0] * len(differences)
    assert signed_rank(differences, zeros) == pytest.approx(scipy.stats.wilcoxon(differences, method="exact").pvalue)


def test_how_many_pairs_it_takes() -> None:
    assert smallest_p(5) == 0.0625 and signed_rank([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5) == 0.0625
    assert [fewest_pairs(n) for n in (1, 3, 6)] == [6, 7, 8]
    assert 6 * smallest_p(8) <= 0.05 < 6 * smallest_p(7)


def test_ranks_of_demsars_table() -> None:
    """Demsar, 2006, table 6: average ranks 3.143, 2.000, 2.893, 1.964; chi-squared 9.28 without correction for ties."""
    ranks = block_ranks(-AUC).mean(axis=0)
    assert ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    n, k = AUC.shape
    uncorrected = 12 * n / (k * (k + 1)) * ((ranks**2).sum() - k * (k + 1) ** 2 / 4)
    assert uncorrected == pytest.approx(9.28, abs=5e-3)
    # Ties make the statistic a little larger, and the verdict the same: below 0.05.
    found = friedman(-AUC)
    assert uncorrected < found.statistic < 10.5 and 0.01 < found.p < 0.05


def test_friedman_of_the_bases() -> None:
    """R: friedman.test(RoundingTimes): Friedman chi-squared = 11.143, df = 2, p-value = 0.003805."""
    found = friedman(BASES)
    assert found.statistic == pytest.approx(11.143, abs=5e-4) and found.p == pytest.approx(0.003805, abs=5e-7)


def test_friedman_where_nothing_differs() -> None:
    assert friedman(np.ones((4, 3))) == friedman(np.zeros((2, 3)))
    assert friedman(np.ones((4, 3))).p == 1.0


def test_every_pair_is_tested_and_corrected() -> None:
    pairs = all_pairs(BASES)
    assert [(each.first, each.second) for each in pairs] == [(0, 1), (0, 2), (1, 2)]
    assert [each.p for each in pairs] == [signed_rank(BASES[:, i], BASES[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert [each.p_holm for each in pairs] == pytest.approx(list(holm([each.p for each in pairs])))
    assert all(each.p <= each.p_holm <= 1 and math.isfinite(each.p) for each in pairs)


def test_holm_as_r_does_it() -> None:
    """R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_corrects_upwards_and_keeps_the_order(p: list[float]) -> None:
    found = holm(p)
    assert all(0 <= given <= corrected <= 1 for given, corrected in zip(p, found, strict=True))
    assert found.min() == pytest.approx(min(1.0, min(p) * len(p)))
    order = np.argsort(p, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
