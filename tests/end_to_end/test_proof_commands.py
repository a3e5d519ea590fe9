"""ml-search with search.confirm and with --compare: what they print, what survives a kill, and what they refuse."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlframework.cli import search as command
from mlframework.cli import visualise
from support.searches import LR, write_config

PROGRAMS = Path(sys.executable).parent
STUDIES = Path("runs/optuna_studies")
STUDY = STUDIES / "tiny_optimization"
PATIENCE = 240  # seconds after which something that has to happen is said not to have happened
CONFIRM = "--search.confirm '{top_k: 2, seeds: 3}'"


@pytest.fixture
def main(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str, str]]:
    """A command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(line: str) -> tuple[int, str, str]:
        words = shlex.split(line)
        monkeypatch.setattr(sys, "argv", words)
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as end:
                (visualise if words[0] == "ml-visualise" else command).main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err, out + err
        return int(end.value.code or 0), out, err

    return call


def started(line: str) -> "subprocess.Popen[str]":
    words = shlex.split(line)
    return subprocess.Popen(
        [str(PROGRAMS / words[0]), *words[1:]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def wait_for(process: "subprocess.Popen[str]", happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"it never happened: {process.communicate()}")
        time.sleep(0.005)


def n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


# Confirmation


def test_a_search_ends_with_the_confirmation_and_is_drawn(main: Callable[[str], tuple[int, str, str]]) -> None:
    write_config()
    code, out, err = main(f"ml-search --config config.yaml {CONFIRM}")
    assert (code, err) == (0, "")
    assert "the best 2 are trained again with 3 further seeds each at the end" in out
    assert out.count("val_loss") > 6 and len(re.findall(r"^trial \d, seed \d: val_loss ", out, re.MULTILINE)) == 6
    kept = json.loads((STUDY / "confirm.json").read_text())
    picked = re.findall(r"^picked: trial (\d), by the mean over the further seeds$", out, re.MULTILINE)
    assert picked == [str(kept["pick"])]
    assert f"\npicked trial: {kept['pick']}\nval_loss in the search: " in out and "best trial:" not in out
    assert "\npicked by 3 further seeds: mean " in out
    assert all(f"  {line}\n" in out for line in kept["verdicts"])

    code, out, _ = main("ml-visualise --mode search --study-name tiny_optimization --format html")
    assert "confirm: runs/optuna_studies/tiny_optimization/plots/confirm.html" in out

    code, out, _ = main("ml-search --config config.yaml --resume --search.confirm '{top_k: 9, seeds: 2}'")
    assert code == 0 and "search.confirm.top_k is 9; the study has 3 complete trials of different parameters" in out
    assert out.count(", done before") == 4, "two of the trials have both seeds already"
    # Without search.confirm the pick stays.
    assert main("ml-search --config config.yaml --resume")[0] == 0
    told = json.loads((STUDY / "results.json").read_text())
    assert told["confirmed"]["trial"] == told["best_trial"] == json.loads((STUDY / "confirm.json").read_text())["pick"]


def test_a_confirmation_waits_for_the_last_trial(main: Callable[[str], tuple[int, str, str]]) -> None:
    write_config({"search.n_trials": 50, "training.num_epochs": 1})
    code, out, _ = main(f"ml-search --config config.yaml --timeout 0.2 {CONFIRM}")
    assert code == 0 and "the best trials are confirmed when the last trial is done" in out
    assert not (STUDY / "confirm").exists()


def test_a_killed_confirmation_goes_on_where_it_was(main: Callable[[str], tuple[int, str, str]]) -> None:
    write_config({"search.n_trials": 1, "training.num_epochs": 40, "training.batch_size": 1})
    line = "ml-search --config config.yaml --search.confirm '{top_k: 1, seeds: 2}'"
    process = started(line)
    second = STUDY / "confirm/trial_0000_seed_5"
    wait_for(process, lambda: n_lines(second / "metrics.jsonl") >= 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (second / "outcome.json").exists() and (STUDY / "confirm/lock").exists()
    first = (STUDY / "confirm/trial_0000_seed_4/outcome.json").stat().st_mtime_ns
    began = (second / "environment.json").stat().st_mtime_ns

    code, out, err = main(f"{line} --resume")
    assert (code, err) == (0, "") and "trial 0, seed 4: val_loss" in out and "picked: trial 0" in out
    assert (STUDY / "confirm/trial_0000_seed_4/outcome.json").stat().st_mtime_ns == first
    assert (second / "environment.json").stat().st_mtime_ns == began, "the run that was cut short went on"
    epochs = [json.loads(row)["epoch"] for row in (second / "metrics.jsonl").read_text().splitlines()]
    assert epochs == list(range(1, 41)) and not (STUDY / "confirm/lock").exists()


# Comparison


def test_a_comparison_prints_its_table_and_what_it_says(main: Callable[[str], tuple[int, str, str]]) -> None:
    write_config({"search.timeout": 1000.0, "search.sampler": {"type": "TPESampler", "n_startup_trials": 1}})
    line = f"ml-search --config config.yaml --compare optuna RandomSampler QMCSampler --seeds 2 --n-trials 2 {CONFIRM}"
    code, out, err = main(line)
    assert (code, err) == (0, "")
    assert out.startswith(
        "comparison tiny_optimization_compare: minimize val_loss, 3 samplers, 2 seeds (3 to 4), 2 trials each: 12 trainings\n"
    )
    assert "search.confirm has no say here" in out and "search.timeout has no say here" in out
    assert "  TPESampler (n_startup_trials: 1" in out
    assert re.search(
        r"^6/6 QMCSampler, seed 4: best val_loss \S+ \(trial \d\), 2 of 2 trials complete", out, re.MULTILINE
    )
    folder = STUDIES / "tiny_optimization_compare"
    kept = json.loads((folder / "compare.json").read_text())
    assert all(f"  {said}\n" in out for said in kept["verdicts"])
    assert "with 2 seeds no pair can be significant" in out
    assert {path.stem for path in (folder / "plots").glob("*.html")} == {"best_so_far", "ranks"}

    code, _, err = main(line)
    assert code == 2 and "the comparison 'tiny_optimization_compare' exists already: 6 of its studies" in err
    code, out, _ = main(f"{line} --resume")
    assert code == 0 and "12 trainings" in out
    assert kept == json.loads((folder / "compare.json").read_text())
    # Each study can be drawn like any other.
    drawn = (
        "ml-visualise --mode search --study-name tiny_optimization_compare-QMCSampler-4 --format html --plot-type slice"
    )
    assert main(drawn)[0] == 0


@pytest.mark.slow
def test_a_comparison_that_is_interrupted_names_the_command_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config({"training.num_epochs": 15, "training.batch_size": 1})
    process = started(
        "ml-search --config config.yaml --compare TPESampler RandomSampler --seeds 2 --n-trials 1 --dropout 0.1"
    )
    third = STUDIES / "tiny_optimization_compare-TPESampler-4/trial_0000/metrics.jsonl"
    wait_for(process, lambda: n_lines(third) >= 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    resume = err.rpartition("go on with: ")[2].strip()
    assert "--compare TPESampler RandomSampler --seeds 2" in resume and "--model.dropout 0.1" in resume
    done = started(resume)
    out, err = done.communicate(timeout=PATIENCE)
    assert done.returncode == 0, err
    assert n_lines(third) == 15 and "4/4 RandomSampler, seed 4" in out


def test_where_nothing_came_to_its_end_the_reasons_are_said(main: Callable[[str], tuple[int, str, str]]) -> None:
    write_config({"search_space": {"optimizer.lr": {"type": "categorical", "choices": [1e30, 1e31]}}})
    code, _, err = main("ml-search --config config.yaml --compare GridSampler RandomSampler --seeds 2 --n-trials 1")
    assert code == 2 and "no trial of any study came to its end, there is nothing to compare:\n" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--compare TPESampler TPSampler", "unknown sampler 'TPSampler'; did you mean 'TPESampler'?"),
        ("--compare TPESampler", "there is nothing to compare one sampler with"),
        ("--compare TPESampler RandomSampler --seeds 1", "--seeds: 1 says nothing of the spread"),
        ("--compare TPESampler RandomSampler --refit", "--refit: leave it out"),
        ("--compare TPESampler RandomSampler --timeout 5", "--timeout: leave it out"),
        ("--seeds 5", "--seeds: is for --compare only"),
        ("--compare GridSampler BruteForceSampler", "BruteForceSampler needs a finite number of values"),
        ("--compare TPESampler RandomSampler --data.path nowhere.csv", "nowhere.csv"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    main: Callable[[str], tuple[int, str, str]], options: str, said: str
) -> None:
    write_config({"search_space": {"optimizer.lr": LR}})
    code, _, err = main(f"ml-search --config config.yaml {options}")
    assert code == 2 and said in err
    assert not Path("runs").exists()
