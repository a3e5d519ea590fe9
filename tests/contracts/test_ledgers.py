"""The contract of a ledger of leases, on every kind of storage: SQLite, a journal file, PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage

from mlframework.errors import LeaseLost
from mlframework.plans import Evaluation
from mlframework.search.lease import Heartbeat, Lease, Leases, Ledger, owner_of_this_process
from mlframework.search.ledgers import open_ledger
from mlframework.search.mirror import Mirror
from mlframework.search.objective import Outcome, _tell
from mlframework.search.places import open_trial
from mlframework.search.storage import open_storage, patient

WORKER = Path(__file__).with_name("ledger_worker.py")
ELSEWHERE = "another-host-boot|pid:[4026531836]|1234|567|0a1b2c3d"
PATIENCE = 60  # seconds after which something that has to happen is said not to have happened


@dataclass(frozen=True)
class Kept:
    """A study in a storage, and its ledger."""

    url: str
    storage: BaseStorage
    name: str = field(default_factory=lambda: f"study-{uuid.uuid4().hex}")

    @cached_property
    def study(self) -> optuna.Study:
        """Optuna's study, made when it is first asked for."""
        mirror: Any = Mirror(patient(self.storage, self.url, 0))
        return optuna.create_study(study_name=self.name, storage=mirror)

    def ledger(self) -> Ledger:
        """Return the study's ledger, as another worker in this process opens it."""
        return open_ledger(self.storage, self.study._study_id)

    def leases(self, seconds: float = 600) -> Leases:
        """Return a worker's leases: each call is another worker."""
        return Leases(self.ledger(), seconds)

    def read(self) -> list[Lease]:
        """Return the leases in force, as a process that has just opened the storage sees them."""
        storage = open_storage(self.url)
        return open_ledger(storage, storage.get_study_id_from_name(self.name)).read()

    def unfinished(self) -> set[int]:
        """Return the numbers of the trials that are not finished."""
        trials = self.storage.get_all_trials(self.study._study_id)
        return {trial.number for trial in trials if not trial.state.is_finished()}

    def claim(self, n_places: int = 10, leases: Leases | None = None) -> Lease | None:
        """Claim a place as another worker."""
        return (leases or self.leases()).claim(n_places, self.unfinished)


@pytest.fixture
def kept(storage_url: str) -> Kept:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = Kept(storage_url, open_storage(storage_url))
    kept.ledger()
    return kept


class Workers:
    """Processes of ledger_worker.py."""

    def __init__(self, kept: Kept, count: int, n_places: int) -> None:
        command = [sys.executable, str(WORKER), kept.url, kept.name, str(count), str(n_places)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def go(self) -> None:
        """Give the only process the sign that it waits for."""
        assert self.process.stdin is not None
        self.process.stdin.write(b".")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Return what one of them says next."""
        assert self.process.stdout is not None
        news: dict[str, Any] = json.loads(self.process.stdout.readline())
        return news


@contextmanager
def workers(kept: Kept, count: int, n_places: int) -> Iterator[Workers]:
    """Start processes that wait for one another before they begin."""
    started = Workers(kept, count, n_places)
    try:
        yield started
    finally:
        started.process.communicate(timeout=PATIENCE)  # the end of its input ends it


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that has to happen."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.02)


def test_processes_at_once_share_out_all_places_once(kept: Kept) -> None:
    with workers(kept, 4, n_places=40) as four:
        done = [tuple(each) for _ in range(4) for each in four.hear()["done"]]
        assert sorted(place for place, _, _ in done) == list(range(40)), "each place by exactly one"
        assert {token for _, token, _ in done} == {0}, "nobody took anything over from the living"
        assert sorted(number for _, _, number in done) == list(range(40)), "each place has a trial of its own"
        assert [trial.state.name for trial in kept.study.get_trials()] == ["FAIL"] * 40
        assert [(lease.place, lease.trial) for lease in kept.read()] == sorted((p, number) for p, _, number in done)


def test_a_place_is_inserted_once_and_each_token_is_given_once(kept: Kept) -> None:
    ledger = kept.ledger()
    first = Lease(0, 0, owner_of_this_process(), time.time() + 600, None)
    assert ledger.insert(first)
    assert not ledger.insert(replace(first, owner=owner_of_this_process()))
    second = replace(first, token=1, owner=owner_of_this_process())
    assert ledger.replace(second)
    assert not ledger.replace(replace(second, owner=owner_of_this_process()))
    assert not ledger.update(first)
    assert [lease.owner for lease in kept.read()] == [second.owner]


def test_there_are_no_more_places_than_the_study_has(kept: Kept) -> None:
    claimed = [kept.claim(n_places=3) for _ in range(4)]
    assert [lease and lease.place for lease in claimed] == [0, 1, 2, None]
    assert kept.claim(n_places=4) is not None, "a study that was given another place has one more"
    assert kept.leases().places() == 4


def test_studies_of_one_storage_have_places_of_their_own(kept: Kept) -> None:
    other = Kept(kept.url, kept.storage)
    assert kept.claim() is not None
    assert (lease := other.claim()) is not None and (lease.place, lease.token) == (0, 0)


def test_a_study_that_was_deleted_leaves_no_places_to_its_successor(kept: Kept) -> None:
    for number in range(3):
        lease = kept.claim()
        assert lease is not None and lease.place == number
    optuna.delete_study(study_name=kept.name, storage=open_storage(kept.url))
    again = Kept(kept.url, open_storage(kept.url), kept.name)
    assert again.leases().places() == 0
    assert (lease := again.claim()) is not None and (lease.place, lease.token) == (0, 0)


def test_a_living_lease_is_never_taken_over(kept: Kept) -> None:
    mine = kept.claim(n_places=1)
    assert mine is not None
    assert kept.claim(n_places=1) is None
    ledger = kept.ledger()
    assert ledger.insert(Lease(1, 0, ELSEWHERE, time.time() + 600, None)), "of a host that cannot be looked at"
    assert kept.claim(n_places=2) is None


def test_an_expired_lease_is_taken_over_and_its_owner_finds_out(kept: Kept) -> None:
    paused = kept.leases(seconds=0)
    mine = kept.claim(leases=paused)
    assert mine is not None
    mine = paused.bind(mine, open_trial(kept.study, mine).number)
    taken = kept.claim()
    assert taken is not None
    assert (taken.place, taken.token, taken.trial) == (mine.place, mine.token + 1, mine.trial)
    for write in (paused.renew, lambda lease: paused.bind(lease, 7)):
        with pytest.raises(LeaseLost, match="was taken over"):
            write(mine)
    paused.release(mine)
    assert kept.read() == [taken], "what the old owner tried has changed nothing"
    assert kept.claim(n_places=1) is None, "its release has not given the new owner's place away"


def test_the_first_commit_wins(kept: Kept) -> None:
    lease = kept.claim()
    assert lease is not None
    first, second = open_trial(kept.study, lease), None
    lease = kept.leases().bind(lease, first.number)
    second = open_trial(kept.study, lease)
    assert second.number == first.number
    _tell(kept.study, second, Outcome("COMPLETE", Evaluation(0.75, 2, {"val_acc": 0.75}, []), {"val_acc": 0.75}))
    with pytest.raises(LeaseLost, match="finished by another worker"):
        _tell(kept.study, first, Outcome("COMPLETE", Evaluation(0.25, 1, {"val_acc": 0.25}, []), {"val_acc": 0.25}))
    (trial,) = kept.study.get_trials()
    assert (trial.value, trial.user_attrs["mlframework:best_epoch"]) == (0.75, 2)
    with pytest.raises(LeaseLost, match="trial 0 was finished by another worker"):
        open_trial(kept.study, lease)


def test_release_lets_another_claim_at_once(kept: Kept) -> None:
    mine = kept.leases()
    lease = kept.claim(n_places=1, leases=mine)
    assert lease is not None
    lease = mine.bind(lease, open_trial(kept.study, lease).number)
    assert kept.claim(n_places=1) is None
    mine.release(lease)
    taken = kept.claim(n_places=1)
    assert taken is not None and (taken.place, taken.token, taken.trial) == (0, 1, lease.trial)


def test_the_place_of_a_finished_trial_is_never_claimed_again(kept: Kept) -> None:
    expired = kept.leases(seconds=0)
    for state in ("COMPLETE", "PRUNED", "FAIL"):
        lease = kept.claim(leases=expired)
        assert lease is not None and lease.token == 0
        trial = open_trial(kept.study, lease)
        expired.bind(lease, trial.number)
        value = Evaluation(1.0, 1, {"val_acc": 1.0}, []) if state == "COMPLETE" else None
        _tell(kept.study, trial, Outcome(state, value, value and value.metrics))
    assert kept.claim(n_places=3) is None
    assert (fresh := kept.claim(n_places=4)) is not None and (fresh.place, fresh.token) == (3, 0)


def test_an_unfinished_trial_comes_before_a_new_one(kept: Kept) -> None:
    mine = kept.leases()
    lease = kept.claim(leases=mine)
    assert lease is not None
    mine.release(mine.bind(lease, open_trial(kept.study, lease).number))
    assert (taken := kept.claim(n_places=10)) is not None and (taken.place, taken.token) == (0, 1)


def test_a_process_keeps_its_places_until_it_is_dead(kept: Kept) -> None:
    with workers(kept, 0, n_places=10) as holder:
        assert holder.hear() == {"places": [0, 1]}
        assert kept.claim(n_places=2) is None, "it lives"
        holder.go()
        assert holder.hear() == {"place": 2, "trial": 0}
        # Killed, but nobody has asked for its exit status: the system still knows its number.
        eventually(lambda: _state(holder.process.pid) == "Z", "the process is dead")
        taken = kept.claim(n_places=3)
        assert taken is not None and (taken.place, taken.token, taken.trial) == (0, 1, None)
        assert holder.process.wait(PATIENCE) == -signal.SIGKILL
        taken = kept.claim(n_places=3)
        assert taken is not None and (taken.place, taken.token, taken.trial) == (1, 1, None)
    assert kept.read()[2].trial is None, "it died before it bound the place to the trial that it made for it"
    first = kept.claim(n_places=3)
    assert first is not None and (first.place, first.token) == (2, 1)
    assert open_trial(kept.study, first).number == 0, "the trial is not lost"
    assert [open_trial(kept.study, lease).number for lease in (taken, first)] == [1, 0], "and goes with no other place"
    assert len(kept.study.get_trials()) == 2, "none was added"
    assert kept.claim(n_places=3) is None


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_another_process_with_the_number_of_a_dead_one_does_not_keep_its_places(kept: Kept) -> None:
    host, namespace, _, _, _ = owner_of_this_process().split("|")
    reused = "|".join((host, namespace, str(os.getpid()), "1", "0a1b2c3d"))
    ledger = kept.ledger()
    assert ledger.insert(Lease(0, 0, reused, time.time() + 600, None))
    assert (taken := kept.claim()) is not None and taken.token == 1


def test_a_heartbeat_keeps_a_lease_alive_until_it_ends(kept: Kept) -> None:
    mine = kept.leases(seconds=1.0)
    lease = kept.claim(leases=mine)
    assert lease is not None
    ledger = kept.ledger()
    with Heartbeat(mine, lease, 1.0) as heartbeat:
        eventually(lambda: ledger.read()[0].expires > lease.expires + 1.0, "the lease outlives its first second")
        heartbeat.check()
    assert not [thread for thread in threading.enumerate() if thread.name == "lease-0"]


def test_a_heartbeat_says_that_its_lease_is_lost(kept: Kept) -> None:
    mine = kept.leases(seconds=0.2)
    lease = kept.claim(leases=mine)
    assert lease is not None
    with Heartbeat(mine, lease, 0.2) as heartbeat:
        thief = replace(lease, token=1, owner=ELSEWHERE, expires=time.time() + 600)
        assert kept.ledger().replace(thief)

        def lost() -> bool:
            try:
                heartbeat.check()
            except LeaseLost:
                return True
            return False

        eventually(lost, "the heartbeat finds another owner")
    assert kept.read() == [thief]


def test_a_heartbeat_outlives_a_storage_that_is_away_for_a_moment() -> None:
    lease = Lease(0, 0, owner_of_this_process(), 0.0, 0)

    class Flaky:
        """A ledger whose storage does not answer at first."""

        calls = 0

        def update(self, lease: Lease) -> bool:
            self.calls += 1
            if self.calls <= 2:
                raise OSError("away")
            return True

    ledger = Flaky()
    with Heartbeat(Leases(ledger, 0.1), lease, 0.1) as heartbeat:  # type: ignore[arg-type]
        eventually(lambda: ledger.calls > 3, "it tries again")
        heartbeat.check()
