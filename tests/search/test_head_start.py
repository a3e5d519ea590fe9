"""What a study is given before its own trials: histories of others, and settings that are tried first."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest

from mlframework.errors import ConfigError, StudyError
from mlframework.search.goal import Goal
from mlframework.search.results import TrialRecord
from mlframework.search.study import OpenStudy
from mlframework.visualise.study_view import StudyView
from support.searches import LR, open_search, run_search

pytestmark = pytest.mark.usefixtures("here")

TPE = {"type": "TPESampler", "n_startup_trials": 5}


def history(name: str, rows: list[str], header: str = "lr,value") -> dict[str, Any]:
    Path(name).write_text("\n".join([header, *rows]) + "\n")
    return {"search.warm_start": [{"path": name}]}


def records(study: OpenStudy) -> list[TrialRecord]:
    return [TrialRecord.of(trial) for trial in study.trials()]


def test_accepted_rows_are_imported_and_rejected_ones_are_named() -> None:
    rows = ["0.01,0.5", "0.9,0.4", "0.02,much", "0.03,0.25"]
    study = open_search(history("h.csv", rows))
    assert list(study.news) == [
        "h.csv: 2 of 4 rows imported",
        "h.csv:3: rejected: optimizer.lr is 0.9, outside the space: 0.001 to 0.1, log scale",
        "h.csv:4: rejected: its value 'much' is not a number",
    ]
    found = records(study)
    assert [(r.state, r.params, r.value, r.reason) for r in found] == [
        ("imported", {"optimizer.lr": 0.01}, 0.5, "h.csv:2"),
        ("imported", {"optimizer.lr": 0.03}, 0.25, "h.csv:5"),
    ]


def test_imported_trials_are_never_ours_and_never_the_best() -> None:
    study, end = run_search(history("h.csv", ["0.01,-100"]))
    assert [record.state for record in end.records] == ["imported"] + ["complete"] * 3
    best = Goal.single("val_loss", "minimize").best(end.records)
    assert best is not None and best.number > 0
    written = json.loads(study.spec.folder.results.read_text())
    assert written["best_trial"] == best.number and written["trials"][0]["state"] == "imported"
    view = StudyView.of(study.study, "val_loss")
    assert len(view.complete) == 3 and view.best is not None and view.best.number == best.number
    assert view.counts == {"complete": 3, "imported": 1}


def test_the_sampler_learns_from_what_was_imported() -> None:
    """A planted history: the nearer to 0.03, the better."""
    rows = [f"{lr},{abs(math.log(lr / 0.03))}" for lr in (0.001 * 1.17**n for n in range(30))]
    changes = {"search.sampler": TPE, "search.n_trials": 5, "training.num_epochs": 1}
    with pytest.warns(UserWarning, match="all 5 will be random"):
        _, cold = run_search({**changes, "search.study_name": "cold"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        _, warm = run_search({**changes, **history("h.csv", rows), "search.study_name": "warm"})
    drawn = [record.params["optimizer.lr"] for record in warm.records if record.counts]
    assert len(drawn) == 5 and all(0.01 < lr < 0.09 for lr in drawn)
    assert not all(0.01 < record.params["optimizer.lr"] < 0.09 for record in cold.records)


def test_a_study_does_not_draw_its_history_again() -> None:
    """With the same seed the random draws of a start-up would be those that are known."""
    _, first = run_search()
    known = {record.params["optimizer.lr"] for record in first.records}
    changes = {"search.warm_start": [{"study": "tiny_optimization"}], "search.study_name": "second"}
    _, second = run_search(changes)
    own = [record.params["optimizer.lr"] for record in second.records if record.counts]
    assert len(own) == len(known) == 3 and not known & set(own)
    _, again = run_search({**changes, "search.study_name": "third"})
    assert [record.params["optimizer.lr"] for record in again.records if record.counts] == own


def test_a_history_is_imported_once() -> None:
    changes = history("h.csv", ["0.01,0.5", "0.02,0.4"])
    run_search({**changes, "search.n_trials": 1})
    Path("h.csv").unlink()  # the study has it: another machine that joins need not
    study = open_search(changes, resume=True)
    assert list(study.news) == [] and [record.state for record in records(study)].count("imported") == 2
    more = {"search.warm_start": [*changes["search.warm_start"], *history("g.csv", ["0.05,0.6"])["search.warm_start"]]}
    study = open_search(more, resume=True)
    assert list(study.news) == ["g.csv: 1 of 1 rows imported"]
    assert [record.state for record in records(study)].count("imported") == 3


def test_another_study_is_a_history() -> None:
    space = {"optimizer.lr": {"type": "categorical", "choices": [0.01, 1e30]}}
    _, other = run_search({"search_space": space, "search.n_trials": 2, "search.study_name": "other"})
    assert sorted(record.state for record in other.records) == ["complete", "failed"]
    study = open_search({"search.warm_start": [{"study": "other"}]})
    good = next(record for record in other.records if record.state == "complete")
    assert [(r.params, r.value) for r in records(study)] == [(good.params, good.value)]
    assert study.news[0] == "study other: 1 of 2 rows imported"
    assert study.news[1].startswith("study other trial ") and "rejected" in study.news[1]


def test_a_parameter_that_is_searched_no_more_has_its_default() -> None:
    """Each of the other study's trials had a weight decay; here it is left at SGD's own, 0."""
    space = {"optimizer.lr": LR, "optimizer.weight_decay": {"type": "categorical", "choices": [0.0, 0.5]}}
    points = [{"lr": 0.01, "weight_decay": 0.0}, {"lr": 0.02, "weight_decay": 0.5}]
    changes = {"search.enqueue": points, "search.n_trials": 2, "search.study_name": "other"}
    run_search({"search_space": space, **changes})
    study = open_search({"search.warm_start": [{"study": "other"}]})
    assert [record.params for record in records(study)] == [{"optimizer.lr": 0.01}]
    assert study.news[1].endswith("rejected: optimizer.weight_decay is 0.5 there and fixed at 0.0 here")


def test_what_breaks_a_constraint_is_not_imported() -> None:
    changes = {**history("h.csv", ["0.01,0.5", "0.09,0.4"]), "search.constraints": ["optimizer.lr < 0.05"]}
    assert list(open_search(changes).news)[1] == "h.csv:3: rejected: it breaks a constraint"


def test_a_history_without_a_usable_row_is_refused_before_the_study_is_made() -> None:
    with pytest.raises(StudyError) as error:
        open_search(history("h.csv", ["0.9,1", "x,2"]))
    assert str(error.value).splitlines() == [
        "search.warm_start: h.csv: no row can be used",
        "  h.csv:2: rejected: optimizer.lr is 0.9, outside the space: 0.001 to 0.1, log scale",
        "  h.csv:3: rejected: optimizer.lr is 'x', outside the space: 0.001 to 0.1, log scale",
    ]
    with pytest.raises(StudyError, match=r"^search\.warm_start: nope\.csv: cannot be read: No such file"):
        open_search({"search.warm_start": [{"path": "nope.csv"}]})
    open_search()  # no study was left behind
    with pytest.raises(StudyError, match="it is empty"):
        open_search({**history("h.csv", []), "search.study_name": "other"})


def test_enqueued_settings_are_tried_first() -> None:
    space = {"optimizer.lr": LR, "model.hidden_size": {"type": "int", "low": 2, "high": 8}}
    points = [{"lr": 0.05, "hidden_size": 8}, {"optimizer.lr": 0.07}]
    study, end = run_search({"search_space": space, "search.enqueue": points})
    first, second, third = (record.params for record in end.records)
    assert first == {"optimizer.lr": 0.05, "model.hidden_size": 8}
    assert second["optimizer.lr"] == 0.07 and second["model.hidden_size"] in range(2, 9)
    assert third["optimizer.lr"] not in (0.05, 0.07)
    assert list(study.news) == ["tried first: optimizer.lr=0.05, model.hidden_size=8; optimizer.lr=0.07"]


def test_what_is_enqueued_later_comes_next() -> None:
    run_search({"search.enqueue": [{"lr": 0.05}], "search.n_trials": 2})
    more = {"search.enqueue": [{"lr": 0.05}, {"lr": 0.06}], "search.n_trials": 4}
    study, end = run_search(more, resume=True)
    assert [record.params["optimizer.lr"] for record in end.records][::2] == [0.05, 0.06]
    assert list(study.news) == ["tried next: optimizer.lr=0.06"]


def test_what_was_enqueued_twice_is_drawn_anew() -> None:
    _, end = run_search({"search.enqueue": [{"lr": 0.05}, {"lr": 0.05}], "search.n_trials": 2})
    drawn = [record.params["optimizer.lr"] for record in end.records if record.counts]
    assert len(drawn) == 2 and drawn[0] == 0.05 != drawn[1]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"lr": 7.0}, r"search.enqueue.0: optimizer.lr is 7.0, outside the space: 0.001 to 0.1, log scale"),
        ({"lrr": 0.01}, r"search.enqueue.0: lrr is not in the search space; did you mean lr\?"),
        ({"lr": "big"}, r"search.enqueue.0: optimizer.lr is 'big', outside the space"),
        ({"lr": 0.09}, r"search.enqueue.0: it breaks a constraint"),
        ({}, r"search.enqueue.0: should have at least 1 item"),
    ],
)
def test_settings_that_cannot_be_tried(point: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_search({"search.enqueue": [point], "search.constraints": ["optimizer.lr < 0.05"]})


def test_a_parameter_that_does_not_exist_beside_another_cannot_be_enqueued() -> None:
    space = {
        "optimizer.type": {"type": "categorical", "choices": ["sgd", "adam"]},
        "optimizer.momentum": {"type": "uniform", "low": 0.0, "high": 0.9},
    }
    point = {"optimizer.type": "adam", "momentum": 0.3}
    with pytest.raises(ConfigError, match=r"optimizer.momentum exists only with optimizer.type: sgd"):
        open_search({"search_space": space, "search.enqueue": [point]})


def test_pruners_wait_for_the_study_s_own_trials() -> None:
    """Five imported trials have no curves: the second trial of the study is not to be judged by the first alone."""
    good_to_bad = [{"optimizer.lr": lr} for lr in (0.09, 0.005, 0.003, 0.001)]
    study, end = run_search({
        **history("h.csv", [f"0.0{number},0.6" for number in range(1, 6)]),
        "search.enqueue": good_to_bad,
        "search.n_trials": 4,
        "search.pruner": {"type": "MedianPruner", "n_startup_trials": 3, "n_warmup_steps": 0},
    })  # fmt: skip
    own = [record for record in end.records if record.counts]
    assert [record.state for record in own] == ["complete", "complete", "complete", "pruned"]
    assert sum(record.state == "imported" for record in map(TrialRecord.of, study.trials())) == 5
