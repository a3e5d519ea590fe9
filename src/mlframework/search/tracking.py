"""A study in MLflow: a run of its own, with a run a trial below it.

The study's events lie in its folder, those of a trial in the trial's. Whoever trains a trial writes its epochs; how it
ended, and which is the best, is written by the process that started the search, or by the next one that goes on.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mlframework.errors import MlframeworkError, Stopped, StorageError
from mlframework.runs import RunDir
from mlframework.search.results import TrialRecord, pick
from mlframework.search.storage import masked, translated

if TYPE_CHECKING:
    from mlframework.search.objective import Watcher
    from mlframework.search.study import OpenStudy
    from mlframework.training.config import TrackingConfig
    from mlframework.training.tracking.mlflow.spool import Spool
    from mlframework.training.tracking.mlflow.tracker import Target

_KEY = "mlframework:mlflow_key"
"""The study's attribute by which all its processes know its run, before MLflow does."""
_ARTIFACTS = (
    "best_config.yaml", "best_hyperparameters.json", "results.json", "trials.csv", "confirm.json", "report.html",
)  # fmt: skip


def introduce(study: OpenStudy, tracking: TrackingConfig) -> None:
    """Write into a study's folder what its trials' trackers go by. Each process that opens the study does so.

    Raises:
        MissingExtraError: MLflow is not installed.
        RunError: the folder cannot be written.
    """
    if not tracking.mlflow.enabled:
        return
    from mlframework.training.tracking.mlflow.spool import Spool
    from mlframework.training.tracking.mlflow.tracker import source

    spool, spec = Spool(study.spec.folder.path), study.spec
    with translated(spec.storage):
        if _KEY not in study.study.user_attrs:
            study.study.set_user_attr(_KEY, uuid.uuid4().hex)
        key = study.study.user_attrs[_KEY]  # of two processes that have made one, the later one's
    first = spool.first()
    if first is not None and first["key"] == key:
        return
    tags = {
        "mlframework.kind": "study", "mlframework.study_name": spec.name, "mlframework.storage": masked(spec.storage),
        "mlframework.sampler": spec.sampler.type, "mlframework.pruner": spec.pruner.type,
        "mlframework.n_trials": str(study.n_trials), "mlframework.goal": spec.goal.describe(),
        "mlflow.note.content": _plan(study), **source(),
    }  # fmt: skip
    params = {name: parameter.describe() for name, parameter in spec.space.parameters.items()}
    if first is not None:  # of another study of this name, whose storage was removed
        spool.path.unlink()
    spool.append("run", key=key, name=spec.name, tags=tags, params=params, searched=list(spec.space.parameters))


def _plan(study: OpenStudy) -> str:
    spec = study.spec
    lines = [f"- `{name}`: {parameter.describe()}" for name, parameter in spec.space.parameters.items()]
    return "\n".join([
        f"Study **{spec.name}**: {spec.goal.describe()}, {study.n_trials} trials, sampler {spec.sampler.type}, pruner "
        f"{spec.pruner.type}, up to {spec.num_epochs} epochs a trial. Searched:", "", *lines,
    ])  # fmt: skip


@contextmanager
def tracked(
    study: OpenStudy, tracking: TrackingConfig, name: str, command: str
) -> Iterator[Callable[[Watcher], Watcher]]:
    """Record a search in MLflow where the config asks for it.

    Args:
        study: that is searched.
        tracking: what the config says of it.
        name: the config's.
        command: that goes on with it, and sends what could not be sent.

    Yields:
        What makes of the search's watcher the one that the search is to tell.
    """
    if not tracking.mlflow.enabled:
        yield lambda watcher: watcher
        return
    from mlframework.training.tracking.mlflow.tracker import Target, require_mlflow

    require_mlflow()
    introduce(study, tracking)
    record = StudyTracker(study, Target.of(tracking.mlflow, name), command)
    record.begin()
    try:
        yield lambda watcher: _Told(watcher, record)
    except BaseException as error:
        with suppress(MlframeworkError):
            record.end(error)
        raise
    record.end(None)


class StudyTracker:
    """Writes a study's events, and how its trials ended."""

    def __init__(self, study: OpenStudy, target: Target, command: str) -> None:
        from mlframework.training.tracking.mlflow.spool import Spool

        self._study, self._target, self._command = study, target, command
        self._folder = study.spec.folder.path
        self._spool = Spool(self._folder)
        self._best: dict[str, str] | None = None

    def begin(self) -> None:
        """Begin, or go on: with how trials ended that nobody has written."""
        tags = {"mlframework.state": "running", "mlframework.n_trials": str(self._study.n_trials)}
        self._spool.append_once("status", status="RUNNING", tags=tags)
        self._target.send(self._folder)
        self._all()

    def trial_ended(self, number: int) -> None:
        """Write how a trial ended, and whether it is the best."""
        records = [TrialRecord.of(trial) for trial in self._study.trials()]
        self._trial(records[number])
        self._best_of(records)

    def end(self, error: BaseException | None) -> None:
        """Write how the search ended, and send everything."""
        from mlframework.training.tracking.mlflow.sender import say_what_is_left, sender
        from mlframework.training.tracking.mlflow.tracker import CUT_WAIT, END_WAIT, STATUS

        with suppress(StorageError):  # it may be why the search ended
            self._all()
        self._files()
        is_cut = isinstance(error, KeyboardInterrupt | Stopped)
        state = "complete" if error is None else "interrupted" if is_cut else "failed"
        reason = {"mlframework.reason": str(error)} if state == "failed" else {}
        self._spool.append_once("status", status=STATUS[state], tags={"mlframework.state": state, **reason})
        left = sender().flush(END_WAIT if error is None else CUT_WAIT)
        sender().drop()
        say_what_is_left(left, self._command)

    def _all(self) -> None:
        records = [TrialRecord.of(trial) for trial in self._study.trials()]
        for record in records:
            self._trial(record)
        self._best_of(records)

    def _trial(self, record: TrialRecord) -> None:
        """Write how a trial ended, unless that is written."""
        if not record.has_ended or record.state == "waiting":
            return
        from mlframework.training.tracking.mlflow.sender import sender
        from mlframework.training.tracking.mlflow.tracker import STATUS

        spool = self._spool_of(record)
        if not spool.exists:
            self._introduce(spool, record)
        best = {f"best/{name}": value for name, value in record.metrics.items()}
        values = {**({"value": record.value} if record.value is not None else {}), **best, **record.values}
        if values:
            spool.append_once("summary", step=record.best_epoch or record.epochs, metrics=values)
        tags = {"mlframework.state": record.state, **_told_of(record)}
        spool.append_once("status", status=STATUS[record.state], tags=tags)
        self._target.send(spool.folder)
        sender().close(spool.folder)

    def _spool_of(self, record: TrialRecord) -> Spool:
        from mlframework.training.tracking.mlflow.spool import Spool

        run = self._study.spec.folder.trial(record.number).path
        # What was not trained here has no run folder, and gets none.
        return Spool(run if run.is_dir() else self._folder / "mlflow" / run.name)

    def _introduce(self, spool: Spool, record: TrialRecord) -> None:
        from mlframework.training.tracking.mlflow.tracker import Above

        spool.folder.mkdir(parents=True, exist_ok=True)
        above = Above.find(spool.folder)
        assert above is not None  # its study's events were written first
        spool.append("run", **above.introduction(spool.folder, record.params))
        if RunDir(spool.folder).config.is_file():
            spool.append("artifact", file="config.yaml")

    def _best_of(self, records: list[TrialRecord]) -> None:
        chosen = pick(self._study.spec, records)
        if chosen is None or chosen.record.value is None:
            return
        params: Mapping[str, Any] = chosen.record.params
        tags = {
            "mlframework.best_trial": str(chosen.record.number), "mlframework.best_value": repr(chosen.record.value),
            **{f"mlframework.best.{name}": str(value) for name, value in params.items()},
        }  # fmt: skip
        if tags != self._best:
            self._spool.append_once("best", trial=chosen.record.number, tags=tags)
            value = {"best_value": chosen.record.value}
            self._spool.append_once("summary", step=chosen.record.number, metrics=value)
            self._best = tags

    def _files(self) -> None:
        """Write which of the study's files are new since they were sent."""
        plots = sorted(path for path in (self._folder / "plots").glob("*") if path.is_file())
        known = {event["file"]: event["of"] for event in self._spool.events() if event["kind"] == "artifact"}
        for path in [*(self._folder / name for name in _ARTIFACTS), *plots]:
            with suppress(FileNotFoundError):
                status = path.stat()
                name, mark = path.relative_to(self._folder).as_posix(), [status.st_mtime_ns, status.st_size]
                if known.get(name) != mark:
                    to = {"to": "plots"} if path.parent != self._folder else {}
                    self._spool.append("artifact", file=name, of=mark, **to)


def _told_of(record: TrialRecord) -> dict[str, str]:
    """Return the tags that say more of a trial's end."""
    told = {
        "reason": record.reason, "fault": record.fault, "same_as": record.same_as, "seed": record.seed,
        "best_epoch": record.best_epoch, "epochs": record.epochs,
    }  # fmt: skip
    return {f"mlframework.{name}": str(value) for name, value in told.items() if value is not None}


class _Told:
    """Passes on what a search says, and has the ends of trials written."""

    def __init__(self, watcher: Watcher, record: StudyTracker) -> None:
        self._watcher, self._record = watcher, record

    def trial_started(self, number: int, params: Mapping[str, Any], num_epochs: int) -> None:
        """Pass it on."""
        self._watcher.trial_started(number, params, num_epochs)

    def epoch_ended(self, number: int, epoch: int, value: float) -> None:
        """Pass it on."""
        self._watcher.epoch_ended(number, epoch, value)

    def trial_ended(self, number: int) -> None:
        """Write how it ended, and pass it on."""
        self._record.trial_ended(number)
        self._watcher.trial_ended(number)

    def trial_lost(self, number: int, why: str) -> None:
        """Pass it on."""
        self._watcher.trial_lost(number, why)

    def waiting(self, n_trials: int) -> None:
        """Pass it on."""
        self._watcher.waiting(n_trials)

    def news(self, text: str) -> None:
        """Pass it on."""
        self._watcher.news(text)


def leave_files(tracking: TrackingConfig) -> None:
    """Leave what goes into a database file to the parent, on whose disk it lies: it gets the trials' folders."""
    if tracking.mlflow.enabled:
        from mlframework.training.tracking.mlflow.sender import sender

        sender().leave_files()


def let_go() -> None:
    """Send what a worker still has to send, and leave the rest to its parent, or to whoever goes on."""
    # Where nothing was recorded, nothing is imported.
    if "mlframework.training.tracking.mlflow.sender" in sys.modules:
        from mlframework.training.tracking.mlflow.sender import sender
        from mlframework.training.tracking.mlflow.tracker import CUT_WAIT

        sender().flush(CUT_WAIT)
        sender().drop()
