"""From a tree to typed config: all errors at once, each with its place and a remedy."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mlframework.config import schema
from mlframework.config.base import Config
from mlframework.config.yaml import Document, KeyPath, dotted
from mlframework.errors import ConfigError, Problem
from mlframework.registry import nearest, unknown

C = TypeVar("C", bound=Config)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KEY_IN_MESSAGE = re.compile(r"([a-z_]+(?:\.[a-z_]+)*): (.*)", re.DOTALL)
_LONGEST_VALUE = 80


def decode(root: type[C], document: Document) -> C:
    """Decode a document; `${VAR}` is taken from the environment.

    Raises:
        ConfigError: with every problem that the document has.
    """
    config, problems = check(root, document)
    if config is None:
        raise ConfigError(problems)
    return config


def check(root: type[C], document: Document) -> tuple[C | None, list[Problem]]:
    """Decode a document, or say what is wrong with it: exactly one of the two results is empty."""
    tree, unset = expanded(root, document)
    config, problems = None, [document.problem(path, what) for path, what in unset.items()]
    try:
        config = root.model_validate(tree)
    except ValidationError as error:
        settled = {dotted(path) for path in unset}
        found = _problems(error.errors(include_url=False), root, document)
        problems.extend(problem for problem in found if problem.key not in settled)
    problems += _meaningless(root, document, {problem.key for problem in problems})
    return (None, sorted(problems, key=reading_order)) if problems else (config, [])


def _meaningless(root: type[C], document: Document, settled: Set[str]) -> Iterator[Problem]:
    """Yield a problem for each key that the config's choices leave without meaning."""
    for name, choice in schema.excluded(root, document.tree).items():
        path = tuple(name.split("."))
        section = _value(document.tree, path[:-1])
        if isinstance(section, Mapping) and path[-1] in section and name not in settled:
            # Where an option or a file of hyperparameters brought the section, only what is in it has a place.
            written = next((key for key in document.keys if key[: len(path)] == path), path)
            yield Problem(document.key_place(written), name, f"means nothing to {choice}; take it out")


def expand(text: str) -> str:
    """Replace `${VAR}` by the environment's value.

    Raises:
        KeyError: a variable that is not set.
    """
    return _VARIABLE.sub(lambda match: os.environ[match.group(1)], text)


def expanded(root: type[Config], document: Document) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """Return the tree with each `${VAR}` replaced, and what is wrong at the paths where that cannot be done."""
    unset: dict[KeyPath, str] = {}

    def walk(node: Any, path: KeyPath, annotation: Any) -> Any:
        if isinstance(node, Mapping):
            return {key: walk(value, (*path, key), schema.within(annotation, node, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value, (*path, i), schema.within(annotation, node, i)) for i, value in enumerate(node)]
        if not isinstance(node, str) or "${" not in node:
            return node
        try:
            text = expand(node)
        except KeyError as error:
            unset[path] = f"the environment variable {error.args[0]} is not set; export {error.args[0]}=..."
            return node
        # A value that is nothing but a variable is read as YAML, so that `lr: ${LR}` is a number.
        return schema.read_value(annotation, text) if _VARIABLE.fullmatch(node) else text

    return {**walk(document.tree, (), root)}, unset


def _problems(errors: Sequence[ErrorDetails], root: type[Config], document: Document) -> Iterator[Problem]:
    """Yield a problem for each path that has one: a single one for a value that several types were tried for."""
    traced = [(*schema.trace(root, details["loc"]), details) for details in errors]
    depth: dict[KeyPath | None, int] = {}
    for path, several, _ in traced:
        depth[several] = max(depth.get(several, 0), len(path))
    by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for path, several, details in traced:
        # What is wrong inside a list says more than that a list is no string.
        if several is None or len(path) == depth[several]:
            by_path.setdefault(path, []).append(details)
    for path, found in by_path.items():
        yield _problem(path, found, root, document)


def _problem(path: KeyPath, found: list[ErrorDetails], root: type[Config], document: Document) -> Problem:
    details = found[0]
    value = _value(document.tree, path)
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(document.key_place(path), dotted(path), _unknown_key(path, root, document.tree))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = context["discriminator"].strip("'")
        return _without_choice((*path, key), root, document)
    if kind == "missing":
        return Problem(document.key_place(path), dotted(path), "is missing")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        if value is None:
            return document.problem(path, "is empty; it should be a section of keys")
        example = _as_section(value, path, schema.at(root, document.tree, path))
        return document.problem(path, f"should be a section of keys{example}{_got(value)}")
    if kind == "list_type" and isinstance(value, Mapping) and value:
        what = f"should be a list; write a dash before each entry: - {{{next(iter(value))}: ...}}"
        return document.problem(path, what)
    if kind == "value_error":
        # A validator has seen what a variable stands for; the message shows the variable.
        words = str(context["error"]).replace(repr(details["input"]), repr(value))
        return _own_words(path, words, root, document)
    if kind == "string_pattern_mismatch":
        meaning = schema.description(root, document.tree, path).partition("; null:")[0]
        return document.problem(path, f"{value!r} does not fit: {meaning}")
    wanted = " or ".join(dict.fromkeys(_wanted(each["msg"]) for each in found)).replace(" or be ", " or ")
    choices = re.findall(r"'([^']*)'", " ".join(str(each.get("ctx", {}).get("expected", "")) for each in found))
    near = nearest(str(value), choices)
    return document.problem(path, f"should {wanted}{_got(value)}" + (f"; did you mean {near!r}?" if near else ""))


def _as_section(value: Any, path: KeyPath, annotation: Any) -> str:
    """Show the section that a text in its place was meant to be: a choice, or the first key of an entry of a list."""
    classes, key = schema.members(annotation), schema.discriminator(annotation)
    if key is not None:
        meant = any(value in schema.tags(cls, key) for cls in classes)
    else:
        key, field = next(iter(classes[0].model_fields.items())) if classes else ("", None)
        meant = field is not None and str in schema.alternatives(field.annotation) and isinstance(path[-1], int)
    return f" such as {{{key}: {value}}}" if meant and isinstance(value, str) else ""


def _wanted(message: str) -> str:
    """Return what pydantic wants: `be greater than 0` of `Input should be greater than 0`."""
    return message.partition(" should ")[2].replace("valid tuple", "valid list").replace(" after validation", "")


def _got(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", got a section of keys"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return ", got " + (text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "...")


def _value(tree: Any, path: KeyPath) -> Any:
    """Return what was written at a path: never what a `${VAR}` stands for, which may be a secret."""
    for part in path:
        tree = schema.child(tree, part)
    return tree


def _own_words(path: KeyPath, message: str, root: type[Config], document: Document) -> Problem:
    """Place the message of a model's validator, which may begin with the key that it is about."""
    match = _KEY_IN_MESSAGE.fullmatch(message)
    if match is not None:
        inner = (*path, *match[1].split("."))
        if schema.at(root, document.tree, inner) is not None:
            return document.problem(inner, match[2])
    return document.problem(path, message)


def _without_choice(path: KeyPath, root: type[Config], document: Document) -> Problem:
    section = schema.at(root, document.tree, path[:-1])
    names = [tag for cls in schema.members(section) for tag in schema.tags(cls, str(path[-1]))]
    section_tree = _value(document.tree, path[:-1])
    if path[-1] not in section_tree:
        return Problem(document.key_place(path), dotted(path), f"is missing; one of {_few(names)}")
    kind = str(path[-2]) if "." not in str(path[-2]) else str(path[-1])
    value = section_tree[path[-1]]
    what = unknown(value, names, kind) if isinstance(value, str) else f"should be one of {_few(names)}{_got(value)}"
    return document.problem(path, what)


_FEW_KEYS = 8


def _unknown_key(path: KeyPath, root: type[Config], tree: Mapping[str, Any]) -> str:
    name = str(path[-1])
    section = schema.at(root, tree, path[:-1])
    if owners := schema.owners(section, name):
        return f"unknown key; it belongs to {dotted(path[:-1])}.{schema.discriminator(section)}: {_few(owners)}"
    known = list(cls.model_fields) if (cls := schema.class_at(root, tree, path[:-1])) is not None else []
    elsewhere = [leaf.key for leaf in schema.leaves(root, tree) if leaf.key.split(".")[-1] == name]
    near = nearest(name, known) or next(iter(elsewhere), None)
    listing = f"known here: {', '.join(known)}"
    if near is None:
        return f"unknown key; {listing}"
    # Of a sampler or an optimizer, what it takes is soon said.
    return f"unknown key; did you mean {near!r}?" + (f" ({listing})" if len(known) <= _FEW_KEYS else "")


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else ", ".join(names[:12]) + ", ..."


def reading_order(problem: Problem) -> tuple[str, int, int]:
    """Return the key by which problems are sorted into the order in which they stand in the file."""
    parts = problem.place.rsplit(":", 2)
    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        return parts[0], int(parts[1]), int(parts[2])
    return problem.place, 0, 0
