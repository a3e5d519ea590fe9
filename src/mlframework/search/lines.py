"""What a search from Python says while it runs: nothing, or a line a trial."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.search.confirm import Retraining
from mlframework.search.objective import Watcher
from mlframework.search.results import TrialRecord

if TYPE_CHECKING:
    from mlframework.search.study import OpenStudy


class Silent:
    """Says nothing."""

    def trial_started(self, number: int, params: Mapping[str, Any], num_epochs: int) -> None:
        """Say nothing."""

    def epoch_ended(self, number: int, epoch: int, value: float) -> None:
        """Say nothing."""

    def trial_ended(self, number: int) -> None:
        """Say nothing."""

    def trial_lost(self, number: int, why: str) -> None:
        """Say nothing."""

    def waiting(self, n_trials: int) -> None:
        """Say nothing."""

    def news(self, text: str) -> None:
        """Say nothing."""


class TrialLines(Silent):
    """Writes a line for each trial that ended: its value or why it has none, and the best one so far.

    Args:
        study: what is searched.
    """

    def __init__(self, study: OpenStudy) -> None:
        self._study = study

    def trial_ended(self, number: int) -> None:
        """Write the trial's line."""
        records = [TrialRecord.of(trial) for trial in self._study.trials()]
        record = next(each for each in records if each.number == number)
        goal = self._study.spec.goal
        best = goal.best(records)
        value = "" if record.value is None else f" {goal.shown(record)}"
        why = f" ({record.reason})" if record.reason else ""
        so_far = f"; best {goal.shown(best)} by trial {best.number}" if best is not None else ""
        sys.stdout.write(f"trial {number}: {record.state}{value}{why}{so_far}\n")


@dataclass(frozen=True)
class RetrainingLines:
    """Writes a line for each training of a confirmation.

    Attributes:
        metric: what it is judged by.
        speaks: whether it writes at all.
    """

    metric: str
    speaks: bool

    def training_started(self, number: int, seed: int, place: int, total: int, num_epochs: int) -> None:
        """Say nothing."""

    def epoch_ended(self, epoch: int, value: float) -> None:
        """Say nothing."""

    def training_ended(self, number: int, training: Retraining) -> None:
        """Write its outcome."""
        if self.speaks:
            outcome = (
                f"{self.metric} {training.value:.6g}" if training.value is not None else f"failed, {training.reason}"
            )
            sys.stdout.write(f"trial {number}, seed {training.seed}: {outcome}\n")


def watcher_of(study: OpenStudy, progress: bool) -> Watcher:
    """Return what watches a search: `progress` asks for lines."""
    return TrialLines(study) if progress else Silent()
