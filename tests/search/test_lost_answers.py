"""What is done again because a database's answer got lost on the way: nothing is then there twice."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from mlframework.errors import LeaseLost, StudyError
from mlframework.plans import Evaluation
from mlframework.search import ledgers
from mlframework.search.duplicates import REDRAWN
from mlframework.search.ledgers import open_ledger
from mlframework.search.objective import Outcome, _commit
from mlframework.search.places import open_trial
from mlframework.search.storage import open_storage
from mlframework.search.study import OpenStudy
from support.searches import open_search

pytestmark = pytest.mark.usefixtures("here")
FOUND = Outcome("COMPLETE", Evaluation(0.5, 1, {"val_loss": 0.5}, []), {"val_loss": 0.5})


def claimed(study: OpenStudy) -> Any:
    """Claim a place."""
    lease = study.leases.claim(study.n_trials, study.unfinished)
    assert lease is not None
    return lease


def test_a_claim_that_is_made_again_is_ones_own_and_nobody_elses() -> None:
    study = open_search()
    ledger = open_ledger(open_storage(study.spec.storage), study.study._study_id)
    mine = claimed(study)
    assert ledger.insert(mine), "the first answer got lost"
    assert not ledger.insert(replace(mine, owner="elsewhere|ns|1|1|x"))
    taken = replace(mine, token=1, owner="elsewhere|ns|1|1|x")
    assert ledger.replace(taken) and ledger.replace(taken), "the first answer got lost"
    assert not ledger.replace(replace(taken, owner="third|ns|1|1|x"))
    assert not ledger.update(mine)


def test_of_a_trial_that_was_made_twice_one_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_search()
    storage: Any = study.study._storage
    make: Callable[..., int] = storage.create_new_trial

    def twice(*arguments: Any, **named: Any) -> int:
        make(*arguments, **named)
        return make(*arguments, **named)

    monkeypatch.setattr(storage, "create_new_trial", twice, raising=False)
    trial = open_trial(study.study, claimed(study))
    running = study.study.get_trials(states=(TrialState.RUNNING,))
    assert [each.number for each in running] == [trial.number]
    other = study.study.get_trials(states=(TrialState.FAIL,))
    assert len(other) == 1 and REDRAWN in other[0].user_attrs, "it is none of the study's trials"


@pytest.mark.parametrize("was_away", [True, False])
def test_an_end_that_is_told_again_is_ones_own_only_after_an_outage(was_away: bool) -> None:
    study = open_search()
    lease = claimed(study)
    trial = open_trial(study.study, lease)
    lease = study.leases.bind(lease, trial.number)
    storage: BaseStorage = study.study._storage
    storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [0.5])
    if was_away:
        study.patience._last_outage = time.monotonic()
        _commit(study, lease, trial, FOUND)
    else:
        with pytest.raises(LeaseLost):
            _commit(study, lease, trial, FOUND)


def test_a_machine_with_another_time_than_the_database_is_refused(
    postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"search.storage": postgres(), "search.lease_seconds": 60}
    open_search(changes)

    class Fast:
        """A clock that is two minutes fast."""

        @staticmethod
        def time() -> float:
            return time.time() + 120

    with monkeypatch.context() as patch:
        patch.setattr(ledgers, "time", Fast)
        with pytest.raises(StudyError, match=r"differ by 120 s.* set the clocks by NTP"):
            open_search(changes, resume=True)
    open_search(changes, resume=True)
