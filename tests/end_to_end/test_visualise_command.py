"""`ml-visualise`, as a person runs it: on a study, on a run, and on what is not there."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlframework
from mlframework.cli.visualise import FORMATS, PLOT_TYPES, RUN_PLOT_TYPES
from mlframework.errors import RunError
from mlframework.visualise import export
from mlframework.visualise.run_plots import RUN_PLOTS
from mlframework.visualise.search_plots import PLOTS
from support.reader import Step, in_process
from support.searches import run_search

BIN = Path(sys.executable).parent


def visualise(folder: Path, options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "ml-visualise", *options.split()], cwd=folder, capture_output=True, text=True, check=False
    )


def train(folder: Path, options: str) -> None:
    """Run `ml-train` in this process, which has imported torch already."""
    with in_process(folder) as typist:
        typist.type(Step("bash", f"ml-train {options}", ""))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a study `tiny_optimization` of four trials was searched."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_search({"name": "tiny", "search.n_trials": 4, "search.pruner": {"type": "none"}})
    return folder


def test_the_help_names_every_plot() -> None:
    assert tuple(PLOTS) == PLOT_TYPES
    assert tuple(RUN_PLOTS) == RUN_PLOT_TYPES
    assert export.FORMATS == FORMATS
    helped = visualise(Path(), "--help").stdout
    assert all(name in helped for name in (*PLOT_TYPES, *RUN_PLOT_TYPES))


def test_on_a_terminal_it_shows_that_it_draws(study: Path) -> None:
    ours, theirs = pty.openpty()
    options = "--mode search --study-name tiny_optimization --format html --plot-type slice"
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"TERM": "xterm-256color"}
    with subprocess.Popen(
        [BIN / "ml-visualise", *options.split()], cwd=study, stdout=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while process.poll() is None or not shown.endswith(b"\n"):
            try:
                shown += os.read(ours, 1 << 16)
            except OSError:  # how Linux says that the other end is closed
                break
    os.close(ours)
    assert process.returncode == 0
    assert shown.index(b"drawing") < shown.index(b"slice.html")
    assert "drawing" not in visualise(study, options).stdout


def test_plots_are_written_into_the_studys_folder(study: Path) -> None:
    done = visualise(
        study, "--mode search --study-name tiny_optimization --format html --plot-type slice optimization_history"
    )
    assert done.returncode == 0, done.stderr
    plots = study / "runs/optuna_studies/tiny_optimization/plots"
    assert sorted(path.name for path in plots.iterdir()) == ["optimization_history.html", "slice.html"]
    assert "4 trials" in (plots / "slice.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--study-name tiny_optimisation", "did you mean 'tiny_optimization'?"),
        ("--study-name tiny_optimization --storage sqlite:///other.db", "there is no such file"),
        ("--study-name tiny_optimization --plot-type contuor", "invalid choice: 'contuor'"),
        ("--study-name tiny_optimization --plot-type slice --params lrr", "lrr"),
        ("", "--study-name"),
    ],
)
def test_what_is_not_there_is_one_message(study: Path, options: str, said: str) -> None:
    done = visualise(study, f"--mode search --format html {options}")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


CONFIG = """
name: tumours
data: {type: table, path: CSV, target: diagnosis}
model: {architecture: mlp, hidden_size: 8}
training: {num_epochs: 3, batch_size: 64, num_threads: 1}
optimizer: {type: sgd, lr: 0.1}
scheduler: {type: step, step_size: 1, gamma: 0.5}
tracking: {tensorboard: false}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, breast_cancer_csv: Path) -> Path:
    """A folder in which `ml-train` made the run `runs/tumours`; not to be written into."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "c.yaml").write_text(CONFIG.replace("CSV", str(breast_cancer_csv)), encoding="utf-8")
    train(folder, "--config c.yaml")
    return folder


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.mark.parametrize("named", ["runs/tumours --mode run", "--mode run --run runs/tumours"])
def test_a_runs_plots_are_written_into_its_folder(run_folder: Path, named: str) -> None:
    done = visualise(run_folder, f"{named} --format html")
    assert (done.returncode, done.stderr) == (0, "")
    drawn = ["curves", "confusion_matrix", "calibration", "roc", "precision_recall", "mistakes"]
    plots = "".join(f"{name}: runs/tumours/plots/{name}.html\n" for name in drawn)
    assert done.stdout == f"{plots}report: runs/tumours/report.html\n"
    page = (run_folder / "runs/tumours/plots/curves.html").read_text(encoding="utf-8")
    assert "loss, acc and learning rate epoch by epoch" in page
    assert "tumours \\u00b7 3 epochs in " in page


def test_a_run_that_wrote_no_outputs_is_built_anew_and_says_so(run_folder: Path) -> None:
    outputs = run_folder / "runs/tumours/outputs_val.npz"
    with np.load(outputs) as archive:
        before = archive["values"]
    outputs.unlink()
    done = visualise(run_folder, "--mode run runs/tumours --plot-type calibration --format html")
    assert done.returncode == 0
    said = (
        "runs/tumours has no outputs_val.npz: the model and its data are built anew to compute it, which takes longer\n"
    )
    assert done.stderr == said
    with np.load(outputs) as archive:
        assert np.array_equal(archive["values"], before)


OTHERS = {
    "images": (
        "{type: image_folder, path: DATA, image_size: 32}",
        "{architecture: shufflenet_v2_x0_5}",
        ["curves", "confusion_matrix", "calibration", "roc", "precision_recall", "mistakes"],
    ),
    "ratings": (
        "{type: interactions, path: DATA, rating_column: rating, min_rating: 3}",
        "{architecture: als, factors: 4}",
        ["curves", "recall_at_k", "ranking_at_k", "user_hits", "popularity"],
    ),
    "numbers": (
        "{type: table, path: DATA, target: progression}",
        "{architecture: mlp, hidden_size: 8}",
        ["curves", "residuals", "mistakes"],
    ),
}


@pytest.mark.parametrize("kind", ["images", "ratings", pytest.param("numbers", marks=pytest.mark.slow)])
def test_each_kind_of_data_has_its_plots(
    kind: str, few_digits: Path, planted: dict[str, Any], diabetes_csv: Path, tmp_path: Path
) -> None:
    paths = {"images": few_digits, "ratings": planted["fm regression"]["data"]["path"], "numbers": diabetes_csv}
    data, model, plots = OTHERS[kind]
    config = f"name: r\ndata: {data}\nmodel: {model}\ntraining: {{num_epochs: 1, num_threads: 1}}\n"
    config += "metric: val_ndcg_at_10\n" if kind == "ratings" else ""
    config += "tracking: {tensorboard: false}\n"
    (tmp_path / "c.yaml").write_text(config.replace("DATA", str(paths[kind])), encoding="utf-8")
    # A final run shows the test split; of images it would take twice as long.
    mode, run, split = ("train", "runs/r", "val") if kind == "images" else ("final", "runs/r-final", "test")
    train(tmp_path, f"--config c.yaml --mode {mode}")
    done = visualise(tmp_path, f"--mode run {run} --format html")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [*plots, "report"]
    page = (tmp_path / f"{run}/plots/{plots[-1]}.html").read_text(encoding="utf-8")
    assert f"{split} split" in page
    if kind == "images":
        assert page.count("data:image\\u002fpng;base64,") >= 10


def test_a_plot_that_a_run_cannot_have_is_refused_where_it_is_asked_for(run_folder: Path) -> None:
    done = visualise(run_folder, "--mode run runs/tumours --plot-type curves recall_at_k --format html")
    assert done.returncode == 2
    assert "recall_at_k: needs ranking_val.json or ranking_test.json in runs/tumours" in done.stderr
    assert done.stderr.endswith("not drawn: recall_at_k\n")
    assert [path.name for path in (run_folder / "runs/tumours/plots").iterdir()] == ["curves.html"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--mode run", "RUN: is needed: the run's folder"),
        ("--mode run runs/tumours --run runs/tumours", "RUN: and --run say the same: give one of them"),
        ("--mode run runs/tumour", "there is no such run; runs there: runs/tumours"),
        ("--mode run runs", "has no config.yaml, it is not a run folder"),
        ("--mode run runs/tumours --plot-type slice", "slice is a plot of --mode search; this mode has curves"),
        ("--mode run runs/tumours --plot-type curvs", "invalid choice: 'curvs'; did you mean 'curves'?"),
        ("--mode run --plot-type curves runs/tumours", "RUN stands before this option, or after --run"),
        ("--mode run runs/tumours --format svg", "invalid choice: 'svg' (known: html, png)"),
        ("--mode run runs/tumours --params lr", "--params: is for --mode search only"),
        ("--mode run runs/tumours --study-name s --storage x", "--storage: is for --mode search or dashboard only"),
        ("--mode search --study-name s runs/tumours", "RUN: is for --mode run"),
        ("--mode search --study-name s --run runs/tumours", "--run: is for --mode run"),
        ("--mode search --study-name s --plot-type curves", "curves is a plot of --mode run; this mode has optim"),
    ],
)
def test_what_a_mode_has_no_use_for_is_refused(trained: Path, options: str, said: str) -> None:
    done = visualise(trained, options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (trained / "runs/tumours/plots").exists()


def test_a_run_without_an_epoch_says_how_to_go_on(run_folder: Path) -> None:
    (run_folder / "runs/tumours/metrics.jsonl").write_text('{"epoch": 1, "train_lo', encoding="utf-8")
    done = visualise(run_folder, "--mode run runs/tumours")
    assert done.returncode == 2
    assert done.stderr.endswith("go on with ml-train --resume runs/tumours\n")


def test_a_trials_folder_is_not_resumed_as_a_run(study: Path) -> None:
    trial = study / "runs/optuna_studies/tiny_optimization/trial_0000"
    before = sorted(path.name for path in trial.iterdir())
    done = subprocess.run([BIN / "ml-train", "--resume", trial], cwd=study, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is a trial of a study" in done.stderr
    assert sorted(path.name for path in trial.iterdir()) == before
    with pytest.raises(RunError, match="keeps no model"):
        mlframework.load(trial)
