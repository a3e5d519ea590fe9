"""Workers that are stopped, told to leave, or left alone."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from support.running import Running
from support.searches import write_config

STUDY = Path("runs/optuna_studies/tiny_optimization")
N_EPOCHS = 40


def searching(n_workers: int = 2, **changes: Any) -> Running:
    """Start a search with workers, and wait until all of them train."""
    write_config({"training.num_epochs": N_EPOCHS, "search.n_trials": 6, **changes})
    search = Running("ml-search", "--config", "config.yaml", "--workers", str(n_workers))
    first = [STUDY / f"trial_{number:04d}/metrics.jsonl" for number in range(n_workers)]
    search.wait_until(lambda: all(path.exists() and path.read_bytes() for path in first), "all workers train")
    return search


def workers_of(search: Running) -> list[int]:
    """Return the processes of a search's workers, which are forked of its nursery."""
    return [worker for nursery in children_of(search.process.pid) for worker in children_of(nursery)]


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(child) for child in listed.stdout.split()]


def is_there(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def trials() -> list[dict[str, Any]]:
    """Return what results.json has."""
    found: list[dict[str, Any]] = json.loads((STUDY / "results.json").read_text())["trials"]
    return found


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_workers_leave_with_their_parent_and_the_search_goes_on_later(
    number: signal.Signals, code: int, here: Path
) -> None:
    search = searching()
    pids = workers_of(search)
    assert len(pids) == 2
    search.process.send_signal(number)
    end = search.end()
    assert (end.code, end.err.count("\n")) == (code, 1), end
    assert not any(map(is_there, pids))
    resume = end.err.strip().rpartition("go on with: ")[2]
    assert resume == "ml-search --config config.yaml --resume --workers 2"
    before = {trial["number"]: trial for trial in trials()}
    assert {"interrupted"} <= {trial["state"] for trial in before.values()}, "interrupted ones are not failed"
    again = Running(*resume.split()).end()
    assert again.code == 0, again
    assert [trial["state"] for trial in trials()] == ["complete"] * 6
    for trial in trials():
        if trial["number"] in before:
            assert trial["params"] == before[trial["number"]]["params"], "the same trial"


@pytest.mark.slow
def test_workers_leave_when_their_parent_is_killed(here: Path) -> None:
    search = searching()
    pids = workers_of(search)
    search.process.kill()
    end = time.monotonic() + 60
    while any(map(is_there, pids)):
        assert time.monotonic() < end, "a worker has lost its parent and goes on"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_worker_that_was_stopped_for_longer_than_its_lease_lets_go(here: Path) -> None:
    search = searching(**{"search.lease_seconds": 2, "search.n_trials": 12, "training.num_epochs": 120})
    stopped = workers_of(search)[0]
    os.kill(stopped, signal.SIGSTOP)
    search.wait_until(lambda: len(re.findall("^trial [01]: complete", search.out, re.M)) == 2, "both first trials end")
    os.kill(stopped, signal.SIGCONT)
    end = search.end()
    assert end.code == 0, end
    assert len(re.findall("taken over by another process; this one lets go of it", end.out)) == 1
    ended = re.findall(r"^trial (\d+): complete", end.out, re.M)
    assert sorted(map(int, ended)) == list(range(12)), "each trial counts once"
    for trial in trials():
        assert trial["state"] == "complete"
        lines = (STUDY / f"trial_{trial['number']:04d}/metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == list(range(1, 121))
