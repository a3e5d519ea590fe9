"""Folds: how they are cut, and what they make of their values."""

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest

from mlframework.data.splits import Splits
from mlframework.errors import DataError
from mlframework.experiment import ExperimentConfig, load_data
from mlframework.folds import CrossValidation, cut_folds, folds_of
from mlframework.plans import (
    Folds,
    SingleSplit,
    aggregate,
    build_plan,
    mark_folds,
    marked_folds,
)
from mlframework.runs import RunDir, read_json

MakeConfig = Callable[..., ExperimentConfig]


class Numbers:
    """Examples that are known by their number."""

    def __init__(self, rows: np.ndarray, targets: np.ndarray) -> None:
        self.rows, self.targets = rows, targets

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: np.ndarray) -> "Numbers":
        return Numbers(self.rows[rows], self.targets[rows])

    def concat(self, other: "Numbers") -> "Numbers":
        return Numbers(np.concatenate([self.rows, other.rows]), np.concatenate([self.targets, other.targets]))


def splits(targets: Any, n_val: int = 4) -> Splits[Any]:
    targets = np.asarray(targets)
    rows = np.arange(len(targets))
    cut = len(rows) - n_val
    return Splits(Numbers(rows[:cut], targets[:cut]), Numbers(rows[cut:], targets[cut:]), Numbers(rows, targets))


CLASSES = [0, 1, 1, 0, 1, 1] * 5


@pytest.mark.parametrize("strategy", [None, "stratified", "kfold"])
def test_each_example_is_validated_on_once_and_never_trained_on_then(strategy: str | None) -> None:
    folds = list(cut_folds(splits(CLASSES), 5, strategy, 0))
    assert sorted(np.concatenate([fold.val.rows for fold in folds])) == list(range(30))
    for fold in folds:
        assert sorted([*fold.train.rows, *fold.val.rows]) == list(range(30))
        assert fold.test is None
        if strategy != "kfold":
            assert np.bincount(fold.val.targets).tolist() == [2, 4]


def test_the_seed_decides() -> None:
    def rows(seed: int) -> list[list[int]]:
        return [fold.val.rows.tolist() for fold in cut_folds(splits(CLASSES), 3, None, seed)]

    assert rows(1) == rows(1) != rows(2)


def test_by_time_every_fold_is_validated_on_what_comes_later() -> None:
    folds = list(cut_folds(splits(CLASSES), 4, "time_series", 0))
    assert len(folds) == 4 and all(fold.train.rows.max() < fold.val.rows.min() for fold in folds)


def test_numbers_are_cut_at_random() -> None:
    folds = list(cut_folds(splits(np.linspace(0, 1, 20, dtype=np.float32)), 4, None, 0))
    assert [len(fold.val) for fold in folds] == [5] * 4


@pytest.mark.parametrize(
    ("targets", "n_folds", "strategy", "message"),
    [
        ([0] * 9 + [1] * 2, 3, None, "n_folds: 3 is too many for the 2 examples of the smallest class"),
        (np.linspace(0, 1, 5, dtype=np.float32), 6, None, "n_folds: 6 is too many for the 5 examples$"),
        ([0, 1] * 3, 6, "time_series", "n_folds: 6 is too many for the 6 examples$"),
    ],
)
def test_too_many_folds(targets: Any, n_folds: int, strategy: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(cut_folds(splits(targets, n_val=2), n_folds, strategy, 0))


def test_a_small_class_is_no_matter_where_classes_are() -> None:
    assert len(list(cut_folds(splits([0] * 9 + [1] * 2), 3, "kfold", 0))) == 3


@pytest.mark.parametrize(
    ("how", "direction", "expected"),
    [("mean", "maximize", 3.0), ("median", "minimize", 2.0), ("worst", "maximize", 1.0), ("worst", "minimize", 6.0)],
)
def test_aggregate(how: Any, direction: Any, expected: float) -> None:
    assert aggregate([2.0, 1.0, 6.0], how, direction) == expected


def test_folds_train_each_in_its_own_folder_and_report(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config("mlp classification", metric="val_acc")
    reported: list[tuple[int, float]] = []
    plan = build_plan(CrossValidation(enabled=True, n_folds=3))
    found = plan.evaluate(
        config, load_data(config), RunDir(tmp_path), lambda step, value, *_: reported.append((step, value)), []
    )
    values = [result.value for result in found.runs]
    assert found.value == mean(values) and found.metrics["val_acc"] == pytest.approx(mean(values))
    assert found.best_epoch in range(1, 5)
    assert [read_json(tmp_path / f"fold_{n}" / "result.json")["value"] for n in (1, 2, 3)] == values
    # The first fold reports its epochs, each later one the aggregate so far.
    assert [step for step, _ in reported] == [1, 2, 3, 4, 5, 6]
    assert [value for _, value in reported[4:]] == [pytest.approx(mean(values[:2])), pytest.approx(mean(values))]
    assert found.to_dict()["folds"] == values and found.to_dict()["format"] == 1


def test_a_table_with_a_time_column_is_cut_by_time_though_no_strategy_is_named(
    tmp_path: Path, make_config: Any
) -> None:
    lines = ["day,x,kind", *(f"{day},{day % 7},{'ab'[day % 2]}" for day in range(40))]
    (tmp_path / "days.csv").write_text("\n".join(lines) + "\n")
    data = {"type": "table", "path": str(tmp_path / "days.csv"), "target": "kind", "time_column": "day"}
    config = make_config("mlp classification", data=data, **{"tracking.tensorboard": False})
    given = load_data(config)
    by_time = list(cut_folds(given, 3, "time_series", 0))
    for fold, expected in zip(folds_of(config, given, CrossValidation(n_folds=3)), by_time, strict=True):
        assert np.array_equal(fold.val.numeric, expected.val.numeric)
    found = Folds(CrossValidation(n_folds=3)).evaluate(config, given, RunDir(tmp_path / "run"), lambda *_: None, [])
    assert [run.last_epoch for run in found.runs] == [4, 4, 4]


def test_the_seed_of_the_split_is_the_seed_of_the_folds(make_config: MakeConfig) -> None:
    def rows(**changes: Any) -> list[list[float]]:
        config = make_config("mlp regression", **changes)
        given = load_data(make_config("mlp regression"))
        return [fold.val.targets.tolist() for fold in folds_of(config, given, CrossValidation(n_folds=3))]

    assert rows(seed=1) != rows(seed=2)
    assert rows(seed=1, **{"data.split": {"seed": 5}}) == rows(seed=2, **{"data.split": {"seed": 5}})


def test_one_split_is_the_plan_without_cross_validation(make_config: MakeConfig, tmp_path: Path) -> None:
    plan = build_plan(CrossValidation())
    assert isinstance(plan, SingleSplit)
    config = make_config("mlp classification")
    reported: list[int] = []
    found = plan.evaluate(config, load_data(config), RunDir(tmp_path), lambda step, *_: reported.append(step), [])
    assert reported == [1, 2, 3, 4] and len(found.runs) == 1 and found.value == found.runs[0].value


def test_a_folder_remembers_its_folds(tmp_path: Path) -> None:
    assert marked_folds(RunDir(tmp_path)) is None
    mark_folds(RunDir(tmp_path), CrossValidation(n_folds=4, aggregation="worst"))
    folds = marked_folds(RunDir(tmp_path))
    assert folds is not None and (folds.config.n_folds, folds.config.aggregation) == (4, "worst")
