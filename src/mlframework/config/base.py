"""The base of every config section."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen section of the config: unknown keys are errors, and a string is never taken for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
