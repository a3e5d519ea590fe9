"""A PostgreSQL server that goes away in the middle of a search."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.postgres import Server, running_server
from support.running import Running
from support.searches import write_config

# Seconds without a server: they are what is tested, and nothing is waited for by them.
SHORT_OUTAGE, LONG_OUTAGE = 3, 20
STUDY = Path("runs/optuna_studies/tiny_optimization")


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of this test's own."""
    with running_server() as server:
        yield server


def started(server: Server, n_workers: int, **changes: Any) -> Running:
    """Start a search, and wait until all workers train."""
    settings = {"training.num_epochs": 60, "search.storage": server.new_database(), "search.n_trials": 4 * n_workers}
    write_config({**settings, **changes})
    search = Running("ml-search", "--config", "config.yaml", "--workers", str(n_workers))
    # The first epochs come late, when torch is there.
    first = [STUDY / f"trial_{number:04d}/metrics.jsonl" for number in range(n_workers)]
    search.wait_until(lambda: all(path.exists() and path.read_bytes() for path in first), "all workers train")
    return search


def check_complete(search: Running, n_trials: int) -> None:
    """Look whether a search has all its trials, each trained to its end once."""
    end = search.end()
    assert (end.code, end.err) == (0, ""), end
    trials = json.loads((STUDY / "results.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["complete"] * n_trials
    assert len({trial["params"]["optimizer.lr"] for trial in trials}) == n_trials
    for trial in trials:
        lines = (STUDY / f"trial_{trial['number']:04d}/metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == list(range(1, 61))
    assert "taken over" not in end.out, "nobody's trial was taken from the living"


def test_a_search_goes_on_when_the_database_is_back(server: Server, here: Path) -> None:
    search = started(server, 2)
    server.stop("immediate")
    time.sleep(SHORT_OUTAGE)
    server.start()
    check_complete(search, 8)
    assert search.out.count("does not answer: waiting for it, up to 300 s") == 1, "said once, whoever noticed"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_twenty_seconds_without_a_database(server: Server, here: Path, mode: str) -> None:
    # The leases run out meanwhile: all the same nobody takes a trial from one who lives.
    search = started(server, 4, **{"search.lease_seconds": 10})
    server.stop(mode)
    time.sleep(LONG_OUTAGE)
    server.start()
    check_complete(search, 16)


@pytest.mark.slow
def test_a_database_that_stays_away_ends_the_search_and_costs_no_trial(server: Server, here: Path) -> None:
    search = started(server, 2, **{"search.storage_patience": 2})
    server.stop("fast")
    end = search.end()
    assert end.code == 2
    assert "has not answered for 2 s; what is finished is kept: go on with --resume when it is back" in end.err
    server.start()
    again = Running("ml-search", "--config", "config.yaml", "--workers", "2", "--resume")
    check_complete(again, 8)
