"""Cross-validation: strategies, repeats, and what cannot be cut."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mlframework.data.splits import Splits
from mlframework.data.table_schema import TableExamples, TableSchema
from mlframework.errors import DataError
from mlframework.experiment import ExperimentConfig, load_data
from mlframework.folds import CrossValidation, cut_folds, folds_of

MakeConfig = Callable[..., ExperimentConfig]


def grouped(n_groups: int, per_group: int, *, classes: bool = True) -> Splits[TableExamples]:
    n = n_groups * per_group
    schema = TableSchema(
        ("x",), (), {}, "y", "classification" if classes else "regression", ("a", "b") if classes else None
    )
    targets = np.arange(n) % 2 if classes else np.linspace(0, 1, n, dtype=np.float32)
    examples = TableExamples(
        schema,
        np.arange(n, dtype=np.float32)[:, None],
        np.zeros((n, 0), dtype=np.int32),
        targets,
        np.arange(n) // per_group,
    )
    return Splits(examples.take(np.arange(n - 4)), examples.take(np.arange(n - 4, n)), examples)


@pytest.mark.parametrize("classes", [True, False])
def test_a_group_is_never_on_both_sides(classes: bool) -> None:
    folds = list(cut_folds(grouped(8, 5, classes=classes), 4, "group", 0))
    assert sorted(x for fold in folds if fold.val for x in fold.val.numeric[:, 0].tolist()) == list(range(40))
    for fold in folds:
        assert fold.val is not None and fold.val.groups is not None and fold.train.groups is not None
        assert not set(fold.val.groups) & set(fold.train.groups)


@pytest.mark.parametrize(
    ("data", "strategy", "message"),
    [
        (grouped(3, 5), "group", "n_folds: 4 is too many for the 3 groups"),
        (grouped(8, 5, classes=False), "stratified", "the target is a number; set it to kfold"),
    ],
)
def test_what_cannot_be_cut(data: Any, strategy: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(cut_folds(data, 4, strategy, 0))


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("group", "the data has no groups; name a data.group_column"),
        ("time_series", "the test split is not cut by time"),
    ],
)
def test_strategies_that_the_data_does_not_have(make_config: MakeConfig, strategy: Any, message: str) -> None:
    config = make_config("mlp classification")
    with pytest.raises(DataError, match=message):
        list(folds_of(config, load_data(config), CrossValidation(strategy=strategy)))


def test_a_strategy_goes_before_the_datas_own(make_config: MakeConfig) -> None:
    config = make_config("mlp classification")
    splits = load_data(config)

    def rows(strategy: Any) -> list[list[float]]:
        return [fold.val.numeric.tolist() for fold in folds_of(config, splits, CrossValidation(strategy=strategy))]

    assert rows(None) == rows("stratified") != rows("kfold")
    assert sorted(map(len, rows("kfold"))) == sorted(map(len, rows("stratified")))


def test_folds_by_group_where_there_is_a_group_column(make_config: MakeConfig, tmp_path: Path) -> None:
    lines = ["patient,x,kind", *(f"p{n // 3},{n % 7},{'ab'[n % 2]}" for n in range(90))]
    (tmp_path / "visits.csv").write_text("\n".join(lines) + "\n")
    data = {"type": "table", "path": str(tmp_path / "visits.csv"), "target": "kind", "group_column": "patient"}
    config = make_config("mlp classification", data=data)
    for fold in folds_of(config, load_data(config), CrossValidation(n_folds=3)):
        assert not set(fold.val.groups) & set(fold.train.groups)


def test_repeats_cut_anew(make_config: MakeConfig) -> None:
    config = make_config("mlp classification")
    plan = CrossValidation(n_folds=3, repeats=2)
    folds = [fold.val.numeric[:, 0].tolist() for fold in folds_of(config, load_data(config), plan)]
    assert len(folds) == plan.n_parts == 6
    assert sorted(chain(*folds[:3])) == sorted(chain(*folds[3:])) and folds[:3] != folds[3:]


def test_what_cannot_be_repeated() -> None:
    with pytest.raises(ValidationError, match="time_series cuts in one way only"):
        CrossValidation(strategy="time_series", repeats=2)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        CrossValidation(repeats=0)
