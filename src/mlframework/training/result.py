"""How a run ended."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mlframework.errors import RunError
from mlframework.metrics import Direction
from mlframework.runs import FORMAT


@dataclass(frozen=True)
class RunResult:
    """How a run ended: the content of result.json."""

    metric: str
    direction: Direction
    best_epoch: int
    best_metrics: Mapping[str, float]
    last_epoch: int
    last_metrics: Mapping[str, float]
    seconds: float
    reason: str
    n_parameters: int

    @property
    def value(self) -> float:
        """The best epoch's metric: the value of a trial."""
        return self.best_metrics[self.metric]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of result.json."""
        return {
            "format": FORMAT,
            "metric": self.metric,
            "direction": self.direction,
            "value": self.value,
            "best_epoch": self.best_epoch,
            "best_metrics": dict(self.best_metrics),
            "last_epoch": self.last_epoch,
            "last_metrics": dict(self.last_metrics),
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
            "resources": {"fit_seconds": round(self.seconds, 3), "n_parameters": self.n_parameters},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], path: Path) -> "RunResult":
        """Return what `to_dict` wrote.

        Raises:
            RunError: result.json, at `path`, has something else in it.
        """
        try:
            told = {field.name: content[field.name] for field in fields(cls) if field.name != "n_parameters"}
            return cls(**told, n_parameters=content["resources"]["n_parameters"])
        except (KeyError, TypeError) as error:
            raise RunError(
                f"{path}: is damaged, or of another version: {error} is missing; train the run again"
            ) from None
