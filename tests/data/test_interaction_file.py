"""Reading logs: which files, with or without a header, and what is wrong with a value is said with its line."""

import gzip
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.data.interaction_file import BY_POSITION, RawTable, finite, ids, moments, read_raw
from mlframework.errors import DataError


def log(folder: Path, content: str | bytes, name: str = "log.csv") -> RawTable:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_raw(path, "data.path", BY_POSITION)


def parquet(folder: Path, **columns: Any) -> RawTable:
    pl.DataFrame(columns).write_parquet(folder / "log.parquet")
    return read_raw(folder / "log.parquet", "data.path", BY_POSITION)


ROWS = [("7", "b", "3"), ("8", "a", "4.5")]


@pytest.mark.parametrize(
    ("name", "separator"),
    [
        ("log.csv", ","), ("log.tsv", "\t"), ("u.data", "\t"), ("log.txt", ";"), ("log.dat", "|"), ("log.inter", ","),
        ("log", "\t"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_the_separator_is_that_of_the_suffix_or_of_the_first_line(
    tmp_path: Path, name: str, separator: str, packed: bool
) -> None:
    text = "\n".join(separator.join(row) for row in [("user", "item", "stars"), *ROWS]).encode()
    raw = log(tmp_path, gzip.compress(text) if packed else text, f"{name}.gz" if packed else name)
    assert raw.frame.columns == ["user", "item", "stars"]
    assert raw.frame.rows() == ROWS


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("width", [2, 3, 4])
def test_a_first_line_of_numbers_is_no_header(tmp_path: Path, width: int, bom: str) -> None:
    fields = ["196", "242", "3.5", "881250949"][:width]
    raw = log(tmp_path, bom + "\t".join(fields) + "\n" + "\t".join("9" * width) + "\n", "u.data")
    assert raw.frame.columns == ["user_id", "item_id", "rating", "timestamp"][:width]
    assert raw.frame.rows() == [tuple(fields), tuple("9" * width)]
    assert raw.place(0) == "u.data:1"


def test_types_in_a_header_are_taken_off_where_all_columns_have_one(tmp_path: Path) -> None:
    raw = log(tmp_path, "user_id:token\titem_id:token\ta:float\tb:token_seq\tc:float_seq\n1\t2\t3\t4\t5\n", "a.inter")
    assert raw.frame.columns == ["user_id", "item_id", "a", "b", "c"]
    assert log(tmp_path, "user_id:token,item\n1,2\n").frame.columns == ["user_id:token", "item"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.dat", "1::1193::5::978300760\n", "r.dat:1: the fields are separated by '::'; put one tab"),
        ("r.csv", "1::1193::5::978300760\n", "r.csv:1: the fields are separated by '::'"),
        ("r.txt", "word\nword\n", "r.txt:1: neither a tab nor a comma"),
        ("r.data", "1,2,3,4,5\n", "r.data:1: .* 5 columns without names .*; add a header line"),
        ("r.csv", "1\n2\n", "1 columns without names"),
        ("r.inter", "a:token,a:float\n1,2\n", "more than one column is called a"),
        ("r.inter", "a,b\n1,2\n3\n", "r.inter:3: 1 fields, but the header has 2"),
        ("r.xlsx", b"PK\x03\x04\xff\xfe\x00", "not UTF-8 text"),
        ("r.dat.gz", b"1,2\n", "not a whole gzip file"),
        ("r.data", "", "the file is empty"),
        ("r.parquet", "1,2\n", "cannot be read as parquet"),
    ],
)
def test_files_that_are_no_logs_are_refused(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        log(tmp_path, content, name)


def test_a_path_that_is_no_file_is_refused_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file; correct data\.user_features\.path"):
        read_raw(tmp_path / "x.csv", "data.user_features.path")
    with pytest.raises(DataError, match="is a folder"):
        read_raw(tmp_path, "data.path")


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "u.data").open("wb") as file:
        file.write(b"1\t2\n")
        file.truncate(2 * 2**30)
    with pytest.raises(DataError, match=r"u\.data:2: the line is longer than 16 MiB"):
        read_raw(tmp_path / "u.data", "data.path", BY_POSITION)


def test_a_feature_table_needs_a_header(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("1,2\n3,4\n")
    with pytest.raises(DataError, match=r"f\.csv:1: .*numbers only; add a header line"):
        read_raw(tmp_path / "f.csv", "data.user_features.path")


@given(values=st.lists(st.integers(0, 2**62), min_size=1, max_size=9))
def test_whole_numbers_in_text_are_integers(values: list[int]) -> None:
    raw = RawTable(Path("t.csv"), pl.DataFrame({"id": [str(value) for value in values]}), ",")
    assert ids(raw, "id").to_list() == values


words = st.one_of(
    st.from_regex(r"[0-9]{1,20}", fullmatch=True), st.text(min_size=1).filter(lambda text: text[0] != "-")
)


@given(values=st.lists(words, min_size=1, max_size=9))
def test_ids_that_are_not_all_written_as_integers_are_stay_text(values: list[str]) -> None:
    def canonical(text: str) -> bool:
        return text.isascii() and text.isdigit() and str(int(text)) == text and int(text) < 2**63

    found = ids(RawTable(Path("t.csv"), pl.DataFrame({"id": values}), ","), "id").to_list()
    assert found == ([int(value) for value in values] if all(map(canonical, values)) else values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 1], [3, 1]),
        (["3", "1"], ["3", "1"]),
        ([3.0, 1.0], [3, 1]),
        (pl.Series(["b", "a"], dtype=pl.Categorical), ["b", "a"]),
        (pl.Series([2**64 - 1, 0], dtype=pl.UInt64), [2**64 - 1, 0]),
    ],
)
def test_parquet_keeps_the_type_of_ids(tmp_path: Path, values: Any, expected: list[Any]) -> None:
    assert ids(parquet(tmp_path, id=values), "id").to_list() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1\n\n2,-5\n3,1\n4,-6\n", r"log\.csv:4: column 'b' is '-5', and ids cannot be negative \(1 more of 4 rows"),
        ("1,1\n2,\n", r"log\.csv:3: column 'b' is empty; every row needs an id"),
        ("1,1\n2,NA\n", r"log\.csv:3: column 'b' is empty"),
    ],
)
def test_bad_ids_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ids(log(tmp_path, f"a,b\n{text}"), "b")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, -2], r"log\.parquet: row 2: column 'id' is -2, and ids cannot be negative"),
        ([1.0, 2.5], r"row 2: column 'id' is 2\.5, which is no whole number"),
        ([1.0, None], "row 2: column 'id' is empty"),
        ([1.0, float("nan")], "row 2: column 'id' is empty"),
        ([date(2024, 1, 1)], "column 'id' holds Date values, but ids must be integers or text"),
        ([True, False], "holds Boolean values"),
    ],
)
def test_bad_ids_in_parquet_are_named_with_their_row(tmp_path: Path, values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ids(parquet(tmp_path, id=values), "id")


def test_the_line_is_right_behind_quotes_blank_lines_and_in_gzip(tmp_path: Path) -> None:
    raw = log(tmp_path, gzip.compress(b"\n".join([b"a,b", b'"x', b'y",1', b"", b",,"[:1], b"z,bad"])), "log.csv.gz")
    with pytest.raises(DataError, match=r"log\.csv\.gz:6: column 'b' is 'bad', which is no number"):
        finite(raw, "b")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("good", r"log\.csv:3: column 'r' is 'good', which is no number; mend it"),
        ("", r"log\.csv:3: column 'r' is empty"),
        ("inf", "which is infinite"),
        ("-Infinity", "is infinite|is no number"),
        ("1e39", "beyond 3e38"),
        ("nan", "is empty"),
    ],
)
def test_bad_ratings_are_named_with_their_line(tmp_path: Path, value: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        finite(log(tmp_path, f"a,r\nx,3\nx,{value}\nx,2\n"), "r")


def test_ratings_may_be_missing_where_that_is_said(tmp_path: Path) -> None:
    found = finite(log(tmp_path, "a,r\nx,3\nx,\nx,-2.5\n"), "r", missing=True)
    assert found.tolist()[::2] == [3, -2.5]
    assert np.isnan(found[1])


@pytest.mark.parametrize("values", [[True], [date(2024, 1, 1)], [[1.0]]])
def test_ratings_in_parquet_are_numbers(tmp_path: Path, values: list[Any]) -> None:
    with pytest.raises(DataError, match="must be numbers"):
        finite(parquet(tmp_path, r=values), "r")


def test_times_are_numbers_or_dates(tmp_path: Path) -> None:
    assert moments(log(tmp_path, "a,t\nx,3\nx,2.5\n"), "t").tolist() == [3, 2.5]
    found = moments(log(tmp_path, "a,t\nx,2024-01-31\nx,2023-02-01\n"), "t")
    assert found.astype("datetime64[D]").astype(str).tolist() == ["2024-01-31", "2023-02-01"]
    when = datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert moments(parquet(tmp_path, t=[when]), "t").astype("datetime64[h]").astype(str).tolist() == ["2024-01-31T12"]
    assert moments(parquet(tmp_path, t=[5, 3]), "t").tolist() == [5, 3]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["1", "yesterday", "3"], r"log\.csv:3: column 't' is 'yesterday', which is no number; write all times"),
        (["2024-01-31", "2024-13-31", "2024-02-01"], r"log\.csv:3: column 't' is '2024-13-31', which is no date"),
        (["2024-01-31", "2024-02-01", "17"], r"log\.csv:4: column 't' is '17', which is no date"),
        (["1", "2024-01-31", "17"], r"log\.csv:3: column 't' is '2024-01-31', which is no number"),
        (["1", "", "3"], r"log\.csv:3: column 't' is empty"),
        (["1", "inf", "3"], r"log\.csv:3: column 't' is 'inf', which is"),
    ],
)
def test_bad_times_are_named_with_their_line(tmp_path: Path, times: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        moments(log(tmp_path, "a,t\n" + "".join(f"x,{time}\n" for time in times)), "t")


def test_times_in_parquet_are_numbers_or_dates(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds Boolean values, but times must be"):
        moments(parquet(tmp_path, t=[True]), "t")
    with pytest.raises(DataError, match=r"row 2: column 't' is empty"):
        moments(parquet(tmp_path, t=[datetime(2024, 1, 1), None]), "t")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_csv_may_have_another_separator(separator: str, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("user_id,item_id\na,b\nc,d\n".replace(",", separator), encoding="utf-8")
    raw = read_raw(path, "data.path")
    assert raw.frame.rows() == [("a", "b"), ("c", "d")]
    assert raw.place(1) == "r.csv:3"
