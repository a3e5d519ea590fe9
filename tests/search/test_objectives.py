"""Real searches for several objectives: what is refused, what is found, what is written."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from tests.support.searches import LR, Watched, open_search, run_search, write_config

from mlframework.config import yaml
from mlframework.errors import ConfigError, StudyError
from mlframework.search.lookup import find_study, goal_of
from mlframework.search.pruners import PRUNERS
from mlframework.search.read import read_config
from mlframework.search.samplers import SAMPLERS

pytestmark = pytest.mark.usefixtures("here")

TWO = [{"metric": "val_loss"}, {"metric": "n_parameters"}]
SIZE = {"type": "int", "low": 1, "high": 12}
SMALL: dict[str, Any] = {
    "search.objectives": TWO,
    "search.n_trials": 8,
    "search.pruner": {"type": "none"},
    "search_space": {"model.hidden_size": SIZE, "optimizer.lr": LR},
}
PRUNED: dict[str, Any] = {
    **SMALL,
    "search.prune_by": "val_loss",
    "search.pruner": {"type": "MedianPruner", "n_startup_trials": 3, "n_warmup_steps": 1},
    "search.n_trials": 16,
}


def problems(changes: Mapping[str, Any]) -> str:
    with pytest.raises(ConfigError) as error:
        read_config(str(write_config({**SMALL, **changes})), {})
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search.objectives": [{"metric": "val_loss"}, {"metric": "train_seconds"}]}, "train_seconds is called fit_seconds"),
        ({"search.objectives": [{"metric": "val_loss"}, {"metric": "val_acu"}]}, "unknown objective 'val_acu'; did you"),
        ({"search.objectives": [{"metric": "test_acc"}, {"metric": "val_loss"}]}, "would search on the test split; use val_"),
        ({"search.objectives": [{"metric": "val_loss"}, {"metric": "val_loss"}]}, "val_loss stands there twice"),
        ({"search.objectives": [{"metric": "val_loss"}]}, "at least 2 items"),
        ({"search.objectives": [{"metric": "n_parameters"}, {"metric": "fit_seconds"}]}, "say nothing of how good a model"),
        ({"search.objectives": [{"metric": "val_loss", "direction": "maximize"}, TWO[1]]}, "contradicts metric: val_loss"),
        ({"search.metric": "val_loss"}, "metric: is for one objective, and objectives: lists val_loss, n_parameters"),
        ({"search.direction": "minimize"}, "direction: is for one objective"),
        ({"search.pruner": {"type": "MedianPruner"}}, "name the one to prune by, as in prune_by: val_loss"),
        ({"search.prune_by": "n_parameters"}, "prune_by: n_parameters is none of the objectives that have epochs: val_loss"),
        ({"search.prune_by": "val_acc"}, "prune_by: val_acc is none of the objectives"),
        ({"search.prefer": "val_acc"}, "'val_acc' is neither knee nor one of the objectives"),
        ({"search.objectives": None, "search.prefer": "val_loss"}, "prefer: means nothing without objectives"),
        ({"search.objectives": None, "search.prune_by": "val_loss"}, "prune_by: means nothing without objectives"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_with_its_place(changes: Mapping[str, Any], message: str) -> None:
    said = problems(changes)
    assert message in said
    assert said.startswith("config.yaml:")


# BoTorch takes three quarters of a minute for it.
SLOW = [pytest.param(name, marks=pytest.mark.slow) if name == "BoTorchSampler" else name for name in SAMPLERS]


@pytest.mark.parametrize("name", SLOW)
def test_every_sampler_searches_for_several_or_is_refused_by_name(name: str) -> None:
    settings: dict[str, Any] = {"type": name}
    fields = SAMPLERS[name].model_fields
    settings |= {key: 4 for key in ("n_startup_trials", "population_size") if key in fields}
    space = {"model.hidden_size": SIZE, "training.batch_size": {"type": "int", "low": 8, "high": 24, "step": 4}}
    changes = {
        **SMALL,
        "search.sampler": settings,
        "search.n_trials": 7,
        "search_space": space,
        "training.num_epochs": 1,
    }
    if name in ("CmaEsSampler", "HyperoptSampler"):
        with pytest.raises(
            StudyError, match=f"{name} searches for one objective; for several there are TPESampler, Ran"
        ):
            open_search(changes)
        return
    _, end = run_search(changes)
    counted = [record for record in end.records if record.counts]
    assert [record.state for record in counted] == ["complete"] * 7
    assert all(set(record.values) == {"val_loss", "n_parameters"} for record in counted)


def test_botorch_has_no_upper_bound_of_several() -> None:
    with pytest.raises(StudyError, match="BoTorchSampler searches for one objective"):
        open_search({**SMALL, "search.sampler": {"type": "BoTorchSampler", "acquisition": "ucb"}})


def test_the_front_is_written_with_a_config_for_each_of_its_points() -> None:
    study, end = run_search(SMALL)
    folder, goal = study.spec.folder, study.spec.goal
    results = json.loads(folder.results.read_text())
    front = goal.front(end.records)
    assert len(front) > 1
    assert results["pareto_front"] == [record.number for record in front]
    assert results["objectives"] == [{**each, "direction": "minimize"} for each in TWO]
    assert (results["metric"], results["prefer"]) == ("val_loss", "knee")
    best = goal.best(end.records)
    assert best is not None
    assert (results["best_trial"], results["best_value"]) == (best.number, best.values["val_loss"])
    assert results["best_values"] == dict(best.values)
    with folder.pareto_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["number", "val_loss", "n_parameters", "model.hidden_size", "optimizer.lr"]
    assert [int(row["number"]) for row in rows] == results["pareto_front"]
    for record, row in zip(front, rows, strict=True):
        # One hidden layer between three features and two classes, with biases.
        size = record.params["model.hidden_size"]
        assert record.values["n_parameters"] == float(row["n_parameters"]) == 3 * size + size + 2 * size + 2
        assert record.value == record.values["val_loss"] == float(row["val_loss"]) == record.metrics["val_loss"]
        tree = yaml.read(folder.pareto / f"trial_{record.number:04d}.yaml").tree
        assert tree == yaml.read(folder.trial(record.number).config).tree
    assert len(list(folder.pareto.iterdir())) == len(front)
    with folder.trials.open(newline="") as file:
        assert {"value", "val_loss", "n_parameters"} < set(next(csv.reader(file)))


def test_what_has_left_the_front_has_no_config_there_any_more() -> None:
    study, _ = run_search({**SMALL, "search.n_trials": 1})
    (study.spec.folder.pareto / "trial_0099.yaml").write_text("{}")
    study, end = run_search({**SMALL, "search.n_trials": 6}, resume=True)
    wanted = {f"trial_{record.number:04d}.yaml" for record in study.spec.goal.front(end.records)}
    assert {path.name for path in study.spec.folder.pareto.iterdir()} == wanted


@pytest.mark.parametrize("prefer", ["knee", "val_loss", "n_parameters"])
def test_best_config_is_the_preferred_trials_and_says_by_which_rule(prefer: str) -> None:
    study, end = run_search({**SMALL, "search.prefer": prefer, "search.n_trials": 6})
    first = study.spec.folder.best_config.read_text().splitlines()[0]
    best = study.spec.goal.best(end.records)
    assert best is not None
    assert f"trial {best.number}, val_loss {best.values['val_loss']:.6g}, n_parameters " in first
    rule = "knee of the Pareto front" if prefer == "knee" else f"best {prefer} of the Pareto front"
    assert first.endswith(rule)
    if prefer != "knee":
        assert best.values[prefer] == min(record.values[prefer] for record in end.records)
    tree = yaml.read(study.spec.folder.best_config).tree
    assert tree["model"]["hidden_size"] == best.params["model.hidden_size"]


def test_trials_train_by_the_first_metric_with_epochs_and_measure_the_others() -> None:
    objectives = [{"metric": "fit_seconds"}, {"metric": "val_auc"}, {"metric": "val_loss"}]
    study, end = run_search({**SMALL, "search.objectives": objectives, "search.n_trials": 2})
    tree = study.spec.space.base
    assert (tree["metric"], tree["metrics"]) == ("val_auc", ["val_loss"])
    for record in end.records:
        assert list(record.values) == ["fit_seconds", "val_auc", "val_loss"]
        assert record.values["val_loss"] == record.metrics["val_loss"]
        ran = json.loads(study.spec.folder.trial(record.number).result.read_text())
        assert ran["metric"] == "val_auc"
        assert ran["resources"]["fit_seconds"] == round(record.values["fit_seconds"], 3)


def test_prune_by_names_the_metric_that_trials_train_by() -> None:
    objectives = [{"metric": "val_loss"}, {"metric": "val_acc"}]
    study = open_search({**SMALL, "search.objectives": objectives, "search.prune_by": "val_acc"})
    assert (study.spec.metric, study.spec.direction, study.spec.space.base["metric"]) == (
        "val_acc",
        "maximize",
        "val_acc",
    )


def test_nothing_is_pruned_unless_somebody_says_by_what() -> None:
    write_config({key: value for key, value in SMALL.items() if key != "search.pruner"})
    tree = yaml.read("config.yaml").tree
    del tree["search"]["pruner"]
    Path("config.yaml").write_text(yaml.dump(tree))
    read = read_config("config.yaml", {})
    assert read.config.search is not None and read.config.search.pruner.type == "none"
    Path("resolved.yaml").write_text(yaml.dump(read.resolved()))
    assert read_config("resolved.yaml", {}).config == read.config, "what is printed can be read"


@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler", "NSGAIISampler"])
def test_trials_are_pruned_by_one_of_several(sampler: str) -> None:
    """TPE is asked after trials were pruned, which it could not rank itself."""
    size = {"population_size": 4} if sampler == "NSGAIISampler" else {}
    start = {"n_startup_trials": 4} if sampler == "TPESampler" else {}
    watcher = Watched()
    study, end = run_search({**PRUNED, "search.sampler": {"type": sampler, **size, **start}}, watcher=watcher)
    counted = [record for record in end.records if record.counts]
    states = [record.state for record in counted]
    assert len(counted) == 16 and set(states) == {"complete", "pruned"}
    pruned = [record for record in counted if record.state == "pruned"]
    front = study.spec.goal.front(end.records)
    for record in pruned:
        assert 0 < record.epochs < 3
        assert record.value == next(v for n, e, v in reversed(watcher.epochs) if n == record.number)
        assert record.reason is not None and "val_loss" in record.reason and "(MedianPruner)" in record.reason
        assert record.values == {} and record not in front
    assert all(record.epochs == 3 for record in counted if record.state == "complete")
    # Optuna's own idea of what happened is the same.
    assert [t.state.name.lower() for t in study.trials() if t.number in {r.number for r in counted}] == states


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ("HyperbandPruner", "PercentilePruner")))
        for name in PRUNERS
        if name not in ("none", "NopPruner", "PatientPruner")
    ],
)
def test_a_pruner_decides_as_it_does_with_the_one_objective_alone(name: str) -> None:
    settings: dict[str, Any] = {"type": name}
    fields = PRUNERS[name].model_fields
    settings |= {key: 1 for key in ("n_startup_trials", "n_warmup_steps", "n_startup_steps") if key in fields}
    settings |= {"upper": 0.5} if name == "ThresholdPruner" else {}
    # One is to be maximized, the other minimized, and it is the second.
    objectives = [{"metric": "val_acc"}, {"metric": "val_loss"}]
    changes = {**PRUNED, "search.objectives": objectives, "search.pruner": settings, "search.n_trials": 10}
    changes["training.num_epochs"] = 5
    alone = {key: value for key, value in changes.items() if key not in ("search.objectives", "search.prune_by")}
    # The name seeds Hyperband's brackets.
    _, several = run_search({**changes, "search.storage": "sqlite:///several.db"})
    Path("runs").rename("runs_of_several")
    _, one = run_search({**alone, "search.storage": "sqlite:///one.db"})
    assert [(r.state, r.value, r.epochs) for r in several.records] == [
        (r.state, r.value, r.epochs) for r in one.records
    ]
    if name != "WilcoxonPruner":
        assert "pruned" in {record.state for record in several.records}


def test_a_search_that_is_interrupted_goes_on_as_one_that_was_not() -> None:
    tpe = {**PRUNED, "search.sampler": {"type": "TPESampler", "n_startup_trials": 4}, "search.n_trials": 12}
    _, undisturbed = run_search({**tpe, "search.study_name": "undisturbed"})

    def interrupt(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (7, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(tpe, watcher=Watched(interrupt))
    results = json.loads(Path("runs/optuna_studies/tiny_optimization/results.json").read_text())
    assert results["pareto_front"], "what is found is written"
    _, end = run_search(tpe, resume=True)
    assert [(r.params, r.state, r.values, r.epochs) for r in end.records] == [
        (r.params, r.state, r.values, r.epochs) for r in undisturbed.records
    ]


def test_other_objectives_are_another_study_another_preference_is_not() -> None:
    run_search({**SMALL, "search.n_trials": 2})
    other = [{"metric": "val_loss"}, {"metric": "fit_seconds"}]
    with pytest.raises(StudyError, match=r"objectives: \[.*n_parameters.*\] then, \[.*fit_seconds.*\] now"):
        open_search({**SMALL, "search.objectives": other}, resume=True)
    with pytest.raises(StudyError, match=r"objectives: .* then, None now"):
        open_search({**SMALL, "search.objectives": None}, resume=True)
    study, end = run_search({**SMALL, "search.n_trials": 2, "search.prefer": "n_parameters"}, resume=True)
    results = json.loads(study.spec.folder.results.read_text())
    best = min(end.records, key=lambda record: (record.values["n_parameters"], record.values["val_loss"]))
    assert (results["prefer"], results["best_trial"]) == ("n_parameters", best.number)
    found, metric, direction, folder = find_study("tiny_optimization", None)
    assert (metric, direction) == ("val_loss", "minimize")
    goal = goal_of(found, metric, folder)
    assert (goal.objectives, goal.main, goal.prefer) == (study.spec.goal.objectives, "val_loss", "n_parameters")


def test_a_duplicate_takes_over_every_value_and_is_on_no_front_itself() -> None:
    space = {"model.hidden_size": {"type": "categorical", "choices": [2, 6]}}
    objectives = [{"metric": "val_loss"}, {"metric": "n_parameters"}, {"metric": "fit_seconds"}]
    changes = {**SMALL, "search.objectives": objectives, "search_space": space, "search.on_duplicate": "reuse"}
    study, end = run_search(changes)
    copies = [record for record in end.records if record.same_as is not None]
    assert len(copies) == 6
    for copy in copies:
        original = end.records[copy.same_as or 0]
        assert (copy.values, copy.value, copy.best_epoch) == (original.values, original.value, original.best_epoch)
    front = study.spec.goal.front(end.records)
    assert {record.number for record in front} <= {r.number for r in end.records if r.same_as is None}


def test_folds_make_every_objective_in_the_same_way() -> None:
    folds = {"enabled": True, "n_folds": 3, "aggregation": "worst"}
    objectives = [{"metric": "val_loss"}, {"metric": "val_acc"}, {"metric": "n_parameters"}]
    changes = {**SMALL, "search.objectives": objectives, "search.cross_validation": folds, "search.n_trials": 2}
    study, end = run_search(changes)
    for record in end.records:
        run = study.spec.folder.trial(record.number).path
        found = [json.loads((run / f"fold_{n}" / "result.json").read_text()) for n in (1, 2, 3)]
        assert record.values["val_loss"] == max(each["best_metrics"]["val_loss"] for each in found)
        assert record.values["val_acc"] == min(each["best_metrics"]["val_acc"] for each in found)
        assert record.values["n_parameters"] == found[0]["resources"]["n_parameters"]


def test_resources_are_recorded_where_one_objective_is_searched_for_too() -> None:
    study, end = run_search({"search.n_trials": 1})
    (record,) = end.records
    assert record.resources == {"fit_seconds": record.resources["fit_seconds"], "n_parameters": 26.0}
    assert record.resources["fit_seconds"] > 0
    results = json.loads(study.spec.folder.results.read_text())
    assert results["trials"][0]["resources"] == record.resources
    assert "pareto_front" not in results and not study.spec.folder.pareto_csv.exists()


def test_one_point_is_a_front() -> None:
    study, end = run_search({**SMALL, "search.n_trials": 1})
    assert study.spec.goal.best(end.records) == end.records[0]
    assert len(study.spec.folder.pareto_csv.read_text().splitlines()) == 2


def test_where_all_trials_fail_there_is_no_front_and_no_best_config() -> None:
    diverging = {"optimizer.lr": {"type": "categorical", "choices": [1e30, 1e31]}}
    study, end = run_search({**SMALL, "search_space": diverging, "search.n_trials": 2})
    assert [record.state for record in end.records] == ["failed"] * 2
    folder = study.spec.folder
    assert not folder.best_config.exists() and not folder.pareto_csv.exists()
    results = json.loads(folder.results.read_text())
    assert (results["best_trial"], results["best_values"], results["pareto_front"]) == (None, None, [])


def test_a_constraint_counts_none_of_the_trials() -> None:
    changes = {**SMALL, "search.constraints": ["model.hidden_size <= 6"], "search.sampler": {"type": "TPESampler"}}
    _, end = run_search({**changes, "search.n_trials": 14})
    counted = [record for record in end.records if record.counts]
    assert len(counted) == 14 < len(end.records)
    assert all(record.params["model.hidden_size"] <= 6 for record in counted)


def test_the_storage_holds_what_any_reader_of_optunas_studies_expects() -> None:
    study, end = run_search(SMALL)
    loaded = optuna.load_study(study_name="tiny_optimization", storage="sqlite:///studies.db")
    assert [direction.name for direction in loaded.directions] == ["MINIMIZE", "MINIMIZE"]
    front = {record.number for record in study.spec.goal.front(end.records)}
    assert {trial.number for trial in loaded.best_trials} == front
    assert all(len(trial.intermediate_values) == 3 for trial in loaded.trials)
