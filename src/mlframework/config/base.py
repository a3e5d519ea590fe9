"""The base of every config section."""

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from mlframework import markup
from mlframework.config.secrets import masked


class Config(BaseModel):
    """A frozen section of the config: unknown keys are errors, a string is never taken for a number, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    excludes: ClassVar[tuple[str, ...]] = ()
    """Dotted keys, from the top of the config, that mean nothing where this section is chosen: `optimizer` beside ALS."""

    def _repr_html_(self) -> str:
        """Return it for a notebook: what was set, and folded up what is left at its default. There are no passwords in it."""
        given = [(key, _shown(value)) for key, value, is_set in _leaves(self) if is_set]
        defaults = [(key, _shown(value)) for key, value, is_set in _leaves(self) if not is_set]
        parts = [markup.table(given, ("setting", "value"))] if given else []
        if defaults:
            parts.append(markup.folded(f"{len(defaults)} defaults", markup.table(defaults, ("setting", "value"))))
        return markup.card(type(self).__name__, "", *parts)


def _leaves(config: Config, prefix: str = "", is_set: bool = True) -> Iterator[tuple[str, Any, bool]]:
    """Yield the dotted key of each setting, its value, and whether somebody set it."""
    for name in type(config).model_fields:
        value, given = getattr(config, name), is_set and name in config.model_fields_set
        if isinstance(value, Config):
            yield from _leaves(value, f"{prefix}{name}.", given)
        else:
            yield f"{prefix}{name}", value, given


def _shown(value: Any) -> str:
    if isinstance(value, Config):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return masked(value) if isinstance(value, str) else markup.short(value) if value is not None else "null"
