"""`ml-search` and `ml-visualise` for several objectives, as they are installed."""

import csv
import json
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlframework.cli import search, train, visualise
from mlframework.config import yaml
from support.searches import LR, write_config

BIN = Path(sys.executable).parent
STUDY = Path("runs/optuna_studies/tiny_optimization")
TWO: dict[str, Any] = {
    "search.objectives": [{"metric": "val_loss"}, {"metric": "n_parameters"}],
    "search.n_trials": 8,
    "search_space": {"model.hidden_size": {"type": "int", "low": 1, "high": 12}, "optimizer.lr": LR},
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a study of two objectives was searched by the command; its output is in out.txt."""
    folder = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_config(TWO)
    command = [BIN / "ml-search", "--config", "config.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (folder / "out.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def call(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """A command in this process, in the folder of the study."""
    monkeypatch.chdir(here)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    mains = {"ml-search": search.main, "ml-train": train.main, "ml-visualise": visualise.main}

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", list(words))
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as end:
                mains[words[0]]()
        finally:
            signal.signal(signal.SIGTERM, handler)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err, out + err
        return Ended(int(end.value.code or 0), out, err)

    return run


def test_the_command_says_what_it_searches_and_prints_the_front(here: Path) -> None:
    out = (here / "out.txt").read_text()
    results = json.loads((here / STUDY / "results.json").read_text())
    assert "study tiny_optimization: minimize val_loss, minimize n_parameters, 8 trials" in out
    assert "each trial keeps its epoch with the best val_loss; best_config.yaml is the knee of the Pareto front" in out
    front = results["pareto_front"]
    assert f"Pareto front: {len(front)} of 8 complete trials" in out
    with (here / STUDY / "pareto.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = out[out.index("Pareto front:") :].splitlines()[2 : 2 + len(front)]
    listed = {int(line.replace("*", "").split()[0]): line for line in table}
    assert sorted(listed) == sorted(front)
    assert [number for number, line in listed.items() if "*" in line] == [results["best_trial"]]
    losses = {int(row["number"]): float(row["val_loss"]) for row in rows}
    assert list(listed) == sorted(front, key=losses.__getitem__), "the best of the first objective is on top"


def test_a_config_of_the_front_trains_to_the_values_that_it_promises(here: Path, call: Callable[..., Ended]) -> None:
    results = json.loads((here / STUDY / "results.json").read_text())
    number = results["pareto_front"][-1]
    done = call("ml-train", "--config", str(STUDY / "pareto" / f"trial_{number:04d}.yaml"), "--name", "point")
    assert done.returncode == 0, done.stderr
    ran = json.loads(next((here / "runs").glob("point*/result.json")).read_text())
    promised = results["trials"][number]["values"]
    assert (ran["value"], ran["resources"]["n_parameters"]) == (promised["val_loss"], promised["n_parameters"])


def test_every_plot_that_fits_is_drawn_and_another_objective_has_a_folder_of_its_own(
    here: Path, call: Callable[..., Ended]
) -> None:
    line = ["--mode", "search", "--study-name", "tiny_optimization", "--format", "html"]
    done = call("ml-visualise", *line)
    assert done.returncode == 0, done.stderr
    drawn = {path.stem for path in (here / STUDY / "plots").glob("*.html")}
    assert drawn == {
        "optimization_history", "param_importances", "slice", "contour", "parallel_coordinate", "intermediate_values",
        "pareto_front",
    }  # fmt: skip
    done = call("ml-visualise", *line, "--metric", "n_parameters", "--plot-type", "slice")
    assert done.returncode == 0, done.stderr
    assert "n_parameters against each parameter" in (here / STUDY / "plots/n_parameters/slice.html").read_text()
    done = call("ml-visualise", *line, "--metric", "n_params")
    assert (done.returncode, "did you mean 'n_parameters'?" in done.stderr) == (2, True)


def test_a_resumed_search_may_prefer_another_point(here: Path, call: Callable[..., Ended]) -> None:
    done = call("ml-search", "--config", "config.yaml", "--resume", "--search.prefer", "val_loss")
    assert done.returncode == 0, done.stderr
    results = json.loads((here / STUDY / "results.json").read_text())
    losses = [trial["values"]["val_loss"] for trial in results["trials"]]
    assert (results["best_trial"], len(losses)) == (losses.index(min(losses)), 8)
    assert "best val_loss of the Pareto front" in (here / STUDY / "best_config.yaml").read_text().splitlines()[0]
    assert yaml.read(str(here / STUDY / "best_config.yaml")).tree["metric"] == "val_loss"


def test_where_all_trials_fail_the_command_says_why(here: Path, call: Callable[..., Ended]) -> None:
    done = call("ml-search", "--config", "config.yaml", "--study-name", "failing", "--n-trials", "2",
        "--search.search_space", "{optimizer.lr: {type: categorical, choices: [1.0e+30, 1.0e+31]}}",
    )  # fmt: skip
    assert done.returncode == 2
    assert "no trial came to its end, there is no best one" in done.stderr and "Traceback" not in done.stderr


def test_what_does_not_fit_is_refused_before_trial_0(here: Path, call: Callable[..., Ended]) -> None:
    done = call(
        "ml-search", "--config", "config.yaml", "--study-name", "other", "--search.sampler.type", "CmaEsSampler"
    )
    assert done.returncode == 2
    assert "CmaEsSampler searches for one objective; for several there are TPESampler" in done.stderr
    assert not (here / "runs/optuna_studies/other").exists()
