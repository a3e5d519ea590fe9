"""Losses with values known by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mlframework.errors import TrainingError
from mlframework.learners.settings import StepSettings
from mlframework.learners.tasks import Classification, classification, regression, softmax

# Probabilities 1/4 and 3/4, and 1/2 and 1/2.
RAW = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
NAMES = ("no", "yes")


def loss(task: Classification, targets: list[int]) -> float:
    return float(task.loss(RAW, torch.tensor(targets)))


def test_cross_entropy() -> None:
    plain = Classification(NAMES, None, 0.0)
    assert loss(plain, [1, 0]) == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_label_smoothing_spreads_a_share_of_the_probability_over_all_classes() -> None:
    smoothed = Classification(NAMES, None, 0.2)
    first = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    assert loss(smoothed, [1, 0]) == pytest.approx((first + math.log(2)) / 2)


def test_class_weights_weigh_each_example_and_divide_by_their_sum() -> None:
    weighted = Classification(NAMES, torch.tensor([1.0, 3.0]), 0.0)
    assert loss(weighted, [1, 0]) == pytest.approx((3 * math.log(4 / 3) + 1 * math.log(2)) / 4)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 3.0])])
def test_the_weight_is_what_the_mean_was_divided_by(weights: Tensor | None, smoothing: float) -> None:
    """So that means of parts, weighed by it, make the mean of the whole."""
    task = Classification(NAMES, weights, smoothing)
    raw, targets = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 1, 0, 1, 1])
    parts = [(raw[:2], targets[:2]), (raw[2:], targets[2:])]
    total = sum(task.loss(*part) * task.weight(part[1]) for part in parts) / task.weight(targets)
    assert float(total) == pytest.approx(float(task.loss(raw, targets)))


@given(
    rows=st.lists(st.tuples(*[st.floats(width=32) | st.floats(-20, 20, width=32)] * 2), max_size=90),
    n_classes=st.integers(2, 3),
)  # fmt: skip
def test_probabilities_are_those_of_torch_bit_for_bit(rows: list[tuple[float, float]], n_classes: int) -> None:
    raw = torch.zeros(len(rows), n_classes)
    raw[:, :2] = torch.tensor(rows).reshape(-1, 2)
    np.testing.assert_array_equal(softmax(raw).numpy(), raw.softmax(dim=1).numpy())


def test_probabilities_of_two_classes_are_those_of_torch_for_many_rows() -> None:
    """The processor takes several numbers at once, and what is left at the end one by one."""
    for n in (1, 17, 4097, 81_001):
        raw = torch.randn(n, 2, generator=torch.Generator().manual_seed(n)) * 4
        assert torch.equal(softmax(raw), raw.softmax(dim=1))
        assert softmax(raw).is_contiguous()


def test_balanced_weights_are_the_inverse_frequencies_in_training() -> None:
    settings = StepSettings(class_weights="balanced")
    task = classification(NAMES, np.array([0, 0, 0, 1]), settings, "cpu")
    assert float(task.weight(torch.tensor([0]))) == pytest.approx(4 / (2 * 3))
    assert float(task.weight(torch.tensor([1]))) == pytest.approx(4 / (2 * 1))


def test_balanced_weights_stand_a_class_that_training_does_not_have() -> None:
    task = classification(("a", "b", "c"), np.array([0, 1]), StepSettings(class_weights="balanced"), "cpu")
    assert math.isfinite(float(task.loss(torch.zeros(2, 3), torch.tensor([0, 2]))))


def test_listed_weights_are_taken_in_the_order_of_the_classes() -> None:
    task = classification(NAMES, np.array([0, 1]), StepSettings(class_weights=[1.0, 3.0]), "cpu")
    assert loss(task, [1, 0]) == pytest.approx((3 * math.log(4 / 3) + 1 * math.log(2)) / 4)


def test_weights_that_do_not_fit_the_classes_are_refused_with_their_names() -> None:
    with pytest.raises(TrainingError, match=r"class_weights has 3 weights, the data has 2 classes: no, yes"):
        classification(NAMES, np.array([0, 1]), StepSettings(class_weights=[1.0, 2.0, 3.0]), "cpu")


def test_probabilities_are_the_softmax_also_of_half_precision() -> None:
    values = Classification(NAMES, None, 0.0).values(RAW.bfloat16())
    assert values.dtype == torch.float32
    assert values.tolist() == [pytest.approx([0.25, 0.75], abs=2e-3), [0.5, 0.5]]


def test_a_regression_learns_the_standardised_target_and_speaks_its_unit() -> None:
    targets = np.array([100.0, 300.0, 500.0], dtype=np.float32)
    spread = float(targets.std())
    task = regression(targets, StepSettings())
    raw = torch.tensor([[0.0], [1.0]])
    assert task.values(raw).tolist() == pytest.approx([300, 300 + spread])
    # Standardised, the targets are -200/spread and 0.
    expected = ((200 / spread) ** 2 + 1.0) / 2
    assert float(task.loss(raw, torch.tensor([100.0, 300.0]))) == pytest.approx(expected)


def test_a_constant_target_is_divided_by_one() -> None:
    task = regression(np.full(4, 7.0, dtype=np.float32), StepSettings())
    assert task.values(torch.zeros(2, 1)).tolist() == [7, 7]
    assert float(task.loss(torch.zeros(2, 1), torch.full((2,), 7.0))) == 0


@pytest.mark.parametrize("settings", [{"label_smoothing": 0.1}, {"class_weights": "balanced"}])
def test_a_regression_refuses_what_only_classes_have(settings: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=f"{next(iter(settings))} is for classes"):
        regression(np.array([1.0, 2.0], dtype=np.float32), StepSettings(**settings))
