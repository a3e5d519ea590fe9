"""The callback that writes a run's events, and what is written once it is over."""

from __future__ import annotations

import getpass
import importlib.util
import logging
import os
import re
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlframework.config.secrets import masked
from mlframework.errors import MissingExtraError, TrialPruned
from mlframework.learners.base import Learner
from mlframework.runs import RunDir
from mlframework.training.callbacks import NO_METRICS, EpochRecord, History
from mlframework.training.tracking.mlflow.sender import say_what_is_left, sender
from mlframework.training.tracking.mlflow.settings import MlflowConfig, recorded
from mlframework.training.tracking.mlflow.spool import Event, Spool

_PART = re.compile(r"(?:fold|repeat)_\d+")
END_WAIT = 5.0  # seconds that the end of a run waits for a server that does not answer
CUT_WAIT = 2.0  # the same, where the run was cut short
STATUS = {"complete": "FINISHED", "pruned": "KILLED", "interrupted": "KILLED", "failed": "FAILED"}
"""MLflow's name of how a run ended; ours is a tag."""


@dataclass(frozen=True)
class Target:
    """Where runs are recorded.

    Attributes:
        uri: of the server, as it is written into files.
        experiment: its name there.
    """

    uri: str
    experiment: str

    @classmethod
    def of(cls, settings: MlflowConfig, name: str) -> Target:
        """Return where a config's runs are recorded."""
        return cls(recorded(settings.tracking_uri), settings.experiment or name)

    def send(self, folder: Path) -> None:
        """Send what lies in a folder, and what will."""
        sender().add(folder, self.uri, self.experiment)


def require_installed() -> None:
    """Raise where the extra is missing.

    Raises:
        MissingExtraError: MLflow is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise MissingExtraError("mlflow", "mlflow", "tracking.mlflow")


def require_mlflow() -> None:
    """Import MLflow, so that no thread has to while others import; it is to say nothing, and to tell nobody.

    Raises:
        MissingExtraError: it is not installed.
    """
    require_installed()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    import mlflow.tracking  # noqa: F401

    logging.getLogger("alembic").setLevel(logging.WARNING)


def source() -> dict[str, str]:
    """Return the tags in which MLflow's pages look for who has made a run, and by what."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return {"mlflow.user": user, "mlflow.source.name": Path(sys.argv[0]).name, "mlflow.source.type": "LOCAL"}


def shown_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as MLflow has them, as text; those that are not set are left out."""
    return {key: _shown(value) for key, value in params.items() if value is not None}


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Above:
    """The study of a trial, as the study's own events tell it.

    Attributes:
        key: of its MLflow run.
        searched: the settings that it searches.
        folder: of the study.
    """

    key: str
    searched: tuple[str, ...]
    folder: Path

    @classmethod
    def find(cls, run: Path) -> Above | None:
        """Return the study that a run's folder lies in."""
        for folder in list(run.resolve().parents)[:2]:
            first = Spool(folder).first()
            if first is not None and "searched" in first:
                return cls(first["key"], tuple(first["searched"]), folder)
        return None

    def introduction(self, run: Path, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the first event of a training of the study."""
        name = run.resolve().relative_to(self.folder).as_posix().removeprefix("mlflow/")
        number = re.fullmatch(r"trial_(\d+)", name)
        kind = {"mlframework.kind": "trial", "mlframework.trial": str(int(number[1]))} if number else {
            "mlframework.kind": "confirmation"}  # fmt: skip
        shown = shown_params({key: value for key, value in params.items() if key in self.searched})
        return {
            "key": f"{self.key}/{name}",
            "name": name,
            "parent": self.key,
            "tags": {**kind, **source()},
            "params": shown,
        }


def home_of(folder: Path) -> tuple[Path, str | None]:
    """Return the folder of the run that a training is of, and which fold or repeat of it the training is."""
    if _PART.fullmatch(folder.name) is None or RunDir(folder).config.is_file():
        return folder, None
    return folder.parent, folder.name


@dataclass
class MlflowTracker:
    """Writes a run's events; a thread sends them.

    Attributes:
        target: where they go.
        folder: of the run. Folds and repeats are written as parts of their run.
        params: the run's settings by dotted key.
    """

    target: Target
    folder: Path
    params: Mapping[str, Any]
    _logged: dict[int, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._home, self._part = home_of(self.folder)
        self._spool = Spool(self._home)
        self._above = Above.find(self._home)

    def on_start(self, learner: Learner, history: History) -> None:
        """Introduce the run, or go on with it: with the epochs that were trained and not written."""
        events = self._spool.events()
        if not events:
            self._introduce("")
        elif _last_status(events) != "RUNNING":
            self._spool.append("status", status="RUNNING", tags={"mlframework.state": "running"})
        self._logged = _epochs(events, self._part)
        for record in history.records:
            self._note(record, history)
        self.target.send(self._home)

    def on_epoch(self, learner: Learner, history: History) -> None:
        """Write the epoch."""
        self._note(history.records[-1], history)

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Write how the run ended; how a trial did, its study knows better."""
        if not self._spool.exists:
            return
        state = {"finished": "complete"}.get(status, status)
        if state == "interrupted" or (self._above is None and not (self._part and state == "complete")):
            self.end(state, _why())
        if self._above is None:
            sender().flush(CUT_WAIT)
        sender().close(self._home)

    def end(self, state: str, reason: str | None) -> None:
        """Write that the run is over."""
        tags = {
            "mlframework.state": state,
            **({"mlframework.reason": reason} if reason and state != "complete" else {}),
        }
        self._spool.append_once("status", status=STATUS[state], tags=tags)

    def _introduce(self, again: str) -> None:
        if self._above is not None:
            told = self._above.introduction(self._home, self.params)
        else:
            params = shown_params(self.params)
            told = {
                "key": uuid.uuid4().hex,
                "name": self._home.name,
                "tags": {"mlframework.kind": "run", **source()},
                "params": params,
            }
        self._spool.append("run", **{**told, "key": told["key"] + again})
        self._spool.append("artifact", file="config.yaml")

    def _note(self, record: EpochRecord, history: History) -> None:
        """Write an epoch, unless it was written; one that comes to something else than then is of another run."""
        told = {name: value for name, value in record.to_dict().items() if name != "epoch" and value is not None}
        told = {name: value for name, value in told.items() if value == value and abs(value) != float("inf")}
        measured = {name: value for name, value in told.items() if name not in NO_METRICS}
        former = self._logged.get(record.epoch)
        if former is not None:
            if all(former.get(name) == value for name, value in measured.items()):
                return
            n_runs = sum(event["kind"] == "run" for event in self._spool.events())
            self._introduce(f"#{n_runs + 1}")
            self._logged = {}
            for earlier in history.records[: record.epoch - 1]:
                self._note(earlier, history)
        self._logged[record.epoch] = measured
        part = {"part": self._part} if self._part else {}
        self._spool.append("epoch", **part, epoch=record.epoch, metrics=told)


def _why() -> str | None:
    """Return why a training ends that ends by an error: the callback is told in the middle of it."""
    error = sys.exception()
    if error is None or isinstance(error, KeyboardInterrupt):
        return None
    return masked(str(error) if isinstance(error, TrialPruned) else str(error) or type(error).__name__)


def _last_status(events: list[Event]) -> str:
    return next((event["status"] for event in reversed(events) if event["kind"] == "status"), "RUNNING")


def _epochs(events: list[Event], part: str | None) -> dict[int, Mapping[str, float]]:
    """Return the metrics of the epochs that are written of the run that is the present one."""
    found: dict[int, Mapping[str, float]] = {}
    for event in events:
        if event["kind"] == "run":
            found = {}
        elif event["kind"] == "epoch" and event.get("part") == part:
            found[event["epoch"]] = event["metrics"]
    return found


def publish(target: Target, run: RunDir, registered: str | None, command: str | None) -> None:
    """Write what a run came to, send everything, and say what could not be sent.

    Args:
        target: where it goes.
        run: that has ended.
        registered: name under which its model is registered; None: it is not.
        command: that sends what is left.
    """
    spool = Spool(run.path)
    if not spool.exists:
        return
    result = run.read_result() or {}
    best = {f"best/{name}": value for name, value in (result.get("best_metrics") or {}).items()}
    metrics = {**best, **(result.get("test_metrics") or {})}
    if metrics:
        spool.append_once("summary", step=int(result.get("best_epoch") or 0), metrics=metrics)
    spool.append_once("status", status="FINISHED", tags={"mlframework.state": "complete"})
    events = spool.events()
    for name in ("result.json", "environment.json"):
        if (run.path / name).is_file() and not any(event.get("file") == name for event in events):
            spool.append("artifact", file=name)
    if registered is not None:
        spool.append_once("model", name=registered)
    finish(target, run.path, command)


def finish(target: Target, folder: Path, command: str | None, wait: Literal["end", "cut"] = "end") -> None:
    """Send what lies in a folder, and say what could not be sent."""
    target.send(folder)
    left = sender().flush(END_WAIT if wait == "end" else CUT_WAIT)
    sender().close(folder)
    if command is not None:
        say_what_is_left(left, command)
