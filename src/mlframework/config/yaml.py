"""The only YAML reader and writer: YAML 1.2 scalars, duplicate keys are errors, every value knows its place.

PyYAML follows YAML 1.1, where `1e-5` is a string, `yes` a boolean and `010` is 8. The resolvers here are those of
YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema).
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlframework.errors import ConfigError, Problem

KeyPath = tuple[str | int, ...]

_MAX_NODES = 100_000  # aliases can make a small file expand without end
_MAX_DEPTH = 50  # an alias can hold itself
_MAX_BYTES = 2**20  # a hundred times the longest config; PyYAML takes minutes for some files of a hundred megabytes
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
_NO_TAGS = "a config holds plain values only, no tags"
_TOO_DEEP = f"is nested more than {_MAX_DEPTH} levels deep; does an alias hold itself?"
_SCALARS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), "~nN"),
    ("tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("tag:yaml.org,2002:int", re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), "-+0123456789"),
    ("tag:yaml.org,2002:float", _FLOAT, "-+0123456789."),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or YAML 1.2 would take for something other than a string, so that both read it back."""

    yaml_implicit_resolvers = copy.deepcopy(yaml.SafeDumper.yaml_implicit_resolvers)

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in _SCALARS:
    for _character in [*_first, *([""] if _tag.endswith("null") else [])]:
        _Loader.yaml_implicit_resolvers.setdefault(_character, []).append((_tag, _pattern))
        _Dumper.yaml_implicit_resolvers.setdefault(_character, []).append((_tag, _pattern))


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Line breaks that PyYAML folds between single quotes, and one reader takes for a break, another does not.
    style = '"' if re.search("[\r\x85\u2028\u2029\ufeff]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text, 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Dumper.add_representer(str, _represent_str)


@dataclass(frozen=True)
class Document:
    """A config tree, and the place where each of its keys and values stands.

    The tree holds what was written: `${VAR}` is expanded only by `decode`, so that a secret is never written back.
    """

    tree: dict[str, Any]
    name: str = "config"
    keys: Mapping[KeyPath, str] = field(default_factory=dict)
    values: Mapping[KeyPath, str] = field(default_factory=dict)

    def key_place(self, path: KeyPath) -> str:
        """Return `file:line:column` of the key at `path`, or of the nearest key above it."""
        return self._nearest(path, self.keys)

    def value_place(self, path: KeyPath) -> str:
        """Return `file:line:column` of the value at `path`, or of the nearest key above it."""
        return self.values[path] if path in self.values else self._nearest(path, self.keys)

    def _nearest(self, path: KeyPath, places: Mapping[KeyPath, str]) -> str:
        for end in range(len(path), 0, -1):
            if path[:end] in places:
                return places[path[:end]]
        return self.name

    def without(self, key: str) -> "Document":
        """Return the document without one of its top-level keys."""
        return Document({k: v for k, v in self.tree.items() if k != key}, self.name, self.keys, self.values)

    def problem(self, path: KeyPath, what: str) -> Problem:
        """Return a problem with the value at `path`."""
        return Problem(self.value_place(path), dotted(path), what)


def dotted(path: KeyPath) -> str:
    """Return the dotted key of a path: `("a", "b", 0)` is `a.b.0`."""
    return ".".join(str(part) for part in path)


def read(path: str | Path) -> Document:
    """Read a config file.

    Raises:
        ConfigError: the file is missing, is no text, is no YAML, has duplicate keys or is no mapping.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)  # of a device there is no end
        if len(content) > _MAX_BYTES:
            raise _error(str(path), f"is larger than {_MAX_BYTES // 2**20} MiB, no config is; is this the right file?")
        text = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise _error(str(path), "there is no such file; ml-init-config DATA writes one") from None
    except IsADirectoryError:
        raise _error(str(path), "is a folder; name the config file in it") from None
    except UnicodeDecodeError:
        raise _error(str(path), "is not a text file (UTF-8); a config is YAML") from None
    except OSError as error:
        raise _error(str(path), f"cannot be read: {error.strerror}") from None
    return parse(text, str(path))


def parse(text: str, name: str = "config") -> Document:
    """Parse the text of a config; `name` stands before line and column in messages.

    Raises:
        ConfigError: the text is no YAML, has duplicate keys, or is no mapping.
    """
    tree, walk = _load(text, name)
    if tree is None:
        raise _error(name, "is empty; ml-init-config DATA writes a config that runs")
    if not isinstance(tree, dict):
        kind = "a list" if isinstance(tree, list) else "a single value"
        raise _error(walk.values[()], f"is {kind}; a config is a mapping of keys (name:, data:, model: ...)")
    return Document(tree, name, walk.keys, walk.values)


def parse_scalar(text: str) -> Any:
    """Read one value as YAML would: `0.01` is a float, `null` is None, `[1, 2]` a list, `resnet18` a string.

    What is no YAML, such as `a: b: c`, is a string, too.
    """
    try:
        value, walk = _load(text, "")
    except ConfigError:
        return text
    return value if walk.values else ""


def dump(tree: Any) -> str:
    """Write plain values as YAML that YAML 1.1 and 1.2 readers read alike."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _load(text: str, name: str) -> tuple[Any, "_Walk"]:
    """Return the value that a text holds, and the walk that knows its places.

    Raises:
        ConfigError: the text is no YAML, or has duplicate keys.
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        place = f"{name}:{text.count(chr(10), 0, error.position) + 1}"
        raise _error(place, f"the character U+{ord(text[error.position]):04X} cannot stand in a config") from None
    walk = _Walk(loader, name)
    try:
        node = loader.get_single_node()
        value = None if node is None else walk.construct(node, ())
    except yaml.MarkedYAMLError as error:
        raise _error(_place(name, error.problem_mark), _explain(error)) from None
    except RecursionError:
        raise _error(name, _TOO_DEEP) from None
    finally:
        loader.dispose()
    if walk.problems:
        raise ConfigError(walk.problems)
    return value, walk


class _Walk:
    """Turns nodes into plain values and notes where each key and value stands."""

    def __init__(self, loader: _Loader, name: str) -> None:
        self.loader, self.name = loader, name
        self.keys: dict[KeyPath, str] = {}
        self.values: dict[KeyPath, str] = {}
        self.problems: list[Problem] = []
        self.nodes = 0

    def construct(self, node: yaml.Node, path: KeyPath) -> Any:
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            raise _error(self.name, f"expands to more than {_MAX_NODES} values; are aliases nested in aliases?")
        self.values[path] = place = _place(self.name, node.start_mark)
        if len(path) > _MAX_DEPTH:
            raise _error(place, _TOO_DEEP)
        if node.tag not in _plain_tags(self.loader, node):
            self.problems.append(Problem(place, dotted(path), f"the tag {node.tag!r}: {_NO_TAGS}"))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.construct(child, (*path, index)) for index, child in enumerate(node.value)]
        try:
            return self.loader.construct_object(node)
        except ValueError:
            self.problems.append(Problem(place, dotted(path), "a number of more digits than can be read"))
            return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = _place(self.name, key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(place, dotted(path), "a key must be a single word"))
                continue
            key = str(key_node.value)
            if key in found:
                first = self.keys[(*path, key)].removeprefix(self.name + ":").split(":")[0]
                self.problems.append(
                    Problem(place, dotted((*path, key)), f"duplicate key; it stands in line {first} already")
                )
                continue
            self.keys[(*path, key)] = place
            found[key] = self.construct(value_node, (*path, key))
        return found


def _plain_tags(loader: _Loader, node: yaml.Node) -> tuple[str, ...]:
    """Return the tags that a node has where the file gives it none, and `!!str`, which does no harm."""
    if isinstance(node, yaml.ScalarNode):
        return "tag:yaml.org,2002:str", loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
    return (loader.resolve(type(node), None, True),)  # type: ignore[no-untyped-call]


def _place(name: str, mark: yaml.Mark | None) -> str:
    return name if mark is None else f"{name}:{mark.line + 1}:{mark.column + 1}"


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "is not YAML"
    if "'\\t'" in problem or "\\t" in problem:
        return "a tab; YAML wants spaces"
    if "mapping values are not allowed" in problem:
        return "a second ':' in one line, or wrong indentation; quote the value if the ':' belongs to it"
    if "but got '{'" in problem:
        return "a '{' inside {...} or [...]; quote what has one: '${VAR}'"
    return f"is not YAML: {problem}"


def _error(place: str, what: str) -> ConfigError:
    return ConfigError([Problem(place, "", what)])
