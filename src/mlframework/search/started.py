"""What a study's storage says that the study was started with. It may be a stranger's: what it holds is read with care."""

import json
from collections.abc import Mapping
from typing import Any

from mlframework.errors import StudyError

STARTED_WITH = "mlframework:started_with"
"""The user attribute of a study that has it, as JSON."""


def started_with(attributes: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what a study was started with; nothing, where it is not one of ours.

    Args:
        attributes: the study's user attributes.
        name: of the study, for the message.

    Raises:
        StudyError: it says something that cannot be.
    """
    try:
        found = json.loads(attributes.get(STARTED_WITH, "{}"))
        if not isinstance(found, dict) or not isinstance(found.get("metric", ""), str | None):
            raise ValueError
        if not all(isinstance(each["metric"], str) for each in found.get("objectives") or []):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        what = "the storage's record of what it was started with is damaged; start another study by --study-name"
        raise StudyError(f"the study {name!r}: {what}") from None
    return found
