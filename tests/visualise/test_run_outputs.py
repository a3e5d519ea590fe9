"""Where the plots have the model's outputs from: a run's file, or its checkpoint where that is all there is."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlframework.config import yaml
from mlframework.config.decode import decode
from mlframework.config.yaml import Document
from mlframework.errors import PlotError, RunError
from mlframework.experiment import ExperimentConfig, evaluate_test, export, load_data, start_run, train
from mlframework.folds import CrossValidation
from mlframework.outputs import outputs_path, read_outputs
from mlframework.plans import Folds, Repeats, mark_folds
from mlframework.runs import RunDir
from mlframework.visualise.draw_all import draw_run
from mlframework.visualise.run_outputs import must_compute
from mlframework.visualise.run_plots import mistakes, uses_outputs
from mlframework.visualise.run_view import RunView
from support.searches import run_search, tree, write_table


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with a table in it, whose column `row` tells the n-th row: 1000.5 + n."""
    monkeypatch.chdir(tmp_path)
    write_table(Path("table.csv"))
    return tmp_path


def started(name: str = "run", **changes: Any) -> tuple[ExperimentConfig, RunDir]:
    whole = {key: value for key, value in tree(changes).items() if key != "search"}
    run = RunDir(Path("runs", name))
    run.path.mkdir(parents=True)
    start_run(run, whole)
    return decode(ExperimentConfig, Document(whole, "test")), run


def ended(**changes: Any) -> tuple[ExperimentConfig, RunDir]:
    """Train a run, and do not export it: a trial's folder is like this."""
    config, run = started(**changes)
    train(config, load_data(config).without_test(), run)
    return config, run


@pytest.mark.usefixtures("here")
def test_what_is_computed_is_what_the_run_would_have_written() -> None:
    config, run = ended()
    view = RunView.of(run.path)
    assert must_compute(run) and uses_outputs(view, []) and not uses_outputs(view, ["curves"])
    computed = view.outputs
    assert outputs_path(run, "val").is_file() and not must_compute(run), "kept for the next time"
    kept = read_outputs(outputs_path(run, "val"))
    export(config, load_data(config), run, "best")
    written = read_outputs(outputs_path(run, "val"))
    for each in (computed, kept):
        assert np.array_equal(each.values, written.values) and each.rows.tolist() == written.rows.tolist()
        assert (each.epoch, each.class_names) == (written.epoch, ("no", "yes"))
    assert view.outputs is computed, "read once"


@pytest.mark.usefixtures("here")
def test_the_test_split_goes_before_val() -> None:
    config, run = ended()
    export(config, load_data(config), run, "best")
    evaluate_test(config, load_data(config), run, "best")
    assert RunView.of(run.path).outputs.split == "test"


@pytest.mark.usefixtures("here")
def test_a_run_that_goes_on_is_computed_and_not_written() -> None:
    _, run = ended()
    run.result.unlink()
    assert RunView.of(run.path).outputs.epoch >= 1
    assert not outputs_path(run, "val").exists()


@pytest.mark.usefixtures("here")
def test_without_a_checkpoint_there_is_a_reason_and_what_to_do() -> None:
    _, run = ended()
    shutil.rmtree(run.checkpoints)
    view = RunView.of(run.path)
    assert not must_compute(run)
    reason = r"needs outputs_val\.npz in runs/run, .* neither is there: go on with ml-train --resume runs/run, or train again"
    with pytest.raises(PlotError, match=reason):
        _ = view.outputs
    outcomes = {outcome.name: outcome for outcome in draw_run(view, [], run.path / "plots", ["html"])}
    assert outcomes.pop("curves").paths
    assert {outcome.reason for outcome in outcomes.values()} == {str(view._outputs)} and len(outcomes) == 5


def test_changed_data_computes_nothing_and_shows_no_row(here: Path) -> None:
    config, run = ended()
    kept = Path("table.csv").read_text()
    Path("table.csv").write_text(kept.replace("yes", "no", 3))
    with pytest.raises(PlotError, match=r"it can't be computed, as table\.csv has changed since the run was trained"):
        _ = RunView.of(run.path).outputs
    Path("table.csv").write_text(kept)
    export(config, load_data(config), run, "best")
    Path("table.csv").write_text(kept.replace("yes", "no", 3))
    with pytest.raises(
        PlotError, match=r"needs table\.csv, .*, and it has changed since the run was trained: put it back"
    ):
        mistakes.compute(RunView.of(run.path))
    Path("table.csv").unlink()
    with pytest.raises(PlotError, match=r"needs table\.csv, .*there is no such file.*: put it back"):
        mistakes.compute(RunView.of(run.path))


@pytest.mark.usefixtures("here")
def test_a_final_run_without_its_test_is_told_to_go_on() -> None:
    _, run = ended()
    (run.path / "final.json").write_text('{"format": 1, "num_epochs": 2}')
    with pytest.raises(PlotError, match=r"needs outputs_test\.npz .*: go on with ml-train --resume runs/run"):
        _ = RunView.of(run.path).outputs


@pytest.mark.usefixtures("here")
def test_a_fold_is_computed_on_its_own_validation_rows() -> None:
    config, run = started()
    plan = CrossValidation(n_folds=3)
    mark_folds(run, plan)
    Folds(plan).evaluate(config, load_data(config).without_test(), run, lambda *_: None, [])
    views = [RunView.of(run.path / f"fold_{number}") for number in (1, 2, 3)]
    rows = [set(view.outputs.rows.tolist()) for view in views]
    assert views[1].name == "run/fold_2"
    assert sum(map(len, rows)) == len(set.union(*rows)) == len(load_data(config).refit().train)
    for view in views:
        loss = -np.log(view.outputs.values[np.arange(len(view.outputs)), view.outputs.targets]).mean()
        assert view.best is not None and loss == pytest.approx(view.best.value, rel=1e-4)
        assert outputs_path(view.run, "val").is_file()
    (run.path / "cross_validation.json").unlink()
    outputs_path(views[0].run, "val").unlink()
    with pytest.raises(
        PlotError, match=r"how a trial's folds were cut .* --cross-validate 3, and draw what that makes"
    ):
        _ = RunView.of(run.path / "fold_1").outputs


@pytest.mark.usefixtures("here")
def test_a_repeat_is_computed_with_its_own_seed() -> None:
    config, run = started()
    Repeats(2).evaluate(config, load_data(config).without_test(), run, lambda *_: None, [])
    first, second = (RunView.of(run.path / f"repeat_{number}").outputs for number in (1, 2))
    assert first.rows.tolist() == second.rows.tolist()
    assert not np.array_equal(first.values, second.values)


@pytest.mark.usefixtures("here")
def test_a_trial_of_a_study() -> None:
    run_search({"search.n_trials": 2, "search.keep": {"top_k": 1}})
    trials = [RunView.of(path) for path in sorted(Path("runs/optuna_studies/tiny_optimization").glob("trial_*"))]
    kept, gone = sorted(trials, key=lambda view: not must_compute(view.run))
    assert kept.outputs.epoch == (kept.best.epoch if kept.best else None)
    with pytest.raises(PlotError, match=r"train the trial, ml-train --config .*config\.yaml, and draw that run"):
        _ = gone.outputs


@pytest.mark.usefixtures("here")
def test_a_checkpoint_of_other_settings_is_a_reason() -> None:
    _, run = ended()
    changed = yaml.read(run.config).tree
    changed["model"]["hidden_size"] = 5
    run.config.write_text(yaml.dump(changed))
    with pytest.raises(PlotError, match=r"it cannot be computed: .* is of a training with other settings"):
        _ = RunView.of(run.path).outputs


@pytest.mark.usefixtures("here")
def test_a_damaged_file_is_told() -> None:
    config, run = ended()
    export(config, load_data(config), run, "best")
    outputs_path(run, "val").write_bytes(b"PK not a zip")
    with pytest.raises(RunError, match=r"outputs_val\.npz: is no NumPy archive, or a damaged one"):
        _ = RunView.of(run.path).outputs


@pytest.mark.usefixtures("here")
def test_rows_are_those_of_the_file() -> None:
    with Path("table.csv").open() as file:
        lines = list(csv.reader(file))
    # A row without a target is none of the data, but counts.
    lines[4][4] = ""
    with Path("table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    with pytest.warns(UserWarning, match="1 of 60 rows have no value"):
        config, run = ended(**{"optimizer.lr": 1e-4})
    export(config, load_data(config), run, "best")
    data = mistakes.compute(RunView.of(run.path))
    assert data.columns == ("a", "b", "c") and not data.are_images
    for each in data.mistakes:
        line = lines[int(each.name.removeprefix("row "))]
        assert (list(each.features), each.true) == (line[1:4], line[4])
        assert each.predicted != each.true
    assert [each.how for each in data.mistakes] == sorted((each.how for each in data.mistakes), reverse=True)
