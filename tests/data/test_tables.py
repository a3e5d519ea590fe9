"""Tables: which columns become what, and the arrays they become."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlframework.data.splits import Loaded, split
from mlframework.data.table_columns import class_texts, infer_task, texts, times
from mlframework.data.table_schema import TableExamples, TableSchema, encode_frame
from mlframework.data.tables import TableConfig
from mlframework.errors import DataError

SCHEMA = TableSchema(
    numeric=("size",),
    categorical=("colour",),
    vocabulary={"colour": ("blue", "red")},
    target="y",
    task="classification",
    class_names=("no", "yes"),
)


def load(folder: Path, content: str | pl.DataFrame, **settings: Any) -> Loaded[TableExamples]:
    path = folder / ("t.csv" if isinstance(content, str) else "t.parquet")
    if isinstance(content, str):
        path.write_text(content)
    else:
        content.write_parquet(path)
    return TableConfig(type="table", path=str(path), **{"target": "y", **settings}).load()


def test_columns_become_what_they_look_like(tmp_path: Path) -> None:
    table = "size,colour,y\n1.5,red,no\n?,blue,yes\n-2e3,red,no\n7,,yes\n"
    loaded = load(tmp_path, table)
    examples = loaded.examples
    assert examples.schema == SCHEMA
    np.testing.assert_array_equal(examples.numeric, np.array([[1.5], [np.nan], [-2000], [7]], dtype=np.float32))
    assert examples.numeric.dtype == np.float32
    assert examples.categorical.tolist() == [[1], [0], [1], [-1]]
    assert examples.categorical.dtype == np.int32
    assert examples.targets.tolist() == [0, 1, 0, 1]
    assert examples.targets.dtype == np.int64
    assert loaded.stratify is not None
    assert loaded.class_names == ("no", "yes")
    assert loaded.time is None


def test_parquet_types_become_what_they_are(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "flag": [True, False, None, True],
            "kind": pl.Series(["a", "b", "a", None], dtype=pl.Categorical),
            "count": pl.Series([1, 2, 2, None], dtype=pl.Int8),
            "y": [1.5, 2.5, 3.25, 9.0],
        }
    )
    loaded = load(tmp_path, frame)
    examples = loaded.examples
    assert examples.schema.categorical == ("flag", "kind")
    assert examples.schema.vocabulary == {"flag": ("false", "true"), "kind": ("a", "b")}
    assert examples.categorical.tolist() == [[1, 0], [0, 1], [-1, 0], [1, -1]]
    np.testing.assert_array_equal(examples.numeric, np.array([[1], [2], [2], [np.nan]], dtype=np.float32))
    assert examples.schema.task == "regression"
    assert examples.targets.dtype == np.float32
    assert examples.targets.tolist() == [1.5, 2.5, 3.25, 9.0]
    assert loaded.stratify is None


def test_columns_that_are_named_are_used_as_what_they_are_named(tmp_path: Path) -> None:
    table = "zip,a,b,extra,y\n01,1,2,3,u\n02,2,3,4,v\n01,5,3,4,u\n"
    schema = load(tmp_path, table, numeric=["a"], categorical=["zip"]).examples.schema
    assert (schema.numeric, schema.categorical) == (("a",), ("zip",))
    assert schema.vocabulary == {"zip": ("01", "02")}
    schema = load(tmp_path, table, categorical=["zip"], drop=["extra"]).examples.schema
    assert (schema.numeric, schema.categorical) == (("a", "b"), ("zip",))


def test_columns_that_are_no_good_are_left_out_with_the_reason(tmp_path: Path) -> None:
    rows = "".join(f"n{i},{i},always,2024-01-{i + 1:02},,{i % 3},{i % 2}\n" for i in range(25))
    with pytest.warns(UserWarning) as caught:
        schema = load(tmp_path, "name,number,const,day,empty,good,y\n" + rows).examples.schema
    assert schema.numeric == ("good",)
    assert schema.categorical == ()
    message = str(caught[0].message)
    for reason in (
        "'name' (every value different)",
        "'number' (row numbers)",
        "'const' (always always)",
        "'day' (dates)",
        "'empty' (no values)",
        "data.drop",
    ):
        assert reason in message


def test_a_stray_text_in_a_column_of_numbers_is_told_of(tmp_path: Path) -> None:
    lines = [f"{i % 7},{'ab'[i % 2]},{i % 2}" for i in range(40)]
    lines[10] = "abc,a,0"
    with pytest.warns(UserWarning, match=r"'size' \(1 of its 40 values is no number, such as 'abc' in data row 11\)"):
        schema = load(tmp_path, "size,kind,y\n" + "\n".join(lines)).examples.schema
    assert schema.categorical == ("size", "kind")
    lines[11:13] = ["?,a,1", "4,a,0"]
    with pytest.warns(UserWarning, match="1 of its 39 values is no number"):  # what is missing is none
        load(tmp_path, "size,kind,y\n" + "\n".join(lines))


def test_sizes_among_which_are_numbers_are_text_without_a_word(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    load(tmp_path, "size,y\n" + "".join(f"{['36', '38', '40', 'S', 'M', 'L'][i % 6]},{i % 2}\n" for i in range(40)))
    lines = [f"{i % 7},{i % 2}" for i in range(40)]
    load(tmp_path, "size,y\n" + "\n".join(["abc,0", *lines]), categorical=["size"])
    assert not recwarn.list


def test_dropped_columns_are_left_out_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    schema = load(tmp_path, "id,a,y\nx,1,u\ny,2,v\nz,2,v\n", drop=["id"]).examples.schema
    assert (schema.numeric, schema.categorical) == (("a",), ())
    assert not recwarn.list


def test_rows_without_a_target_are_left_out_and_counted(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"t\.csv: 2 of 5 rows have no value of the target 'y'"):
        examples = load(tmp_path, "a,y\n1,u\n2,\n3,v\n4,NA\n3,u\n").examples
    assert examples.numeric[:, 0].tolist() == [1, 3, 3]


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", "a"], "classification"),
        ([True, False, True], "classification"),
        ([0, 1] * 5, "classification"),
        (["0.0", "1.0"] * 5, "classification"),
        (list(range(30)), "regression"),
        ([0.5, 1.5] * 10, "regression"),
        (list(range(20)) * 5, "classification"),
        (list(range(21)) * 5, "regression"),
        ([1, 2, 3], "regression"),
    ],
)
def test_the_task_is_inferred_from_the_target(values: list[Any], task: str) -> None:
    assert infer_task(pl.Series("y", values)) == task


def test_the_task_that_is_named_wins(tmp_path: Path) -> None:
    table = "a,y\n" + "".join(f"{i % 7},{i % 3}\n" for i in range(30))
    assert load(tmp_path, table).examples.schema.class_names == ("0", "1", "2")
    loaded = load(tmp_path, table, task="regression")
    assert loaded.examples.schema.class_names is None
    assert loaded.examples.targets.dtype == np.float32
    assert split(loaded, TableConfig(type="table", path="", target="y").split, 0).val is not None


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    table = "a,y\n" + "".join(f"{i % 7},{(2, 10, 1)[i % 3]}\n" for i in range(30))
    assert load(tmp_path, table).examples.schema.class_names == ("1", "2", "10")


def test_numbers_as_categories_and_classes_are_the_same_however_they_are_stored() -> None:
    assert texts(pl.Series([1.0, 2.5, None, -3.0])).to_list() == ["1", "2.5", None, "-3"]
    assert float(texts(pl.Series([1e300]))[0]) == 1e300
    assert texts(pl.Series([1, 2])).to_list() == ["1", "2"]
    assert texts(pl.Series(["01", "1.0"])).to_list() == ["01", "1.0"]
    assert class_texts(pl.Series(["01", "1.0", "2"])).to_list() == ["1", "1", "2"]
    assert class_texts(pl.Series(["01", "x"])).to_list() == ["01", "x"]


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["2024-03-01", "2023-12-31", "2024-01-15"], [1, 2, 0]),
        (["2024-01-01T10:00:00Z", "2024-01-01T11:00:00+02:00", "2024-01-01T10:30:00Z"], [1, 0, 2]),
        (["2024-01-01 10:00", "2024-01-01 09:59", "2024-01-02 00:00"], [1, 0, 2]),
        (["10", "9", "11.5"], [1, 0, 2]),
        ([10, 9, 11], [1, 0, 2]),
        ([datetime.date(2024, 3, 1), datetime.date(2023, 3, 1), datetime.date(2025, 3, 1)], [1, 0, 2]),
    ],
)
def test_the_time_column_orders_the_rows_and_is_no_feature(tmp_path: Path, values: list[Any], order: list[int]) -> None:
    frame = pl.DataFrame({"when": values, "a": [0, 1, 2], "y": [0.5, 1.5, 2.5]})
    settings: dict[str, Any] = {"time_column": "when", "split": {"strategy": "time"}}
    loaded = load(tmp_path, frame.write_csv() if isinstance(values[0], str) else frame, **settings)
    assert loaded.examples.schema.numeric == ("a",)
    assert loaded.time is not None
    assert np.argsort(loaded.time, kind="stable").tolist() == order
    splits = split(loaded, TableConfig(type="table", path="", target="y", **settings).split, 0)
    assert [int(part.numeric[0, 0]) for part in (splits.train, splits.val, splits.test) if part is not None] == order


def test_times_of_a_zone_are_told_in_utc() -> None:
    noon = datetime.datetime(2024, 7, 1, 12)
    column = pl.Series("when", [noon, None]).dt.replace_time_zone("Europe/Berlin")
    assert times(column, "t").astype(str).tolist() == ["2024-07-01T10:00:00.000000", "NaT"]


FOUR = "a,b,y\n1,u,p\n2,v,q\n1,u,p\n2,v,q\n"


@pytest.mark.parametrize(
    ("table", "settings", "message"),
    [
        (FOUR, {"target": "Y"}, "data.target: unknown column 'Y'; did you mean 'y'"),
        (
            FOUR,
            {"numeric": ["aa"], "drop": ["bb"]},
            "(?s)data.numeric: unknown column 'aa'.*data.drop: unknown column 'bb'",
        ),
        (
            FOUR,
            {"numeric": ["b"]},
            "'b' is to be numeric, but 4 of its 4 values are no numbers .such as 'u'.*data.categorical",
        ),
        (FOUR, {"task": "regression"}, "'y' is to be numeric, but 4 of its 4 values are no numbers .such as 'p'"),
        (FOUR, {"drop": ["a", "b"]}, "no column is left to predict 'y' from"),
        (FOUR, {"time_column": "b"}, "'b' holds neither numbers nor dates .such as 'u'.; write dates as 2024-01-31"),
        ("a,y\n1,p\n2,p\n", {}, "has only one class, 'p'"),
        ("a,y\n1,\n2,NA\n", {}, "target 'y' has no value in any row"),
        ("a,y\n1,p\n2,q\ninf,q\n", {}, "'a' has 1 values that are infinite.*inf in data row 3"),
        ("a,y\n1,p\n2,q\n1e300,q\n", {}, "'a' has 1 values that are infinite or beyond"),
        ("d,y\n2024-01-01,p\n2024-02-01,q\n", {"numeric": ["d"]}, "'d' holds dates, not numbers"),
        ("d,a,y\n2024-01-01,1,p\n2024-99-01,2,q\n", {"time_column": "d"}, "such as '2024-99-01'"),
        ("d,a,y\n01/02/2024,1,p\n03/04/2024,2,q\n", {"time_column": "d"}, "such as '01/02/2024'"),
    ],
)
def test_tables_that_do_not_fit_the_config_are_refused(
    tmp_path: Path, table: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, table, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"numeric": ["a"], "categorical": ["a"]},
            "column 'a' is named under numeric and under categorical; name it once",
        ),
        ({"drop": ["y"]}, "column 'y' is named under target and under drop"),
        ({"numeric": ["a", "a"]}, "column 'a' is named twice under numeric"),
        ({"split": {"strategy": "time"}}, "split.strategy time needs a time_column"),
        ({"split": {"strategy": "stratified"}, "task": "regression"}, "stratified needs classes.*use random"),
        ({"numeric": [1]}, "should be a valid string"),
        ({"fraction": 1.5}, "less than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TableConfig(type="table", path="t.csv", target="y", **settings)


def test_a_frame_to_predict_from_needs_no_target_and_may_hold_new_categories() -> None:
    frame = pl.DataFrame({"other": [0, 0, 0], "colour": ["red", "green", None], "size": ["1", " NA ", "3"]})
    examples = encode_frame(frame, SCHEMA)
    assert examples.categorical[:, 0].tolist() == [1, -1, -1]
    np.testing.assert_array_equal(examples.numeric[:, 0], [1, np.nan, 3])
    assert examples.targets.tolist() == [0, 0, 0]
    assert examples.targets.dtype == np.int64
    assert encode_frame(frame.with_columns(y=pl.lit(None)), SCHEMA).targets.tolist() == [0, 0, 0]
    assert encode_frame(frame.with_columns(y=pl.lit("yes")), SCHEMA).targets.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"colour": ["red"]}, "batch: no column 'size', which the model was trained with"),
        ({"colour": ["red"], "size": ["big"]}, "batch: column 'size' is to be numeric.*'big'"),
        ({"colour": ["a", "b"], "size": [1, 2], "y": ["yes", None]}, "target 'y' is missing in 1 of 2 rows"),
        (
            {"colour": ["a", "b"], "size": [1, 2], "y": ["yes", "maybe"]},
            "'maybe' in data row 2.*none of the classes no, yes",
        ),
    ],
)
def test_a_frame_that_does_not_fit_the_schema_is_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_frame(pl.DataFrame(columns), SCHEMA, source="batch")


def test_a_schema_survives_json() -> None:
    assert TableSchema.from_dict(SCHEMA.to_dict()) == SCHEMA
    assert isinstance(SCHEMA.to_dict()["vocabulary"]["colour"], list)


rows = st.lists(st.integers(0, 5), max_size=8)


@given(a=rows, b=rows)
def test_take_and_concat_keep_the_columns_together(a: list[int], b: list[int]) -> None:
    six = np.arange(6)
    whole = TableExamples(SCHEMA, six[:, None].astype(np.float32), six[:, None].astype(np.int32), six)
    both = whole.take(np.array(a, dtype=np.int64)).concat(whole.take(np.array(b, dtype=np.int64)))
    assert both.targets.tolist() == a + b == both.numeric[:, 0].tolist() == both.categorical[:, 0].tolist()
    assert len(both) == len(a) + len(b)
    assert both.numeric.dtype == np.float32


def test_rows_of_different_tables_are_not_put_together() -> None:
    frame = pl.DataFrame({"size": [1], "colour": ["red"]})
    other = TableSchema.from_dict(SCHEMA.to_dict() | {"class_names": ["a", "b"]})
    with pytest.raises(ValueError, match="different tables"):
        encode_frame(frame, SCHEMA).concat(encode_frame(frame, other))
