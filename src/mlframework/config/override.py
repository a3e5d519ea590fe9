"""Changing a config tree by dotted keys: the command line's overrides, and the trials of a search."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlframework.config import schema, yaml
from mlframework.config.base import Config
from mlframework.config.yaml import Document, KeyPath
from mlframework.errors import ConfigError, Problem
from mlframework.registry import nearest


def get(tree: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return the value at a dotted key, or `default` where the tree has none."""
    node: Any = tree
    for part in key.split("."):
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
        *parents, last = key.split(".")
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
    choice has are dropped: a base config's `momentum` never fails an Adam trial.

    Returns:
        The new tree, and the dotted keys that were dropped.
    """
    dropped: list[str] = []
    sections = {key: field for key, field in schema.discriminators(root).items() if key in params}
    for key, field in sections.items():
        section_key, _, discriminator = key.rpartition(".")
        section = get(tree, section_key)
        new = schema.chosen(field, {discriminator: params[key]})
        if not isinstance(section, Mapping) or new is None or section.get(discriminator) == params[key]:
            continue
        lost = [name for name in section if name not in new.model_fields and _known(field, str(name))]
        dropped += [f"{section_key}.{name}" for name in lost]
        tree = override(tree, {section_key: {name: value for name, value in section.items() if name not in lost}})
    return override(tree, params), dropped


def _known(field: Any, name: str) -> bool:
    """Whether some choice of the section has this key; a key that none has is a typing error, and stays one."""
    return any(name in cls.model_fields for cls in schema.members(field.annotation))


def apply_to_document(
    root: type[Config], document: Document, params: Mapping[str, Any], origin: str
) -> tuple[Document, list[str]]:
    """Override a document; an error in one of the new values is reported as standing in `origin`."""
    tree, dropped = apply(root, document.tree, params)
    places: dict[KeyPath, str] = {tuple(key.split(".")): origin for key in params}
    changed = replace(document, tree=tree, keys={**document.keys, **places}, values={**document.values, **places})
    return changed, dropped


def full_key(root: type[Config], tree: Mapping[str, Any], name: str) -> str:
    """Return the dotted key that `name` means: itself, or the one setting whose last part it is.

    Raises:
        ConfigError: no setting has that name, or several have.
    """
    known = {leaf.key for leaf in schema.leaves(root, tree)} | set(schema.discriminators(root))
    if name in known or (name.count(".") and _inside_free_section(known, name)):
        return name
    if "." in name:
        raise ConfigError([Problem(f"--{name}", "", _unknown(name, known))])
    candidates = sorted(key for key in known if key.split(".")[-1] == name)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        listed = ", ".join(f"--{key}" for key in candidates)
        raise ConfigError([Problem(f"--{name}", "", f"several settings have this name: {listed}")])
    elsewhere = _other_choices(root, name)
    if elsewhere:
        raise ConfigError([Problem(f"--{name}", "", f"no setting of this config; {elsewhere}")])
    raise ConfigError([Problem(f"--{name}", "", _unknown(name, known))])


def _inside_free_section(known: set[str], name: str) -> bool:
    """Whether `name` lies under a setting that holds keys of its own, as `search.search_space` does."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in known for end in range(1, len(parts)))


def _unknown(name: str, known: set[str]) -> str:
    short = {key.split(".")[-1]: key for key in known}
    near = nearest(name, [*known, *short])
    return "unknown option or setting" + (
        f"; did you mean --{near}?" if near else "; --print-config lists the settings"
    )


def _other_choices(root: type[Config], name: str) -> str | None:
    """Say which choice would have the setting: `momentum` belongs to `optimizer.type: sgd`."""
    for key, field in schema.discriminators(root).items():
        discriminator = key.rpartition(".")[2]
        tags = [
            tag
            for cls in schema.members(field.annotation)
            if name in cls.model_fields
            for tag in schema.tags(cls, discriminator)
        ]
        if tags:
            return f"it belongs to {key}: {', '.join(tags[:5])}"
    return None


def read_with_overrides(
    root: type[Config], path: str, options: Mapping[str, str]
) -> tuple[Document, dict[str, Any], list[str]]:
    """Read a config file and apply the command line's overrides (`{"lr": "0.01"}`).

    Returns:
        The document, the overrides by dotted key, and the keys that a changed choice dropped.
    """
    document = yaml.read(path)
    # A choice is applied first, so that `--optimizer.type sgd --momentum 0.9` finds the momentum of sgd.
    choices = {name: text for name, text in options.items() if name in schema.discriminators(root)}
    params: dict[str, Any] = {name: yaml.parse_scalar(text) for name, text in choices.items()}
    chosen_tree, _ = apply(root, document.tree, params)
    problems: list[Problem] = []
    for name, text in options.items():
        try:
            params[full_key(root, chosen_tree, name)] = yaml.parse_scalar(text)
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    document, dropped = apply_to_document(root, document, params, "command line:")
    return document, params, dropped
