"""Metrics: each against scikit-learn, their directions, and what "better" means."""

import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.sparse import csr_matrix

from mlframework import metrics
from mlframework.metrics import (
    METRICS,
    MetricName,
    compute_ranking,
    direction_of,
    is_better,
    key_of,
    names,
    shown,
    tasks_of,
)
from mlframework.metrics.ranking import HeldOut, rank

FINITE = st.floats(-1e3, 1e3, width=32)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
DIRECTIONS = st.sampled_from(["maximize", "minimize"])


@st.composite
def classified(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Targets of which every class has one, and probabilities whose rows sum to 1."""
    n_classes = draw(st.integers(2, 5))
    n = draw(st.integers(n_classes, 30))
    extra = draw(st.lists(st.integers(0, n_classes - 1), min_size=n - n_classes, max_size=n - n_classes))
    targets = np.array([*range(n_classes), *extra], dtype=np.int64)
    raw = draw(arrays(np.float32, (n, n_classes), elements=st.floats(-6, 6, width=16)))
    exponentials = np.exp(raw.astype(np.float64))
    return targets, (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


@st.composite
def regressed(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    n = draw(st.integers(2, 30))
    return draw(arrays(np.float32, n, elements=FINITE)), draw(arrays(np.float32, n, elements=FINITE))


def computed(task: Any, base: str, targets: NDArray[Any], outputs: NDArray[Any]) -> float:
    (value,) = metrics.compute(task, [base], targets, outputs).values()
    assert type(value) is float
    return value


@settings(deadline=None)
@given(classified())
def test_classification_agrees_with_scikit_learn(example: Any) -> None:
    targets, probabilities = example
    labels = list(range(probabilities.shape[1]))
    predicted = probabilities.argmax(axis=1)
    # scikit-learn wants rows that sum to 1 more exactly than float32 does.
    exact = probabilities.astype(np.float64) / probabilities.astype(np.float64).sum(axis=1, keepdims=True)
    log_loss = sklearn.metrics.log_loss(targets, exact, labels=labels)
    # One class against the rest: for two classes both have the same area.
    auc = np.mean([sklearn.metrics.roc_auc_score(targets == label, probabilities[:, label]) for label in labels])
    f1 = sklearn.metrics.f1_score(targets, predicted, average="macro", zero_division=0.0)
    assert computed("classification", "acc", targets, probabilities) == sklearn.metrics.accuracy_score(
        targets, predicted
    )
    assert computed("classification", "f1", targets, probabilities) == pytest.approx(f1)
    for name in ("loss", "log_loss"):
        assert computed("classification", name, targets, probabilities) == pytest.approx(log_loss, rel=1e-5, abs=1e-6)
    if len(labels) > 2:
        assert computed("classification", "auc", targets, probabilities) == auc


@settings(deadline=None)
@given(classified())
def test_the_auc_of_two_classes_agrees_with_scikit_learn(example: Any) -> None:
    targets, probabilities = example
    targets, positive = targets.clip(0, 1), probabilities[:, 1]
    found = computed("classification", "auc", targets, np.stack([1 - positive, positive], axis=1))
    assert found == sklearn.metrics.roc_auc_score(targets, positive)


@given(regressed())
def test_regression_agrees_with_scikit_learn(example: Any) -> None:
    targets, predictions = (array.astype(np.float64) for array in example)
    mse = sklearn.metrics.mean_squared_error(targets, predictions)
    mae = sklearn.metrics.mean_absolute_error(targets, predictions)
    assert computed("regression", "loss", *example) == pytest.approx(mse)
    assert computed("regression", "rmse", *example) == pytest.approx(math.sqrt(mse))
    assert computed("regression", "mae", *example) == pytest.approx(mae)


@given(regressed())
def test_r2_agrees_with_scikit_learn(example: Any) -> None:
    targets, predictions = example
    assume(np.ptp(targets) > 1e-3)
    wanted = sklearn.metrics.r2_score(targets.astype(np.float64), predictions.astype(np.float64))
    assert computed("regression", "r2", targets, predictions) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_known_values() -> None:
    targets = np.array([0, 1, 1, 2])
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    found = metrics.compute("classification", ["acc", "log_loss", "f1"], targets, probabilities)
    assert found["acc"] == 0.75
    assert found["log_loss"] == pytest.approx(-(math.log(0.7) + math.log(0.8) + math.log(0.3) + math.log(0.6)) / 4)
    assert found["f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    values = metrics.compute("regression", ["rmse", "mae", "r2"], np.array([0.0, 2.0]), np.array([1.0, 5.0]))
    assert values == {"rmse": pytest.approx(math.sqrt(5)), "mae": 2.0, "r2": pytest.approx(1 - 10 / 2)}


def test_log_loss_is_finite_where_a_model_is_certain_and_wrong() -> None:
    loss = computed("classification", "log_loss", np.array([0]), np.array([[0.0, 1.0]]))
    assert loss == pytest.approx(-math.log(1e-12))


@pytest.mark.parametrize("base", METRICS["classification"])
def test_a_probability_that_is_not_a_number_makes_the_metric_not_a_number(base: str) -> None:
    targets = np.array([0, 1, 1])
    probabilities = np.full((3, 2), np.nan, dtype=np.float32)
    assert math.isnan(computed("classification", base, targets, probabilities))


@pytest.mark.parametrize("base", METRICS["regression"])
def test_a_prediction_that_is_not_a_number_makes_the_metric_not_a_number(base: str) -> None:
    assert math.isnan(computed("regression", base, np.array([1.0, 2.0]), np.array([1.0, np.nan])))


def test_large_float32_values_do_not_lose_digits() -> None:
    targets = np.array([16777216.0, 16777218.0], dtype=np.float32)
    assert computed("regression", "mae", targets, targets[::-1]) == 2.0
    assert computed("regression", "r2", targets, targets[::-1]) == pytest.approx(-3.0)


def test_auc_without_an_example_of_a_class_is_undefined() -> None:
    with pytest.raises(ValueError, match="no example of class 2"):
        computed("classification", "auc", np.array([0, 1]), np.full((2, 3), 1 / 3))


@pytest.mark.parametrize("value", [0.0, 3.0, 0.1, 1e-8])
def test_r2_of_targets_that_are_all_the_same_is_undefined(value: float) -> None:
    # The mean of three times 0.1 is not 0.1: the spread must not be taken for one.
    with pytest.raises(ValueError, match="all targets are the same"):
        computed("regression", "r2", np.full(3, value), np.zeros(3))


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("val_loss", "minimize"), ("val_log_loss", "minimize"), ("val_acc", "maximize"), ("val_f1", "maximize"),
        ("val_auc", "maximize"), ("train_rmse", "minimize"), ("test_mae", "minimize"), ("val_r2", "maximize"),
    ],
)  # fmt: skip
def test_directions(name: str, direction: str) -> None:
    assert direction_of(name) == direction


def test_every_metric_is_better_for_a_better_model() -> None:
    """The declared direction is the one in which a model that knows the answer beats one that knows the opposite."""
    targets = np.array([0, 1, 0, 1])
    right = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.1, 0.9]])
    outputs: dict[Any, Any] = {"classification": (targets, right, 1 - right)}
    outputs["regression"] = (np.array([1.0, 2.0]), np.array([1.1, 2.1]), np.array([2.0, 1.0]))
    for task, (known, good, bad) in outputs.items():
        for metric in METRICS[task].values():
            assert is_better(metric.compute(known, good), metric.compute(known, bad), metric.direction)


def test_every_ranking_metric_is_better_for_a_better_ranking() -> None:
    items, user = np.eye(4, dtype=np.float32), np.array([[4, 3, 2, 1]], dtype=np.float32)
    held = HeldOut.of(csr_matrix([[0, 0, 0, 1]]), csr_matrix([[1, 0, 0, 0]]))
    good, bad = rank(user, items, held, 4), rank(-user, items, held, 4)
    found = [compute_ranking(["precision_at_1", "recall_at_1", "ndcg_at_3", "map_at_3", "mrr"], r) for r in (good, bad)]
    assert list(found[0].values()) == [1, 1, 1, 1, 1]
    assert list(found[1].values()) == [0, 0, 0.5, pytest.approx(1 / 3), pytest.approx(1 / 3)]
    assert {key for key, _ in map(key_of, found[0])} == set(METRICS["ranking"])
    assert {metric.direction for metric in METRICS["ranking"].values()} == {"maximize"}


@pytest.mark.parametrize(
    ("base", "key", "k"),
    [("ndcg_at_10", "ndcg_at_K", 10), ("map_at_1", "map_at_K", 1), ("mrr", "mrr", None), ("ndcg_at_0", "ndcg_at_0", None),
     ("ndcg_at_05", "ndcg_at_05", None), ("ndcg_at_K", "", None)],
)  # fmt: skip
def test_the_k_of_a_name(base: str, key: str, k: int | None) -> None:
    assert key_of(base) == (key, k)


def test_a_name_means_the_same_direction_in_every_task() -> None:
    shared = set(METRICS["classification"]) & set(METRICS["regression"])
    assert shared == {"loss"}
    assert len({METRICS[task]["loss"].direction for task in METRICS if task != "ranking"}) == 1


@pytest.mark.parametrize(
    "name",
    [
        "acc",
        "val_",
        "val_ac",
        "val_ndcg_at_0",
        "val_ndcg",
        "val_auc_at_10",
        "train_ndcg_at_10",
        "val_ndcg_at_K",
        "validation_acc",
        "",
        "val_val_acc",
        "VAL_ACC",
    ],
)
def test_names_that_are_no_metric(name: str) -> None:
    with pytest.raises(ValueError, match="unknown metric"):
        direction_of(name)


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'val_auc'"):
        direction_of("val_au")


def test_names_and_tasks() -> None:
    assert set(names(["val"])) == {f"val_{shown(base)}" for table in METRICS.values() for base in table}
    trained = {f"train_{base}" for task, table in METRICS.items() if task != "ranking" for base in table}
    assert set(names(["train"])) == trained and len(names()) == len(set(names()))
    assert tasks_of("val_recall_at_7") == tasks_of("test_mrr") == ["ranking"]
    assert all(direction_of(name) for name in names())
    assert tasks_of("val_acc") == ["classification"]
    assert tasks_of("val_rmse") == ["regression"]
    assert tasks_of("val_loss") == ["classification", "regression"]


def test_the_type_of_a_setting_that_names_a_metric() -> None:
    names_of = TypeAdapter(list[MetricName])
    assert names_of.validate_python(["val_acc"]) == ["val_acc"]
    with pytest.raises(ValidationError) as found:
        names_of.validate_python(["val_acc", "val_ac"])
    assert found.value.errors()[0]["loc"] == (1,)


@given(NUMBERS, NUMBERS, DIRECTIONS)
def test_of_two_numbers_at_most_one_is_better(one: float, other: float, direction: Any) -> None:
    assert is_better(one, other, direction) + is_better(other, one, direction) == (one != other)
    assert is_better(one, other, direction) == (one > other if direction == "maximize" else one < other)


@given(NUMBERS, DIRECTIONS)
def test_any_number_beats_nothing(value: float, direction: Any) -> None:
    assert is_better(value, None, direction)
    assert is_better(value, math.nan, direction)
    assert not is_better(value, value, direction)


@given(NUMBERS | st.none(), DIRECTIONS)
def test_what_is_no_finite_number_beats_nothing_at_all(best: float | None, direction: Any) -> None:
    for value in (math.nan, math.inf, -math.inf):
        assert not is_better(value, best, direction)


def test_zero_is_a_value_like_any_other() -> None:
    assert is_better(0.0, None, "maximize")
    assert not is_better(-1.0, 0.0, "maximize")
    assert is_better(-1.0, 0.0, "minimize")
    assert not is_better(1.0, 0.0, "minimize")
    assert not is_better(0.0, -0.0, "maximize")
