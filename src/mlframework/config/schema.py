"""What a config tree may hold: walking the pydantic models along a tree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from mlframework.config.base import Config


@dataclass(frozen=True)
class Leaf:
    """A setting of the config: its dotted key, its field, and the value that it has unless the tree says otherwise."""

    key: str
    field: FieldInfo
    default: Any


def members(annotation: Any) -> tuple[type[Config], ...]:
    """Return the config classes that a field's annotation admits; none for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return (annotation,)
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return tuple(cls for part in get_args(annotation) for cls in members(part))
    return ()


def tags(cls: type[Config], discriminator: str) -> tuple[str, ...]:
    """Return the values of the discriminator that choose `cls`."""
    return tuple(str(value) for value in get_args(cls.model_fields[discriminator].annotation))


def chosen(field: FieldInfo, section: Any, default: Any = None) -> type[Config] | None:
    """Return the class that decodes a section, or None where the field is no section or the choice is unknown."""
    classes = members(field.annotation)
    if len(classes) <= 1:
        return classes[0] if classes else None
    discriminator = str(field.discriminator)
    choice = section.get(discriminator) if isinstance(section, Mapping) else getattr(default, discriminator, None)
    return next((cls for cls in classes if choice in tags(cls, discriminator)), None)


def leaves(root: type[Config], tree: Mapping[str, Any]) -> Iterator[Leaf]:
    """Yield every setting that `root` knows, with the union members that `tree` chooses."""
    yield from _leaves(root, tree, None, "")


def _leaves(cls: type[Config], tree: Any, default: Any, prefix: str) -> Iterator[Leaf]:
    for name, field in cls.model_fields.items():
        inner_default = getattr(default, name, None) if default is not None else _default(field)
        section = tree.get(name) if isinstance(tree, Mapping) else None
        inner = chosen(field, section, inner_default)
        if inner is None:
            yield Leaf(f"{prefix}{name}", field, inner_default)
        else:
            same_class = isinstance(inner_default, inner)
            yield from _leaves(inner, section, inner_default if same_class else None, f"{prefix}{name}.")


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def class_at(root: type[Config], tree: Mapping[str, Any], path: tuple[str | int, ...]) -> type[Config] | None:
    """Return the config class that decodes the section at `path`, or None where that is no section."""
    cls: type[Config] | None = root
    section: Any = tree
    for part in path:
        if cls is None or part not in cls.model_fields:
            return None
        field = cls.model_fields[str(part)]
        section = section.get(part) if isinstance(section, Mapping) else None
        cls = chosen(field, section, _default(field))
    return cls


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
