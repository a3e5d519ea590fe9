"""The command that goes on with a search: kept in its study, so that whoever reads it later can go on, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlframework.search.storage import translated

if TYPE_CHECKING:
    from mlframework.search.study import OpenStudy

COMMAND = "mlframework:command"


def record_command(study: OpenStudy, command: str) -> None:
    """Note the command that goes on with a study; it has no password in it.

    Raises:
        StorageError: the storage does not answer.
    """
    with translated(study.spec.storage):
        if study.study.user_attrs.get(COMMAND) != command:
            study.study.set_user_attr(COMMAND, command)


def recorded_command(attributes: Mapping[str, Any]) -> str | None:
    """Return the command that stands in the attributes of a study, or None."""
    found = attributes.get(COMMAND)
    return found if isinstance(found, str) else None
