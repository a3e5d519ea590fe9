"""`ml-search --diagnose` and `ml-search --dry-run`, as commands: what they print, what they leave behind, how they end."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mlframework.cli import search as command
from mlframework.config import yaml
from support.searches import write_config

PROGRAMS = Path(sys.executable).parent
PATIENCE = 240  # seconds after which something that has to happen is said not to have happened
STUDY = Path("runs/optuna_studies/tiny_optimization")
SPACE = {
    "optimizer.lr": {"type": "loguniform", "low": 1e-3, "high": 1e-1},
    "model.hidden_size": {"type": "int", "low": 2, "high": 8},
}


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """The command in this process, in an empty folder: returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as end:
                command.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err, out + err
        return int(end.value.code or 0), out, err

    return call


def test_a_search_its_diagnosis_and_the_search_that_it_suggests(main: Any) -> None:
    """Rates of millions make a loss no number, of train or of val; the suggestion leaves them out, and runs."""
    wild = {**SPACE, "optimizer.lr": {"type": "loguniform", "low": 1e-3, "high": 1e20}}
    write_config({"search_space": wild, "search.n_trials": 20, "training.num_epochs": 1})
    assert main("ml-search --config config.yaml")[0] == 0

    code, out, err = main("ml-search --diagnose tiny_optimization")
    assert (code, err) == (0, "")
    content = json.loads((STUDY / "diagnosis.json").read_text())
    finding = next(each for each in content["findings"] if each["topic"] == "failures" and each["changes"])
    (change,) = content["suggested"]
    assert (change["key"], change["field"]) == ("optimizer.lr", "high") and change["value"] < 1e20
    assert finding["says"] in out and f"written: {STUDY}/diagnosis.json" in out
    assert "not told: too few trials to tell which parameters do nothing" in out

    path = STUDY / "suggested_search.yaml"
    assert "high was 1.0e+20: " in path.read_text()
    assert yaml.read(path).tree["name"] == "tiny", "what trials may differ in comes from one of them"
    code, out, _ = main(f"ml-search --config {path} --n-trials 2")
    assert code == 0 and "study tiny_optimization-2: minimize val_loss, 2 trials" in out
    trials = json.loads((STUDY.with_name("tiny_optimization-2") / "results.json").read_text())["trials"]
    assert all(trial["params"]["optimizer.lr"] <= change["value"] for trial in trials)


def test_what_a_diagnosis_refuses(main: Any) -> None:
    write_config({"search_space": SPACE})
    assert main("ml-search --diagnose nix")[::2] == (
        2, "there is no study 'nix' in runs/optuna_studies: there is none at all; ml-search makes one\n",
    )  # fmt: skip
    code, _, err = main("ml-search --diagnose nix --config config.yaml --n-trials 3 --lr 1")
    assert code == 2 and [line.split(": ")[1] for line in err.splitlines()] == ["--config", "--n-trials", "--lr"]
    code, _, err = main("ml-search")
    assert (code, err) == (2, "ml-search: --config: is needed: the YAML file with a search: section\n")


def test_a_dry_run_prints_the_corners_and_the_prediction(main: Any, tmp_path: Path) -> None:
    write_config({"search_space": {"model.hidden_size": SPACE["model.hidden_size"]}})
    code, out, err = main("ml-search --config config.yaml --dry-run --n-trials 7")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "dry run of tiny_optimization: one batch at 3 corners of the search space; no study is made"
    assert lines[2].split()[:2] == ["middle", "ok"]
    assert [line.split()[0] for line in lines[-4:]] == ["time", "memory", "disk", "assumed"]
    assert "7 trials: " in lines[-4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "table.csv"]


@pytest.mark.slow
def test_corners_that_fail(main: Any) -> None:
    huge = {"model.hidden_size": {"type": "categorical", "choices": [4, 3_000_000]}}
    write_config({"search_space": huge, "model.hidden_layers": 2})
    code, out, err = main("ml-search --config config.yaml --dry-run")
    assert code == 0 and " corners fail: trials there will be recorded as failed" in err
    assert "out of memory" in err and "fails" in out

    write_config({"search_space": {"model.hidden_size": {"type": "categorical", "choices": [3_000_000]}},
                  "model.hidden_layers": 2})  # fmt: skip
    code, _, err = main("ml-search --config config.yaml --dry-run")
    assert code == 2 and err.startswith("no corner of the search space trains:\n  middle: out of memory")
    code, _, err = main("ml-search --config config.yaml --dry-run --resume --refit")
    assert code == 2 and err.count("has no effect beside --dry-run") == 2


def complains_of_interrupts(pid: int) -> bool:
    """Whether a process that gets SIGINT now has a handler that raises an error."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool((int(status["SigCgt"], 16) & ~int(status["SigBlk"], 16)) >> (signal.SIGINT - 1) & 1)


def test_an_interrupted_dry_run_ends_at_once_and_leaves_nothing(main: Any, tmp_path: Path) -> None:
    write_config({"search_space": SPACE})
    process = subprocess.Popen(
        [str(PROGRAMS / "ml-search"), "--config", "config.yaml", "--dry-run"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + PATIENCE
    # Until what forks the processes of corners is there; the other one is Python's tracker of resources.
    while len(found := children.read_text().split()) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(found) == 2
    assert [complains_of_interrupts(int(pid)) for pid in found] == [False, False], (
        "their tracebacks would follow what is said"
    )
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted; a dry run makes no study, so there is nothing to go on with"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "table.csv"]
