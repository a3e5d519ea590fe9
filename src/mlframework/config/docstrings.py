"""What the docstring below each setting says, read from the source where somebody asks.

Pydantic would read it for every class when that is made, a third of the time that importing the config takes; messages,
the JSON Schema and the reference alone have a use for it.
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


def description(cls: type[BaseModel], name: str) -> str:
    """Return what is said of a setting: in its field, or below it; empty where nothing is."""
    return cls.model_fields[name].description or docstrings(cls).get(name, "")


@cache
def docstrings(cls: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstring of each setting of a section; one that a class inherits has the docstring it has there."""
    found: dict[str, str] = {}
    for kind in reversed(cls.__mro__):
        if kind is not BaseModel and issubclass(kind, BaseModel):
            found.update(_own(kind))
    return {name: said for name, said in found.items() if name in cls.model_fields}


@cache
def _own(cls: type[BaseModel]) -> Mapping[str, str]:
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):  # made in a shell, or its file is gone
        return {}
    # A text that goes on at the left margin keeps `dedent` from working in a class inside of a function.
    text = textwrap.dedent(source)
    node = ast.parse(text if not text[0].isspace() else f"if True:\n{text}").body[0]
    body = (node if isinstance(node, ast.ClassDef) else next(iter(node.body))).body  # type: ignore[attr-defined]
    found = {}
    for setting, below in pairwise(body):
        if not isinstance(setting, ast.AnnAssign) or not isinstance(setting.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            found[setting.target.id] = inspect.cleandoc(below.value.value)
    return found
