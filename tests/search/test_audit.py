"""Trials that are condemned and let finish: which they are, what is told of them, and that they change nothing else."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from pydantic import TypeAdapter, ValidationError

from mlframework.config import yaml
from mlframework.replay.original import find_original
from mlframework.replay.run import replay
from mlframework.search.audit import AUDITED, audit_of, is_drawn
from mlframework.search.goal import Goal
from mlframework.search.loop import search
from mlframework.search.primary import reporting
from mlframework.search.pruners import PRUNERS, PrunerConfig
from mlframework.search.results import TrialRecord
from mlframework.search.start import load
from mlframework.search.study import OpenStudy
from support.dying import Death, die_in
from support.searches import Watched, open_search, run_search

pytestmark = pytest.mark.usefixtures("here")
GOAL_DOWN = Goal.single("val_loss", "minimize")
MEDIAN = {"type": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 1}
CHANGES: dict[str, Any] = {
    "search.n_trials": 11, "training.num_epochs": 4, "search.pruner": MEDIAN, "search.storage": "journal:///studies.log",
}  # fmt: skip
HALF = {**CHANGES, "search.pruner": {**MEDIAN, "audit_fraction": 0.5}}


def condemned(records: list[TrialRecord]) -> dict[int, int]:
    """Return at which epoch each trial was condemned."""
    ends = {record.number: record.audited_at or record.epochs for record in records}
    return {each.number: ends[each.number] for each in records if each.state == "pruned" or each.audited is not None}


def audited(records: list[TrialRecord]) -> list[int]:
    return [record.number for record in records if record.audited is not None]


def told(study: OpenStudy) -> Any:
    return json.loads(study.spec.folder.results.read_text())


@pytest.mark.parametrize(
    "pruner", [MEDIAN, {"type": "SuccessiveHalvingPruner"}, {"type": "HyperbandPruner"},
               {"type": "ThresholdPruner", "upper": 0.7, "n_warmup_steps": 1}]
)  # fmt: skip
def test_an_audit_lets_some_finish_and_changes_nothing_else(pruner: dict[str, Any]) -> None:
    _, plain = run_search({**CHANGES, "search.pruner": pruner, "search.study_name": "s"})
    Path("runs").rename("runs-before")
    Path("studies.log").rename("before.log")  # the study's name seeds Hyperband's brackets
    study, end = run_search({**CHANGES, "search.pruner": {**pruner, "audit_fraction": 0.5}, "search.study_name": "s"})
    assert condemned(end.records) == condemned(plain.records), "the pruner judges as it would without an audit"
    found = audited(end.records)
    assert 0 < len(found) < len(condemned(end.records)), "some finish, others don't"
    assert found == [number for number in condemned(end.records) if is_drawn(study.spec.seed, number, 0.5)]
    for record in end.records:
        if record.number in found:
            curve = study.trials()[record.number].intermediate_values
            assert (record.state, record.epochs, record.reason) == ("complete", 4, None)
            assert record.audited == {"epoch": record.audited_at, "value": curve[record.audited_at or 0]}
        else:
            assert (record.state, record.value) == (
                plain.records[record.number].state,
                plain.records[record.number].value,
            )


def test_to_the_pruner_an_audited_trial_is_a_pruned_one() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(2, 0)
    study = optuna.create_study(pruner=pruner)
    for final, mark in ((0.1, None), (0.1, None), (0.9, 1), (0.05, 1), (0.9, 1)):
        attributes = {AUDITED: {"epoch": mark, "value": 0.9}} if mark else {}
        early = 0.9 if mark else 0.2
        study.add_trial(
            optuna.trial.create_trial(value=final, intermediate_values={1: early, 2: final}, user_attrs=attributes)
        )
    trial = study.ask()
    trial.report(0.5, 1)
    assert not trial.should_prune(), "in the middle of all"
    seen = reporting(study, trial, GOAL_DOWN, pruner)
    assert seen.should_prune(), "behind those that were not condemned"
    shown = seen.study.get_trials(deepcopy=False)
    assert [each.state.name for each in shown] == ["COMPLETE"] * 2 + ["PRUNED"] * 3 + ["RUNNING"]
    assert shown[3].intermediate_values == {1: 0.9} and shown[3].value is None
    assert [each.number for each in seen.study.get_trials(states=[optuna.trial.TrialState.PRUNED])] == [2, 3, 4]
    assert seen.study.best_trial.number == 0
    assert study.trials[3].state.name == "COMPLETE" and study.best_trial.number == 3, "what is stored is as it was"


def test_results_tell_how_many_were_among_the_best() -> None:
    study, end = run_search({**HALF, "search.pruner": {**MEDIAN, "audit_fraction": 1}})
    results = told(study)
    ranked = sorted((record for record in end.records), key=lambda record: record.value or math.nan)
    found = [record for record in ranked if record.audited is not None]
    assert all(record.state == "complete" for record in end.records) and len(found) > 5
    among = sum(record.audited is not None for record in ranked[:3])
    low, high = results["audit"].pop("low"), results["audit"].pop("high")
    assert results["audit"] == {
        "audited": len(found), "condemned": len(found), "among_best": among, "top": 3,
        "trials": [record.number for record in found], "best": found[0].value, "share": among / len(found),
    }  # fmt: skip
    assert 0 <= low <= among / len(found) < high < 1
    assert results["best_trial"] == ranked[0].number
    assert [trial["audited"] for trial in results["trials"]] == [record.audited for record in end.records]
    rows = list(csv.DictReader(study.spec.folder.trials.open()))
    assert [row["audited_at"] for row in rows] == [str(record.audited_at or "") for record in end.records]


def test_nothing_is_told_where_nothing_was_to_be_audited() -> None:
    study, end = run_search(CHANGES)
    assert condemned(end.records) and told(study)["audit"] is None


def test_two_workers_audit_the_same_trials() -> None:
    mine, done = open_search({**HALF, "search.study_name": "two"}), []

    def leave(_n_trials: int) -> None:
        raise KeyboardInterrupt

    def join(number: int, epoch: int, _value: float) -> None:
        """Another worker runs most of the study while one trial is in its first epoch."""
        if (number, epoch) == (3, 1) and not done:
            done.append(True)
            with pytest.raises(KeyboardInterrupt):
                run_search({**HALF, "search.study_name": "two"}, resume=True, watcher=Watched(on_wait=leave))

    end = search(mine, load, Watched(join))
    assert done and len(end.records) == 11
    drawn = [number for number in condemned(end.records) if is_drawn(mine.spec.seed, number, 0.5)]
    assert audited(end.records) == drawn != []
    assert told(mine)["audit"]["trials"] != [] and told(mine)["audit"]["condemned"] == len(condemned(end.records))


@pytest.mark.parametrize("after", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_an_audited_trial_that_is_killed_goes_on_as_one(here: Path, after: int) -> None:
    _, whole = run_search({**HALF, "search.study_name": "whole", "search.storage": "sqlite:///studies.db"})
    number = audited(whole.records)[0]
    at = whole.records[number].audited_at or 0
    parts = {**HALF, "search.study_name": "parts"}
    die_in(here, parts, Death(number, at + after))
    study = open_search(parts, resume=True)
    assert study.trials()[number].user_attrs[AUDITED]["epoch"] == at, "it was marked before it went on"
    _, end = run_search(parts, resume=True)
    assert [record.value for record in end.records] == [record.value for record in whole.records]
    assert [record.audited for record in end.records] == [record.audited for record in whole.records]


def test_an_audited_trial_is_replayed_like_any_other() -> None:
    study, end = run_search(HALF)
    number = audited(end.records)[0]
    original = find_original(f"{study.spec.name}/{number}")
    assert original.state == "complete"
    tree = yaml.read(study.spec.folder.trial(number).config).tree
    found = replay(original, tree, Path("runs"), [], [])
    assert (found.comparison.verdict, found.comparison.n_epochs) == ("identical", 4)


def test_a_trial_is_let_finish_that_was_condemned_between_folds() -> None:
    changes = {
        "search.n_trials": 8, "training.num_epochs": 1,
        "search.cross_validation": {"enabled": True, "n_folds": 3},
        "search.pruner": {"type": "MedianPruner", "n_startup_trials": 1, "n_warmup_steps": 9, "audit_fraction": 1.0},
    }  # fmt: skip
    study, end = run_search(changes)
    found = audited(end.records)
    assert found and all(record.state == "complete" and len(record.parts) == 3 for record in end.records)
    # Whom the others are compared with is the best of those that were not condemned.
    plain = {**changes, "search.study_name": "plain", "search.pruner.audit_fraction": 0.0}
    assert list(condemned(run_search(plain)[1].records)) == found == sorted(told(study)["audit"]["trials"])


def test_several_objectives_are_audited_by_the_one_that_prunes() -> None:
    objectives = [{"metric": "val_loss"}, {"metric": "n_parameters"}]
    changes = {**HALF, "search.objectives": objectives, "search.prune_by": "val_loss"}
    changes["search_space"] = {
        "optimizer.lr": {"type": "loguniform", "low": 1e-3, "high": 1e-1},
        "model.hidden_size": {"type": "int", "low": 2, "high": 16},
    }
    study, end = run_search(changes)
    ranked = [record.number for record in study.spec.goal.ranked(end.records)]
    found = audited(end.records)
    assert found and [number for number in ranked if number in found] == told(study)["audit"]["trials"]
    assert told(study)["audit"]["best"] == end.records[told(study)["audit"]["trials"][0]].value


# What is said


def record(number: int, value: float | None, state: str = "complete", is_audited: bool = False) -> TrialRecord:
    mark = {"epoch": 2, "value": 0.5} if is_audited else None
    return TrialRecord(number, state, value, {}, 1, 4, 1.0, None, {}, audited=mark)


GOAL = Goal.single("val_acc", "maximize")


def test_the_share_of_good_ones_among_the_pruned_has_its_exact_interval() -> None:
    best = [record(number, 0.9 + number / 1000) for number in range(5)]
    worse = [record(number, 0.1, is_audited=True) for number in range(5, 8)]
    gone = [record(number, 0.2, "pruned") for number in range(8, 17)]
    found = audit_of(GOAL, [*best, *worse, *gone], 0.25)
    assert found is not None and (found.condemned, found.top, found.among_best) == (12, 3, 0)
    # Of none in three: 1 - 0.025 ** (1 / 3).
    assert (found.low, found.high) == (0.0, pytest.approx(0.7076, abs=1e-4))
    assert found.sentence() == (
        "pruning: 12 condemned, 3 let finish, none of them among the best 3; of those that were pruned 0 to 71 % would have "
        "been (95 % interval)"
    )
    good = audit_of(GOAL, [*best, record(5, 0.99, is_audited=True), *gone], 0.25)
    assert good is not None and (good.among_best, good.best, good.low) == (1, 0.99, pytest.approx(0.025))
    assert (
        "10 condemned, 1 let finish, 1 of them among the best 3; of those that were pruned 3 to 100 %"
        in good.sentence()
    )


def test_what_nobody_knows_is_said() -> None:
    complete = [record(0, 0.9), record(1, 0.8)]
    none = audit_of(GOAL, complete, 0.1)
    assert none is not None and none.sentence() == "pruning: no trial was condemned"
    gone = audit_of(GOAL, [*complete, record(2, 0.1, "pruned")], 0.1)
    assert gone is not None and gone.told()["share"] is None
    assert gone.sentence() == "pruning: 1 condemned, none let finish: whether that was right nobody knows"
    assert audit_of(GOAL, complete, 0.0) is None


def test_the_lot_falls_on_its_share_and_on_more_of_them_where_that_is_larger() -> None:
    drawn = {share: {number for number in range(4000) if is_drawn(7, number, share)} for share in (0.0, 0.1, 0.3, 1.0)}
    assert [len(drawn[share]) for share in (0.0, 1.0)] == [0, 4000]
    assert len(drawn[0.1]) == pytest.approx(400, abs=80) and len(drawn[0.3]) == pytest.approx(1200, abs=120)
    assert drawn[0.1] < drawn[0.3]
    assert drawn[0.1] != {number for number in range(4000) if is_drawn(8, number, 0.1)}


# What is refused


def config(**settings: Any) -> Any:
    return TypeAdapter(PrunerConfig).validate_python(settings)


@pytest.mark.parametrize("name", [name for name, kind in PRUNERS.items() if "audit_fraction" in kind.model_fields])
def test_every_pruner_that_stops_something_can_be_audited(name: str) -> None:
    needed = {"lower": 0.1} if name == "ThresholdPruner" else {}
    assert config(type=name, audit_fraction=0.2, **needed).audit_fraction == 0.2
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValidationError, match="audit_fraction"):
            config(type=name, audit_fraction=wrong, **needed)


def test_what_would_have_no_effect_is_refused() -> None:
    assert {name for name, kind in PRUNERS.items() if "audit_fraction" not in kind.model_fields} == {
        "none",
        "NopPruner",
    }
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        config(type="none", audit_fraction=0.2)
    with pytest.raises(ValidationError, match="write it beside wrapped:"):
        config(type="PatientPruner", wrapped={"type": "MedianPruner", "audit_fraction": 0.2})
