"""The base of every config section."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen section of the config: unknown keys are errors, a string is never taken for a number, numbers are finite."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    excludes: ClassVar[tuple[str, ...]] = ()
    """Dotted keys, from the top of the config, that mean nothing where this section is chosen: `optimizer` beside ALS."""
