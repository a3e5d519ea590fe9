"""Training the best trials of a study again with further seeds; what is finished is never trained twice."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from mlframework.errors import RunError, Stopped, StorageError
from mlframework.runs import FILE_MODE, FORMAT, RunDir, make_folder, read_json, write_json, writing
from mlframework.search.confirm import (
    Confirm,
    Confirmation,
    Retraining,
    conclude,
    folder_of_trainings,
    write_confirmation,
)
from mlframework.search.faults import take_note
from mlframework.search.keep import remove_checkpoints
from mlframework.search.lease import Lease, is_dead, owner_of_this_process
from mlframework.search.loop import write_outputs
from mlframework.search.results import TrialRecord, candidates
from mlframework.search.study import OpenStudy, SearchSpec
from mlframework.search.training_run import LoadSplits, TrainingRun, training_run

_SEEDS = 2**32
_SILENT = 10  # leases' lengths without a sign of life, after which a confirming process elsewhere is taken for dead


class ConfirmWatcher(Protocol):
    """Is told what a confirmation does."""

    def training_started(self, number: int, seed: int, place: int, total: int, num_epochs: int) -> None:
        """A trial's config is trained with a seed: the training at `place` (from 1) of `total`."""

    def epoch_ended(self, epoch: int, value: float) -> None:
        """The training reported a value."""

    def training_ended(self, number: int, training: Retraining) -> None:
        """It is over, and its outcome is written. Those that were over before are told of, too."""


def confirm(study: OpenStudy, settings: Confirm, load: LoadSplits, watcher: ConfirmWatcher) -> Confirmation | None:
    """Train the best trials with further seeds, conclude, and write all that stands in the study's folder anew.

    Returns:
        What was concluded; None while another process does the same.

    Raises:
        RunError: the study's folder cannot be written.
        KeyboardInterrupt, Terminated: what is finished is kept, the present training goes on from its last epoch.
    """
    spec = study.spec
    best = candidates(spec, [TrialRecord.of(trial) for trial in study.trials()], settings.top_k)
    seeds = further_seeds(spec, best, settings.seeds)
    total, trained = len(best) * len(seeds), []
    with _alone(folder_of_trainings(spec.folder.path), spec.lease_seconds) as alive:
        if alive is None:
            return None
        for row, record in enumerate(best):
            runs = []
            for column, seed in enumerate(seeds):
                place = row * len(seeds) + column + 1
                outcome = _outcome(spec, record, seed, load, _Told(watcher, alive, record.number, seed, place, total))
                watcher.training_ended(record.number, outcome)
                runs.append(outcome)
            trained.append((record.number, record.value or 0.0, runs))
        found = conclude(spec.metric, spec.direction, settings.top_k, seeds, trained)
        write_confirmation(spec.folder.path, found)
    write_outputs(study)
    return found


def further_seeds(spec: SearchSpec, best: Sequence[TrialRecord], n_seeds: int) -> list[int]:
    """Return seeds that none of the trials was searched with, the same for all of them."""
    last = max([spec.training_seed, *(record.seed for record in best if record.seed is not None)])
    # A plan with repeats takes several seeds, from the one that it is given on.
    step = spec.plan.n_seeds
    return [(last + step * (1 + place)) % _SEEDS for place in range(n_seeds)]


class _Told:
    """Passes on what a training says, and shows other processes that this one is alive."""

    def __init__(self, watcher: ConfirmWatcher, lock: Path, number: int, seed: int, place: int, total: int) -> None:
        self._watcher, self._lock = watcher, lock
        self._where = number, seed, place, total

    def started(self, num_epochs: int) -> None:
        self._watcher.training_started(*self._where, num_epochs)

    def __call__(self, epoch: int, value: float, parts: Sequence[float] = (), /) -> None:
        with suppress(OSError):
            os.utime(self._lock)
        self._watcher.epoch_ended(epoch, value)


def _outcome(spec: SearchSpec, record: TrialRecord, seed: int, load: LoadSplits, told: _Told) -> Retraining:
    """Return the outcome that is written in a training's folder; train it first where there is none."""
    run = RunDir(folder_of_trainings(spec.folder.path) / f"trial_{record.number:04d}_seed_{seed}")
    path = run.path / "outcome.json"
    if path.is_file():
        return _read(path)
    name = f"trial {record.number}, seed {seed}"
    outcome = _train(lambda: training_run(spec, name, run, spec.tree(record.params, seed), load), seed, run, told)
    write_json(path, {"format": FORMAT, "trial": record.number, **asdict(outcome)})
    remove_checkpoints(run)
    return outcome


def _train(make: Callable[[], TrainingRun], seed: int, run: RunDir, told: _Told) -> Retraining:
    started = time.monotonic()
    try:
        training = make()
        told.started(training.num_epochs)
        found = training.evaluate(told)
    except (Stopped, RunError, StorageError, BrokenPipeError):  # not the training's fault
        raise
    except Exception as error:  # noqa: BLE001 - whatever a training raises is its own failure; the others go on
        reason = take_note(error, run.path).reason
    else:
        seconds = round(sum(each.seconds for each in found.runs), 3)
        return Retraining(seed, "complete", found.value, found.best_epoch, seconds, None)
    return Retraining(seed, "failed", None, None, round(time.monotonic() - started, 3), reason)


def _read(path: Path) -> Retraining:
    try:
        content = read_json(path)
        return Retraining(**{key: value for key, value in content.items() if key not in ("format", "trial")})
    except (RunError, TypeError) as error:
        raise RunError(f"{path}: is damaged; delete its folder, then go on with ml-search --resume") from error


@contextmanager
def _alone(folder: Path, lease_seconds: float) -> Iterator[Path | None]:
    """Keep other processes from the same confirmation: yields the lock, or None where another living one holds it."""
    lock = folder / "lock"
    with writing(folder):
        make_folder(folder)
    if lock.is_file() and not _is_held(lock, lease_seconds):
        lock.unlink(missing_ok=True)
    with writing(lock):
        try:
            with os.fdopen(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE), "w") as file:
                json.dump({"owner": owner_of_this_process()}, file)
        except FileExistsError:
            taken = True
        else:
            taken = False
    if taken:
        yield None
        return
    try:
        yield lock
    finally:
        lock.unlink(missing_ok=True)


def _is_held(lock: Path, lease_seconds: float) -> bool:
    try:
        owner, seen = str(json.loads(lock.read_text(encoding="utf-8"))["owner"]), lock.stat().st_mtime
        return not is_dead(Lease(0, 0, owner, seen + _SILENT * lease_seconds, None), time.time())
    except (OSError, ValueError, KeyError, TypeError):
        return False  # it was let go meanwhile, or a death cut it short
