"""From the events of a spool to MLflow's calls. Nothing is sent twice, whatever happened in between.

Who can't know what the server has, as after a crash or a lost answer, asks it first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlframework.config.secrets import masked
from mlframework.training.tracking.mlflow.database import file_of, make_file
from mlframework.training.tracking.mlflow.settings import address
from mlframework.training.tracking.mlflow.spool import Event, Sent, Spool

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY, STUDY, TRIAL, BEST, STATE = (f"mlframework.{name}" for name in ("key", "study", "trial", "best", "state"))
"""Tags of a run: its key, which is ours and known before MLflow is; its study's; its trial's number; and so on."""
MADE = "mlframework.made"  # when it was made there, in nanoseconds: not when it began
_MOST_METRICS, _MOST_PARAMS, _LONGEST_PARAM, _LONGEST_TAG = 1000, 100, 6000, 5000  # MLflow's limits

_OF_TRAININGS = {"mlflow.experimentKind": "custom_model_development"}
"""So that MLflow's pages open on an experiment's runs, and not on what they have for language models."""


class NotYet(Exception):  # noqa: N818 - no error
    """What the event needs is not there yet: the run above it."""


class Refused(Exception):  # noqa: N818 - it is shown, and raised no further
    """The server answers, and will have none of it: repeating helps nothing."""


@dataclass
class Server:
    """A tracking server, or a database in its place.

    Attributes:
        uri: its address, as it was recorded.
        client: MLflow's; None before it is first needed.
        is_opening: whether its file is being made or opened now, which takes seconds and is no failure to answer.
        n_answers: how often it has taken something.
    """

    uri: str
    client: MlflowClient | None = None
    is_opening: bool = False
    n_answers: int = 0
    experiments: dict[str, str] = field(default_factory=dict)

    def connect(self) -> MlflowClient:
        """Return the client."""
        if self.client is None:
            if "***" in address(self.uri):
                raise Refused(
                    "its password was not recorded; write it as ${VAR}, or give --tracking.mlflow.tracking_uri"
                )
            from mlflow import MlflowClient

            # Whatever a program around this has set as MLflow's own addresses.
            uri = address(self.uri)
            file = file_of(uri)
            self.is_opening = file is not None
            try:
                if file is not None:
                    make_file(file)
                self.client = MlflowClient(uri, uri)
            finally:
                self.is_opening = False
        return self.client

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is made where there is none."""
        if name not in self.experiments:
            from mlflow.exceptions import MlflowException

            client = self.connect()
            found = client.get_experiment_by_name(name)
            if found is None:
                try:
                    self.experiments[name] = client.create_experiment(name, tags=_OF_TRAININGS)
                    return self.experiments[name]
                except MlflowException:  # another process was quicker
                    found = client.get_experiment_by_name(name)
                    if found is None:
                        raise
            if found.lifecycle_stage != "active":
                raise Refused(f"its experiment {name!r} is deleted; restore it there, or name another experiment")
            self.experiments[name] = found.experiment_id
        return self.experiments[name]

    def run_of(self, experiment: str, **tags: str) -> str | None:
        """Return the id of the first run that has all these tags."""
        text = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = self.connect().search_runs([self.experiment(experiment)], text, max_results=10)
        return min(found, key=_order).info.run_id if found else None


def _order(run: Run) -> tuple[int, int, str]:
    return int(run.data.tags.get(MADE, 0)), run.info.start_time, run.info.run_id


class Delivery:
    """Sends the events of one spool.

    Args:
        folder: of the spool.
        server: where to.
        experiment: its name there.
    """

    def __init__(self, folder: Path, server: Server, experiment: str) -> None:
        self.spool, self.server, self.experiment = Spool(folder), server, experiment
        self.is_closed = self.is_refused = self.is_working = False
        self._steps: dict[str, set[int]] | None = None  # what the server has of each metric, where that is to be asked
        self._position: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether everything was sent, as far as this process knows."""
        return self._position is not None and not self.spool.has_more(self._position)

    def forget(self) -> None:
        """Ask the server what it has, before anything else is sent: an answer got lost."""
        self._steps, self._position = {}, None

    def send(self) -> bool:
        """Send what there is; return whether anything was sent.

        Raises:
            NotYet: the run above it is not there yet.
            Refused: the server will have none of it.
            Exception: whatever MLflow raises where the server does not answer.
        """
        if self.is_done:
            return False
        with self.spool.alone() as is_alone:
            if not is_alone:
                return False
            sent = Sent.read(self.spool.folder, masked(self.server.uri), self.experiment)
            if self._position != sent.position:  # another process has sent meanwhile, or this one has only begun
                self._steps = {} if sent.run_id is not None else None
            try:
                return self._send(sent)
            finally:
                self._position = sent.position if sent.mark is None else None

    def _send(self, sent: Sent) -> bool:
        waiting: list[tuple[Event, int]] = []
        before = self.server.n_answers
        for event, position in self.spool.after(sent.position):
            if event["kind"] == "epoch":
                waiting.append((event, position))
                continue
            self._epochs(sent, waiting)
            waiting = []
            HANDLERS.get(event["kind"], _ignore)(self, sent, event)
            self._came_to(sent, position)
        self._epochs(sent, waiting)
        if sent.mark is not None:
            _mark(self, sent)
        return self.server.n_answers != before

    def _came_to(self, sent: Sent, position: int) -> None:
        """Write how far it has come."""
        sent.position = position
        sent.write(self.spool.folder)
        self.server.n_answers += 1

    def _epochs(self, sent: Sent, events: Sequence[tuple[Event, int]]) -> None:
        """Send the metrics of epochs, as many at once as MLflow takes."""
        while events:
            batch: list[tuple[str, float, int, int]] = []
            taken = 0
            for event, _ in events:
                part = f"{event['part']}/" if event.get("part") else ""
                points = [
                    (part + name, value, event["time"], event["epoch"]) for name, value in event["metrics"].items()
                ]
                if batch and len(batch) + len(points) > _MOST_METRICS:
                    break
                batch += points
                taken += 1
            self.points(sent, batch)
            self._came_to(sent, events[taken - 1][1])
            events = events[taken:]

    def points(self, sent: Sent, batch: Sequence[tuple[str, float, int, int]]) -> None:
        """Send points of curves as (name, value, time, step), without those that the server has."""
        from mlflow.entities import Metric

        client, run_id = self.server.connect(), _id(sent)
        if self._steps is not None:
            for name in {name for name, *_ in batch} - self._steps.keys():
                self._steps[name] = {point.step for point in client.get_metric_history(run_id, name)}
        known = self._steps or {}
        new = [Metric(*point) for point in batch if point[3] not in known.get(point[0], ())]
        if new:
            client.log_batch(run_id, metrics=new)

    def tag(self, sent: Sent, tags: Mapping[str, str], params: Mapping[str, str] | None = None) -> None:
        """Send tags and parameters."""
        from mlflow.entities import Param, RunTag

        told = [RunTag(name, str(value)[:_LONGEST_TAG]) for name, value in tags.items()]
        shown = [Param(name[:250], str(value)[:_LONGEST_PARAM]) for name, value in (params or {}).items()]
        while told or shown:
            self.server.connect().log_batch(_id(sent), params=shown[:_MOST_PARAMS], tags=told[:_MOST_PARAMS])
            told, shown = told[_MOST_PARAMS:], shown[_MOST_PARAMS:]


def _id(sent: Sent) -> str:
    if sent.run_id is None:
        raise Refused("the file of what is to be sent is damaged: it does not begin with a run")
    return sent.run_id


def _run(delivery: Delivery, sent: Sent, event: Event) -> None:
    """Find the run, or make it; what was the run before was begun on other data, or on another machine."""
    client, experiment = delivery.server.connect(), delivery.experiment
    tags = {KEY: event["key"], **event.get("tags", {})}
    if (parent := event.get("parent")) is not None:
        above = delivery.server.run_of(experiment, **{KEY: parent})
        if above is None:
            raise NotYet
        tags |= {"mlflow.parentRunId": above, STUDY: parent}
    found = delivery.server.run_of(experiment, **{KEY: event["key"]})
    if sent.run_id not in (None, found):
        number = {TRIAL: f"{event['tags'][TRIAL]} superseded"} if TRIAL in event.get("tags", {}) else {}
        delivery.tag(sent, {STATE: "superseded", **number})
        client.set_terminated(_id(sent), "KILLED", event["time"])
    delivery._steps = {} if found is not None else None
    if found is None:
        found = _make(delivery, event, tags)
    sent.run_id = found
    delivery.tag(sent, {}, event.get("params"))


def _make(delivery: Delivery, event: Event, tags: Mapping[str, str]) -> str:
    """Make a run; where another process has made it at the same time, both go on with the one that was made first."""
    client, server = delivery.server.connect(), delivery.server
    experiment = server.experiment(delivery.experiment)
    told = {name: str(value)[:_LONGEST_TAG] for name, value in {**tags, MADE: str(time.time_ns())}.items()}
    made: str = client.create_run(experiment, event["time"], told, event["name"]).info.run_id
    first = server.run_of(delivery.experiment, **{KEY: event["key"]}) or made
    if first != made:
        client.delete_run(made)
        delivery._steps = {}  # the other process may have sent epochs
    return first


def _status(delivery: Delivery, sent: Sent, event: Event) -> None:
    client = delivery.server.connect()
    delivery.tag(sent, event.get("tags", {}))
    if event["status"] == "RUNNING":
        client.update_run(_id(sent), status="RUNNING")
    else:
        client.set_terminated(_id(sent), event["status"], event.get("ended", event["time"]))


def _summary(delivery: Delivery, sent: Sent, event: Event) -> None:
    points = [(name, value, event["time"], event["step"]) for name, value in event["metrics"].items()]
    delivery.points(sent, [point for point in points if point[1] is not None])


def _artifact(delivery: Delivery, sent: Sent, event: Event) -> None:
    path = delivery.spool.folder / event["file"]
    if path.is_file():
        delivery.server.connect().log_artifact(_id(sent), str(path), event.get("to"))


def _best(delivery: Delivery, sent: Sent, event: Event) -> None:
    """Say which trial is the best; its own run is marked as soon as it is there."""
    delivery.tag(sent, event["tags"])
    sent.mark = event["trial"]


def _mark(delivery: Delivery, sent: Sent) -> None:
    client, server = delivery.server.connect(), delivery.server
    key = client.get_run(_id(sent)).data.tags[KEY]
    best = server.run_of(delivery.experiment, **{STUDY: key, TRIAL: str(sent.mark)})
    if best is None:
        return
    experiment = [server.experiment(delivery.experiment)]
    for run in client.search_runs(experiment, f"tags.`{STUDY}` = '{key}' and tags.`{BEST}` = 'true'"):
        if run.info.run_id != best:
            client.delete_tag(run.info.run_id, BEST)
    client.set_tag(best, BEST, "true")
    sent.mark = None
    sent.write(delivery.spool.folder)


def _model(delivery: Delivery, sent: Sent, event: Event) -> None:
    from mlframework.training.tracking.mlflow.registry import register

    delivery.is_working = True
    try:
        sent.version = register(delivery.server.connect(), _id(sent), delivery.spool.folder, event["name"])
    finally:
        delivery.is_working = False


def _ignore(delivery: Delivery, sent: Sent, event: Event) -> None:
    """Pass over what a later version has written."""


HANDLERS: Mapping[str, Callable[[Delivery, Sent, Event], None]] = {
    "run": _run,
    "status": _status,
    "summary": _summary,
    "artifact": _artifact,
    "best": _best,
    "model": _model,
}
