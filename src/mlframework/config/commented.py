"""Writing a config for people: YAML in which every line says in a comment what it is for."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mlframework.config import yaml

COMMENT_COLUMN = 44
"""Where the comments begin, so that they stand in a column; after a longer line they begin behind it."""


@dataclass(frozen=True)
class Setting:
    """A line `key: value  # comment`; a list or mapping is written in the line."""

    key: str
    value: Any
    comment: str


@dataclass(frozen=True)
class Section:
    """A line `key:  # comment`, and indented below it the lines of the section."""

    key: str
    comment: str
    lines: "tuple[Line, ...]"


@dataclass(frozen=True)
class Item:
    """A line `- value  # comment` of a list."""

    value: Any
    comment: str


Line: TypeAlias = Setting | Section | Item


def render(lines: Sequence[Line]) -> str:
    """Return the lines as YAML, which YAML 1.1 and 1.2 readers read alike."""
    return "".join(f"{text}\n" for text in _rendered(lines, ""))


def _rendered(lines: Sequence[Line], indent: str) -> Iterator[str]:
    heads = [indent + _head(line) for line in lines]
    column = max([COMMENT_COLUMN, *(len(head) + 2 for head in heads)])
    for line, head in zip(lines, heads, strict=True):
        yield f"{head.ljust(column)}# {one_line(line.comment)}"
        if isinstance(line, Section):
            yield from _rendered(line.lines, indent + "  ")


def _head(line: Line) -> str:
    if isinstance(line, Section):
        return f"{scalar(line.key)}:"
    value = scalar(line.value) if isinstance(line.value, str) else flow(line.value)
    return f"- {value}" if isinstance(line, Item) else f"{scalar(line.key)}: {value}"


def one_line(text: str) -> str:
    """Return the text as a comment can hold it: on one line, without characters that YAML forbids."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def flow(value: Any) -> str:
    """Return a plain value as YAML in one line: `{type: int, low: 1, high: 4}`, `[16, 32]`, `null`, `0.01`, `text`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(inner) for inner in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str):
        return value if yaml.dump([value]) == f"[{value}]\n" else _quoted(value)
    return str(value)


def scalar(text: str) -> str:
    """Return a string as YAML on a line of its own: as it is where every reader takes that for it, or in quotes."""
    return text if yaml.dump(text) == f"{text}\n...\n" else _quoted(text)


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"a config holds finite numbers only, got {value}")
    mantissa, e, exponent = repr(value).partition("e")
    # Without a point YAML 1.1 takes 1e-05 for a string.
    return mantissa + (".0" if e and "." not in mantissa else "") + e + exponent


def _quoted(text: str) -> str:
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08X}"
