"""From a tree to typed config: all errors at once, each with its place and a remedy."""

import os
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mlframework.config import schema, yaml
from mlframework.config.base import Config
from mlframework.config.yaml import Document, KeyPath, dotted
from mlframework.errors import ConfigError, Problem
from mlframework.registry import nearest, unknown

C = TypeVar("C", bound=Config)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MISSING = object()


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
    problems: list[Problem] = []
    expanded = _expand(document.tree, (), document, problems)
    try:
        config = root.model_validate(expanded)
    except ValidationError as error:
        found = [_problem(details, root, expanded, document) for details in error.errors(include_url=False)]
        problems.extend(dict.fromkeys(found))
    return (None, sorted(problems, key=_reading_order)) if problems else (config, [])


def expand(text: str) -> str:
    """Replace `${VAR}` by the environment's value.

    Raises:
        KeyError: a variable that is not set.
    """
    return _VARIABLE.sub(lambda match: os.environ[match.group(1)], text)


def _expand(node: Any, path: KeyPath, document: Document, problems: list[Problem]) -> Any:
    if isinstance(node, Mapping):
        return {key: _expand(value, (*path, key), document, problems) for key, value in node.items()}
    if isinstance(node, list):
        return [_expand(value, (*path, index), document, problems) for index, value in enumerate(node)]
    if not isinstance(node, str) or "${" not in node:
        return node
    try:
        text = expand(node)
    except KeyError as error:
        variable = error.args[0]
        problems.append(
            document.problem(path, f"the environment variable {variable} is not set; export {variable}=...")
        )
        return node
    # A value that is nothing but a variable is read as YAML, so that `lr: ${LR}` is a number.
    return yaml.parse_scalar(text) if _VARIABLE.fullmatch(node) else text


def _problem(details: ErrorDetails, root: type[Config], tree: Mapping[str, Any], document: Document) -> Problem:
    path, value = _strip_tags(details["loc"], tree)
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(document.key_place(path), dotted(path), _unknown_key(path, root, tree))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        path = (*path, context["discriminator"].strip("'"))
        names = _tag_names(root, path)
        what = (
            unknown(context["tag"], names, str(path[-2])) if "tag" in context else f"is missing; one of {_few(names)}"
        )
        return Problem(document.value_place(path), dotted(path), what)
    if kind == "missing":
        return Problem(document.key_place(path), dotted(path), "is missing")
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        near = nearest(str(value), choices)
        what = f"{value!r} is not one of {context['expected']}" + (f"; did you mean {near!r}?" if near else "")
        return document.problem(path, what)
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return document.problem(path, f"should be a section of keys, got {value!r}")
    if kind == "value_error":
        return document.problem(path, str(context["error"]))
    what = details["msg"].replace("Input should be", "should be")
    return document.problem(path, what if isinstance(value, Mapping) else f"{what}, got {value!r}")


def _strip_tags(loc: tuple[str | int, ...], tree: Mapping[str, Any]) -> tuple[KeyPath, Any]:
    """Take the union tags, which are in no file, out of pydantic's location; return the value there, too."""
    path: list[str | int] = []
    node: Any = tree
    for position, part in enumerate(loc):
        if isinstance(node, Mapping) and part not in node and position < len(loc):
            if part in [value for value in node.values() if isinstance(value, str)] and position < len(loc) - 1:
                continue
            if position == len(loc) - 1 and part in [node.get("type"), node.get("architecture")]:
                continue
        path.append(part)
        if isinstance(node, Mapping):
            node = node.get(str(part), _MISSING)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        else:
            node = _MISSING
    return tuple(path), (None if node is _MISSING else node)


def _unknown_key(path: KeyPath, root: type[Config], tree: Mapping[str, Any]) -> str:
    cls = schema.class_at(root, tree, path[:-1])
    if cls is None:
        return "unknown key"
    near = nearest(str(path[-1]), cls.model_fields)
    elsewhere = [leaf.key for leaf in schema.leaves(root, tree) if leaf.key.split(".")[-1] == path[-1]]
    if near is None and elsewhere:
        return f"unknown key; did you mean {elsewhere[0]!r}?"
    return f"unknown key; did you mean {near!r}?" if near else f"unknown key; known here: {', '.join(cls.model_fields)}"


def _tag_names(root: type[Config], path: KeyPath) -> list[str]:
    field = schema.discriminators(root).get(dotted(path))
    classes = schema.members(field.annotation) if field is not None else ()
    return [tag for cls in classes for tag in schema.tags(cls, str(path[-1]))]


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else ", ".join(names[:12]) + ", ..."


def _reading_order(problem: Problem) -> tuple[str, int, int]:
    parts = problem.place.rsplit(":", 2)
    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        return parts[0], int(parts[1]), int(parts[2])
    return problem.place, 0, 0
