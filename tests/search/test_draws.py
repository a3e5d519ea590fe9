"""From a place to what is trained: infeasible draws cost no trial, teach the sampler, and survive a kill."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlframework.data.splits import Splits
from mlframework.errors import StudyError
from mlframework.experiment import ExperimentConfig
from mlframework.plans import Evaluation, Report
from mlframework.runs import RunDir
from mlframework.search import draws
from mlframework.search.constraints import parse_constraint
from mlframework.search.duplicates import PLACE, REDRAWN
from mlframework.search.loop import SearchEnd, search
from mlframework.search.start import load as _load
from mlframework.search.study import OpenStudy
from mlframework.training.callbacks import Callback
from mlframework.visualise.study_view import StudyView
from support.searches import Watched, open_search, run_search

pytestmark = pytest.mark.usefixtures("here")

TEXT = "model.hidden_size * optimizer.lr <= 0.3"
SPACE: dict[str, Any] = {
    "optimizer.lr": {"type": "uniform", "low": 0.01, "high": 0.1},
    "model.hidden_size": {"type": "int", "low": 2, "high": 16},
}
CHANGES: dict[str, Any] = {
    "search_space": SPACE,
    "search.constraints": [TEXT],
    "search.n_trials": 6,
    "training.num_epochs": 1,
}


class Untrained:
    """A plan whose value is known without training: the better, the nearer to the constraint's edge."""

    n_parts, part, n_seeds = 1, "training", 1

    def last_step(self, config: ExperimentConfig) -> int:
        return 1

    def evaluate(
        self, config: ExperimentConfig, splits: Splits[Any], run: RunDir, report: Report, callbacks: Sequence[Callback]
    ) -> Evaluation:
        value = -config.model.hidden_size * config.optimizer.lr  # type: ignore[union-attr]
        report(1, value)
        return Evaluation(value, 1, {"val_loss": value}, [])


def run_untrained(changes: dict[str, Any], *, resume: bool = False) -> tuple[OpenStudy, SearchEnd]:
    study = open_search(changes, resume=resume)
    return study, search(replace(study, spec=replace(study.spec, plan=Untrained())), _load, Watched())


def assert_whole(study: OpenStudy, n_trials: int) -> None:
    """Every place has exactly one trial that counts."""
    counting = [trial for trial in study.trials() if REDRAWN not in trial.user_attrs]
    assert sorted(trial.user_attrs[PLACE] for trial in counting) == list(range(n_trials))
    assert all(trial.state.is_finished() for trial in study.trials())
    bound = {lease.place: lease.trial for lease in study.leases._ledger.read()}
    assert bound == {trial.user_attrs[PLACE]: trial.number for trial in counting}


def test_an_infeasible_draw_costs_no_trial() -> None:
    study, end = run_search(CHANGES)
    infeasible = [record for record in end.records if record.state == "infeasible"]
    assert infeasible and Counter(record.state for record in end.records)["complete"] == 6
    assert_whole(study, 6)
    for record in end.records:
        assert (record.params["model.hidden_size"] * record.params["optimizer.lr"] <= 0.3) == record.counts
    for record in infeasible:
        assert (record.reason, record.value, record.epochs) == (f"infeasible: {TEXT}", None, 0)
        assert not study.spec.folder.trial(record.number).path.exists()
    results = json.loads(study.spec.folder.results.read_text())
    assert Counter(each["state"] for each in results["trials"]) == {"complete": 6, "infeasible": len(infeasible)}
    lines = study.spec.folder.trials.read_text().splitlines()
    assert sum(",infeasible," in line for line in lines) == len(infeasible)


def test_the_storage_knows_by_how_much_a_constraint_is_missed() -> None:
    study, _ = run_search(CHANGES)
    for trial in study.trials():
        amount = trial.params["model.hidden_size"] * trial.params["optimizer.lr"] - 0.3
        assert trial.constraints == {TEXT: pytest.approx(amount)}


def test_plots_leave_infeasible_draws_out() -> None:
    study, end = run_search(CHANGES)
    view = StudyView.of(study.study, "val_loss")
    assert view.pruned == []
    assert len(view.complete) == 6
    assert view.counts == {"complete": 6, "infeasible": len(end.records) - 6}


def test_a_constraint_that_every_draw_keeps_changes_no_draw() -> None:
    sampler = {"type": "TPESampler", "n_startup_trials": 2}
    _, free = run_search({**CHANGES, "search.constraints": [], "search.sampler": sampler, "search.study_name": "free"})
    _, bound = run_search({**CHANGES, "search.constraints": ["optimizer.lr <= 1"], "search.sampler": sampler})
    assert [record.params for record in bound.records] == [record.params for record in free.records]


@pytest.mark.slow
def test_the_sampler_learns_what_is_infeasible() -> None:
    """The best values lie at the edge; random draws, which learn nothing, mostly lie beyond it."""
    narrow = "model.hidden_size * optimizer.lr <= 0.15"
    wasted = {}
    for sampler in ("RandomSampler", "TPESampler"):
        changes = {"search.constraints": [narrow], "search.n_trials": 40, "search.study_name": sampler}
        study, end = run_untrained({**CHANGES, **changes, "search.sampler": {"type": sampler}})
        assert_whole(study, 40)
        later = end.records[15:]
        wasted[sampler] = sum(record.state == "infeasible" for record in later) / len(later)
    assert wasted["TPESampler"] < 0.75 * wasted["RandomSampler"], wasted


@pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler", "GridSampler"])
def test_a_resumed_search_draws_what_an_uninterrupted_one_does(sampler: str) -> None:
    space = {**SPACE, "optimizer.lr": {"type": "uniform", "low": 0.01, "high": 0.1, "step": 0.03}}
    changes = {**CHANGES, "search_space": space, "search.sampler": {"type": sampler}}
    _, whole = run_untrained({**changes, "search.study_name": "whole"})
    for n_trials in (1, 2, 4, 6):
        study, parts = run_untrained(
            {**changes, "search.n_trials": n_trials, "search.study_name": "parts"}, resume=True
        )
    assert any(not record.counts for record in whole.records)
    assert [(r.params, r.state) for r in parts.records] == [(r.params, r.state) for r in whole.records]
    assert_whole(study, 6)


def test_a_grid_has_each_feasible_cell_once() -> None:
    space = {**SPACE, "optimizer.lr": {"type": "uniform", "low": 0.01, "high": 0.1, "step": 0.03}}
    changes = {**CHANGES, "search_space": space, "search.sampler": {"type": "GridSampler"}, "search.n_trials": 99}
    study, end = run_untrained(changes)
    feasible = [(lr, size) for lr in (0.01, 0.04, 0.07, 0.1) for size in range(2, 17) if lr * size <= 0.3]
    assert study.n_trials == len(feasible)
    found = [(round(r.params["optimizer.lr"], 2), r.params["model.hidden_size"]) for r in end.records if r.counts]
    assert sorted(found) == sorted(feasible)


def test_a_draw_that_is_rarely_feasible_is_found_after_the_samplers_attempts() -> None:
    rare = "model.hidden_size * optimizer.lr <= 0.027"  # two in a hundred
    study, _ = run_untrained({**CHANGES, "search.constraints": [rare], "search.n_trials": 4})
    assert_whole(study, 4)
    by_place = Counter(trial.user_attrs[PLACE] for trial in study.trials())
    assert max(by_place.values()) == draws.SAMPLER_DRAWS["infeasible"] + 1


def test_where_no_draw_is_feasible_the_search_ends_and_says_so() -> None:
    study = open_search(CHANGES)
    never = parse_constraint("optimizer.lr > 1")  # which reading the config would have refused
    hopeless = replace(study, spec=replace(study.spec, space=replace(study.spec.space, constraints=(never,))))
    with pytest.raises(
        StudyError, match=r"20 draws for one trial broke a constraint, .* 1,000 random ones: optimizer.lr > 1;"
    ):
        search(hopeless, _load, Watched())
    assert len(study.trials()) == 20
    with pytest.raises(StudyError, match="20 draws for one trial"):
        search(hopeless, _load, Watched())
    assert len(study.trials()) == 20, "it was let go, and drawn no further"


def test_a_study_with_other_constraints_is_another_study() -> None:
    run_search({**CHANGES, "search.n_trials": 1})
    with pytest.raises(StudyError, match=r"constraints: \['model.*'\] then, \['optimizer.lr < 0.05'\] now"):
        open_search({**CHANGES, "search.constraints": ["optimizer.lr < 0.05"]}, resume=True)


# What is survived


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from optuna.trial import Trial
from mlframework.search import draws, objective
from support.searches import run_search
import json
changes, point, at = json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
seen = 0

def die_after(module, name, when):
    original = getattr(module, name)
    def dying(*arguments, **named):
        global seen
        result = original(*arguments, **named)
        if when(arguments, result):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(module, name, dying)

redrawn = lambda outcome: outcome.redrawn is not None
if point == "suggested":
    die_after(Trial, "suggest_int", lambda *_: True)
elif point == "recorded":
    die_after(Trial, "set_constraint", lambda *_: True)
elif point == "marked":
    die_after(Trial, "set_user_attr", lambda a, _: a[1] == "mlframework:redrawn")
elif point == "told":
    die_after(objective, "_tell", lambda a, _: redrawn(a[2]))
else:
    die_after(objective, "open_trial", lambda *_: True)
run_search(changes, resume=True)
"""


@pytest.mark.parametrize(
    ("point", "storage"),
    [
        ("recorded", "sqlite:///studies.db"),
        ("made", "journal:///studies.log"),
        *(
            pytest.param(point, storage, marks=pytest.mark.slow)
            for point, storage in (
                *((point, "sqlite:///studies.db") for point in ("suggested", "marked", "told", "made")),
                ("told", "journal:///studies.log"),
            )
        ),
    ],
)
def test_a_kill_between_draws_loses_and_doubles_no_trial(point: str, storage: str) -> None:
    changes = {**CHANGES, "search.storage": storage, "search.n_trials": 4}
    _, whole = run_search({**changes, "search.study_name": "whole"})
    for at in (1, 2):
        tests = str(Path(__file__).parents[1])
        command = [sys.executable, "-W", "ignore", "-c", KILLED, tests, json.dumps(changes), point, str(at)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ})
        assert ended.returncode in (-signal.SIGKILL, 0), ended.stderr
    study, end = run_search(changes, resume=True)
    assert_whole(study, 4)
    drawn = [(r.params, r.state) for r in end.records if r.counts]
    assert drawn == [(r.params, r.state) for r in whole.records if r.counts]


def test_two_workers_share_the_places_of_a_constrained_search() -> None:
    mine = open_search(CHANGES)
    joined: list[str] = []

    def join(_number: int, _epoch: int, _value: float) -> None:
        if not joined:
            joined.append("joined")
            with pytest.raises(KeyboardInterrupt):
                run_search(CHANGES, resume=True, watcher=Watched(on_wait=leave))

    def leave(n_trials: int) -> None:
        """Wait no longer for the one trial that is being trained by who waits for this."""
        joined.append(f"waits for {n_trials}")
        raise KeyboardInterrupt

    end = search(mine, _load, Watched(join))
    assert (end.why, joined) == ("done", ["joined", "waits for 1"])
    assert_whole(mine, 6)
