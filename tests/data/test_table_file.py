"""Reading tables: text stays text, missing is null, and what is wrong is named with its line."""

import gzip
import tracemalloc
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.data.table_file import LONGEST_LINE, MISSING, read_frame, refuse_long_lines, without_missing_words
from mlframework.errors import DataError


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_text_stays_as_it_is_but_for_spaces_around_it(tmp_path: Path) -> None:
    frame = read_frame(written(tmp_path, '\ufeffid, name \n007," a, b "\n1e5,"two\nlines"\n'))
    assert frame.columns == ["id", "name"]
    assert frame.rows() == [("007", "a, b"), ("1e5", "two\nlines")]


@pytest.mark.parametrize("word", MISSING)
def test_each_missing_word_is_null(tmp_path: Path, word: str) -> None:
    frame = read_frame(written(tmp_path, f"a,b\n1,x\n {word} ,y\n"))
    assert frame["a"].to_list() == ["1", None]


near_integers = st.one_of(
    st.none(),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from([*MISSING, " 7", "7 ", "+7", "007", "-", "1.0", "٣"]),
)


@given(st.lists(near_integers, min_size=1), st.lists(st.integers().map(str), min_size=1, max_size=1))
def test_columns_of_integers_are_passed_over_and_all_others_looked_at(
    values: list[str | None], whole: list[str]
) -> None:
    frame = pl.DataFrame({"a": values, "b": whole * len(values)}, schema={"a": pl.String, "b": pl.String})
    wanted = [None if value is None or value.strip() in MISSING else value.strip() for value in values]
    assert without_missing_words(frame).to_dict(as_series=False) == {"a": wanted, "b": whole * len(values)}


def test_tabs_and_gzip_and_parquet_hold_the_same(tmp_path: Path) -> None:
    rows = [("1", "x"), ("2", None)]
    written(tmp_path, "a\tb\n1\tx\n2\tNA\n", "t.tsv")
    written(tmp_path, gzip.compress(b"a,b\n1,x\n2,?\n"), "t.csv.gz")
    pl.DataFrame({"a": ["1", "2"], "b": ["x", ""]}).write_parquet(tmp_path / "t.parquet")
    for name in ("t.tsv", "t.csv.gz", "t.parquet"):
        assert read_frame(tmp_path / name).rows() == rows


def test_parquet_keeps_its_types_and_nan_is_missing(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1, 2], "b": [0.5, float("nan")], "c": [True, None]}).write_parquet(tmp_path / "t.parquet")
    frame = read_frame(tmp_path / "t.parquet")
    assert frame.schema == {"a": pl.Int64, "b": pl.Float64, "c": pl.Boolean}
    assert frame.rows() == [(1, 0.5, True), (2, None, None)]


def test_blank_lines_are_no_rows_and_a_last_field_may_be_empty(tmp_path: Path) -> None:
    assert read_frame(written(tmp_path, "a,b\n\n1,\n\n2,y\n\n")).rows() == [("1", None), ("2", "y")]


cells = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z")), min_size=1).filter(
    lambda text: text.strip() == text and text not in MISSING
)


@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=8))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("t") / "t.csv"
    pl.DataFrame(rows, schema=["a", "b"], orient="row").write_csv(path)
    assert read_frame(path).rows() == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the first line is blank"),
        ("a,b\n", "columns but no rows"),
        ("a,b,c\n1,2,3\n4,5\n", r"t\.csv:3: 2 fields, but the header has 3 columns; mend this line"),
        ('a,b\n"x\ny",2\n4,5,6,7\n', r"t\.csv:4: 4 fields, but the header has 2 columns"),
        ("a,,b\n1,2,3\n", "no name for column 2"),
        ("a,b,a\n1,2,3\n", "more than one column is called a"),
        ("a;b\n1;2\n", "separated by semicolons; save it with commas"),
        ("a\tb\n1\t2\n", "separated by tabs; save it with commas"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text .*; save it as UTF-8"),
        ("name,b\nJosé,2\n".encode("latin-1"), "not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16"), "not UTF-8 text"),
        ('a,b\n1,2\n3,"4\n', "quotes|fields"),
    ],
)
def test_text_that_is_no_table_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_frame(written(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"PK", r"unknown kind of table; save it as \.csv"),
        ("t.parquet", b"garbage" * 20, "cannot be read as parquet"),
        ("t.csv.gz", b"a,b\n1,2\n", "not a whole gzip file"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 900, mtime=0)[:-12], "not a whole gzip file|cannot be read"),
        ("t.tsv", b"a,b\n1,2\n", "separated by commas; save it with tabs"),
    ],
)
def test_files_that_are_not_what_they_are_called_are_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_frame(written(tmp_path, content, name))


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no such file; correct data\.path"):
        read_frame(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_frame(tmp_path)


def long_line(path: Path, length: int) -> Path:
    """Write a header, a row, and a line of so many bytes, without holding it in memory."""
    with gzip.open(path, "wb", compresslevel=1) if path.suffix == ".gz" else path.open("wb") as file:
        file.write(b"a,b\n1,2\n")
        for start in range(0, length, 2**20):
            file.write(b"x" * min(2**20, length - start))
        file.write(b"\n3,4\n")
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz"])
def test_a_line_without_end_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    path = long_line(tmp_path / name, 200 * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=rf"{name}:3: the line is longer than 16 MiB"):
            read_frame(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * LONGEST_LINE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_is_sharp(tmp_path: Path, more: int) -> None:
    path = long_line(tmp_path / "t.csv", LONGEST_LINE + more)
    if more:
        with pytest.raises(DataError, match=r"t\.csv:3: the line is longer"):
            refuse_long_lines(path)
    else:
        refuse_long_lines(path)


def test_a_long_last_line_without_an_end_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.write(b"a,b\n" * 5000)
        file.truncate(2 * 2**30)
    with pytest.raises(DataError, match=r"t\.csv:5001: the line is longer"):
        read_frame(path)
