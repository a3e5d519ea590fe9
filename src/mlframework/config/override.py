"""Changing a config tree by dotted keys: the command line's overrides, and the trials of a search."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_origin

from mlframework.config import schema
from mlframework.config.base import Config
from mlframework.config.wording import COMMAND_LINE, Wording
from mlframework.config.yaml import Document, KeyPath
from mlframework.errors import ConfigError, Problem
from mlframework.registry import nearest

_ABSENT = object()


def path_of(tree: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the path of a dotted key; a tree's own keys may be dotted, too, as `optimizer.lr` in a search space is."""
    node: Any = tree
    path: list[str] = []
    parts = key.split(".")
    while parts:
        heads = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
        part = next((head for head in heads if isinstance(node, Mapping) and head in node), parts[0])
        parts = parts[part.count(".") + 1 :]
        path.append(part)
        node = schema.child(node, part)
    return tuple(path)


def get(tree: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return the value at a dotted key, or `default` where the tree has none."""
    node: Any = tree
    for part in path_of(tree, key):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node


def override(tree: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new tree in which each dotted key has its new value; the given tree is left as it is.

    Raises:
        ConfigError: a key that goes through a plain value, such as `seed.x`.
    """
    result = dict(tree)
    for key, value in params.items():
        node = result
        *parents, last = path_of(result, key)
        for part in parents:
            inner = node.get(part)
            if inner is not None and not isinstance(inner, Mapping):
                raise ConfigError([Problem("", key, f"{part} is the value {inner!r}, it has no keys")])
            node[part] = dict(inner or {})
            node = node[part]
        node[last] = value
    return result


def apply(root: type[Config], tree: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Override, and drop what a changed choice leaves without meaning.

    Where a parameter changes a choice (`optimizer.type`, `model.architecture`), the tree's keys that only the old
    choice has are dropped: a base config's `momentum` never fails an Adam trial. Where a parameter goes into a section
    that the tree leaves out, the section gets the choice that it has by default.

    Returns:
        The new tree, and the dotted keys that were dropped.
    """
    dropped: list[str] = []
    for key, field in schema.discriminators(root).items():
        section_key, _, discriminator = key.rpartition(".")
        section = get(tree, section_key)
        if key not in params:
            default = getattr(schema.default_of(field), discriminator, None)
            if section is None and default is not None and any(name.startswith(f"{section_key}.") for name in params):
                tree = override(tree, {key: default})
            continue
        new = schema.chosen(schema.admitted(field), {discriminator: params[key]})
        if not isinstance(section, Mapping) or new is None or section.get(discriminator) == params[key]:
            continue
        # A key that no choice has is a typing error, and stays one.
        lost = [n for n in section if n not in new.model_fields and schema.owners(schema.admitted(field), str(n))]
        dropped += [f"{section_key}.{name}" for name in lost]
        tree = override(tree, {section_key: {name: value for name, value in section.items() if name not in lost}})
        idle = [name for name in new.excludes if get(tree, name, _ABSENT) is not _ABSENT]
        dropped += idle
        tree = without(tree, idle)
    return override(tree, params), dropped


def without(tree: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return a new tree that has none of these dotted keys."""
    result = dict(tree)
    for key in keys:
        section, _, name = key.rpartition(".")
        inner = get(result, section) if section else result
        if isinstance(inner, Mapping) and name in inner:
            kept = {other: value for other, value in inner.items() if other != name}
            result = override(result, {section: kept}) if section else kept
    return result


def apply_to_document(
    root: type[Config], document: Document, params: Mapping[str, Any], origin: str
) -> tuple[Document, list[str]]:
    """Override a document; an error in one of the new values is reported as standing in `origin`.

    Raises:
        ConfigError: a key that goes through a plain value, with the value's place in the document.
    """
    try:
        tree, dropped = apply(root, document.tree, params)
    except ConfigError as error:
        raise ConfigError(
            [replace(found, place=document.value_place(tuple(found.key.split(".")))) for found in error.problems]
        ) from None
    places: dict[KeyPath, str] = {path_of(tree, key): origin for key in params}
    changed = replace(document, tree=tree, keys={**document.keys, **places}, values={**document.values, **places})
    return changed, dropped


def apply_options(
    root: type[Config], document: Document, options: Mapping[str, str], wording: Wording = COMMAND_LINE
) -> tuple[Document, dict[str, Any], list[str]]:
    """Apply overrides as the command line has them (`{"lr": "0.01"}`) to a document.

    What is wrong with them is told in the words of the place where they were given.

    Returns:
        The document, the overrides by dotted key, and the keys that a changed choice dropped.

    Raises:
        ConfigError: with every option that is no setting, or that names several.
    """
    # A choice is applied first, so that `--optimizer.type sgd --momentum 0.9` finds the momentum of sgd; and another look
    # finds the choices that the first ones brought, as `--architecture two_tower` brings ALS an optimizer.
    with_choices = document
    for _ in range(2):
        found, _ = _read(root, with_choices.tree, options, wording)
        chosen = {key: value for key, value in found.items() if key in schema.discriminators(root)}
        with_choices, _ = apply_to_document(root, document, chosen, wording.place)
    params, problems = _read(root, with_choices.tree, options, wording)
    if problems:
        raise ConfigError(problems)
    changed, dropped = apply_to_document(root, document, params, wording.place)
    return changed, params, dropped


def _read(
    root: type[Config], tree: Mapping[str, Any], options: Mapping[str, str], wording: Wording
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the options by dotted key, each read as its setting wants it, and what is wrong with the others."""
    params: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, text in options.items():
        try:
            key = full_key(root, tree, name, wording)
        except ConfigError as error:
            problems.extend(error.problems)
        else:
            if key in params:
                problems.append(Problem(wording.given(name), "", f"{key} is given twice"))
            params[key] = schema.read_value(schema.at(root, tree, path_of(tree, key)), text)
    return params, problems


def full_key(root: type[Config], tree: Mapping[str, Any], name: str, wording: Wording = COMMAND_LINE) -> str:
    """Return the dotted key that `name` means: itself, or the one setting whose last part it is.

    Raises:
        ConfigError: no setting has that name, or several have.
    """
    settings = set(_settings(root, tree))
    known = settings | set(_in_free_sections(root, tree))
    if name in known:
        return name
    candidates = sorted(key for key in settings if key.split(".")[-1] == name)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        listed = ", ".join(map(wording.to_write, candidates))
        raise ConfigError([Problem(wording.given(name), "", f"several settings have this name: {listed}")])
    what = _excluded(root, tree, name) or _other_choice(root, name) or _unknown(name, known, wording)
    raise ConfigError([Problem(wording.given(name), "", what)])


def _settings(root: type[Config], tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of all settings, and of the sections that hold them."""
    excluded = schema.excluded(root, tree)
    yield from (key for key in schema.discriminators(root) if schema.excluder(excluded, key) is None)
    for leaf in schema.leaves(root, tree):
        parts = leaf.key.split(".")
        yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _in_free_sections(root: type[Config], tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys that the tree has in sections whose keys are the user's own, as `search.search_space`."""
    for leaf in schema.leaves(root, tree):
        section = get(tree, leaf.key)
        if any(get_origin(kind) is dict for kind in schema.alternatives(leaf.field.annotation)) and section:
            for key in section:
                yield f"{leaf.key}.{key}"
                cls = schema.class_at(root, tree, (*leaf.key.split("."), key))
                yield from (f"{leaf.key}.{key}.{name}" for name in (cls.model_fields if cls is not None else ()))


_ELSEWHERE = {"learning_rate": "lr", "epochs": "num_epochs", "max_epochs": "num_epochs"}
"""What other tools call a setting."""


def _unknown(name: str, known: set[str], wording: Wording) -> str:
    short = {key.split(".")[-1] for key in known}
    near = _ELSEWHERE.get(name) or nearest(name, known if "." in name else [*known, *short, *wording.own])
    return f"{wording.unknown}; " + (f"did you mean {wording.to_write(near)}?" if near else wording.listing)


def _excluded(root: type[Config], tree: Mapping[str, Any], name: str) -> str | None:
    """Say which choice leaves a setting without meaning: `model.architecture: als` has no use for `optimizer.lr`."""
    without = schema.excluded(root, tree)
    meant = (leaf.key for leaf in schema.every_leaf(root, tree) if name in (leaf.key, leaf.key.split(".")[-1]))
    found = next((key for key in meant if schema.excluder(without, key) is not None), None)
    return None if found is None else f"{found} means nothing to {schema.excluder(without, found)}"


def _other_choice(root: type[Config], name: str) -> str | None:
    """Say which choice would have the setting: `momentum` belongs to `optimizer.type: sgd`."""
    section, _, last = name.rpartition(".")
    for key, field in schema.discriminators(root).items():
        owners = schema.owners(schema.admitted(field), last)
        if owners and section in ("", key.rpartition(".")[0]):
            return f"no setting of this config; it belongs to {key}: {', '.join(owners[:5])}"
    return None
