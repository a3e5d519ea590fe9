"""Groups: they are never cut apart, by the splits or by the folds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlframework.data.group_splits import draw_groups
from mlframework.data.splits import SplitConfig, split
from mlframework.data.tables import TableConfig
from mlframework.errors import DataError


@given(
    groups=st.lists(st.integers(0, 9), min_size=3, max_size=60).filter(lambda drawn: len(set(drawn)) >= 3),
    val=st.floats(0.05, 0.45),
    test=st.floats(0.05, 0.45),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_row_is_in_one_split_and_every_group_too(groups: list[int], val: float, test: float, seed: int) -> None:
    numbers = np.array(groups, dtype=np.int64)
    parts = draw_groups(numbers, val, test, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
    of_parts = [set(numbers[rows].tolist()) for rows in parts]
    assert all(of_parts) and sum(map(len, of_parts)) == len(set(groups))
    assert [rows.tolist() for rows in draw_groups(numbers, val, test, seed)] == [rows.tolist() for rows in parts]


def test_the_fractions_are_of_the_groups() -> None:
    groups = np.repeat(np.arange(10), 7)
    parts = draw_groups(groups, 0.3, 0.2, 0)
    assert [len(np.unique(groups[rows])) for rows in parts] == [5, 3, 2]
    assert len(draw_groups(groups, 0.3, 0.0, 0)[2]) == 0


def table(folder: Path, patients: list[str]) -> dict[str, Any]:
    rows = [f"{patient},{n % 7 + 0.5},{n % 2}" for n, patient in enumerate(patients)]
    (folder / "visits.csv").write_text("\n".join(["patient,x,sick", *rows]) + "\n")
    return {"type": "table", "path": str(folder / "visits.csv"), "target": "sick", "task": "classification"}


def test_a_group_column_is_no_feature_and_keeps_rows_together(tmp_path: Path) -> None:
    patients = [f"p{n // 4}" for n in range(40)]
    config = TableConfig(**table(tmp_path, patients), group_column="patient")
    loaded = config.load()
    assert loaded.examples.schema.numeric == ("x",) and loaded.examples.schema.categorical == ()
    splits = split(loaded, config.split, 0)
    assert splits.val is not None and splits.test is not None
    parts = [set(part.groups.tolist()) for part in (splits.train, splits.val, splits.test) if part.groups is not None]
    assert [len(part) for part in parts] == [6, 2, 2] and len(set.union(*parts)) == 10
    together = splits.refit().train
    assert together.groups is not None and len(together.groups) == len(together) == 32


def test_another_strategy_may_be_asked_for_beside_groups(tmp_path: Path) -> None:
    patients = [f"p{n // 4}" for n in range(40)]
    config = TableConfig(**table(tmp_path, patients), group_column="patient", split={"strategy": "random"})
    splits = split(config.load(), config.split, 0)
    assert splits.val is not None and splits.val.groups is not None and splits.train.groups is not None
    assert set(splits.val.groups) & set(splits.train.groups)


@pytest.mark.parametrize(
    ("patients", "message"),
    [
        (["a", "b"] * 10, "2 groups are too few for 3 splits"),
        (["a", "b", "", "c"] * 5, "group_column 'patient' has no value in 5 of 20 rows"),
    ],
)
def test_groups_that_cannot_be_drawn(tmp_path: Path, patients: list[str], message: str) -> None:
    config = TableConfig(**table(tmp_path, patients), group_column="patient")
    with pytest.raises(DataError, match=message):
        split(config.load(), config.split, 0)


def test_group_needs_a_group_column(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"split\.strategy group needs a group_column"):
        TableConfig(**table(tmp_path, ["a"] * 4), split=SplitConfig(strategy="group"))
    with pytest.raises(DataError, match=r"data\.group_column: unknown column 'patiant'; did you mean 'patient'"):
        TableConfig(**table(tmp_path, ["a"] * 4), group_column="patiant").load()
