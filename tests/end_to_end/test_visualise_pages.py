"""`ml-visualise --mode compare`, `data` and `predictions`, as a person runs them: on real runs, and on what is not there."""

import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import mlframework
from mlframework.cli import visualise
from mlframework.visualise import export
from support.searches import run_search, tree, write_config

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[[str], Ended]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study `tiny_optimization` of three trials and two runs; not to be written into."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_search({"name": "tiny", "search.n_trials": 3})
        write_config({"name": "tiny"})
        mlframework.train(tree({"name": "tiny"}))
        mlframework.train(tree({"name": "slow", "optimizer.lr": 0.001, "training.num_epochs": 5}))
    return folder


@pytest.fixture
def work(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, in which the test runs."""
    copy = shutil.copytree(folder, tmp_path / "work")
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def command(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ml-visualise in this process, which has imported all that it needs."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def run(options: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ml-visualise", *shlex.split(options)])
        with pytest.raises(SystemExit) as end:
            visualise.main()
        signal.signal(signal.SIGTERM, handler)
        said = capsys.readouterr()
        return Ended(int(end.value.code or 0), said.out, said.err)

    return run


def test_runs_and_trials_are_compared_by_the_installed_command(work: Path) -> None:
    done = subprocess.run(
        [BIN / "ml-visualise", *["--mode", "compare", "runs/tiny", "runs/slow", "tiny_optimization/1", "--format", "html"]],
        cwd=work, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.split()}
    assert lines["tiny"] == ["slow", "trial_0001"]
    assert lines["optimizer.lr"][:2] == ["0.05", "0.001"]
    assert lines["training.num_epochs"] == ["3", "5", "3"]
    assert lines["val_loss"].count("*") == 1
    assert "name" in lines and "seed" not in lines and "model.hidden_size" not in lines
    page = "runs/comparisons/tiny_slow_trial_0001/comparison.html"
    assert done.stdout.splitlines()[-1] == page
    assert (work / page).is_file()


def test_what_is_named_twice_is_compared_once(command: Command) -> None:
    done = command("--mode compare runs/tiny runs/slow ./runs/tiny --format html --output there")
    assert done.code == 0
    assert done.err == "./runs/tiny: is named twice, and compared once\n"
    assert Path("there/comparison.html").is_file()
    again = command("--mode compare runs/tiny runs/../runs/tiny")
    assert again.code == 2 and "name two runs that are not the same" in again.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("compare runs/tiny", "RUN: is needed: folders of two runs or more"),
        ("compare runs/tiny runs/tinny no/such", "runs/tinny: there is no such run, and no trial"),
        ("compare runs/tiny tiny_optimization/7", "tiny_optimization has no folder of a trial 7; there are 0, 1, 2"),
        ("compare runs/tiny tiny_optimisation/1", "no study 'tiny_optimisation'; did you mean tiny_optimization/1?"),
        (
            "compare runs/tiny runs/optuna_studies/tiny_optimisation/1",
            "did you mean runs/optuna_studies/tiny_optimization/1?",
        ),
        ("compare runs/tiny runs", "runs: has no config.yaml, it is not a run folder"),
        ("compare runs/tiny runs/slow --params lr", "--params: is for --mode search only"),
        ("compare runs/tiny runs/slow --users u", "--users: is for --mode predictions only"),
        ("data", "CONFIG: is needed: the config's file"),
        ("data none.yaml", "none.yaml"),
        (
            "data table.csv",
            "table.csv: is a table; --mode data wants a config of it, which this writes: ml-init-config",
        ),
        ("data runs", "runs: is a folder; --mode data wants a config"),
        ("data runs/tiny", "runs/tiny: is a folder; name the config file in it: runs/tiny/config.yaml"),
        ("data config.yaml config.yaml", "CONFIG: one is drawn at a time, got 2"),
        ("data config.yaml --samples 0", "should be a whole number from 1, got '0'"),
        ("predictions", "RUN: is needed: the run's folder"),
        ("predictions runs/none", "there is no such run; runs there: "),
        ("predictions runs/optuna_studies/tiny_optimization/trial_0000", "keeps no model; train one by: ml-train"),
        (
            "predictions tiny_optimization/1",
            "train one by: ml-train --config runs/optuna_studies/tiny_optimization/trial_0001",
        ),
        ("predictions tiny_optimization/7", "tiny_optimization has no folder of a trial 7; there are 0, 1, 2"),
        ("predictions tiny_optimisation/1", "did you mean tiny_optimization/1?"),
        (
            "predictions runs/optuna_studies/tiny_optimization",
            "is the folder of a study, not of a run; draw the study by",
        ),
        (
            "run runs/optuna_studies/tiny_optimization",
            "--mode search --study-name tiny_optimization, or one of its trials by",
        ),
        ("predictions runs/tiny --input none.csv", "none.csv: there is no such file; correct --input"),
        ("predictions runs/tiny --input runs", "runs is a folder, not a file; --input must name the table's file"),
        ("predictions runs/tiny --input config.yaml", "unknown kind of table"),
        ("predictions runs/tiny --users u1", "--users: is for recommenders"),
        ("predictions runs/tiny --k 3", "--k: is for recommenders"),
        ("predictions runs/tiny --k ten", "should be a whole number from 1, got 'ten'"),
    ],
)
def test_bad_input_is_one_message_with_a_remedy(command: Command, options: str, said: str) -> None:
    done = command(f"--mode {options} --format html")
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert not list(Path().rglob("*.html"))


def test_data_is_shown_with_its_warnings_by_the_installed_command(work: Path) -> None:
    lines = (work / "table.csv").read_text(encoding="utf-8").splitlines()
    (work / "table.csv").write_text("\n".join([*lines, *lines[1:]]) + "\n", encoding="utf-8")
    done = subprocess.run(
        [BIN / "ml-visualise", *["--mode", "data", "config.yaml"]],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr.startswith("warning: ") and "have exactly the features of a row of train" in done.stderr
    assert done.stdout.splitlines()[0] == "tiny: table.csv: 72 train, 24 val, 24 test"
    shown = {path.name for path in (work / "runs/data/tiny").iterdir()}
    assert shown >= {"data.html"}
    if export.NO_BROWSER not in done.stderr:
        assert shown == {"data.html", "class_balance.png", "columns.png"}


def test_data_without_leaks_says_so(command: Command) -> None:
    done = command("--mode data config.yaml --format html --output there")
    assert (done.code, done.err) == (0, "")
    assert "no row of one split stands in another" in done.out
    assert [path.name for path in Path("there").iterdir()] == ["data.html"]


def test_predictions_of_val_and_of_a_file(command: Command) -> None:
    done = command("--mode predictions runs/tiny --format html --samples 5")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("runs/tiny: 5 predictions of kind: ")
    assert len(Path("runs/tiny/predictions/predictions.csv").read_text().splitlines()) == 6
    Path("new.csv").write_text("a,b,c\n3,3,3\n-3,-3,-3\n")
    done = command("--mode predictions --run runs/tiny --input new.csv --format html --output there")
    assert (done.code, done.err) == (0, "")
    header, *rows = Path("there/predictions.csv").read_text().splitlines()
    assert header == "row,a,b,c,predicted,p_no,p_yes"
    assert len(rows) == 2


def test_predictions_of_changed_data_say_so(command: Command) -> None:
    with Path("table.csv").open("a") as file:
        file.write("2000.5,1,1,1,yes\n")
    done = command("--mode predictions runs/tiny --format html")
    assert done.code == 0
    assert done.err.startswith("note: The data has changed since the run was trained")
