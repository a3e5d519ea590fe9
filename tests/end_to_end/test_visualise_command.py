"""`ml-visualise`, as a person runs it: on a study that ml-search made, and on what is not there."""

import subprocess
import sys
from pathlib import Path

import pytest

import mlframework
from mlframework.cli.visualise import PLOT_TYPES
from mlframework.errors import RunError
from mlframework.visualise.search_plots import PLOTS
from support.searches import run_search

BIN = Path(sys.executable).parent


def visualise(folder: Path, options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "ml-visualise", *options.split()], cwd=folder, capture_output=True, text=True, check=False
    )


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


def test_a_trials_folder_is_not_resumed_as_a_run(study: Path) -> None:
    trial = study / "runs/optuna_studies/tiny_optimization/trial_0000"
    before = sorted(path.name for path in trial.iterdir())
    done = subprocess.run([BIN / "ml-train", "--resume", trial], cwd=study, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is a trial of a study" in done.stderr
    assert sorted(path.name for path in trial.iterdir()) == before
    with pytest.raises(RunError, match="keeps no model"):
        mlframework.load(trial)
