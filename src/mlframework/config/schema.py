"""What a config tree may hold: walking the pydantic models along a tree.

An annotation is what a field admits: a `Config`, a plain type, a list or dict of them, a choice between several.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from mlframework.config import docstrings, yaml
from mlframework.config.base import Config
from mlframework.config.yaml import KeyPath


@dataclass(frozen=True)
class Leaf:
    """A setting of the config: its dotted key, its field, and the value that it has unless the tree says otherwise."""

    key: str
    field: FieldInfo
    default: Any


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the types that an annotation admits, null left out."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return tuple(kind for part in get_args(annotation) for kind in alternatives(part))
    return () if annotation in (None, NoneType) else (annotation,)


def members(annotation: Any) -> tuple[type[Config], ...]:
    """Return the config classes that an annotation admits; none for a plain value."""
    return tuple(kind for kind in alternatives(annotation) if isinstance(kind, type) and issubclass(kind, Config))


def tags(cls: type[Config], discriminator: str) -> tuple[str, ...]:
    """Return the values of the discriminator that choose `cls`."""
    return tuple(str(value) for value in get_args(cls.model_fields[discriminator].annotation))


def discriminator(annotation: Any) -> str | None:
    """Return the key that chooses between the members of an annotation, such as `type`; None where it is no choice."""
    found = [getattr(metadata, "discriminator", None) for metadata in getattr(annotation, "__metadata__", ())]
    return next((str(name) for name in found if name is not None), None)


def description(root: type[Config], tree: Mapping[str, Any], path: KeyPath) -> str:
    """Return what the docstring of the setting at a path says, on one line."""
    cls, name = class_at(root, tree, path[:-1]), str(path[-1])
    return " ".join(docstrings.description(cls, name).split()) if cls is not None and name in cls.model_fields else ""


def read_value(annotation: Any, text: str) -> Any:
    """Read a value as YAML would; where only text is admitted, `2024` is text, too."""
    value = yaml.parse_scalar(text)
    return text if alternatives(annotation) == (str,) and not isinstance(value, str | None) else value


def admitted(field: FieldInfo) -> Any:
    """Return the annotation of a field, together with its discriminator."""
    return Annotated[field.annotation, field]


def chosen(annotation: Any, section: Any, default: Any = None) -> type[Config] | None:
    """Return the class that decodes a section, or None where it is no section or the choice is unknown."""
    classes = members(annotation)
    if len(classes) <= 1:
        return classes[0] if classes else None
    key = str(discriminator(annotation))
    choice = section.get(key) if isinstance(section, Mapping) else getattr(default, key, None)
    return next((cls for cls in classes if choice in tags(cls, key)), None)


def owners(annotation: Any, name: str) -> list[str]:
    """Return the choices of a section that have a key: `["sgd", "rmsprop"]` for the optimizer's `momentum`."""
    key = discriminator(annotation)
    return [] if key is None else [t for cls in members(annotation) if name in cls.model_fields for t in tags(cls, key)]


def within(annotation: Any, section: Any, part: str | int) -> Any:
    """Return what is admitted at one key or index of a section, or None where nothing is."""
    if members(annotation):
        cls = chosen(annotation, section)
        field = None if cls is None else cls.model_fields.get(str(part))
        return None if field is None else admitted(field)
    for kind in alternatives(annotation):
        if get_origin(kind) in (list, tuple):
            return get_args(kind)[0]
        if get_origin(kind) is dict:
            return get_args(kind)[1]
    return None


def at(root: type[Config], tree: Mapping[str, Any], path: KeyPath) -> Any:
    """Return what is admitted at a path of a tree, or None where nothing is."""
    annotation: Any = root
    section: Any = tree
    for part in path:
        annotation = within(annotation, section, part)
        section = child(section, part)
    return annotation


def child(section: Any, part: str | int) -> Any:
    """Return the value at one key or index of a section, or None."""
    if isinstance(section, Mapping):
        return section.get(part)
    return section[part] if isinstance(section, list) and isinstance(part, int) and part < len(section) else None


def class_at(root: type[Config], tree: Mapping[str, Any], path: KeyPath) -> type[Config] | None:
    """Return the config class that decodes the section at a path, or None where that is no section."""
    section: Any = tree
    for part in path:
        section = child(section, part)
    return chosen(at(root, tree, path), section)


def leaves(root: type[Config], tree: Mapping[str, Any]) -> Iterator[Leaf]:
    """Yield every setting that has a meaning, with the union members that `tree` chooses."""
    without = excluded(root, tree)
    yield from (leaf for leaf in every_leaf(root, tree) if excluder(without, leaf.key) is None)


def every_leaf(root: type[Config], tree: Mapping[str, Any]) -> Iterator[Leaf]:
    """Yield every setting, also those that the tree's choices leave without meaning."""
    yield from _leaves(root, tree, None, "")


def excluded(root: type[Config], tree: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that the tree's choices leave without meaning, each with its choice: `{"optimizer": "als"}`."""
    found: dict[str, str] = {}
    for key, field in discriminators(root).items():
        *parents, name = key.split(".")
        section: Any = tree
        for part in parents:
            section = child(section, part)
        cls = chosen(admitted(field), section, default_of(field))
        if cls is not None and cls.excludes:
            found.update(dict.fromkeys(cls.excludes, str(child(section, name))))
    return found


def excluder(without: Mapping[str, str], key: str) -> str | None:
    """Return the choice of `excluded` that leaves a key without meaning, or None."""
    return next((choice for name, choice in without.items() if f"{key}.".startswith(f"{name}.")), None)


def _leaves(cls: type[Config], tree: Any, default: Any, prefix: str) -> Iterator[Leaf]:
    for name, field in cls.model_fields.items():
        inner_default = getattr(default, name, None) if default is not None else default_of(field)
        section = tree.get(name) if isinstance(tree, Mapping) else None
        inner = chosen(admitted(field), section, inner_default)
        if inner is None:
            yield Leaf(f"{prefix}{name}", field, inner_default)
        else:
            same_class = isinstance(inner_default, inner)
            yield from _leaves(inner, section, inner_default if same_class else None, f"{prefix}{name}.")


def default_of(field: FieldInfo) -> Any:
    """Return the value of a field that a tree does not set, or None where it has to."""
    return None if field.is_required() else field.get_default(call_default_factory=True)


def discriminators(root: type[Config], prefix: str = "") -> dict[str, FieldInfo]:
    """Return the settings that choose what a section may hold (`optimizer.type`), with the field of that section."""
    found: dict[str, FieldInfo] = {}
    for name, field in root.model_fields.items():
        classes = members(field.annotation)
        if len(classes) > 1:
            found[f"{prefix}{name}.{field.discriminator}"] = field
        elif classes:
            found.update(discriminators(classes[0], f"{prefix}{name}."))
    return found


def trace(root: type[Config], loc: Sequence[str | int]) -> tuple[KeyPath, KeyPath | None]:
    """Take out of pydantic's location the names of union members, which stand in no file.

    Returns:
        The path, and the path of the value that several plain types were tried for (`bool | str`), or None.
    """
    annotation: Any = root
    path: KeyPath = ()
    several: KeyPath | None = None
    for part in loc:
        kinds = alternatives(annotation)
        if len(kinds) > 1 and (key := discriminator(annotation)) is not None:
            annotation = chosen(annotation, {key: part})
        elif len(kinds) > 1:
            several = path if several is None else several
            annotation = next((kind for kind in kinds if get_origin(kind) is not None), None)
        else:
            path = (*path, part)
            annotation = within(annotation, None, part)
    return path, several
