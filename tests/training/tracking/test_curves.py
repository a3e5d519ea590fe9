"""The numbers behind the charts, against scikit-learn's and counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from mlframework.training.tracking.curves import N_THRESHOLDS, precision_recall, roc, shown_classes, ticks

SCORES = st.integers(0, 20).map(lambda n: n / 20) | st.floats(0, 1, width=32)
CASES = st.lists(st.tuples(st.booleans(), SCORES), min_size=2, max_size=40).filter(
    lambda pairs: 0 < sum(of_class for of_class, _ in pairs) < len(pairs)
)


def arrays(pairs: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([of_class for of_class, _ in pairs]), np.array([score for _, score in pairs], dtype=np.float32)


@settings(max_examples=40)
@given(CASES)
def test_a_roc_curve_is_that_of_scikit_learn(pairs: list[tuple[bool, float]]) -> None:
    is_class, scores = arrays(pairs)
    found = roc(is_class, scores)
    false_positives, true_positives, _ = roc_curve(is_class, scores, drop_intermediate=False)
    assert np.allclose(found.false_positive_rate, false_positives)
    assert np.allclose(found.true_positive_rate, true_positives)
    assert found.area == pytest.approx(roc_auc_score(is_class, scores))


@settings(max_examples=40)
@given(CASES)
def test_counts_at_thresholds_are_those_of_counting(pairs: list[tuple[bool, float]]) -> None:
    is_class, scores = arrays(pairs)
    found = precision_recall(is_class, scores)
    assert found.shape == (6, N_THRESHOLDS) and found.dtype == np.float32
    for column in range(N_THRESHOLDS):
        taken = scores.astype(np.float64) * (N_THRESHOLDS - 1) + 1e-6 >= column
        counts = [
            (taken & is_class).sum(),
            (taken & ~is_class).sum(),
            (~taken & ~is_class).sum(),
            (~taken & is_class).sum(),
        ]
        assert found[:4, column].tolist() == counts
        assert found[4, column] == pytest.approx(counts[0] / max(taken.sum(), 1))
        assert found[5, column] == pytest.approx(counts[0] / is_class.sum())


def test_a_score_on_a_threshold_counts_there() -> None:
    """0.29 in float32 is a little less than 0.29."""
    found = precision_recall(np.array([True, False]), np.array([0.29, 1.0], dtype=np.float32))
    assert found[0, 29] == 1 and found[0, 30] == 0
    assert found[1, N_THRESHOLDS - 1] == 1


def test_of_two_classes_the_second_is_shown() -> None:
    assert shown_classes(np.array([0, 1, 1]), ["benign", "malignant"]) == [1]
    assert shown_classes(np.array([1, 1]), ["benign", "malignant"]) == []


def test_of_many_classes_those_with_the_most_examples_are_shown_in_their_order() -> None:
    targets = np.repeat(np.arange(15), [1, 9, 1, 8, 7, 7, 7, 7, 7, 7, 7, 7, 0, 1, 1])
    assert shown_classes(targets, [str(index) for index in range(15)]) == [1, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert shown_classes(np.array([0, 0, 2]), ["a", "b", "c"]) == [0, 2]


@given(
    st.floats(-1e6, 1e6, allow_nan=False).flatmap(lambda low: st.tuples(st.just(low), st.floats(1e-3, 1e6))),
)
def test_ticks_are_a_handful_of_round_numbers_within_the_range(case: tuple[float, float]) -> None:
    low, span = case
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 12
    slack = 1e-6 * (span + abs(low))
    assert all(low - slack <= tick <= low + span + slack for tick in found)
    steps = np.diff(found)
    assert np.allclose(steps, steps[0], rtol=1e-3)


def test_ticks_of_no_range_are_one() -> None:
    assert ticks(3.0, 3.0) == [3.0]
    assert ticks(0.0, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
