"""What a tuner found, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlframework.errors import RunError
from mlframework.metrics import Direction
from mlframework.runs import FORMAT, read_json, write_json
from mlframework.search.results import TrialRecord


@dataclass(frozen=True)
class TuningResult:
    """What an algorithm found.

    Attributes:
        algorithm: what suggested, as `optimize` was told.
        study_name: of the study.
        direction: `maximize` or `minimize`.
        best_params: of the best complete trial.
        best_score: its value.
        history: every trial with its `number`, `state`, `value`, `params` and `reason`; `state` is complete, pruned, failed,
            or imported, which is none of the study's own and never the best.
    """

    algorithm: str
    study_name: str
    direction: Direction
    best_params: Mapping[str, Any]
    best_score: float
    history: Sequence[TrialRecord]

    def save(self, path: str | Path) -> Path:
        """Write it as JSON; returns the path.

        Raises:
            RunError: the file cannot be written.
        """
        path = Path(path)
        write_json(path, {"format": FORMAT, **asdict(self)})
        return path

    @classmethod
    def load(cls, path: str | Path) -> TuningResult:
        """Read what `save` wrote.

        Raises:
            RunError: there is no such file, or it is none that `save` wrote.
        """
        content = read_json(Path(path))
        if content.pop("format", None) != FORMAT:
            raise RunError(f"{path}: is no result of a tuner in format {FORMAT}; TuningResult.save writes one")
        try:
            history = [_record(trial) for trial in content.pop("history")]
            return cls(**content, history=history)
        except (KeyError, TypeError) as error:
            raise RunError(f"{path}: is no result of a tuner: {error}; TuningResult.save writes one") from None

    def __str__(self) -> str:
        """Return it in words: the score, how the trials ended, the parameters."""
        counts: dict[str, int] = {}
        for record in self.history:
            counts[record.state] = counts.get(record.state, 0) + 1
        ended = ", ".join(f"{count} {state}" for state, count in counts.items())
        params = "".join(f"\n  {name}: {_shown(value)}" for name, value in self.best_params.items())
        return f"{self.algorithm}: best score {self.best_score:.6g} ({ended}){params}"


def _record(trial: Mapping[str, Any]) -> TrialRecord:
    # JSON has lists where a record has tuples.
    fields: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in trial.items()}
    return TrialRecord(**fields)


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
