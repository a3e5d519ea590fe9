"""What a search asks of its storage: counted in statements and commits, and what others and a resume find there."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mlframework.errors import LeaseLost
from mlframework.search import mirror as mirrors
from mlframework.search import unwritten
from mlframework.search.duplicates import PLACE
from mlframework.search.mirror import Mirror, mirror_of
from mlframework.search.results import METRICS
from mlframework.search.storage import open_storage, patient
from mlframework.search.study import OpenStudy
from support.dying import Death, die_in
from support.searches import Watched, open_search, run_search

pytestmark = pytest.mark.usefixtures("here")
MEDIAN = {"type": "MedianPruner", "n_startup_trials": 1, "n_warmup_steps": 0}
FAST = {"search.pruner": MEDIAN, "search.n_trials": 4}


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the statements and the commits of all databases."""
    counts: Counter[str] = Counter()

    def statement(*_: Any) -> None:
        counts["statements"] += 1

    def commit(*_: Any) -> None:
        counts["commits"] += 1

    event.listen(Engine, "after_cursor_execute", statement)
    event.listen(Engine, "commit", commit)
    try:
        yield counts
    finally:
        event.remove(Engine, "after_cursor_execute", statement)
        event.remove(Engine, "commit", commit)


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass: nothing is looked at or written because a second is over."""
    monkeypatch.setattr(mirrors, "LOOK", 3600.0)
    monkeypatch.setattr(unwritten, "PAUSE", 3600.0)
    monkeypatch.setattr(unwritten, "LATEST", 3600.0)


def stored(study: OpenStudy, number: int = 0) -> optuna.trial.FrozenTrial:
    """Return a trial as another process finds it."""
    return open_storage(study.spec.storage).get_all_trials(study.study._study_id)[number]


@pytest.mark.usefixtures("calm")
def test_what_a_trial_costs_does_not_depend_on_its_epochs() -> None:
    def cost(epochs: int) -> Counter[str]:
        study = open_search({**FAST, "training.num_epochs": epochs, "search.study_name": f"of{epochs}"})
        from mlframework.search.loop import search
        from mlframework.search.start import load

        with counted() as counts:
            end = search(study, load, Watched())
        assert sum(record.epochs for record in end.records) > 4 * (epochs > 3)
        return counts

    few, many = cost(3), cost(12)
    assert many["commits"] - few["commits"] <= 2 and many["statements"] - few["statements"] <= 20, (few, many)
    assert many["statements"] <= 4 * 45 and many["commits"] <= 4 * 18, many


@pytest.mark.usefixtures("calm")
def test_who_owns_a_study_prunes_from_memory() -> None:
    """Between two epochs nothing is asked of the storage; the first report alone is written at once."""
    epochs: list[int] = []
    with counted() as counts:
        _, end = run_search(
            {**FAST, "training.num_epochs": 6},
            watcher=Watched(on_epoch=lambda *_: epochs.append(counts["statements"])),
        )
    assert "pruned" in [record.state for record in end.records]
    seen = iter(epochs)
    for record in end.records:
        at = [next(seen) for _ in range(record.epochs)]
        assert len(set(at)) == 1, "no statement from the first report to the last"


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("storage", ["sqlite:///studies.db", "journal:///study.log"])
def test_reports_are_there_once_the_trial_is_over(storage: str) -> None:
    found: list[int] = []

    def look(number: int, epoch: int, _value: float) -> None:
        found.append(len(stored(study, number).intermediate_values))

    study = open_search({"search.storage": storage, "search.n_trials": 1, "training.num_epochs": 4})
    from mlframework.search.loop import search
    from mlframework.search.start import load

    search(study, load, Watched(on_epoch=look))
    assert found == [1, 1, 1, 1], "the first is written at once, the others wait"
    (mine,), there = study.trials(), stored(study)
    assert there.intermediate_values == mine.intermediate_values and len(mine.intermediate_values) == 4
    assert (there.state, there.values, there.params) == (mine.state, mine.values, mine.params)
    assert there.user_attrs == mine.user_attrs and METRICS in there.user_attrs
    assert there.datetime_complete == mine.datetime_complete


def test_a_report_is_written_by_itself_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the next epoch is a long one: others see it all the same."""
    import time

    monkeypatch.setattr(unwritten, "LATEST", 0.01)
    mirror, made = held()
    mirror.set_trial_intermediate_value(made, 1, 0.5)
    end = time.monotonic() + 60
    while not open_storage("sqlite:///one.db").get_trial(made).intermediate_values:
        assert time.monotonic() < end
        time.sleep(0.01)


def held() -> tuple[Mirror, int]:
    """Return a mirror of a study in a file, and a trial that it holds."""
    mirror: Any = Mirror(patient(open_storage("sqlite:///one.db"), "sqlite:///one.db", 0))
    study = optuna.create_study(storage=mirror)
    return mirror, mirror.create_new_trial(study._study_id, create_trial(state=TrialState.RUNNING))


@pytest.mark.usefixtures("calm")
def test_what_is_unwritten_of_a_trial_that_is_anothers_is_dropped() -> None:
    mirror, made = held()
    mirror.set_trial_intermediate_value(made, 1, 0.5)

    def lost() -> None:
        raise LeaseLost("taken over")

    mirror.guard(made, lost)
    mirror.let_go(made)
    assert open_storage("sqlite:///one.db").get_trial(made).intermediate_values == {}


@pytest.mark.usefixtures("calm")
def test_what_is_let_go_is_written() -> None:
    mirror, made = held()
    mirror.set_trial_intermediate_value(made, 1, float("inf"))
    mirror.set_trial_intermediate_value(made, 2, float("nan"))
    mirror.let_go(made)
    found = open_storage("sqlite:///one.db").get_trial(made).intermediate_values
    assert found[1] == float("inf") and str(found[2]) == "nan"
    assert str(mirror.get_trial(made).intermediate_values) == str(found), "it is read from there from now on"


@pytest.mark.usefixtures("calm")
def test_of_two_that_end_a_trial_the_first_counts_and_the_other_writes_nothing() -> None:
    mirror, made = held()
    other = open_storage("sqlite:///one.db")
    mirror.set_trial_intermediate_value(made, 1, 0.5)
    other.set_trial_state_values(made, TrialState.COMPLETE, [7.0])
    with pytest.raises(RuntimeError), mirror.together(made):
        mirror.set_trial_user_attr(made, "late", True)
        mirror.set_trial_state_values(made, TrialState.FAIL)
    for storage in (other, mirror):
        found = storage.get_trial(made)
        assert (found.state, found.values, found.user_attrs) == (TrialState.COMPLETE, [7.0], {})


def test_a_write_that_fails_is_written_with_the_next_one() -> None:
    mirror, made = held()
    with sqlite3.connect("one.db") as connection:
        connection.execute("ALTER TABLE trial_user_attributes RENAME TO away")
    with pytest.raises(optuna.exceptions.StorageInternalError):
        mirror.set_trial_user_attr(made, "first", 1)
    with sqlite3.connect("one.db") as connection:
        connection.execute("ALTER TABLE away RENAME TO trial_user_attributes")
    mirror.set_trial_user_attr(made, "second", [2])
    assert open_storage("sqlite:///one.db").get_trial(made).user_attrs == {"first": 1, "second": [2]}


@pytest.mark.usefixtures("calm")
def test_others_trials_are_seen_when_they_are_looked_for_and_by_pruners_after_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mirror, _ = held()
    study_id = mirror.get_study_id_from_name(mirror.get_all_studies()[0].study_name)
    assert len(mirror.get_all_trials(study_id)) == 1
    other = open_storage("sqlite:///one.db")
    theirs = other.create_new_trial(study_id)
    other.set_trial_intermediate_value(theirs, 1, 0.5)
    assert len(mirror.get_all_trials(study_id)) == 1
    mirror.refresh(study_id)
    assert mirror.get_all_trials(study_id)[1].intermediate_values == {1: 0.5}
    other.set_trial_intermediate_value(theirs, 2, 0.25)
    monkeypatch.setattr(mirrors, "LOOK", 0.0)
    assert mirror.get_all_trials(study_id)[1].intermediate_values == {1: 0.5, 2: 0.25}
    # One that was made between two of ours is not passed over.
    other.create_new_trial(study_id)
    monkeypatch.setattr(mirrors, "LOOK", 3600.0)
    mirror.create_new_trial(study_id)
    assert [trial.number for trial in mirror.get_all_trials(study_id)] == [0, 1, 2, 3]


@pytest.mark.usefixtures("calm")
def test_trials_that_were_given_out_do_not_change() -> None:
    """Successive halving reads the trials, writes of its own, and counts it to what it has read."""
    mirror, made = held()
    study_id = mirror.get_study_id_from_name(mirror.get_all_studies()[0].study_name)
    (before,), own = mirror.get_all_trials(study_id, deepcopy=False), mirror.get_trial(made)
    mirror.set_trial_system_attr(made, "rung", 1)
    mirror.set_trial_intermediate_value(made, 1, 0.5)
    assert (before.system_attrs, before.intermediate_values) == ({}, {})
    own.intermediate_values[9] = 9.0  # Optuna's trial does so
    assert mirror.get_trial(made).intermediate_values == {1: 0.5}


def test_a_kill_between_two_writes_loses_nothing() -> None:
    """The epochs that the storage did not have are reported again by who goes on, and pruning sees them."""
    changes = {"search.n_trials": 1, "training.num_epochs": 5}
    die_in(Path.cwd(), changes, Death(0, 4))
    study = open_search(changes, resume=True)
    lost = 4 - len(stored(study).intermediate_values)
    study, end = run_search(changes, resume=True)
    _, undisturbed = run_search({**changes, "search.study_name": "undisturbed"})
    assert sorted(stored(study).intermediate_values) == [1, 2, 3, 4, 5], f"{lost} had not been written"
    assert end.records[0].value == undisturbed.records[0].value
    assert lost > 0, "four epochs take milliseconds: some were unwritten"


@pytest.mark.parametrize("storage", ["sqlite:///studies.db", "journal:///study.log"])
def test_a_search_that_is_stopped_leaves_all_that_it_has_reported(storage: str) -> None:
    def stop(_number: int, epoch: int, _value: float) -> None:
        if epoch == 3:
            raise KeyboardInterrupt

    changes = {"search.storage": storage, "search.n_trials": 1, "training.num_epochs": 5}
    with pytest.raises(KeyboardInterrupt):
        run_search(changes, watcher=Watched(on_epoch=stop))
    study = open_search(changes, resume=True)
    assert sorted(stored(study).intermediate_values) == [1, 2, 3]


def test_the_workers_of_a_proxy_are_not_shown_the_drivers_mirror() -> None:
    study = open_search({"search.storage": "journal:///study.log"})
    assert isinstance(mirrors.behind(study.study._storage), JournalStorage)


def test_the_leases_of_trials_that_are_over_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a trial costs the same in a study of thousands."""
    study, _ = run_search({"search.n_trials": 3})
    ledger, read = study.leases._ledger, []
    ask: Callable[..., Any] = ledger.read
    monkeypatch.setattr(ledger, "read", lambda first=0: read.append(first) or ask(first))
    monkeypatch.setattr("mlframework.search.lease._SETTLES", 1)
    for _ in range(3):
        assert study.leases.claim(3, study.unfinished) is None
    assert read == [0, 3, 3] and study.leases.places() == 3
    assert [lease.place for lease in study.leases.all()] == [0, 1, 2]


def test_a_trial_that_is_taken_over_is_held_and_its_twin_closed() -> None:
    study = open_search()
    storage = mirror_of(study.study)
    other = open_storage(study.spec.storage)
    template = create_trial(state=TrialState.RUNNING, user_attrs={PLACE: 0})
    theirs = other.create_new_trial(study.study._study_id, template)
    from mlframework.search.places import open_trial

    lease = study.leases.claim(study.n_trials, study.unfinished)
    assert lease is not None
    assert open_trial(study.study, lease)._trial_id == theirs
    with counted() as counts:
        storage.get_trial(theirs)
    assert counts["statements"] == 0
