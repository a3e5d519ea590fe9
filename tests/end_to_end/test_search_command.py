"""The command ml-search, as it is installed: what it prints, how it ends, and what survives it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from mlframework.cli import search as command
from mlframework.models.mlp import Mlp
from mlframework.search import loop
from mlframework.search.storage import open_storage
from support.running import Ended
from support.searches import open_search, write_config

PROGRAMS = Path(sys.executable).parent
STUDY = Path("runs/optuna_studies/tiny_optimization")
PATIENCE = 240  # seconds after which something that has to happen is said not to have happened
SLOW = {"training.num_epochs": 40, "training.batch_size": 1}  # long enough to be interrupted in the middle


class Running:
    """An installed command that runs."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [str(PROGRAMS / arguments[0]), *arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        )

    def end(self) -> Ended:
        """Wait for its end. No command ever shows a traceback."""
        try:
            out, err = self._process.communicate(timeout=PATIENCE)
        finally:
            self._process.kill()
        assert "Traceback" not in out + err, out + err
        return Ended(self._process.returncode, out, err)

    def wait_for(self, file: Path, n_lines: int) -> None:
        """Wait until it has written so many lines into a file."""
        end = time.monotonic() + PATIENCE
        while not file.exists() or file.read_bytes().count(b"\n") < n_lines:
            if self._process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{file} was never written: {self.end()}")
            time.sleep(0.005)

    def signalled_in(self, trial: int, number: signal.Signals) -> Ended:
        """Send a signal once the trial has trained some epochs."""
        self.wait_for(STUDY / f"trial_{trial:04d}/metrics.jsonl", 3)
        self._process.send_signal(number)
        return self.end()


def run(line: str) -> Ended:
    return Running(shlex.split(line)).end()


def trials(study: Path = STUDY) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((study / "results.json").read_text())["trials"]
    return found


@pytest.fixture
def main(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[str], Ended]:
    """The command in this process: for what needs no process of its own."""

    def call(line: str) -> Ended:
        code = run_here(line, monkeypatch)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err, out + err
        return Ended(code, out, err)

    return call


def run_here(line: str, patch: pytest.MonkeyPatch) -> int:
    """Run the command in this process; returns its exit code."""
    patch.setattr(sys, "argv", shlex.split(line))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            command.main()
    finally:
        signal.signal(signal.SIGTERM, handler)
    return int(end.value.code or 0)


# The commands of the guide


def test_the_commands_of_the_guide(main: Callable[[str], Ended], here: Path) -> None:
    (here / "configs").mkdir()
    write_config(path=Path("configs/my_config.yaml"))

    first = run("ml-search --config configs/my_config.yaml --n-trials 2 --num_epochs 2")
    assert (first.code, first.err) == (0, "")
    lines = first.out.splitlines()
    assert lines[0] == "study tiny_optimization: minimize val_loss, 2 trials"
    assert re.search(r"optimizer\.lr +0\.001 to 0\.1, log scale", first.out), "the plan comes first"
    assert first.out.index("log scale") < first.out.index("trial 0: ") < first.out.index("best trial: ")
    assert [trial["epochs"] for trial in trials()] == [2, 2], "the override is in force"
    best = json.loads((STUDY / "results.json").read_text())["best_value"]
    assert f"best val_loss: {best} " in first.out
    assert f"ml-train --config {STUDY}/best_config.yaml" in first.out

    exists = main("ml-search --config configs/my_config.yaml --n-trials 3 --num_epochs 2")
    assert exists.code == 2
    assert "'tiny_optimization' exists already in sqlite:///studies.db" in exists.err and "--resume" in exists.err
    assert exists.err.count("\n") == 1, "one message"

    more = main("ml-search --config configs/my_config.yaml --resume --n-trials 3 --num_epochs 2")
    assert (more.code, more.err) == (0, "")
    assert "3 trials, 2 there already" in more.out
    assert [trial["state"] for trial in trials()] == ["complete"] * 3
    assert "trial 2: complete" in more.out and "trial 1: " not in more.out


# Interruptions


@dataclass(frozen=True)
class Interrupted:
    """A search that was ended by SIGINT, SIGTERM and SIGKILL in three trials, and gone on with each time."""

    folder: Path
    ends: dict[str, Ended]
    undisturbed: list[dict[str, Any]]
    during: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    folder, ends, during = tmp_path_factory.mktemp("interrupted"), {}, {}
    line = first = "ml-search --config 'my config.yaml' --n-trials 4 --lr 0.02"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        space = {"optimizer.momentum": {"type": "uniform", "low": 0.0, "high": 0.9}}
        changes: dict[str, Any] = {**SLOW, "search_space": space, "model.dropout": 0.2}
        write_config(changes, Path("my config.yaml"))
        for trial, number in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGKILL)):
            ends[number.name] = Running(shlex.split(line)).signalled_in(trial, number)
            during[number.name] = trials() if (STUDY / "results.json").exists() else []
            if number is not signal.SIGKILL:  # what it says is what a user types next
                line = ends[number.name].err.partition("go on with: ")[2].strip()
        out, err = StringIO(), StringIO()
        patch.setenv("COLUMNS", "200")
        with redirect_stdout(out), redirect_stderr(err):
            code = run_here(line, patch)
        ends["last"] = Ended(code, out.getvalue(), err.getvalue())
        assert run_here(f"{first} --study-name whole", patch) == 0
        return Interrupted(folder, ends, trials(STUDY.with_name("whole")), during)


def test_an_interrupted_search_says_how_to_go_on(interrupted: Interrupted) -> None:
    end = interrupted.ends["SIGINT"]
    assert end.code == 130
    assert end.err.startswith("interrupted; finished trials are kept") and end.err.count("\n") == 1
    said = shlex.split(end.err.partition("go on with: ")[2])
    assert said == [
        *("ml-search", "--config", "my config.yaml", "--resume", "--n-trials", "4"),
        *("--optimizer.lr", "0.02"),
    ]


def test_a_terminated_search_says_how_to_go_on(interrupted: Interrupted) -> None:
    end = interrupted.ends["SIGTERM"]
    assert end.code == 143
    assert end.err.startswith("terminated; finished trials are kept")
    assert "go on with: ml-search --config 'my config.yaml' --resume --n-trials 4" in end.err


def test_an_interrupted_trial_is_not_a_failed_one(interrupted: Interrupted) -> None:
    states = {name: [trial["state"] for trial in found] for name, found in interrupted.during.items()}
    assert states["SIGINT"] == ["interrupted"]
    assert states["SIGTERM"] == ["complete", "interrupted"]
    assert interrupted.ends["SIGKILL"].code == -signal.SIGKILL


def test_each_interrupted_trial_went_on_as_itself_from_its_last_epoch(interrupted: Interrupted) -> None:
    for number, (before, after) in enumerate((("SIGINT", "SIGTERM"), ("SIGTERM", "SIGKILL"), ("SIGKILL", "last"))):
        said = [
            re.search(rf"^trial {number}: (optimizer.*|momentum.*)$", interrupted.ends[end].out, re.M)
            for end in (before, after)
        ]
        assert said[0] is not None and said[1] is not None, (before, after)
        assert said[0].group() == said[1].group(), "the same parameters"
        metrics = interrupted.folder / STUDY / f"trial_{number:04d}/metrics.jsonl"
        records = [json.loads(line) for line in metrics.read_text().splitlines()]
        assert [record["epoch"] for record in records] == list(range(1, 41)), "no epoch is missing, none stands twice"


def test_an_interrupted_search_ends_as_an_undisturbed_one(interrupted: Interrupted) -> None:
    assert interrupted.ends["last"].code == 0
    found = json.loads((interrupted.folder / STUDY / "results.json").read_text())["trials"]
    assert len(found) == 4, "the total is exact: no trial is lost, none is added"
    for mine, theirs in zip(found, interrupted.undisturbed, strict=True):
        for each in (mine, theirs):
            each["seconds"] = each["resources"]["fit_seconds"] = 0
        assert mine == theirs


# Several processes


@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=pytest.mark.slow), "postgres"])
def test_two_processes_share_a_study(
    main: Callable[[str], Ended], here: Path, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "sqlite:///studies.db"
    if kind == "postgres":  # the server trusts everybody, so a password does no harm
        url = request.getfixturevalue("postgres")().replace("postgres@", "postgres:${DB_PASSWORD}@")
    n_trials = 14
    write_config({"search.storage": url, "search.n_trials": n_trials, "training.num_epochs": 12})
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    line = "ml-search --config config.yaml --resume"
    other = Running(shlex.split(line))
    other.wait_for(STUDY / "trial_0000/config.yaml", 1)
    ends = [main(line), other.end()]  # this process is the second
    assert [end.code for end in ends] == [0, 0], ends
    done = [sorted(int(n) for n in re.findall(r"^trial (\d+): complete", end.out, re.M)) for end in ends]
    assert sorted(done[0] + done[1]) == list(range(n_trials)), "each trial by one of them"
    found = trials()
    assert [trial["state"] for trial in found] == ["complete"] * n_trials, "whoever ended last has seen all"
    assert len({trial["params"]["optimizer.lr"] for trial in found}) == n_trials, "no draw is repeated"
    best = min(found, key=lambda trial: trial["value"])
    assert f"trial {best['number']}, val_loss {best['value']}" in (STUDY / "best_config.yaml").read_text()
    assert not any("hunter2" in end.out + end.err for end in ends)
    assert not [path for path in here.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]


def test_who_finds_all_trials_being_trained_by_others_waits(main: Callable[[str], Ended]) -> None:
    living = open_search({"search.n_trials": 1})
    lease = living.leases.claim(1, living.unfinished)
    assert lease is not None
    trial = living.study.ask()
    living.leases.bind(lease, trial.number)
    finish = threading.Timer(1.5, living.study.tell, (trial, 0.5))
    finish.start()
    end = main("ml-search --config config.yaml --resume --refit")
    finish.join()
    assert (end.code, end.err) == (0, "")
    assert "waiting for the last trial of other processes" in end.out
    assert "another process has trained the last trial: confirming and refitting are left to that one" in end.out
    assert "best val_loss: 0.5" in end.out
    assert not Path("runs/tiny_optimization-final").exists()


# What bad input gets


@pytest.mark.parametrize("n_trials", ["0", "-3", "many", "1.5"])
@pytest.mark.parametrize("option", ["--n-trials", "--add-trials"])
def test_a_number_of_trials_that_makes_no_sense(main: Callable[[str], Ended], option: str, n_trials: str) -> None:
    write_config()
    end = main(f"ml-search --config config.yaml --resume {option} {n_trials}")
    assert end.code == 2
    assert f"{option}: " in end.err and n_trials in end.err and end.err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["config.yaml", "table.csv"]


def test_a_bad_number_of_trials_and_a_storage_that_cannot_be_opened_as_installed(here: Path) -> None:
    write_config()
    for line, said in {
        "ml-search --config config.yaml --n-trials 0": "--n-trials: 0 is not above 0",
        "ml-search --config config.yaml --n-trials -3": "--n-trials: -3 is not above 0",
        "ml-search --config config.yaml --storage sqlite:///nowhere/studies.db": "does its folder exist",
    }.items():
        end = run(line)
        assert (end.code, end.out) == (2, "")
        assert said in end.err and end.err.count("\n") == 1
    assert sorted(path.name for path in here.iterdir()) == ["config.yaml", "table.csv"], "nothing is half written"


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({}, "--storage postgresql://me:hunter2@127.0.0.1:1/db", "postgresql://me:***@127.0.0.1:1/db"),
        ({}, "--storage sqlite:///table.csv", "that file is no SQLite database"),
        ({}, "--storage studies.db", "is no storage; write sqlite:///file.db"),
        ({}, "--storage '${NOT_SET}'", "the environment variable NOT_SET is not set"),
        ({"data.path": "nowhere.csv"}, "", "nowhere.csv"),
        ({"search.sampler": {"type": "GridSampler"}}, "", "GridSampler needs a finite number of values: optimizer.lr"),
        ({"search.direction": "maximize"}, "", "contradicts"),
        ({}, "--add-trials 2", "--add-trials: adds to a study that exists: give --resume with it"),
        ({}, "--add-trials 2 --resume --n-trials 3", "leave out --n-trials"),
        ({}, "--study-name a/b", "study_name"),
        (
            {"search.cross_validation": {"enabled": True, "n_folds": 40}},
            "",
            "n_folds: 40 is too many for the 24 examples of the smallest class",
        ),
    ],
)
def test_what_cannot_be_searched_is_said_and_leaves_no_study(
    main: Callable[[str], Ended], changes: dict[str, Any], options: str, said: str
) -> None:
    write_config(changes)
    end = main(f"ml-search --config config.yaml {options}")
    assert end.code == 2
    assert said in end.err, end.err
    assert "hunter2" not in end.out + end.err
    assert not Path("runs").exists() and not Path("models").exists()
    if Path("studies.db").exists():
        assert open_storage("sqlite:///studies.db").get_all_studies() == []


def test_a_search_in_which_all_trials_fail_says_why(main: Callable[[str], Ended]) -> None:
    write_config({"search_space": {"optimizer.lr": {"type": "categorical", "choices": [1e30, 2e30, 3e30]}}})
    end = main("ml-search --config config.yaml")
    assert end.code == 2
    assert end.err.startswith("no trial came to its end, there is no best one:\n  train_loss is ")
    assert [trial["state"] for trial in trials() if trial["state"] != "duplicate"] == ["failed"] * 3


def test_a_grid_says_how_much_of_it_was_tried(main: Callable[[str], Ended]) -> None:
    """Each cell once, across restarts."""
    space = {
        "optimizer.lr": {"type": "categorical", "choices": [0.01, 0.02, 1e30]},
        "model.hidden_size": {"type": "int", "low": 2, "high": 4},
    }
    write_config({"search_space": space, "search.sampler": {"type": "GridSampler"}, "training.num_epochs": 1})
    assert "\ngrid: " in main("ml-search --config config.yaml --n-trials 4").out
    end = main("ml-search --config config.yaml --n-trials 99 --resume")
    cells = [tuple(trial["params"].values()) for trial in trials()]
    assert len(cells) == len(set(cells)) == 9
    assert "\ngrid: 6 of 9 cells\n" in end.out, "what failed was not tried to its end"


def test_reasons_are_shown_as_they_are(main: Callable[[str], Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    build = Mlp.build

    def breaking(self: Mlp, *arguments: Any) -> Any:
        if self.hidden_size == 5:
            raise ValueError("[enforce fail] at [/here]")
        return build(self, *arguments)

    monkeypatch.setattr(Mlp, "build", breaking)
    space = {"model.hidden_size": {"type": "int", "low": 4, "high": 5}}
    write_config({"search_space": space, "search.sampler": {"type": "GridSampler"}})
    end = main("ml-search --config config.yaml")
    assert end.code == 0
    assert end.out.count("ValueError: [enforce fail] at [/here]") == 3, (
        "when it was tried again, when it failed, and at the end"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", []),
        ("--resume --add-trials 2", ["--n-trials", "2"]),
        ("--n-trials 7 --timeout 9", ["--n-trials", "7"]),
        ("--study-name mine --storage sqlite:///mine.db", ["--study-name", "mine", "--storage", "sqlite:///mine.db"]),
        (
            "--gradient_clipping null --training.label_smoothing 0.1",
            ["--training.gradient_clipping", "null", "--training.label_smoothing", "0.1"],
        ),
        ("--numeric '[a, b]'", ["--data.numeric", '["a", "b"]']),
    ],
)
def test_the_command_that_goes_on_asks_for_the_same(
    main: Callable[[str], Ended], monkeypatch: pytest.MonkeyPatch, options: str, said: list[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    write_config()
    monkeypatch.setattr(loop, "search", interrupt)
    end = main(f"ml-search --config config.yaml {options}")
    assert end.code == 130
    line = end.err.partition("go on with: ")[2].strip()
    assert shlex.split(line) == ["ml-search", "--config", "config.yaml", "--resume", *said]
    assert main(line).code == 130, "it is taken as the same study, not refused"


def test_a_search_whose_time_is_up_says_how_to_go_on(main: Callable[[str], Ended]) -> None:
    write_config({"search.n_trials": 2})
    assert main("ml-search --config config.yaml --n-trials 1").code == 0
    end = main("ml-search --config config.yaml --resume --timeout 1e-9")
    assert end.code == 0
    assert "the time is up: 1 of 2 trials; go on with: ml-search --config config.yaml --resume" in end.out


def test_a_search_can_end_with_the_final_run(main: Callable[[str], Ended]) -> None:
    write_config()
    end = main("ml-search --config config.yaml --n-trials 1 --refit")
    assert end.code == 0
    result = json.loads(Path("runs/tiny_optimization-final/result.json").read_text())
    assert "test_loss" in result["test_metrics"]
    assert len(Path("runs/tiny_optimization-final/test_ledger.jsonl").read_text().splitlines()) == 1
    assert not list(STUDY.rglob("test_ledger.jsonl")), "no trial has opened the test split"
