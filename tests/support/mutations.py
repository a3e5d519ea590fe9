"""What fuzzing does to a config's text and to a file's bytes: small damages, drawn by hypothesis, that shrink well."""

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from hypothesis import strategies as st

Text: TypeAlias = str | bytes
Part = TypeVar("Part", str, bytes)

ODD_VALUES = (
    "", "null", "~", "true", "false", "yes", "-1", "0", "1", "2", "3", "0.5", "1.0", "-0.0", "1e-400", "1e309", "-1e309",
    ".nan", ".inf", "-.inf", "1000000", "1000000000", "99999999999999999999", "9" * 400, "0x7fffffff", "0o17", "1_000",
    "[]", "{}", "[1, 2]", "[[[[[]]]]]", "[null]", "{a: 1}", "{type: none}", "{type: 3}", "'text'", '""', '"a\\nb"', '"\\0"',
    '"\\e[31mred"', '"\\u202e"', "日本", "𝔘𝔫𝔦", "a" * 5000, "!!python/object/apply:os.system [touch PWNED]", "!!binary aGk=",
    "!!set {a}", "!custom x", "*nowhere", "&a [*a]", "2020-01-01", "12:30:45", "${HOME}", "${NOT_SET_ANYWHERE}", "${", "$",
    "../../x", "/etc/passwd", "/dev/null", "/dev/zero", "data", "data/nowhere.csv", "data/images", "data/table.csv",
    "-", "?", "|", ">", "%", "@", "`", "#", ":", "a: b: c", "{", "]", "\t", "'", '"',
    "adam", "sgd", "adamw", "mlp", "fm", "ffm", "als", "bpr", "two_tower", "resnet18", "table", "interactions", "image_folder",
    "cosine", "step", "plateau", "one_cycle", "none", "random", "stratified", "time", "leave_one_out", "group", "val_loss",
    "val_acc", "val_auc", "val_rmse", "val_ndcg_at_10", "val_recall_at_1000000", "test_acc", "train_loss", "cpu", "cuda:7",
    "mps", "classification", "regression", "ranking", "mixed_precision", "balanced", "TPESampler", "GridSampler",
    "CmaEsSampler", "QMCSampler", "NSGAIISampler", "HyperbandPruner", "PatientPruner", "ThresholdPruner", "WilcoxonPruner",
    "uniform", "loguniform", "int", "categorical", "maximize", "minimize", "row", "kind", "a", "user_id", "item_id", "rating",
    "sqlite:///x.db", "sqlite:////nowhere/x.db", "sqlite://", "journal:///x.log", "mysql://u:p@h/d", "postgresql://127.0.0.1:1/d",
    "redis://x", "sqlite:///data/table.csv",
)  # fmt: skip
"""What a value is replaced by: wrong types, odd numbers, YAML's own signs, words that mean something elsewhere."""

JUNK_LINES = (
    "---", "...", "%YAML 1.1", "? [a]", "- x", "x", "  y: 1", "\tz: 1", "<<: {seed: 1}", "<<: *x", "seed: 1", "search: null",
    "model: {architecture: mlp}", "tracking: {tensorboard: true}", "metrics: [val_f1, val_auc]", "unknown_key: 1", "'': 1",
    "? {a: 1}\n: 2", "[: 1", "name: ../../x", "name: \"a\\nb\"", "device: cuda:99", "\ufeff", "\x07", "search:", "data:",
    "  cross_validation: {enabled: true, n_folds: 2}", "  repeats: 2", "  constraints: [\"1 / 0 <= 1\"]",
    "  constraints: [\"__import__('os').system('touch PWNED') <= 1\"]", "  constraints: [\"optimizer.lr ** 1e9 <= 1\"]",
    "  enqueue: [{lr: 0.1}]", "  warm_start: [{path: data/table.csv}]", "  warm_start: [{study: ../../x}]", "  timeout: 1e-9",
    "  confirm: {top_k: 1, seeds: 2}", "  study_name: ../../x", "  study_name: \"x'; DROP TABLE studies; --\"",
    "  sampler: {type: GridSampler}", "  sampler: {type: GPSampler}", "  algorithm: hyperopt", "  direction: maximize",
    "  num_threads: 1000000000", "  fraction: 0.001", "  hidden_size: 1000000000", "  embedding_dim: 1000000000",
    "  factors: 1000000000", "  batch_size: 1000000000000", "  early_stopping: {patience: 1}", "  image_size: 33",
)  # fmt: skip

_LINE = re.compile(r"^(\s*(?:- )?)([^:#]*)(:\s*)(.*)$")
_INLINE = re.compile(r"(:\s*)([^,{}\[\]:]+)(?=[,}\]])")

Draw: TypeAlias = Callable[[st.SearchStrategy[int]], int]


def _position(draw: Draw, length: int) -> int:
    return draw(st.integers(0, max(length - 1, 0)))


def _one_of(draw: Draw, choices: Sequence[Part]) -> Part:
    return choices[_position(draw, len(choices))]


@st.composite
def configs(draw: Draw, texts: Sequence[str]) -> bytes:
    """Draw one of the texts with one to three damages; mostly UTF-8."""
    lines = _one_of(draw, texts).splitlines()
    for _ in range(draw(st.integers(1, 3))):
        _damage_line(draw, lines)
    written = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    what = draw(st.integers(0, 39))
    if what == 1:
        return written[: _position(draw, len(written))]
    if what == 2:
        at = _position(draw, len(written))
        return written[:at] + bytes([draw(st.integers(0, 255))]) + written[at:]
    if what == 3:
        return written.decode().encode("utf-16")
    return written


def _damage_line(draw: Draw, lines: list[str]) -> None:
    if not lines:
        lines.append(_one_of(draw, JUNK_LINES))
        return
    at, kind = _position(draw, len(lines)), draw(st.integers(0, 11))
    line = lines[at]
    found = _LINE.match(line)
    if kind <= 4 and found is not None and not line.lstrip().startswith("#"):
        inner = list(_INLINE.finditer(line))
        if inner and draw(st.integers(0, 3)):
            match = inner[_position(draw, len(inner))]
            lines[at] = line[: match.start(2)] + _one_of(draw, ODD_VALUES) + line[match.end(2) :]
        else:
            lines[at] = f"{found[1]}{found[2]}: {_one_of(draw, ODD_VALUES)}"
    elif kind == 5:
        del lines[at]
    elif kind == 6:
        lines.insert(_position(draw, len(lines)), line)
    elif kind == 7:
        other = _position(draw, len(lines))
        lines[at], lines[other] = lines[other], line
    elif kind == 8:
        lines[at] = "  " + line if draw(st.integers(0, 1)) else line[1:]
    elif kind == 9 and found is not None and found[2]:
        key = found[2]
        spot = _position(draw, len(key))
        lines[at] = f"{found[1]}{key[:spot]}{key[spot + 1 :]}{found[3]}{found[4]}"
    else:
        lines.insert(at, _one_of(draw, JUNK_LINES))


CELLS = (
    b"", b"NA", b"nan", b"inf", b"-inf", b"1e309", b"1e400", b"-1", b"0", b"9" * 400, b"0x10", b'"', b'""', b'"a', b"'",
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b",", b";", b"\t", b"::", b",,,,", b"=1+1", b"@x", b"\x1b[31m",
    "日本".encode(), b"\xe2\x80\xae", b"2020-01-01", b"true", b"a" * 5000, b"\x1f\x8b", b"PAR1", b"\x89PNG", b"GIF89a",
    b"\xff\xd8",    b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x00" * 64, b"-9223372036854775809",
    b"18446744073709551616", b"../../x", b" ",
)  # fmt: skip
"""What bytes of a data file are replaced by: odd cells, separators, quotes, magic numbers, lengths that are too large."""


@st.composite
def damaged(draw: Draw, files: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Draw one of the named files with one to four damages."""
    name, content = files[_position(draw, len(files))]
    for _ in range(draw(st.integers(1, 4))):
        content = _damage(draw, content)
    return name, content


def _damage(draw: Draw, content: bytes) -> bytes:
    at, kind = _position(draw, len(content) + 1), draw(st.integers(0, 8))
    end = min(len(content), at + draw(st.integers(1, 64)))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[end:]
    if kind == 2:
        return content[:end] + content[at:]
    if kind == 3 and content:
        at = min(at, len(content) - 1)
        return content[:at] + bytes([content[at] ^ (1 << draw(st.integers(0, 7)))]) + content[at + 1 :]
    if kind == 4:
        return content[:at] + _one_of(draw, CELLS) + content[at:]
    if kind == 5:
        return content[:at] + _one_of(draw, CELLS) + content[end:]
    if kind == 6:
        return _column(draw, content)
    if kind == 7:
        lines = content.split(b"\n")
        line = _position(draw, len(lines))
        return b"\n".join([*lines[:line], *lines[line + 1 :]])
    lines = content.split(b"\n")
    line = _position(draw, len(lines))
    return b"\n".join([*lines[: line + 1], *lines[line:]])


def _column(draw: Draw, content: bytes) -> bytes:
    """Give one field of every line, of a text with separators, the same odd value; else change one."""
    separator = b"\t" if b"\t" in content[:200] else b","
    lines = content.split(b"\n")
    width = lines[0].count(separator) + 1
    column, value, header = _position(draw, width), _one_of(draw, CELLS), draw(st.integers(0, 1))
    for number, line in enumerate(lines):
        fields = line.split(separator)
        if len(fields) == width and number >= header:
            fields[column] = value
            lines[number] = separator.join(fields)
    return b"\n".join(lines)
