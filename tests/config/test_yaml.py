"""Reading and writing YAML: YAML 1.2 scalars, places, what is refused, and round trips that other readers share."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import example, given
from hypothesis import strategies as st

from mlframework.config import yaml
from mlframework.errors import ConfigError

TRICKY = [
    "1e-5", "1.0e5", "010", "0o17", "0x1F", "0b11", "1_000", "12:30:45", "2020-01-01", ".inf", ".nan", "-.5e3", "+1",
    "yes", "No", "on", "y", "true", "NULL", "~", "", " ", "=", "<<", "-", "?", ":", "#x", "x #y", "a: b", "- a", "!x",
    "&a", "*a", "@x", "%x", "{", "[1", "'", '"', "\\", "${VAR}", "x" * 200, "word " * 60, "trailing ", "a\nb", "\n\n",
    "a\r\nb", "\t", "\x07", "\x85", "a\x85b", "\u2028", "\u2029", "\ufeff", "é", "日本", "😀",
]  # fmt: skip
TEXT = st.sampled_from(TRICKY) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)


def problems(text: str) -> list[str]:
    """Return what parsing says is wrong, a problem a string."""
    with pytest.raises(ConfigError) as found:
        yaml.parse(text, "c.yaml")
    return [str(problem) for problem in found.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("1e5", 1e5), ("1.0e5", 1e5), ("-.5E3", -500.0), ("1.", 1.0), (".5", 0.5), ("0.1", 0.1),
        ("10", 10), ("010", 10), ("-7", -7), ("+12", 12), ("0o17", 15), ("0x1F", 31), ("08", 8),
        ("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None), ("Null", None), ("", None),
        (".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf),
        ("yes", "yes"), ("No", "No"), ("on", "on"), ("off", "off"), ("y", "y"), ("tRue", "tRue"), ("=", "="),
        ("12:30:45", "12:30:45"), ("2020-01-01", "2020-01-01"), ("1_000", "1_000"), ("0b11", "0b11"), ("0o9", "0o9"),
        ("-0x1F", "-0x1F"), ("e5", "e5"), ("1e", "1e"), ("'1e-5'", "1e-5"), ('"null"', "null"), ("!!str 5", "5"),
        ("${VAR}", "${VAR}"), ("sqlite:///x.db", "sqlite:///x.db"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = yaml.parse(f"key: {text}\n").tree["key"]
    assert found == value
    assert type(found) is type(value)
    if text:
        assert yaml.parse_scalar(text) == value


def test_not_a_number_is_read() -> None:
    assert math.isnan(yaml.parse("key: .nan").tree["key"])


def test_numbers_inside_lists_and_sections_are_read_alike() -> None:
    assert yaml.parse("a: [1e-5, {b: 010}]\n").tree == {"a": [1e-5, {"b": 10}]}


def test_keys_are_strings_as_written() -> None:
    assert yaml.parse("1: a\ntrue: b\nnull: c\n0x1: d\n").tree == {"1": "a", "true": "b", "null": "c", "0x1": "d"}


def test_places_of_keys_and_values() -> None:
    document = yaml.parse("a: 1\nb:\n  c: [x, y]\n  'd e':   2\n", "c.yaml")
    assert document.key_place(("a",)) == "c.yaml:1:1"
    assert document.value_place(("a",)) == "c.yaml:1:4"
    assert document.key_place(("b", "c")) == "c.yaml:3:3"
    assert document.value_place(("b", "c", 1)) == "c.yaml:3:10"
    assert document.value_place(("b", "d e")) == "c.yaml:4:12"


def test_the_place_of_what_is_missing_is_that_of_its_section() -> None:
    document = yaml.parse("a: 1\nb:\n  c: 2\n", "c.yaml")
    assert document.key_place(("b", "x", "y")) == "c.yaml:2:1"
    assert document.key_place(("x",)) == "c.yaml"


def test_without_leaves_a_section_out_and_keeps_the_places() -> None:
    document = yaml.parse("a: 1\nb: 2\n", "c.yaml")
    assert document.without("a").tree == {"b": 2}
    assert document.without("a").key_place(("b",)) == "c.yaml:2:1"
    assert document.tree == {"a": 1, "b": 2}


def test_every_duplicate_key_is_named_with_both_lines() -> None:
    assert problems("a: 1\nb: {c: 1, c: 2}\na: 3\n") == [
        "c.yaml:2:11: b.c: duplicate key; it stands in line 2 already",
        "c.yaml:3:1: a: duplicate key; it stands in line 1 already",
    ]


def test_keys_that_are_alike_only_as_values_are_no_duplicates() -> None:
    assert yaml.parse("1: a\n01: b\n").tree == {"1": "a", "01": "b"}


@pytest.mark.parametrize("text", ["\ta: 1", "a:\n\tb: 1", "a: 1\n\tb: 2", "- a: 1\n\tb: 2"])
def test_a_tab_is_named_with_its_place(text: str) -> None:
    line = text[: text.index("\t")].count("\n") + 1
    assert problems(text) == [f"c.yaml:{line}:1: a tab; YAML wants spaces"]


@pytest.mark.parametrize(
    "value",
    [
        "!!python/name:os.system", "!!python/object/apply:os.system [exit 3]", "!!python/tuple [1]", "!foo 3", "!foo {a: 1}",
        "!!binary aGk=", "!!timestamp 2020-01-01", "!!set {a, b}", "!!omap [a: 1]", '!!int "abc"', "!!float x",
        '!!bool "yes"',
    ],
)  # fmt: skip
def test_tags_are_refused(value: str) -> None:
    (problem,) = problems(f"a: 1\nkey: {value}\n")
    assert problem.startswith("c.yaml:2:6: key: the tag '")
    assert problem.endswith("a config holds plain values only, no tags")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null\n"])
def test_an_empty_file_says_how_to_get_one(text: str) -> None:
    assert problems(text) == ["c.yaml: is empty; ml-init-config DATA writes a config that runs"]


@pytest.mark.parametrize(
    ("text", "kind"), [("- a\n- b\n", "a list"), ("3\n", "a single value"), ("a:1\n", "a single value")]
)
def test_what_is_no_mapping_is_refused(text: str, kind: str) -> None:
    assert problems(text) == [f"c.yaml:1:1: is {kind}; a config is a mapping of keys (name:, data:, model: ...)"]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a: 1\nb: [1, 2\n", "c.yaml:3:1", "expected ',' or ']'"),
        ("a: b: c", "c.yaml:1:5", "a second ':' in one line"),
        ("a: 1\n  b: 2", "c.yaml:2:4", "wrong indentation"),
        ("a: *x", "c.yaml:1:4", "undefined alias"),
        ("a: 1\n---\nb: 2\n", "c.yaml:2:1", "another document"),
        ("a: {lr: ${LR}}", "c.yaml:1:10", "quote what has one: '${VAR}'"),
        ("? [a]\n: 1", "c.yaml:1:3", "a key must be a single word"),
        ("a: " + "9" * 5000, "c.yaml:1:4", "a number of more digits than can be read"),
    ],
)
def test_what_is_no_yaml_is_placed(text: str, place: str, what: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"{place}: ")
    assert what in problem


def test_characters_that_yaml_forbids_are_named() -> None:
    assert problems("a: 1\nb: \x07\n") == ["c.yaml:2: the character U+0007 cannot stand in a config"]
    assert problems("\x00") == ["c.yaml:1: the character U+0000 cannot stand in a config"]


def test_aliases_repeat_a_value() -> None:
    assert yaml.parse("a: &x {b: 1}\nc: *x\n").tree == {"a": {"b": 1}, "c": {"b": 1}}


def test_aliases_that_multiply_are_stopped() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{key}: &{key} [{', '.join(['*' + before] * 10)}]\n"
        for before, key in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert problems(bomb) == ["c.yaml: expands to more than 100000 values; are aliases nested in aliases?"]


@pytest.mark.parametrize("text", ["a: &x [*x]\n", "a: &x {b: *x}\n", "a: " + "[" * 100 + "]" * 100, "a: " + "[" * 9000])
def test_endless_and_deep_nesting_is_stopped(text: str) -> None:
    (problem,) = problems(text)
    assert "is nested more than 50 levels deep" in problem


def test_files_are_read_with_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes("\ufeffa: 1\r\nb:\r\n  c: é\r\n".encode())
    document = yaml.read(path)
    assert document.tree == {"a": 1, "b": {"c": "é"}}
    assert document.key_place(("b", "c")) == f"{path}:3:3"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\xff", "is not a text file (UTF-8); a config is YAML"),
        ("a: 1\n".encode("utf-16"), "is not a text file (UTF-8); a config is YAML"),
        (b"", "is empty; ml-init-config DATA writes a config that runs"),
        (None, "there is no such file; ml-init-config DATA writes one"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as found:
        yaml.read(path)
    assert str(found.value) == f"{path}: {what}"


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; name the config file in it"):
        yaml.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 1e-3]", [1, 1e-3]), ("{a: 1}", {"a": 1}), ("", ""), ("resnet18", "resnet18"), ("a: b: c", "a: b: c"),
        ("[[[", "[[["), ('"x', '"x'), ("!!int x", "!!int x"), ("{a: 1, a: 2}", "{a: 1, a: 2}"), ("'007'", "007"),
        ("@home", "@home"), ("\x00", "\x00"),
    ],
)  # fmt: skip
def test_one_value_is_read_and_what_is_no_yaml_is_a_string(text: str, value: object) -> None:
    assert yaml.parse_scalar(text) == value


@given(st.dictionaries(TEXT, VALUES, max_size=5))
@example({text: text for text in TRICKY})
@example({"a": TRICKY, "b": [[], {}, [[]], {"c": {}}]})
@example({"a": [1e-5, 1e5, 1e16, 1e22, -0.0, 5e-324, math.inf, -math.inf, 10**40]})
def test_what_is_written_is_read_back_by_us_and_by_yaml_1_1_readers(tree: dict[str, Any]) -> None:
    text = yaml.dump(tree)
    for found in (yaml.parse(text).tree if tree else {}, pyyaml.safe_load(text)):
        assert found == tree
        assert repr(found) == repr(tree)  # 1, 1.0 and True are equal, but not the same


def test_a_written_tree_keeps_its_order_and_has_no_aliases() -> None:
    shared = [1, 2]
    text = yaml.dump({"b": shared, "a": shared})
    assert "&" not in text
    assert list(yaml.parse(text).tree) == ["b", "a"]
