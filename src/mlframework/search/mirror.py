"""A study's storage as the process sees it that searches: what the process itself has done it need not ask for.

A trial is *held* by the process that trains it: nobody else writes of it, so it stands in memory as it is. What others
write is read where it matters (`refresh`), and else once a second at most, so that pruning sees it in time. Trials that
are over do not change, and are read once.

What is written of a held trial is seen in this process at once. The storage has what is written in a block (`together`)
at its end, and a report half a second after the last write, or with the thread that writes what is a second old; both in
one transaction. Before a trial ends, or is let go, all of it is written. What a kill leaves unwritten stands in the
trial's checkpoint: whoever goes on from there reports it again.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from mlframework.search.patience import PatientStorage
from mlframework.search.seen import Seen
from mlframework.search.unwritten import Unwritten
from mlframework.search.writes import (
    End,
    Writes,
    as_read,
    copied,
    write_at_once,
    write_one_by_one,
    writes_at_once,
)

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, TrialState

LOOK = 1.0
"""Seconds between two looks at what others have written that nobody asked for."""


class Mirror:
    """A storage that answers from memory what this process knows.

    Args:
        storage: where the study is kept.
    """

    def __init__(self, storage: BaseStorage | PatientStorage) -> None:
        self.behind: Any = storage
        self._database: Any = storage.database if isinstance(storage, PatientStorage) else None
        self._lock = threading.RLock()
        self._studies: dict[int, Seen] = {}
        self._where: dict[int, tuple[Seen, int]] = {}
        self._unwritten = Unwritten(self._write)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)

    # What is read.

    def refresh(self, study_id: int) -> None:
        """Read what others have written."""
        with self._lock:
            seen, began = self._seen(study_id), time.monotonic()
            for trial in seen.news(self.behind, self._database):
                self._take(seen, trial)
                seen.newest = max(seen.newest, trial._trial_id)
            seen.read_at = began

    def _take(self, seen: Seen, trial: FrozenTrial) -> None:
        """Take note of a trial; a held one stands better in memory, unless another process has ended it."""
        trial_id = trial._trial_id
        if trial.state.is_finished():
            self._unwritten.drop(trial_id)
        elif trial_id in self._unwritten and trial.number in seen.trials:
            return
        seen.take(trial, trial_id in self._unwritten)
        self._where[trial_id] = seen, trial.number

    def _seen(self, study_id: int) -> Seen:
        return self._studies.setdefault(study_id, Seen(study_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials by number; what others have written less than a second ago may be missing."""
        with self._lock:
            seen = self._seen(study_id)
            if seen.read_at is None or time.monotonic() - seen.read_at >= LOOK:
                self.refresh(study_id)
            trials = list(seen.trials.values())
        found = trials if states is None else [trial for trial in trials if trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; of one that is held a copy, since Optuna changes what it is given of such."""
        with self._lock:
            known = self._known(trial_id)
            if known is not None and (known.state.is_finished() or trial_id in self._unwritten):
                return known if known.state.is_finished() else copied(known)
        found: FrozenTrial = self.behind.get_trial(trial_id)
        return found

    def _known(self, trial_id: int) -> FrozenTrial | None:
        seen, number = self._where.get(trial_id, (None, 0))
        return seen.trials[number] if seen is not None else None

    def get_trial_user_attrs(self, trial_id: int) -> dict[str, Any]:
        """Return the user attributes of a trial."""
        return self.get_trial(trial_id).user_attrs

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        """Return Optuna's attributes of a trial."""
        return self.get_trial(trial_id)._system_attrs

    def get_trial_params(self, trial_id: int) -> dict[str, Any]:
        """Return the parameters of a trial."""
        return self.get_trial(trial_id).params

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the best trial."""
        from optuna.storages import BaseStorage

        return BaseStorage.get_best_trial(self, study_id)  # type: ignore[arg-type]

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the directions of the objectives, which do not change."""
        seen = self._seen(study_id)
        seen.directions = seen.directions or self.behind.get_study_directions(study_id)
        return list(seen.directions)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of a study, which does not change."""
        seen = self._seen(study_id)
        seen.name = seen.name or self.behind.get_study_name_from_id(study_id)
        return seen.name

    # Who holds what.

    def hold(self, study_id: int, trial_id: int) -> None:
        """Take a trial over that runs: from now on this process alone writes of it."""
        with self._lock:
            if trial_id not in self._unwritten:
                trial = self.behind.get_trial(trial_id)
                self._unwritten.hold(trial_id)
                self._seen(study_id).trials.pop(trial.number, None)
                self._take(self._seen(study_id), trial)

    def guard(self, trial_id: int, check: Callable[[], object]) -> None:
        """Have reports of a held trial written later only where a check does not raise `LeaseLost`."""
        self._unwritten.guard(trial_id, check)

    def let_go(self, trial_id: int) -> None:
        """Hold a trial no longer, and write before what is unwritten of it, unless it is another process's by now."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            with suppress(UpdateFinishedTrialError):
                self._unwritten.write_if_held(trial_id)
        finally:
            self.forget(trial_id)

    def forget(self, trial_id: int) -> None:
        """Hold a trial no longer, which is another process's by now; what is unwritten of it is dropped."""
        with self._lock:
            if self._unwritten.drop(trial_id):
                self._changed_by_others(trial_id)

    def _changed_by_others(self, trial_id: int) -> None:
        if trial_id in self._where:
            seen, _ = self._where[trial_id]
            seen.open.add(trial_id)
            seen.read_at = None

    def together(self, trial_id: int, at_once: bool = True) -> AbstractContextManager[None]:
        """Return a block in which all that is written of a held trial is written at its end, at once or as reports are."""
        return self._unwritten.together(trial_id, at_once)

    # What is written.

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial; this process holds it where it runs."""
        if self._database is not None:
            made = self._database._create_new_trial(study_id, template_trial)
            made.user_attrs, made.system_attrs = as_read(made.user_attrs), as_read(made._system_attrs)
        else:
            made = self.behind.get_trial(self.behind.create_new_trial(study_id, template_trial))
        with self._lock:
            seen = self._seen(study_id)
            if made.state.name == "RUNNING":
                self._unwritten.hold(made._trial_id)
            self._take(seen, made)
            if len(seen.trials) == made.number + 1:
                seen.newest = max(seen.newest, made._trial_id)
            else:  # others have made some before it
                self.refresh(study_id)
        return int(made._trial_id)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Write a parameter, unless the trial has it."""
        from optuna.distributions import check_distribution_compatibility

        if (trial := self._held(trial_id)) is None:
            self.behind.set_trial_param(trial_id, param_name, param_value_internal, distribution)
            return
        seen, _ = self._where[trial_id]
        check_distribution_compatibility(seen.distributions.setdefault(param_name, distribution), distribution)
        if param_name not in trial.params:
            value = distribution.to_external_repr(param_value_internal)
            self._change(
                trial,
                params={**trial.params, param_name: value},
                distributions={**trial.distributions, param_name: distribution},
            )
            self._unwritten.add(trial_id, Writes(params={param_name: (param_value_internal, distribution)}), True)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Write a report, soon."""
        if (trial := self._held(trial_id)) is None:
            self.behind.set_trial_intermediate_value(trial_id, step, intermediate_value)
            return
        self._change(trial, intermediate_values={**trial.intermediate_values, step: intermediate_value})
        self._unwritten.add(trial_id, Writes(values={step: intermediate_value}), False)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute."""
        if (trial := self._held(trial_id)) is None:
            self.behind.set_trial_user_attr(trial_id, key, value)
            return
        self._change(trial, user_attrs={**trial.user_attrs, key: as_read(value)})
        self._unwritten.add(trial_id, Writes(user_attrs={key: value}), True)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute of Optuna's."""
        if (trial := self._held(trial_id)) is None:
            self.behind.set_trial_system_attr(trial_id, key, value)
            return
        self._change(trial, system_attrs={**trial._system_attrs, key: as_read(value)})
        self._unwritten.add(trial_id, Writes(system_attrs={key: value}), True)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """End a held trial, together with all that is unwritten of it."""
        if (trial := self._held(trial_id)) is None or not state.is_finished():
            return bool(self.behind.set_trial_state_values(trial_id, state, values))
        end = End(state, values)
        self._unwritten.write(trial_id, end)
        over = {"state": state, "datetime_complete": end.at, **({"values": list(values)} if values is not None else {})}
        with self._lock:
            seen, _ = self._where[trial_id]
            self._take(seen, copied(trial, **over) if self._database is not None else self.behind.get_trial(trial_id))
        return True

    def _held(self, trial_id: int) -> FrozenTrial | None:
        """Return a held trial; None where others may write of it, so that it has to be read again."""
        with self._lock:
            if trial_id in self._unwritten:
                return self._known(trial_id)
            self._changed_by_others(trial_id)
            return None

    def _change(self, trial: FrozenTrial, **changes: Any) -> None:
        """Put a changed copy in the place of a trial: who has been given it before goes on seeing it as it was."""
        with self._lock:
            seen, number = self._where[trial._trial_id]
            seen.trials[number] = copied(trial, **changes)

    def _write(self, trial_id: int, writes: Writes, end: End | None, *, waits: bool) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        storage = self.behind if self._database is None else self._database
        write = write_at_once if self._database is not None and writes_at_once(storage) else write_one_by_one
        try:
            if waits and self._database is not None:
                self.behind.patience(lambda: write(storage, trial_id, writes, end))
            else:
                write(storage, trial_id, writes, end)
        except UpdateFinishedTrialError:
            self.forget(trial_id)
            raise


def mirror_of(study: Study) -> Mirror:
    """Return the mirror that a study's storage is."""
    storage: Any = study._storage
    assert isinstance(storage, Mirror)
    return storage


def behind(storage: Any) -> Any:
    """Return the storage behind a mirror, or the storage itself."""
    return storage.behind if isinstance(storage, Mirror) else storage
