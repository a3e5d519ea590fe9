"""What a process has seen of a study in its storage, and what it has to read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlframework.search.reads import read_trials

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import RDBStorage
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial


@dataclass
class Seen:
    """What was read of a study.

    Attributes:
        study_id: of the study.
        trials: by number, and in the order of these.
        distributions: of the parameters.
        open: ids of trials that are not over, and that others may change.
        newest: id of a trial up to which all were read.
        read_at: when that was, by the monotonic clock; None where it has to be read again.
        directions: of the objectives.
        name: of the study.
    """

    study_id: int
    trials: dict[int, FrozenTrial] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    newest: int = -1
    read_at: float | None = None
    directions: list[StudyDirection] | None = None
    name: str | None = None

    def take(self, trial: FrozenTrial, is_held: bool) -> None:
        """Take note of a trial as it is now; of one that is held nobody else writes."""
        is_late = trial.number not in self.trials and trial.number < len(self.trials)
        is_others = not trial.state.is_finished() and not is_held
        (self.open.add if is_others else self.open.discard)(trial._trial_id)
        self.trials[trial.number] = trial
        if is_late:
            self.trials = dict(sorted(self.trials.items()))
        for name, distribution in trial.distributions.items():
            self.distributions.setdefault(name, distribution)

    def news(self, storage: Any, database: RDBStorage | None) -> Sequence[FrozenTrial]:
        """Return the trials that may have changed, and those that are new.

        Args:
            storage: has the study.
            database: what waits behind it, None where it is none: a database is asked for no more than that.
        """
        if database is None:
            everything = storage.get_all_trials(self.study_id, deepcopy=False)
            return [each for each in everything if each._trial_id > self.newest or each._trial_id in self.open]

        found: Sequence[FrozenTrial] = storage.patience(
            lambda: read_trials(database, self.study_id, self.open, self.newest)
        )
        return found
