"""Rounds of kill -9 during a search with workers, and what is to be true afterwards."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.searches import run_search, write_config

PARENT = Path(__file__).with_name("crew_parent.py")
PATIENCE = 300  # seconds without anything heard after which a search is said to hang
N_EPOCHS = 25


@dataclass
class Counts:
    """What the rounds came to.

    Attributes:
        rounds: how many there were.
        kills: processes that were killed, by what they were.
        taken_up: trials that were gone on with, each time.
        from_epoch: of those, how often from a later epoch than the first.
        lost: finished trials that were not there afterwards.
        again: epochs that were trained again, since their checkpoint was not written yet: fractions of a second.
        duplicates: ends that were told twice, draws that more than one trial had.
    """

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    taken_up: int = 0
    from_epoch: int = 0
    again: int = 0
    lost: int = 0
    duplicates: int = 0

    def __str__(self) -> str:
        kills = ", ".join(f"{count} {what}" for what, count in sorted(self.kills.items()))
        return (
            f"{self.rounds} rounds, kills: {kills}; interrupted trials taken up {self.taken_up} times, {self.from_epoch} of "
            f"them from a later epoch than the first; epochs trained again {self.again}; trials lost = {self.lost}, "
            f"duplicates = {self.duplicates}"
        )


class Rounds:
    """A search that is killed again and again.

    Args:
        url: of the storage.
        n_trials: of the study.
        seed: of the moments and the victims.
    """

    def __init__(self, url: str, n_trials: int, seed: int) -> None:
        self._changes: dict[str, Any] = {
            "training.num_epochs": N_EPOCHS, "model.dropout": 0.2, "search.n_trials": n_trials,
            # Killed at random, a trial may be hit three times before it has begun: that would be held against it.
            "search.retries": 50,
        }  # fmt: skip
        self.config = write_config({**self._changes, "search.storage": url})
        self.heard = Path("heard.jsonl")
        self.n_trials = n_trials
        self.counts = Counts()
        self._random = random.Random(seed)
        self._parent: subprocess.Popen[bytes] | None = None

    def events(self) -> list[dict[str, Any]]:
        """Return what all parents have heard so far."""
        if not self.heard.exists():
            return []
        return [json.loads(line) for line in self.heard.read_bytes().split(b"\n")[:-1]]

    def run(self, n_rounds: int) -> None:
        """Kill in so many rounds, then let the search come to its end."""
        for _ in range(n_rounds):
            if not self._wait_for_epochs(self._random.randint(1, 6)):
                break  # the search was done first
            time.sleep(self._random.random() * 0.2)
            self._kill()
            self.counts.rounds += 1
        while self._wait_for_epochs(1000):
            pass

    def _kill(self) -> None:
        """Kill a worker, the parent, what workers are forked of, or all of them at once."""
        assert self._parent is not None
        started = [event for event in self.events() if event["event"] == "worker"]
        workers = list(
            {event["number"]: event["pid"] for event in started if event["parent"] == self._parent.pid}.values()
        )
        nursery = next(event["nursery"] for event in reversed(started) if event["parent"] == self._parent.pid)
        victims = {
            "worker": [self._random.choice(workers)],
            "parent": [self._parent.pid],
            "nursery": [nursery],
            "all": [self._parent.pid, *workers],
        }[self._random.choice(["worker", "worker", "worker", "parent", "nursery", "all"])]
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                self.counts.kills[{self._parent.pid: "parent", nursery: "nursery"}.get(victim, "worker")] += 1
        if self._parent.pid in victims:
            self._parent.wait(30)

    def _wait_for_epochs(self, n_epochs: int) -> bool:
        """Wait until so many more epochs were trained; false where the search came to its end before."""
        start = self._count_epochs()
        last, moved = -1, time.monotonic()
        while (now := self._count_epochs()) < start + n_epochs:
            if self._parent is None or self._parent.poll() is not None:
                if self._parent is not None and self._parent.returncode == 0:
                    return False
                assert self._parent is None or self._parent.returncode == -signal.SIGKILL, self._said()
                self._start()
            if now != last:
                last, moved = now, time.monotonic()
            assert time.monotonic() - moved < PATIENCE, f"the search hangs: {self.events()[-20:]}\n{self._said()}"
            time.sleep(0.02)
        return True

    def _count_epochs(self) -> int:
        return self.heard.read_bytes().count(b'"event": "epoch"') if self.heard.exists() else 0

    def _start(self) -> None:
        with Path("said.txt").open("ab") as said:
            command = [sys.executable, str(PARENT), str(self.config), "3", str(self.heard)]
            self._parent = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )

    def _said(self) -> str:
        logs = "".join(path.read_text() for path in Path("runs/optuna_studies").rglob("workers/*.log"))
        return Path("said.txt").read_text() + logs

    def check(self) -> None:
        """Look at what the storage and the folder have, and at what was heard."""
        study, end = run_search({**self._changes, "search.storage": self._url()}, resume=True)
        found = [record for record in end.records if record.counts]
        assert [record.state for record in found] == ["complete"] * self.n_trials, "the total is exact"
        events = self.events()
        self._count_lost(events, {record.number: record for record in found})
        self._count_duplicates(events)
        self._count_taken_up(events)
        assert (self.counts.lost, self.counts.duplicates) == (0, 0), self.counts
        for record in found:
            lines = study.spec.folder.trial(record.number).metrics.read_text().splitlines()
            assert [json.loads(line)["epoch"] for line in lines] == list(range(1, N_EPOCHS + 1)), record.number
        # A kill may leave the hidden file that a writer has begun; what has its name is whole.
        for path in study.spec.folder.path.rglob("[!.]*.json"):
            assert json.loads(path.read_text()), path
        _, undisturbed = run_search(
            {**self._changes, "search.study_name": "undisturbed", "search.storage": "journal:///u.log"}
        )
        wanted = {record.params["optimizer.lr"]: (record.value, record.metrics) for record in undisturbed.records}
        assert {record.params["optimizer.lr"]: (record.value, record.metrics) for record in found} == wanted

    def _url(self) -> str:
        from mlframework.config import yaml

        return str(yaml.read(self.config).tree["search"]["storage"])

    def _count_lost(self, events: list[dict[str, Any]], found: Mapping[int, Any]) -> None:
        ended = {event["trial"] for event in events if event["event"] == "ended"}
        self.counts.lost = len([number for number in ended if number not in found or found[number].state != "complete"])

    def _count_duplicates(self, events: list[dict[str, Any]]) -> None:
        ends = Counter(event["trial"] for event in events if event["event"] == "ended")
        draws = {(event["trial"], json.dumps(event["params"])) for event in events if event["event"] == "started"}
        trials_of = Counter(params for _, params in draws)
        self.counts.duplicates = sum(count - 1 for counts in (ends, trials_of) for count in counts.values())

    def _count_taken_up(self, events: list[dict[str, Any]]) -> None:
        last: dict[int, int] = {}
        fresh: set[int] = set()
        for event in events:
            number = event.get("trial")
            if event["event"] == "started" and number in last:
                self.counts.taken_up += 1
                fresh.add(number)
            elif event["event"] == "epoch":
                if number in fresh:
                    fresh.discard(number)
                    self.counts.from_epoch += event["epoch"] > 1
                    self.counts.again += max(0, last[number] - event["epoch"])
                last[number] = event["epoch"]
