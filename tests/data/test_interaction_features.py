"""Feature tables: in the order of the ids, with what does not fit counted."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from mlframework.data import FeatureTable, TableExamples
from mlframework.errors import DataError

SETTING = "data.user_features"
PEOPLE = "user_id,age,town\n3,30,Rome\n1,,Oslo\n2,20,\n9,90,Lima\n5,50,Rome\n"


def table(folder: Path, content: str = PEOPLE, name: str = "users.csv", **settings: Any) -> FeatureTable:
    (folder / name).write_text(content)
    return FeatureTable(path=str(folder / name), **settings)


def load(of: FeatureTable, known: tuple[Any, ...] = (1, 2, 3, 5)) -> tuple[TableExamples, list[str]]:
    return of.load("user_id", known, SETTING)


def test_rows_stand_in_the_order_of_the_ids(tmp_path: Path) -> None:
    examples, notes = load(table(tmp_path), (1, 2, 3, 4, 5))
    assert (examples.schema.numeric, examples.schema.categorical) == (("age",), ("town",))
    # Lima is the town of nobody who is known.
    assert examples.schema.vocabulary == {"town": ("Oslo", "Rome")}
    np.testing.assert_array_equal(examples.numeric[:, 0], np.array([np.nan, 20, 30, np.nan, 50], dtype=np.float32))
    assert examples.categorical[:, 0].tolist() == [0, -1, 1, -1, 1]
    assert examples.targets.tolist() == [0] * 5
    assert notes == [
        "users.csv: 1 of 5 ids have no row, so their values are missing",
        "users.csv: 1 of 5 rows are of ids with no interactions left",
    ]


def test_text_ids_fit_as_well_and_nothing_is_said_where_all_fits(tmp_path: Path) -> None:
    of = table(tmp_path, "town\tuser_id\nRome\tb\nOslo\ta\nRome\tc\n", "f.data")
    examples, notes = load(of, ("a", "b", "c"))
    assert examples.categorical[:, 0].tolist() == [0, 1, 1]
    assert notes == []


def test_ids_of_parquet_fit_those_of_text(tmp_path: Path) -> None:
    pl.DataFrame({"user_id": [2.0, 1.0], "age": [20, 10]}).write_parquet(tmp_path / "f.parquet")
    examples, _ = load(FeatureTable(path=str(tmp_path / "f.parquet")), (1, 2))
    assert examples.numeric[:, 0].tolist() == [10, 20]
    examples, _ = load(FeatureTable(path=str(tmp_path / "f.parquet")), ("1", "2"))
    assert examples.numeric[:, 0].tolist() == [10, 20]


def test_columns_that_say_nothing_are_named(tmp_path: Path) -> None:
    content = "user_id,age,name,kind,since\n1,10,Ada,x,2024-01-01\n2,20,Bob,x,2024-01-01\n3,15,Cleo,x,2024-01-02\n"
    examples, notes = load(table(tmp_path, content), (1, 2, 3))
    assert (examples.schema.numeric, examples.schema.categorical) == (("age",), ())
    assert len(notes) == 1
    assert "'name' (every value different), 'kind' (always x), 'since' (dates); name them under" in notes[0]
    _, notes = load(table(tmp_path, content, drop=("name", "kind", "since")), (1, 2, 3))
    assert notes == []


def test_columns_are_used_as_they_are_named(tmp_path: Path) -> None:
    examples, _ = load(table(tmp_path, categorical=("age",)), (1, 2, 3))
    assert (examples.schema.numeric, examples.schema.categorical) == ((), ("age",))
    assert examples.schema.vocabulary == {"age": ("20", "30")}
    examples, _ = load(table(tmp_path, numeric=()), (1, 2, 3, 5))
    assert (examples.schema.numeric, examples.schema.categorical) == ((), ("town",))


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (PEOPLE + "1,7,Rome\n", {}, r"users\.csv:7: column 'user_id' is '1', which stood before; leave one row"),
        (PEOPLE + ",7,Rome\n", {}, r"users\.csv:7: column 'user_id' is empty"),
        (PEOPLE, {"numeric": ["town"]}, r"users\.csv:2: column 'town' is 'Rome', which is no number"),
        (PEOPLE, {"numeric": ["agee"]}, r"data\.user_features\.numeric: unknown column 'agee'; did you mean 'age'"),
        (PEOPLE, {"drop": ["user_id"]}, r"data\.user_features\.drop: 'user_id' is the key"),
        (PEOPLE, {"drop": ["age", "town"]}, r"no column is left .*data\.user_features\.numeric"),
        ("userid,age\n1,2\n", {}, r"data\.user_features: the key column is missing: .*did you mean 'userid'"),
        ("1,2\n3,4\n", {}, "numbers only; add a header line"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(
    tmp_path: Path, content: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(table(tmp_path, content, **settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"numeric": ["a"], "drop": ["a"]}, "column 'a' is named under numeric and under drop"),
        ({"categorical": ["a", "a"]}, "column 'a' is named twice under categorical"),
    ],
)
def test_a_column_has_one_role(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureTable(path="x.csv", **settings)
