"""Who owns which trial: the only module that changes it.

A study of `n_trials` has as many places. A worker claims a place before it asks for a trial, so that there are never
more trials than places, whoever runs them. The claim is a lease: its owner renews it, and says with which trial the
place is filled. A lease that ran out, or whose process is dead, is taken over together with its trial. Each takeover
raises the place's token: an owner that was only paused finds a newer token when it looks, and lets go. What a worker
finally tells the storage counts once, since Optuna finishes a trial only once: the first commit wins.

`ledgers` has the two forms in which leases are kept.
"""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from mlframework.errors import LeaseLost
from mlframework.search.patience import Patience

RENEWALS_PER_LEASE = 4
_SETTLES = 32  # leases after which those of the trials that are over are told from the others
_SOON = 1.0  # seconds until a beat that failed is tried again


@dataclass(frozen=True)
class Lease:
    """A place of the study, as it stands in the storage.

    Attributes:
        place: 0 to n_trials - 1.
        token: how often the place has changed hands.
        owner: the process that holds it.
        expires: seconds since 1970 after which it may be taken over; 0 once it was let go.
        trial: Optuna's number of the trial in this place, or None while none was asked for.
    """

    place: int
    token: int
    owner: str
    expires: float
    trial: int | None


class Ledger(Protocol):
    """Keeps the leases of one study. Each method that writes returns whether it was the first to do so."""

    def read(self, first: int = 0) -> list[Lease]:
        """Return the lease in force of each place, in order, from a first place on."""

    def insert(self, lease: Lease) -> bool:
        """Claim a place that nobody has claimed."""

    def replace(self, lease: Lease) -> bool:
        """Take a place over: `lease.token` is one more than the token in force."""

    def update(self, lease: Lease) -> bool:
        """Change expiry or trial of a lease that is still in force."""


def owner_of_this_process() -> str:
    """Return an identity of this process that no other has: host, process namespace, number, and start time."""
    return "|".join((*_here(), str(os.getpid()), _start_time(os.getpid()) or "", uuid.uuid4().hex[:8]))


def _here() -> tuple[str, str]:
    namespace = Path("/proc/self/ns/pid")
    with suppress(OSError):
        return f"{socket.gethostname()}-{_boot_id()}", os.readlink(namespace)
    return platform.node(), ""


def _boot_id() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _start_time(pid: int) -> str | None:
    """Return when a living process started, in the kernel's ticks: a number that is used again has another start."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        # A zombie is dead, whoever has not asked for its exit status yet.
        return None if fields[0] in "ZX" else fields[19]
    return None


def is_dead(lease: Lease, now: float) -> bool:
    """Whether a lease may be taken over: it ran out, or its process is known to be gone."""
    return lease.expires <= now or is_gone(lease)


def is_gone(lease: Lease) -> bool:
    """Whether a lease was let go, or its process is known to be gone."""
    return lease.expires <= 0 or _is_lost(lease.owner)


def _is_lost(owner: str) -> bool:
    """Whether a process is known to be gone."""
    host, namespace, pid, started, _ = owner.split("|")
    if (host, namespace) != _here() or not namespace or not started:
        return False
    return _start_time(int(pid)) != started


class Leases:
    """Claims, renews and gives back the places of a study.

    Args:
        ledger: where they are kept.
        seconds: how long a lease lasts without being renewed.
        patience: waits for a storage that is away.
    """

    def __init__(self, ledger: Ledger, seconds: float, patience: Patience | None = None) -> None:
        self._ledger, self._seconds = ledger, seconds
        self._patience = patience or Patience(0, "")
        self._owner = owner_of_this_process()
        # The first places of the study, as far as their trials are over: what their leases say will not change.
        self._settled: list[Lease] = []

    def claim(self, n_places: int, unfinished: Callable[[], set[int]]) -> Lease | None:
        """Return a place to work at, or None where all are done or being worked at.

        An unfinished trial of a dead owner comes before a new one.

        Args:
            n_places: places of the study.
            unfinished: reads the numbers of the trials that are not finished. It is asked after the leases were read:
                what a worker finished before its death is then seen to be finished.
        """
        return self._patience(lambda: self._claim(n_places, unfinished))

    def _claim(self, n_places: int, unfinished: Callable[[], set[int]]) -> Lease | None:
        while True:
            leases = self._ledger.read(len(self._settled))
            now = time.time()
            # After an outage all leases may have run out: the living get time to renew theirs.
            may_be_late = self._patience.outage_within(self._seconds)
            # A long study has thousands of leases, and few processes.
            lost = {owner for owner in {lease.owner for lease in leases} if _is_lost(owner)}
            dead = [
                lease
                for lease in leases
                if lease.expires <= 0 or lease.owner in lost or (lease.expires <= now and not may_be_late)
            ]
            still_open = unfinished() if dead or len(leases) >= _SETTLES else set()
            n_before = len(self._settled)
            if dead or len(leases) >= _SETTLES:
                self._settle(leases, still_open)
            for lease in dead:
                if lease.trial is None or lease.trial in still_open:
                    taken = replace(lease, token=lease.token + 1, owner=self._owner, expires=now + self._seconds)
                    if self._ledger.replace(taken):
                        return taken
            n_claimed = n_before + len(leases)
            if n_claimed >= n_places:
                return None
            fresh = Lease(n_claimed, 0, self._owner, now + self._seconds, None)
            if self._ledger.insert(fresh):
                return fresh

    def _settle(self, leases: Sequence[Lease], still_open: Collection[int]) -> None:
        """Take note of the next places whose trials are over: they need not be read again."""
        for lease in leases:
            if lease.trial is None or lease.trial in still_open:
                return
            self._settled.append(lease)

    def _read(self) -> list[Lease]:
        return [*self._settled, *self._ledger.read(len(self._settled))]

    def all(self) -> list[Lease]:
        """Return the lease in force of each place, in order."""
        return self._read()

    def places(self) -> int:
        """Return how many places were claimed so far."""
        return len(self._patience(self._read))

    def pending(self, unfinished: Callable[[], set[int]]) -> list[Lease]:
        """Return the leases of places whose trial is not finished, or not yet made; see `claim` for `unfinished`."""
        leases = self._patience(self._read)
        still_open = unfinished()
        return [lease for lease in leases if lease.trial is None or lease.trial in still_open]

    def bind(self, lease: Lease, trial: int) -> Lease:
        """Say with which trial a place is filled.

        Raises:
            LeaseLost: another worker owns the place.
        """
        return self._patience(lambda: self._write(replace(lease, trial=trial, expires=time.time() + self._seconds)))

    def renew(self, lease: Lease) -> Lease:
        """Make a lease last from now on.

        Raises:
            LeaseLost: another worker owns the place.
        """
        return self._patience(lambda: self.beat(lease))

    def beat(self, lease: Lease) -> Lease:
        """Renew a lease, without waiting for a storage that is away.

        Raises:
            LeaseLost: another worker owns the place.
        """
        return self._write(replace(lease, expires=time.time() + self._seconds))

    def release(self, lease: Lease) -> None:
        """Let go of a place whose trial is not finished, so that it can be taken over at once."""
        with suppress(LeaseLost):
            self._write(replace(lease, expires=0.0))

    def _write(self, lease: Lease) -> Lease:
        if not self._ledger.update(lease):
            raise LeaseLost(f"trial {lease.trial} was taken over by another worker")
        return lease


class Heartbeat:
    """Renews a lease from a thread of its own while its trial trains.

    Args:
        leases: the study's leases.
        lease: the one that is held.
        seconds: how long a lease lasts.
    """

    def __init__(self, leases: Leases, lease: Lease, seconds: float) -> None:
        self._leases, self._lease, self._seconds = leases, lease, seconds
        self._renewed = time.time()
        self._lost = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{lease.place}", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=self._seconds)

    def check(self) -> None:
        """Do nothing while the lease is held.

        Raises:
            LeaseLost: another worker owns the trial.
        """
        if self._lost.is_set():
            raise LeaseLost(f"trial {self._lease.trial} was taken over by another worker")
        # Who was stopped may run again before its thread does. Not the monotonic clock, which a sleeping machine stops.
        if time.time() - self._renewed > self._seconds:
            self._leases.renew(self._lease)
            self._renewed = time.time()

    def look(self) -> None:
        """Look into the storage whether the lease is held, and do nothing where it is.

        Raises:
            LeaseLost: another worker owns the trial.
        """
        self._leases.renew(self._lease)

    def _beat(self) -> None:
        regular = pause = self._seconds / RENEWALS_PER_LEASE
        while not self._done.wait(pause):
            try:
                self._leases.beat(self._lease)
                self._renewed, pause = time.time(), regular
            except LeaseLost:
                self._lost.set()
                return
            except Exception:  # noqa: BLE001 - a storage that is away: it is tried again soon
                pause = min(regular, _SOON)
