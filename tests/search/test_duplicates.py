"""Draws that a former trial has trained: which they are, and what each setting of on_duplicate makes of them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from mlframework.config import yaml
from mlframework.experiment import load_data
from mlframework.search.duplicates import PLACE, REDRAWN, SAME_AS, by_point, original, point_of, trained
from mlframework.search.goal import Goal
from mlframework.search.loop import SearchEnd
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Uniform
from mlframework.search.results import TrialRecord
from support.searches import LR, Watched, run_search

pytestmark = pytest.mark.usefixtures("here")

SPACE: dict[str, Any] = {
    "optimizer.lr": {"type": "categorical", "choices": [0.01, 0.05, 0.1]},
    "model.hidden_size": {"type": "int", "low": 4, "high": 8, "step": 4},
}
ONE_EPOCH: dict[str, Any] = {"training.num_epochs": 1, "search_space": SPACE}
TPE = {"type": "TPESampler", "n_startup_trials": 2}


def points(end: SearchEnd) -> list[tuple[Any, ...]]:
    return [tuple(sorted(record.params.items())) for record in end.records if record.counts]


def trial(number: int, state: str = "COMPLETE", place: int | None = None, **marks: Any) -> FrozenTrial:
    attrs = {PLACE: number if place is None else place, **{f"mlframework:{key}": value for key, value in marks.items()}}
    made = create_trial(state=TrialState[state], value=1.0 if state == "COMPLETE" else None, user_attrs=attrs)
    made.number = number
    return made


# Which they are


def test_points_tell_kinds_apart_and_steps_together() -> None:
    space: dict[str, Parameter] = {
        "a": Categorical(type="categorical", choices=[1, 1.0, True, "1", None]),
        "b": Uniform(type="uniform", low=0.0, high=0.9, step=0.1),
        "c": Int(type="int", low=0, high=9),
        "d": LogUniform(type="loguniform", low=1e-5, high=1.0),
    }
    ones = {point_of(space, {"a": one}) for one in (1, 1.0, True, "1", None)}
    assert len(ones) == 5
    assert point_of(space, {"b": 0.3}) == point_of(space, {"b": 0.1 * 3})
    assert point_of(space, {"b": 0.3}) != point_of(space, {"b": 0.4})
    assert point_of(space, {"c": 3, "d": 0.1}) == point_of(space, {"d": 0.1, "c": 3})
    assert point_of(space, {"c": 3}) != point_of(space, {"c": 3, "d": 0.1})
    assert point_of(space, {"d": 0.1}) != point_of(space, {"d": 0.1 + 1e-15})


def test_a_draw_is_compared_with_the_studys_own_trials() -> None:
    others = [
        trial(0),
        trial(1, "PRUNED", redrawn="infeasible"),
        trial(2, "FAIL"),
        trial(3, "RUNNING"),
        trial(5),
        trial(6, "RUNNING"),  # about to start: it gives way to the lower number
        trial(7, "PRUNED"),
    ]
    reporting = trial(8, "RUNNING")
    reporting.intermediate_values = {1: 0.5}
    imported = create_trial(state=TrialState.COMPLETE, value=1.0)
    imported.number = 9
    found = trained([*others, reporting, imported, trial(4)], 4)
    assert [each.number for each in found] == [0, 2, 3, 5, 7, 8]


def test_the_first_complete_trial_is_the_original() -> None:
    failed, copy, late = trial(1, "FAIL"), trial(2, same_as=5), trial(6)
    assert original([failed, copy, trial(5), late]).number == 5  # type: ignore[union-attr]
    assert original([failed, trial(3, "RUNNING")]) is not None
    assert original([failed, trial(3, "RUNNING")]).number == 1  # type: ignore[union-attr]
    assert original([trial(3, "RUNNING")]) is None
    assert len(by_point({}, [failed, copy])[()]) == 2


# What becomes of them


@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler", "GridSampler"])
def test_a_small_space_is_tried_once_and_then_the_search_ends(sampler: str) -> None:
    kind = TPE if sampler == "TPESampler" else {"type": sampler}
    study, end = run_search({**ONE_EPOCH, "search.sampler": kind, "search.n_trials": 50})
    assert (end.why, study.n_trials) == ("done", 6)
    assert len(points(end)) == len(set(points(end))) == 6
    again = [record for record in end.records if not record.counts]
    assert {record.state for record in again} <= {"duplicate"}
    assert bool(again) == (sampler != "GridSampler")
    for record in again:
        assert record.reason is not None and record.reason.endswith("has the same parameters; drawn again")
        assert not study.spec.folder.trial(record.number).path.exists(), "it was never started"
    assert max(Counter(trial.user_attrs[PLACE] for trial in study.trials()).values()) <= 3


def test_a_search_that_is_resumed_draws_what_an_uninterrupted_one_does() -> None:
    changes = {**ONE_EPOCH, "search.sampler": TPE}
    _, whole = run_search({**changes, "search.n_trials": 6, "search.study_name": "whole"})
    for n_trials in (1, 2, 4, 6):
        _, parts = run_search({**changes, "search.n_trials": n_trials, "search.study_name": "parts"}, resume=True)
    assert any(not record.counts for record in whole.records)
    assert [(r.params, r.state, r.value) for r in parts.records] == [
        (r.params, r.state, r.value) for r in whole.records
    ]


def test_reuse_takes_the_former_value_over_and_trains_nothing() -> None:
    watcher = Watched()
    changes = {**ONE_EPOCH, "search.on_duplicate": "reuse", "search.n_trials": 14}
    study, end = run_search(changes, watcher=watcher)
    assert len(end.records) == 14 and {record.state for record in end.records} == {"complete"}
    copies = [record for record in end.records if record.same_as is not None]
    assert len(copies) >= 14 - 6
    for record in copies:
        former = end.records[record.same_as or 0]
        assert (record.params, record.value, record.best_epoch) == (former.params, former.value, former.best_epoch)
        assert record.metrics == former.metrics
        assert (record.reason, former.same_as, record.epochs) == (f"= trial {former.number}", None, 0)
        assert not study.spec.folder.trial(record.number).path.exists()
    assert [number for number, _, _ in watcher.started] == [r.number for r in end.records if r.same_as is None]
    assert all(record.same_as is None for record in Goal.single("val_loss", "minimize").ranked(end.records))
    stored = json.loads(study.spec.folder.results.read_text())["trials"]
    assert [each["same_as"] for each in stored] == [record.same_as for record in end.records]


def test_reuse_takes_a_failure_over_too() -> None:
    space = {"optimizer.lr": {"type": "categorical", "choices": [1e30, 0.05]}}
    changes = {"search_space": space, "search.on_duplicate": "reuse", "search.n_trials": 10, "training.num_epochs": 1}
    _, end = run_search(changes)
    failed = [record for record in end.records if record.params["optimizer.lr"] == 1e30]
    assert len(failed) > 1 and {record.state for record in failed} == {"failed"}
    assert all(record.reason == f"= trial {failed[0].number}: {failed[0].reason}" for record in failed[1:])


def test_replicate_trains_with_another_seed_on_the_same_split() -> None:
    space = {"model.hidden_size": {"type": "categorical", "choices": [6]}}
    changes = {"search_space": space, "search.on_duplicate": "replicate", "search.n_trials": 3}
    study, end = run_search(changes)
    trees = [yaml.read(study.spec.folder.trial(number).config).tree for number in range(3)]
    assert [tree["seed"] for tree in trees] == [3, 4, 5]
    assert [record.seed for record in end.records] == [None, 4, 5]
    assert len({record.value for record in end.records}) == 3
    assert "split" not in trees[0]["data"] and [tree["data"]["split"]["seed"] for tree in trees[1:]] == [3, 3]
    rows = [load_data(_config(tree)).val.numeric.tolist() for tree in trees]  # type: ignore[union-attr]
    assert rows[0] == rows[1] == rows[2]


def _config(tree: dict[str, Any]) -> Any:
    from mlframework.config.decode import decode
    from mlframework.config.yaml import Document
    from mlframework.experiment import ExperimentConfig

    return decode(ExperimentConfig, Document(tree))


def test_an_interrupted_replicate_goes_on_with_its_seed() -> None:
    space = {"model.hidden_size": {"type": "categorical", "choices": [6]}}
    changes = {"search_space": space, "search.on_duplicate": "replicate", "search.n_trials": 3}
    _, whole = run_search({**changes, "search.study_name": "whole"})

    def interrupt(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(changes, watcher=Watched(interrupt))
    _, end = run_search(changes, resume=True)
    assert [(r.seed, r.value) for r in end.records] == [(r.seed, r.value) for r in whole.records]


def test_a_trial_that_was_interrupted_is_not_taken_for_its_own_duplicate() -> None:
    def interrupt(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search({"search_space": SPACE}, watcher=Watched(interrupt))
    _, end = run_search({"search_space": SPACE}, resume=True)
    assert [record.state for record in end.records if record.counts] == ["complete"] * 3
    assert end.records[1].epochs == 3


def test_an_endless_space_has_no_bound_on_its_trials() -> None:
    study, _ = run_search(
        {"search_space": {**SPACE, "optimizer.lr": LR}, "search.n_trials": 1} | {"training.num_epochs": 1}
    )
    assert study.spec.most_trials is None


def test_what_may_be_trained_twice_is_not_bounded() -> None:
    study, end = run_search({**ONE_EPOCH, "search.on_duplicate": "replicate", "search.n_trials": 8})
    assert study.spec.most_trials is None
    assert len(end.records) == 8 and len(set(points(end))) < 8


def test_a_grid_is_never_trained_twice_whatever_the_setting() -> None:
    changes = {**ONE_EPOCH, "search.sampler": {"type": "GridSampler"}, "search.on_duplicate": "replicate"}
    study, end = run_search({**changes, "search.n_trials": 20})
    assert study.spec.on_duplicate == "resample"
    assert len(set(points(end))) == len(end.records) == 6


def test_the_records_of_redrawn_trials_count_as_none() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    for state, marks in (("FAIL", {REDRAWN: "duplicate"}), ("PRUNED", {REDRAWN: "infeasible"}), ("FAIL", {SAME_AS: 0})):
        study.add_trial(create_trial(state=TrialState[state], user_attrs=marks))
    records = [TrialRecord.of(each) for each in study.trials]
    assert [(record.state, record.counts) for record in records] == [
        ("duplicate", False),
        ("infeasible", False),
        ("failed", True),
    ]
    assert Path("studies.db").exists() is False
