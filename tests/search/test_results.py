"""What a study's folder holds, and that it is true."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlframework.config import yaml
from mlframework.runs import write_json
from mlframework.search import loop
from mlframework.search.goal import Goal
from mlframework.search.loop import write_outputs
from mlframework.search.read import read_config
from mlframework.search.results import TrialRecord
from mlframework.search.start import load as _load
from mlframework.search.study import OpenStudy, _write_study_file
from support.recommenders import search_log
from support.searches import LR, Watched, open_search, run_search

pytestmark = pytest.mark.usefixtures("here")

MAXIMIZE, MINIMIZE = Goal.single("val_acc", "maximize"), Goal.single("val_loss", "minimize")

MIXED: dict[str, Any] = {
    "search.n_trials": 8,
    "search.sampler": {"type": "GridSampler"},
    "search.pruner": {"type": "MedianPruner", "n_startup_trials": 3, "n_warmup_steps": 1},
    "search_space": {
        # One diverges, some learn nothing.
        "optimizer.lr": {"type": "categorical", "choices": [0.05, 0.1, 1e-7, 1e30]},
        "model.hidden_size": {"type": "int", "low": 4, "high": 5},
    },
}


def record(number: int, value: float | None, state: str = "complete") -> TrialRecord:
    return TrialRecord(number, state, value, {}, 1, 1, 1.0, None, {})


def checkpoints(study: OpenStudy) -> dict[int, list[str]]:
    return {
        int(path.name.removeprefix("trial_")): sorted(file.name for file in path.glob("checkpoints/*.pt"))
        for path in sorted(study.spec.folder.path.glob("trial_*"))
    }


def test_the_best_is_the_first_of_those_with_the_best_value() -> None:
    records = [
        record(0, 0.5),
        record(1, 0.9, "pruned"),
        record(2, 0.7),
        record(3, 0.7),
        record(4, 0.2),
        record(5, None, "failed"),
        record(6, 0.0),
        record(7, None, "running"),
    ]
    assert [each.number for each in MAXIMIZE.ranked(records)] == [2, 3, 0, 4, 6]
    assert [each.number for each in MINIMIZE.ranked(records)] == [6, 4, 0, 2, 3]
    assert MAXIMIZE.best(records) == records[2]
    assert MAXIMIZE.best([records[1], records[5], records[7]]) is None


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OpenStudy, Watched]:
    """A search of which some trials are complete, some pruned and some failed; not to be changed."""
    folder = tmp_path_factory.mktemp("mixed")
    watcher = Watched()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study, end = run_search(MIXED, watcher=watcher)
        assert end.why == "done"
    return folder, study, watcher


def test_results_json_tells_of_every_trial(
    mixed: tuple[Path, OpenStudy, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, study, watcher = mixed
    monkeypatch.chdir(folder)
    results = json.loads(study.spec.folder.results.read_text())
    assert {key: results[key] for key in ("format", "study_name", "metric", "direction")} == {
        "format": 1,
        "study_name": "tiny_optimization",
        "metric": "val_loss",
        "direction": "minimize",
    }
    trials = results["trials"]
    assert [trial["number"] for trial in trials] == list(range(8))
    by_state = {
        state: [trial for trial in trials if trial["state"] == state] for state in ("complete", "pruned", "failed")
    }
    assert all(by_state.values()) and sum(map(len, by_state.values())) == 8
    best = min(by_state["complete"], key=lambda trial: trial["value"])
    assert (results["best_trial"], results["best_value"], results["best_params"]) == (
        best["number"],
        best["value"],
        best["params"],
    )
    for trial in trials:
        reported = {epoch: value for number, epoch, value in watcher.epochs if number == trial["number"]}
        assert trial["epochs"] == len(reported)
        assert trial["params"] == next(params for number, params, _ in watcher.started if number == trial["number"])
        assert trial["seconds"] > 0
        if trial["state"] == "complete":
            assert trial["value"] == min(reported.values()) == reported[trial["best_epoch"]]
            assert trial["metrics"]["val_loss"] == trial["value"]
            assert trial["reason"] is None
            ran = json.loads((study.spec.folder.trial(trial["number"]).result).read_text())
            assert (ran["value"], ran["best_epoch"]) == (trial["value"], trial["best_epoch"])
        elif trial["state"] == "pruned":
            assert trial["value"] == reported[max(reported)]
            assert "is behind the other trials (MedianPruner)" in trial["reason"]
            assert 0 < len(reported) < 3
        else:
            assert trial["value"] is None
            assert trial["params"]["optimizer.lr"] == 1e30
            assert "_loss is " in trial["reason"]


def test_trials_csv_has_a_column_for_each_parameter(
    mixed: tuple[Path, OpenStudy, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, study, _ = mixed
    monkeypatch.chdir(folder)
    trials = json.loads(study.spec.folder.results.read_text())["trials"]
    with study.spec.folder.trials.open(newline="") as file:
        rows = list(csv.DictReader(file))
    fixed = ["number", "state", "value", "std", "best_epoch", "epochs", "seconds", "reason", "fault", "audited_at"]
    assert list(rows[0]) == [*fixed, "model.hidden_size", "optimizer.lr"]
    for row, trial in zip(rows, trials, strict=True):
        told = {**{key: trial.get(key) for key in fixed}, **trial["params"]}
        assert row == {key: "" if value is None else str(value) for key, value in told.items()}


def test_the_best_config_is_the_best_trials(
    mixed: tuple[Path, OpenStudy, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, study, _ = mixed
    monkeypatch.chdir(folder)
    results = json.loads(study.spec.folder.results.read_text())
    best = yaml.read(study.spec.folder.best_config).tree
    assert best == yaml.read(study.spec.folder.trial(results["best_trial"]).config).tree
    assert "search" not in best and best["metric"] == "val_loss"
    assert best["optimizer"]["lr"] == results["best_params"]["optimizer.lr"]
    first = study.spec.folder.best_config.read_text().splitlines()[0]
    assert f"trial {results['best_trial']}, val_loss {results['best_value']}" in first
    assert json.loads(study.spec.folder.best_hyperparameters.read_text()) == {"mlp": results["best_params"]}
    assert json.loads(Path("models/best_hyperparameters.json").read_text()) == {"mlp": results["best_params"]}


def test_only_the_three_best_keep_their_checkpoints(
    mixed: tuple[Path, OpenStudy, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, study, _ = mixed
    monkeypatch.chdir(folder)
    records = [TrialRecord.of(trial) for trial in study.trials()]
    top = {each.number for each in MINIMIZE.ranked(records)[:3]}
    assert len([each for each in records if each.state == "complete"]) > 3
    assert checkpoints(study) == {n: ["best.pt", "last.pt"] if n in top else [] for n in range(8)}


def test_the_best_hyperparameters_of_other_models_stay() -> None:
    write_json(Path("models/best_hyperparameters.json"), {"resnet18": {"optimizer.lr": 0.5}, "mlp": {"seed": 1}})
    _, end = run_search({"search.n_trials": 1})
    assert json.loads(Path("models/best_hyperparameters.json").read_text()) == {
        "resnet18": {"optimizer.lr": 0.5},
        "mlp": dict(end.records[0].params),
    }


def test_a_metric_to_maximize() -> None:
    study, end = run_search({"search.metric": "val_acc", "search.n_trials": 4, "search_space": {"optimizer.lr": LR}})
    values = [each.value for each in end.records]
    results = json.loads(study.spec.folder.results.read_text())
    assert (results["direction"], results["metric"]) == ("maximize", "val_acc")
    assert results["best_value"] == max(values)  # type: ignore[type-var]
    assert results["best_trial"] == values.index(max(values))  # type: ignore[type-var]
    assert yaml.read(study.spec.folder.best_config).tree["metric"] == "val_acc", "ml-train selects by it, too"


def test_a_study_without_a_complete_trial_has_results_and_no_best() -> None:
    broken: dict[str, Any] = {"optimizer.lr": {"type": "categorical", "choices": [1e30, 2e30]}}
    study, _ = run_search({"search.n_trials": 2, "search_space": broken})
    results = json.loads(study.spec.folder.results.read_text())
    assert (results["best_trial"], results["best_value"], results["best_params"]) == (None, None, None)
    assert [trial["state"] for trial in results["trials"]] == ["failed", "failed"]
    assert not study.spec.folder.best_config.exists()


def test_conditional_parameters_leave_holes() -> None:
    space: dict[str, Any] = {
        "scheduler.type": {"type": "categorical", "choices": ["none", "exponential"]},
        "scheduler.gamma": {"type": "uniform", "low": 0.5, "high": 0.9, "step": 0.4},
    }
    study, end = run_search({"search_space": space, "search.sampler": {"type": "GridSampler"}, "search.n_trials": 9})
    with study.spec.folder.trials.open(newline="") as file:
        rows = {row["scheduler.gamma"]: row["scheduler.type"] for row in csv.DictReader(file)}
    assert rows == {"": "none", "0.5": "exponential", "0.9": "exponential"}
    assert [("scheduler.gamma" in each.params) for each in end.records].count(False) == 1


def test_whoever_writes_last_has_seen_every_trial_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker's last trial ends while this one writes; the other wrote before."""
    study, _ = run_search({"search.n_trials": 2})
    other = study.study.ask()
    tell = [lambda: study.study.tell(other, -1.0)]

    def slow(study: OpenStudy, records: list[TrialRecord], checkpoints: dict[str, Any]) -> None:
        while tell:
            tell.pop()()
        real(study, records, checkpoints)

    real = loop.write_results
    monkeypatch.setattr(loop, "write_results", slow)
    write_outputs(study)
    results = json.loads(study.spec.folder.results.read_text())
    assert (results["best_trial"], results["trials"][2]["state"]) == (2, "complete")
    assert "trial 2" in study.spec.folder.best_config.read_text()


def test_the_password_of_a_storage_is_in_no_file() -> None:
    study = open_search({"search.n_trials": 1})
    spec = replace(study.spec, storage="postgresql://me:hunter2@127.0.0.1/db")
    _write_study_file(spec)
    loop.search(replace(study, spec=spec), _load, Watched())
    assert json.loads(spec.folder.study.read_text())["storage"] == "postgresql://me:***@127.0.0.1/db"
    for path in Path().rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path


def test_the_best_hyperparameters_of_each_model_have_its_own_names(planted: dict[str, Any]) -> None:
    """A study over ALS and BPR, in the form that best_hyperparameters.json has had from the beginning."""
    space = {
        "model.architecture": {"type": "categorical", "choices": ["als", "bpr"]},
        "model.factors": {"type": "int", "low": 4, "high": 8},
        "model.regularization": {"type": "uniform", "low": 0.01, "high": 0.1},
        "training.num_epochs": {"type": "int", "low": 1, "high": 3},
        "model.lr": {"type": "loguniform", "low": 0.05, "high": 0.5, "when": {"model.architecture": "bpr"}},
    }
    study, end = search_log(planted["als"]["data"], {"architecture": "als"}, space, n_trials=8)
    assert [each.state for each in end.records] == ["complete"] * 8
    by_model = json.loads(study.spec.folder.best_hyperparameters.read_text())
    assert json.loads(Path("models/best_hyperparameters.json").read_text()) == by_model
    assert set(by_model) == {"als", "bpr"}
    names = {"model.factors": "factors", "model.regularization": "regularization", "training.num_epochs": "iterations"}
    for model, values in by_model.items():
        of_model = [each for each in end.records if each.params["model.architecture"] == model]
        best = MAXIMIZE.ranked(of_model)[0]
        expected = {names[key]: value for key, value in best.params.items() if key in names}
        if model == "bpr":
            expected["learning_rate"] = best.params["model.lr"]
        assert values == expected
        read = read_config(
            str(study.spec.folder.best_config), {"model.architecture": model}, "models/best_hyperparameters.json"
        )
        assert read.hyperparameters == {key: value for key, value in best.params.items() if key != "model.architecture"}
        assert read.config.training.num_epochs == best.params["training.num_epochs"]
    overall = MAXIMIZE.ranked(end.records)[0]
    tree = yaml.read(study.spec.folder.best_config).tree
    assert tree["model"]["architecture"] == overall.params["model.architecture"]
    assert ("lr" in tree["model"]) == (overall.params["model.architecture"] == "bpr")
