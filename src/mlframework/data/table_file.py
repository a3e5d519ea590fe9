"""Reading a table's file: csv, tsv (both also .gz) and parquet. What interaction_file.py shares is public."""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlframework.errors import DataError
from mlframework.imports import preload
from mlframework.machine import free_memory

if TYPE_CHECKING:
    import polars as pl

SEPARATORS = {".csv": ",", ".tsv": "\t"}
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")


LONGEST_LINE = 16 * 2**20
"""Bytes that one line of a text file may have: what a csv reader does with a line of gigabytes is no error message."""
_BLOCK = 4 * 2**20
_BYTES_OF_A_CELL = 16
"""What a text takes in memory at the least, however short."""


def read_frame(path: str | Path, setting: str = "data.path") -> "pl.DataFrame":
    """Read a table. The columns of csv and tsv stay text, those of parquet keep their types.

    Text stays text so that the category "007" is the same in training and in prediction, whatever else its column
    holds; `numbers` and `texts` in table_columns.py turn columns into what they are used as. Text is stripped, the
    words in `MISSING` become nulls, and blank lines are passed over.

    Args:
        path: the file.
        setting: the key or the option that names it, for messages.

    Raises:
        DataError: the file is missing, empty, of an unknown kind, or cannot be read as what its name says.
    """
    path = Path(path)
    with reading(path, setting):
        suffix = known_suffix(path)
        if suffix is None:
            raise DataError(f"{path}: unknown kind of table; save it as .csv, .tsv (both also with .gz) or .parquet")
        if suffix == ".parquet":
            return read_parquet(path)
        refuse_long_lines(path, SEPARATORS[suffix])
        return read_text(path, SEPARATORS[suffix])


@contextmanager
def reading(path: Path, setting: str) -> Iterator[None]:
    """Make sure that there is a file with something in it, and turn what the system says of it into a DataError.

    Args:
        path: the file.
        setting: the key of the config that names it, for messages.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: there is no such file; correct {setting}")
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a file; {setting} must name the table's file")
        if not path.is_file():
            raise DataError(f"{path}: is a pipe or a device, not a file; save what it gives as a file, and name that")
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty; it must hold a header line and rows")
        preload("polars")
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; check its permissions") from error


def known_suffix(path: Path) -> str | None:
    """Return ".parquet", ".csv" or ".tsv", whichever the name ends with but for a .gz, or None for another."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        return ".parquet"
    return next((suffix for suffix in SEPARATORS if name.removesuffix(".gz").endswith(suffix)), None)


def read_parquet(path: Path) -> "pl.DataFrame":
    """Read a parquet file.

    Raises:
        DataError: it is none, or has no rows.
    """
    import polars as pl

    try:
        # Some bytes may say that a value stands in a billion rows.
        rows = pl.scan_parquet(path, glob=False)
        n_cells = rows.select(pl.len()).collect().item() * len(rows.collect_schema())
        _require_memory(path, _BYTES_OF_A_CELL * n_cells)
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"{path}: cannot be read as parquet: {_first_line(error)}; write the file again") from error
    return _with_rows(frame, path)


def read_text(path: Path, separator: str, names: Sequence[str] | None = None) -> "pl.DataFrame":
    """Read a text file as columns of text; `names` are those of its columns where it has no header line.

    `refuse_long_lines` comes first: what reads here takes a line whole.

    Raises:
        DataError: it is no such file, or has no rows; the message has the line.
    """
    import polars as pl

    header = list(names) if names is not None else _header(path, separator)
    try:
        frame = pl.read_csv(path, separator=separator, has_header=names is None, infer_schema=False, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        _refuse_uneven_rows(path, separator, len(header))
        raise DataError(f"{path}: cannot be read as text columns: {_first_line(error)}; check its quotes") from error
    # Polars fills short rows up with nulls without a word; only then has the last column a null, or the row is blank.
    if frame.to_series(-1).null_count():
        _refuse_uneven_rows(path, separator, len(header))
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    return _with_rows(frame.rename(dict(zip(frame.columns, header, strict=True))), path)


def refuse_long_lines(path: Path, separator: str = ",") -> None:
    """Look for the ends of lines, a block at a time: a line of 2 GB is found after its first 16 MiB.

    What a file of gzip unpacks to is known only then: a megabyte may hold a gigabyte.

    Raises:
        DataError: a line is longer than `LONGEST_LINE`, there is more than fits into memory, or the file is no gzip
            although its name says so.
    """
    line, length, n_bytes, n_cells = 1, 0, 0, 0
    separators = separator.encode()
    with text_errors(path), open_file(path, "rb") as file:
        while block := file.read(_BLOCK):
            # A line that begins and ends within a block is short enough; only what goes from one to the next is measured.
            end = block.find(b"\n")
            if length + (len(block) if end < 0 else end) > LONGEST_LINE:
                raise DataError(
                    f"{path}:{line}: the line is longer than {LONGEST_LINE // 2**20} MiB; is this a text file with line "
                    "ends? mend this line, or write the file again"
                )
            line += block.count(b"\n")
            n_bytes, n_cells = n_bytes + len(block), n_cells + block.count(separators)
            _require_memory(path, n_bytes + _BYTES_OF_A_CELL * (n_cells + line))
            length = length + len(block) if end < 0 else len(block) - block.rfind(b"\n") - 1


def _require_memory(path: Path, n_bytes: int) -> None:
    free = free_memory()
    if free is not None and n_bytes > free:
        raise DataError(
            f"{path}: holds more than fits into memory: {n_bytes / 2**30:.1f} GiB or more, and {free / 2**30:.1f} GiB are "
            "free; train on a part of it"
        )


def open_file(path: Path, mode: str, **settings: Any) -> IO[Any]:
    """Open a file, through gzip where its name ends with .gz."""
    opener: Callable[..., IO[Any]] = gzip.open if path.name.lower().endswith(".gz") else open
    return opener(path, mode, **settings)


@contextmanager
def text_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong in reading text into a DataError."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8, or as parquet") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); compress it again") from error


def _with_rows(frame: "pl.DataFrame", path: Path) -> "pl.DataFrame":
    if frame.height == 0:
        raise DataError(f"{path}: there are columns but no rows; add data")
    return without_missing_words(frame)


def _header(path: Path, separator: str) -> list[str]:
    """Return the column names, stripped.

    Raises:
        DataError: the file is no UTF-8 text, names are missing or doubled, or the separator is another one.
    """
    _, fields = next(text_rows(path, separator), (1, []))
    header = [name.strip() for name in fields]
    if not any(header):
        raise DataError(f"{path}: the first line is blank; it must name the columns")
    unnamed = [str(i) for i, name in enumerate(header, start=1) if not name]
    if unnamed:
        raise DataError(f"{path}: the header has no name for column {', '.join(unnamed)}; name every column")
    doubled = sorted(name for name, count in Counter(header).items() if count > 1)
    if doubled:
        raise DataError(f"{path}: more than one column is called {', '.join(doubled)}; give each its own name")
    if len(header) == 1:
        for other, name in ((";", "semicolons"), ("\t", "tabs"), (",", "commas"), ("|", "bars")):
            if other in header[0]:
                wanted = "commas" if separator == "," else "tabs"
                raise DataError(f"{path}: its columns are separated by {name}; save it with {wanted}")
    return header


def _refuse_uneven_rows(path: Path, separator: str, width: int) -> None:
    """Raise DataError at the first row that has more or fewer fields than the header."""
    for line, fields in text_rows(path, separator):
        if fields and len(fields) != width:
            raise DataError(
                f"{path}:{line}: {len(fields)} fields, but the header has {width} columns; mend this line (a separator "
                "inside a value needs quotes)"
            )


def text_rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each row with the line on which it ends, as Python's own csv reader sees them.

    Raises:
        DataError: the file is not what its name says: no UTF-8 text, no gzip, or with broken quotes.
    """
    line = 0
    try:
        with text_errors(path), open_file(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator)
            for fields in reader:
                line = reader.line_num
                yield line, fields
    except csv.Error as error:
        raise DataError(f"{path}:{line + 1}: {error}; mend this line") from error


def without_missing_words(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Return the frame with its text stripped, and with nulls where text is a word in `MISSING` or a number is NaN."""
    import polars as pl
    import polars.selectors as cs

    text = [name for name, kind in frame.schema.items() if kind == pl.String]
    if text:
        # What is an integer as it stands has nothing to strip, and is no such word: to know takes a fifth of the work.
        no_integers = pl.col(text).cast(pl.Int64, strict=False).null_count() != pl.col(text).null_count()
        others = [name for name, is_other in frame.select(no_integers).row(0, named=True).items() if is_other]
        stripped = pl.col(others).str.strip_chars()
        frame = frame.with_columns(pl.when(stripped.is_in(MISSING)).then(None).otherwise(stripped).name.keep())
    return frame.with_columns(cs.float().fill_nan(None))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
