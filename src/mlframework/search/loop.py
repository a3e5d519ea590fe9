"""The study loop: claim a place, train its trial, until all places are done."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from mlframework.errors import MlframeworkError, RunError, StorageError
from mlframework.search.cleaning import clean
from mlframework.search.failed_trials import refuse_hopeless
from mlframework.search.interrupted import as_they_stand
from mlframework.search.lease import Lease
from mlframework.search.mirror import behind
from mlframework.search.objective import Trainer, Watcher, run_place
from mlframework.search.pareto import write_front
from mlframework.search.patience import PatientStorage
from mlframework.search.recorded import refuse_data_changed_meanwhile
from mlframework.search.results import TrialRecord, write_best, write_results
from mlframework.search.storage import require_file, translated
from mlframework.search.study import OpenStudy
from mlframework.search.training_run import LoadSplits, trainer_of_configs

_PAUSES = 0.02, 0.5  # seconds between two looks at what others still train, at least and at most
_OVERDUE = 0.25  # of the time that it took others to end, after which it is seen
_SHARE = 0.03  # of the time that goes to the files of a study at most: they are of all its trials, so each takes longer


@dataclass(frozen=True)
class SearchEnd:
    """Why a search ended: `done`, `timeout`, or `others` where another process trained the study's last trial."""

    why: str
    records: list[TrialRecord]


def search(study: OpenStudy, load: LoadSplits, watcher: Watcher) -> SearchEnd:
    """Train the study's configs until it has all the trials that it may have; see `run_trials`."""
    return run_trials(study, trainer_of_configs(load), watcher)


def run_trials(study: OpenStudy, trainer: Trainer, watcher: Watcher) -> SearchEnd:
    """Run trials until the study has all that it may have, and each of them is finished.

    Where others train the last ones, they are waited for: should one of them die, its trial is gone on with here. The best
    config and the results are written after a trial, where that takes a small share of the time, and at the end.

    Raises:
        TrainingError: so many trials failed one after the other that the search can't work.
        RunError: the study's folder cannot be written.
        StorageError: the storage does not answer.
        StudyError, DataError: the data has changed meanwhile, or is gone.
    """
    study.patience.say = watcher.news
    started = time.monotonic()
    timeout = study.spec.timeout
    mine: int | None = None
    waiting: dict[int, float] = {}
    pace = _Pace()
    known = {trial.number for trial in study.trials() if trial.state.is_finished()}
    while timeout is None or time.monotonic() - started < timeout:
        with translated(study.spec.storage):
            lease = study.leases.claim(study.n_trials, study.unfinished)
            pending = study.leases.pending(study.unfinished) if lease is None else []
        if lease is not None:
            waiting = {}
            with outputs_written(study, pace):
                _check_ground(study, lease)
                mine = run_place(study, lease, trainer, watcher)
                refuse_hopeless(study, known)
        elif pending:
            pace.catch_up(study)
            waiting = _wait(waiting, {each.place for each in pending}, watcher)
        else:
            records = write_outputs(study)
            return SearchEnd("others" if waiting or not _ends_with(study, mine) else "done", records)
    return SearchEnd("timeout", write_outputs(study))


def _check_ground(study: OpenStudy, lease: Lease) -> None:
    """Begin no trial on other data than the study's, or in a storage that is gone; a place that was claimed is let go."""
    try:
        with translated(study.spec.storage):
            if isinstance(behind(study.study._storage), PatientStorage):  # and not a proxy of one on another machine
                require_file(study.spec.storage)
            refuse_data_changed_meanwhile(study.spec.name, study.study, study.spec.space.base)
    except BaseException:
        study.patience.hurry()
        with suppress(StorageError), translated(study.spec.storage):
            study.leases.release(lease)
        raise


def _wait(known: Mapping[int, float], places: set[int], watcher: Watcher) -> dict[int, float]:
    """Wait a moment for the trials of other processes, which is said once.

    Returns:
        The places that are waited for, and since when.
    """
    if not known:
        watcher.waiting(len(places))
    now = time.monotonic()
    since = {place: known.get(place, now) for place in places}
    # Those of milliseconds are not waited for longer than they take, and those of hours not looked at all the time.
    time.sleep(min(max(_OVERDUE * (now - min(since.values())), _PAUSES[0]), _PAUSES[1]))
    return since


def _ends_with(study: OpenStudy, mine: int | None) -> bool:
    """Whether the last trial that this process has trained is the study's last; true where it has trained none."""
    ended = [trial for trial in study.trials() if trial.datetime_complete is not None and TrialRecord.of(trial).counts]
    last = max(ended, key=lambda trial: (trial.datetime_complete, trial.number), default=None)
    return mine is None or last is None or last.number == mine


class _Pace:
    """How often a study's files are written."""

    def __init__(self) -> None:
        self._next, self._is_behind = 0.0, False

    def write(self, study: OpenStudy) -> None:
        """Write them, unless they were written so lately that it would take too much of the time."""
        began = time.monotonic()
        self._is_behind = began < self._next
        if not self._is_behind:
            write_outputs(study)
            ended = time.monotonic()
            self._next = ended + (ended - began) / _SHARE

    def catch_up(self, study: OpenStudy) -> None:
        """Write what was not written then."""
        if self._is_behind:
            self.write(study)


@contextmanager
def outputs_written(study: OpenStudy, pace: _Pace | None = None) -> Iterator[None]:
    """Write all that stands in the study's folder at the end of a block, also where it raises: that is then what is said.

    Args:
        study: whose folder it is.
        pace: of a block that comes again and again, and after which it is written in any case; None: always.
    """
    try:
        yield
    except BaseException:
        with suppress(MlframeworkError):
            write_outputs(study)
        raise
    if pace is None:
        write_outputs(study)
    else:
        pace.write(study)


def write_outputs(study: OpenStudy) -> list[TrialRecord]:
    """Write all that stands in the study's folder beside its trials, and remove what need not be kept.

    It is written again where another worker's trial ended or was left meanwhile: whoever writes last has seen all of that.

    Raises:
        RunError: the folder is not there any more, or cannot be written.
    """
    if not study.spec.folder.study.is_file():
        raise RunError(f"{study.spec.folder.path}: was removed while its search goes on; --resume makes it again")
    written: list[str] | None = None
    while True:
        records = as_they_stand(study, [TrialRecord.of(trial) for trial in study.trials()])
        states = [record.state for record in records]
        if states == written:
            return records
        # What need not be kept is removed first: that makes room for what is written.
        kept = clean(study, records)
        # A tuner's trials are calls of a function: there is no config that the best one could be written into.
        if study.spec.space.base and study.spec.goal.best(records) is not None:
            write_best(study, records)
            write_front(study, records)
        write_results(study, records, {"trials": list(kept.trials), "bytes": kept.n_bytes})
        written = states
