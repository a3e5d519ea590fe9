"""Changing the search space of a study that exists."""

import json
import socket
import time
from typing import Any

import pytest

from mlframework.errors import StudyError
from mlframework.search.lease import Lease, owner_of_this_process
from mlframework.search.lookup import find_study
from mlframework.search.results import TrialRecord
from mlframework.search.versions import SUCCESSOR, latest
from support.searches import Watched, open_search, run_search

pytestmark = pytest.mark.usefixtures("here")

SPACE: dict[str, Any] = {
    "optimizer.lr": {"type": "loguniform", "low": 1e-3, "high": 1e-1},
    "model.hidden_size": {"type": "int", "low": 4, "high": 8, "step": 2},
    "optimizer.type": {"type": "categorical", "choices": ["sgd", "adam"]},
}


def changed(**changes: Any) -> dict[str, Any]:
    names = {"lr": "optimizer.lr", "size": "model.hidden_size", "kind": "optimizer.type"}
    return {key: SPACE[key] for key in SPACE} | {
        names[name]: {**SPACE[names[name]], **change} for name, change in changes.items()
    }


@pytest.mark.parametrize("storage", ["sqlite:///studies.db", "journal:///studies.log"])
def test_a_wider_space_goes_on_with_the_old_trials(storage: str) -> None:
    base = {"search.storage": storage, "training.num_epochs": 1}
    _, before = run_search({**base, "search_space": SPACE, "search.n_trials": 4})
    wider = changed(lr={"low": 1e-5}, size={"low": 2, "high": 16}, kind={"choices": ["adamw", "sgd", "adam"]})
    study, after = run_search({**base, "search_space": wider, "search.n_trials": 12}, resume=True)
    assert sorted(line.partition(": ")[2] for line in study.news) == [
        "model.hidden_size: whole numbers 4 to 8, step 2 before, whole numbers 2 to 16, step 2 now: widened",
        "optimizer.lr: 0.001 to 0.1, log scale before, 1e-05 to 0.1, log scale now: widened",
        "optimizer.type: one of sgd, adam before, one of adamw, sgd, adam now: choices added",
    ]
    old = [(r.number, r.state, r.value, r.params, r.seconds, r.metrics) for r in before.records]
    assert [(r.number, r.state, r.value, r.params, r.seconds, r.metrics) for r in after.records[:4]] == old
    assert len(after.records) == 12, "the total is the study's"
    new = [record.params for record in after.records[4:]]
    assert any(params["optimizer.type"] == "adamw" for params in new)
    assert any(params["optimizer.lr"] < 1e-3 for params in new)
    found, _, _, _ = find_study("tiny_optimization", None)
    assert len(found.trials) == 12 and found.study_name == "tiny_optimization@2"
    assert json.loads(study.spec.folder.results.read_text())["study_name"] == "tiny_optimization"


def test_versions_follow_one_another_and_the_old_ones_stay() -> None:
    base = {"training.num_epochs": 1, "search.sampler": {"type": "TPESampler", "n_startup_trials": 2}}
    first, _ = run_search({**base, "search_space": SPACE, "search.n_trials": 2})
    run_search({**base, "search_space": changed(lr={"high": 0.2}), "search.n_trials": 4}, resume=True)
    study, end = run_search({**base, "search_space": changed(lr={"high": 0.3}), "search.n_trials": 6}, resume=True)
    assert study.study.study_name == "tiny_optimization@3" and len(end.records) == 6
    assert len(first.study.trials) == 2 and first.study.user_attrs[SUCCESSOR] == "tiny_optimization@2"
    again, _ = run_search({**base, "search_space": changed(lr={"high": 0.3}), "search.n_trials": 6}, resume=True)
    assert list(again.news) == [] and again.study.study_name == "tiny_optimization@3"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (changed(lr={"low": 1e-2}), "optimizer.lr: 0.001 to 0.1, log scale before, 0.01 to 0.1, log scale now"),
        (changed(lr={"type": "uniform"}), "optimizer.lr: 0.001 to 0.1, log scale before, 0.001 to 0.1 now"),
        (changed(size={"step": 1}), "model.hidden_size: whole numbers 4 to 8, step 2 before"),
        (changed(size={"low": 3, "high": 9}), "model.hidden_size: whole numbers 4 to 8, step 2 before"),
        (changed(kind={"choices": ["sgd", "rmsprop"]}), "optimizer.type: one of sgd, adam before"),
        ({key: SPACE[key] for key in list(SPACE)[1:]}, "optimizer.lr: was searched, and is not now"),
        (
            {**SPACE, "optimizer.weight_decay": {"type": "uniform", "low": 0.0, "high": 0.1}},
            "optimizer.weight_decay: is searched now, and was not: the old trials have no value of it",
        ),
    ],
)
def test_what_would_leave_old_trials_outside_is_refused(space: dict[str, Any], message: str) -> None:
    study = open_search({"search_space": SPACE})
    with pytest.raises(StudyError) as error:
        open_search({"search_space": space}, resume=True)
    assert f"  {message}" in str(error.value)
    assert "a range may be widened and a choice added" in str(error.value)
    assert latest(study.study._storage, "tiny_optimization") == "tiny_optimization"


def test_other_changes_are_refused_as_before() -> None:
    open_search({"search_space": SPACE})
    with pytest.raises(StudyError, match="was started with other settings"):
        open_search({"search_space": changed(lr={"high": 0.2}), "training.num_epochs": 9}, resume=True)


def test_a_trial_that_was_not_finished_is_drawn_anew() -> None:
    def interrupt(number: int, _epoch: int, _value: float) -> None:
        if number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search({"search_space": SPACE, "search.n_trials": 3}, watcher=Watched(interrupt))
    _, end = run_search({"search_space": changed(lr={"high": 0.2}), "search.n_trials": 3}, resume=True)
    assert [record.state for record in end.records] == ["complete", "superseded", "complete", "complete"]
    assert sum(record.counts for record in end.records) == 3


def test_a_study_that_is_being_searched_is_left_alone() -> None:
    study = open_search({"search_space": SPACE})
    trial = study.study.ask()
    elsewhere = owner_of_this_process().replace(socket.gethostname(), "another-host")
    assert study.leases._ledger.insert(Lease(0, 0, elsewhere, time.time() + 60, trial.number))
    with pytest.raises(StudyError, match="another process is searching it: trial 0 is being trained"):
        open_search({"search_space": changed(lr={"high": 0.2})}, resume=True)
    assert study.study._storage.get_study_user_attrs(study.study._study_id).get(SUCCESSOR) is None


def test_a_death_while_changing_leaves_the_old_version_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    run_search({"search_space": SPACE, "search.n_trials": 2, "training.num_epochs": 1})
    wider = {"search_space": changed(lr={"high": 0.2}), "search.n_trials": 3, "training.num_epochs": 1}
    with monkeypatch.context() as patched:
        patched.setattr("optuna.Study.add_trials", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            open_search(wider, resume=True)
    _, end = run_search(wider, resume=True)
    assert [TrialRecord.of(trial).state for trial in find_study("tiny_optimization", None)[0].trials] == [
        "complete"
    ] * 3
    assert len(end.records) == 3
