"""A study in MLflow: its run, the runs of its trials below it, and the best of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

from mlframework.search.loop import search
from mlframework.search.read import read_config
from mlframework.search.start import load, open_search
from mlframework.search.study import OpenStudy
from mlframework.search.tracking import tracked
from mlframework.training.tracking.mlflow.sender import sender
from mlframework.training.tracking.mlflow.told import recorded_lines
from mlframework.training.tracking.mlflow.tracker import Target
from support.fuzzing import run_here
from support.mlflow_runs import Recorded, database, settled, state_of
from support.searches import LR, Watched, write_config

Tree = dict[str, Any]
STUDY = Path("runs/optuna_studies/tiny_optimization")


@pytest.fixture
def mlflow(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """An empty database, and afterwards no folder that is still sent."""
    yield Recorded(database(here, tmp_path_factory.mktemp("mlflow")))
    sender().drop()


def searched(recorded: Recorded, changes: Tree | None = None, watcher: Watched | None = None, **how: Any) -> OpenStudy:
    """Search in the present folder as the command does, but for what it prints."""
    told = {"tracking.mlflow.enabled": True, "tracking.mlflow.tracking_uri": recorded.uri, **(changes or {})}
    read = read_config(str(write_config(told)), {})
    study = open_search(read, how.pop("resume", False), how.pop("add_trials", 0))
    with tracked(study, read.config.tracking, read.config.name, "ml-search --resume") as told_by:
        search(study, load, told_by(watcher or Watched()))
    return study


def trials(recorded: Recorded) -> tuple[Run, list[Run]]:
    """Return a study's run, and those of its trials, which all hang below it."""
    runs = recorded.runs("tiny")
    (parent,) = [run for run in runs if run.data.tags["mlframework.kind"] == "study"]
    below = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in below} <= {parent.info.run_id}
    return parent, below


def best(runs: list[Run]) -> list[str]:
    return [run.data.tags["mlframework.trial"] for run in runs if run.data.tags.get("mlframework.best") == "true"]


def test_a_study_is_a_tree_of_runs(mlflow: Recorded) -> None:
    """One trial is pruned, one fails, the others are complete; the resume adds to the same tree."""
    space = {"optimizer.lr": LR, "model.hidden_size": {"type": "categorical", "choices": [2, 8]}}
    changes = {
        "search_space": space, "search.n_trials": 3,
        "search.pruner": {"type": "ThresholdPruner", "upper": 0.72, "n_warmup_steps": 1},
        "search.enqueue": [{"optimizer.lr": 0.09}, {"optimizer.lr": 0.001}, {"optimizer.lr": 0.1}],
    }  # fmt: skip
    searched(mlflow, changes)
    parent, below = trials(mlflow)
    results = json.loads((STUDY / "results.json").read_text())
    assert [state_of(run)[1] for run in below] == [each["state"] for each in results["trials"]]
    assert {state_of(run) for run in below} == {("FINISHED", "complete"), ("KILLED", "pruned")}
    for run, each in zip(below, results["trials"], strict=True):
        folder = STUDY / f"trial_{each['number']:04d}"
        assert run.info.run_name == folder.name
        assert run.data.params == {key: str(value) for key, value in each["params"].items()}
        assert run.data.tags.get("mlframework.reason") == each["reason"]
        assert run.data.metrics["value"] == each["value"]
        assert mlflow.has_the_curves_of(run, folder / "metrics.jsonl")
        assert mlflow.artifacts(run) == {"config.yaml"}
    assert best(below) == [str(results["best_trial"])]
    assert parent.data.tags["mlframework.best_trial"] == str(results["best_trial"])
    assert parent.data.tags["mlframework.best_value"] == repr(results["best_value"])
    assert parent.data.tags["mlframework.best.optimizer.lr"] == str(results["best_params"]["optimizer.lr"])
    assert parent.data.params["optimizer.lr"] == "0.001 to 0.1, log scale"
    assert state_of(parent) == ("FINISHED", "complete")
    assert mlflow.artifacts(parent) == {"best_config.yaml", "best_hyperparameters.json", "results.json", "trials.csv"}

    (STUDY / "plots").mkdir()
    (STUDY / "plots" / "slice.html").write_text("drawn by ml-visualise")
    searched(mlflow, {**changes, "search.n_trials": 5}, resume=True)
    again, more = trials(mlflow)
    assert (again.info.run_id, len(more)) == (parent.info.run_id, 5)
    assert [run.info.run_id for run in more[:3]] == [run.info.run_id for run in below]
    for number, run in enumerate(more):
        assert mlflow.has_the_curves_of(run, STUDY / f"trial_{number:04d}" / "metrics.jsonl")
    assert best(more) == [str(json.loads((STUDY / "results.json").read_text())["best_trial"])]
    assert "plots" in mlflow.artifacts(again), "what was drawn since is sent"
    n_lines = (STUDY / "mlflow_queue.jsonl").read_text().count("\n")
    assert mlflow.client.get_run(parent.info.run_id).data.tags["mlframework.n_trials"] == "5"
    assert n_lines < 40


def test_the_mark_of_the_best_moves(mlflow: Recorded) -> None:
    """The second trial is better than the first; each time exactly one is marked."""
    marked: list[list[str]] = []

    class Marks(Watched):
        def trial_ended(self, number: int) -> None:
            settled(sender())
            marked.append(best(trials(mlflow)[1]))

    changes = {"search.n_trials": 3, "search.enqueue": [{"optimizer.lr": lr} for lr in (0.001, 0.09, 0.002)]}
    searched(mlflow, changes, Marks())
    assert marked == [["0"], ["1"], ["1"]]


def test_a_trial_that_fails_before_it_trains_has_a_run_with_the_reason(mlflow: Recorded) -> None:
    space = {"training.batch_size": {"type": "categorical", "choices": [16, 4096]}, "optimizer.lr": LR}
    failing = {"optimizer.lr": {"type": "loguniform", "low": 1e29, "high": 1e30}}
    searched(mlflow, {"search_space": {**space, **failing}, "search.n_trials": 2, "search.max_consecutive_failures": 9})
    _, below = trials(mlflow)
    assert [state_of(run) for run in below] == [("FAILED", "failed")] * 2
    assert all("is nan at epoch" in run.data.tags["mlframework.reason"] for run in below)


def test_an_interrupted_search_goes_on_in_the_same_runs(mlflow: Recorded) -> None:
    def cut(trial: int, epoch: int, _value: float) -> None:
        if (trial, epoch) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searched(mlflow, None, Watched(on_epoch=cut))
    settled(sender())
    parent, below = trials(mlflow)
    assert [state_of(run)[1] for run in (parent, *below)] == ["interrupted", "complete", "interrupted"]
    searched(mlflow, resume=True)
    again, more = trials(mlflow)
    assert [run.info.run_id for run in more[:2]] == [run.info.run_id for run in below]
    assert {state_of(run) for run in (again, *more)} == {("FINISHED", "complete")}
    for number, run in enumerate(more):
        assert mlflow.has_the_curves_of(run, STUDY / f"trial_{number:04d}" / "metrics.jsonl")


def test_a_death_of_the_search_loses_no_ends(mlflow: Recorded) -> None:
    """What the folders hold is what a kill leaves that came before the ends of the trials were written."""
    searched(mlflow, {"search.n_trials": 2})
    for number in range(2):
        queue = STUDY / f"trial_{number:04d}" / "mlflow_queue.jsonl"
        kept = [line for line in queue.read_text().splitlines() if '"summary"' not in line and '"FINISHED"' not in line]
        queue.write_text("\n".join(kept) + "\n")
        (queue.parent / "mlflow_sent.json").unlink()
        (found,) = [run for run in trials(mlflow)[1] if run.data.tags["mlframework.trial"] == str(number)]
        mlflow.client.update_run(found.info.run_id, status="RUNNING")
        mlflow.client.set_tag(found.info.run_id, "mlframework.state", "running")
    searched(mlflow, {"search.n_trials": 2}, resume=True)
    _, below = trials(mlflow)
    assert {state_of(run) for run in below} == {("FINISHED", "complete")}
    for number, run in enumerate(below):
        assert mlflow.has_the_curves_of(run, STUDY / f"trial_{number:04d}" / "metrics.jsonl")


def test_confirmations_hang_below_the_study_and_a_comparison_is_a_tree_a_study(mlflow: Recorded) -> None:
    told = {"tracking.mlflow.enabled": True, "tracking.mlflow.tracking_uri": mlflow.uri, "search.n_trials": 1}
    write_config({**told, "search.confirm": {"top_k": 1, "seeds": 2}})
    end = run_here(["ml-search", "--config", "config.yaml"])
    assert (end.code, f"MLflow: recorded in experiment 'tiny' at {mlflow.uri}   look: mlflow ui" in end.out) == (
        0,
        True,
    ), end
    parent, below = trials(mlflow)
    kinds = [run.data.tags["mlframework.kind"] for run in below]
    assert sorted(kinds) == ["confirmation", "confirmation", "trial"]
    assert "confirm.json" in mlflow.artifacts(parent)
    line = ["ml-search", "--config", "config.yaml", "--study-name", "both", "--experiment-name", "both"]
    end = run_here([*line, "--compare", "RandomSampler", "TPESampler", "--seeds", "2"])
    said = [text for text in end.out.splitlines() if text.startswith("MLflow")]
    look = f"   look: mlflow ui --backend-store-uri {mlflow.uri}"
    assert (end.code, said) == (0, [f"MLflow: recorded in experiment 'both' at {mlflow.uri}{look}"]), end
    runs = mlflow.runs("both")
    studies = {run.info.run_id for run in runs if run.data.tags["mlframework.kind"] == "study"}
    parents = [run.data.tags.get("mlflow.parentRunId") for run in runs if run.info.run_id not in studies]
    assert (len(studies), sorted(parents)) == (4, sorted(studies))

    folders = sorted(STUDY.parent.glob("both_compare-*-*"))
    (folders[1] / "mlflow_sent.json").unlink()
    (folders[3] / "trial_0000" / "mlflow_sent.json").unlink()
    (told_of,) = recorded_lines(Target(mlflow.uri, "both"), folders, "ml-search --resume")
    assert told_of == (
        f"MLflow: not all of it is recorded yet in experiment 'both' at {mlflow.uri}; it is kept in {folders[1]} and "
        "another folder, and sent by: ml-search --resume"
    )


@pytest.mark.slow
def test_workers_hang_their_trials_below_one_run(mlflow: Recorded) -> None:
    told = {"tracking.mlflow.enabled": True, "tracking.mlflow.tracking_uri": mlflow.uri, "search.n_trials": 6}
    write_config(told)
    assert run_here(["ml-search", "--config", "config.yaml", "--workers", "2"]).code == 0
    parent, below = trials(mlflow)
    assert len(below) == 6
    for number, run in enumerate(below):
        assert mlflow.has_the_curves_of(run, STUDY / f"trial_{number:04d}" / "metrics.jsonl")
    assert state_of(parent) == ("FINISHED", "complete")
