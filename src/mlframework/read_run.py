"""What was read of a training run, before it is decoded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlframework.config.yaml import Document
from mlframework.learners.base import resolve_threads


@dataclass(frozen=True)
class ReadRun:
    """What was read of a training run.

    Attributes:
        document: the file with the overrides in it; `${VAR}` stays as written.
        overrides: dotted key to value, as they were given.
    """

    document: Document
    overrides: Mapping[str, Any]

    @property
    def tree(self) -> dict[str, Any]:
        """The training run's tree: without the search, the thread count written out."""
        return resolve_threads(self.document.without("search").tree)
