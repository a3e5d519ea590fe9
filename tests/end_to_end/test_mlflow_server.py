"""MLflow's own server: killed, cut off in the middle of answers, and looked at in a browser."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mlframework.search.loop import search
from mlframework.search.read import read_config
from mlframework.search.start import load, open_search
from mlframework.search.tracking import tracked
from mlframework.training.tracking.mlflow.sender import sender
from support.browser import chromium, opened
from support.mlflow_runs import Recorded, settled, state_of
from support.searches import Watched, write_config

PROGRAMS = Path(sys.executable).parent
STUDY = Path("runs/optuna_studies/tiny_optimization")
WITHOUT = {
    "search.study_name": "plain",
    "tracking.mlflow.enabled": False,
    "tracking.mlflow.tracking_uri": "sqlite:///x.db",
}
PATIENCE = 240  # seconds; the server has to import a great deal


class Server:
    """MLflow's server on a port and a database that it keeps when it is started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"--workers 1 --port {self.port} --backend-store-uri sqlite:///server.db --artifacts-destination arts"
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(PROGRAMS / "mlflow"), "server", *options.split()], cwd=self._folder, stdout=log, stderr=log,
                env={**os.environ, **quiet}, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return
            time.sleep(0.1)
        raise AssertionError((self._folder / "server.log").read_text())

    def kill(self) -> None:
        """Kill it, and what it has started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all tests of this file share."""
    found = Server(tmp_path_factory.mktemp("server"))
    found.start()
    yield found
    found.kill()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sender().drop()


class Line:
    """The way to a server, which can be cut; and cut so that requests arrive and their answers do not."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.is_cut = False
        self.swallows = 0
        self.swallowed = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._port)) as server:
            while (request := client.recv(1 << 20)) and not self.is_cut:
                server.sendall(request)
                writes = request.startswith((b"POST", b"PUT")) and b"/runs/search" not in request
                while not _is_whole(request) and (more := client.recv(1 << 20)):
                    request += more
                    server.sendall(more)
                answer = server.recv(1 << 20)
                if writes and self.swallows:
                    self.swallows -= 1
                    self.swallowed += 1
                    return  # the server has done it, and nobody hears so
                client.sendall(answer)
                while not _is_whole(answer) and (more := server.recv(1 << 20)):
                    answer += more
                    client.sendall(more)

    def close(self) -> None:
        self._listening.close()


def _is_whole(message: bytes) -> bool:
    head, _, body = message.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return b"\r\n\r\n" in message


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    found = Line(server.port)
    yield found
    found.close()


def searched(uri: str, experiment: str, watcher: Watched, resume: bool = False, **more: Any) -> list[Any]:
    """Search as the command does, and return the trials of results.json."""
    told = {
        "tracking.mlflow.enabled": True,
        "tracking.mlflow.tracking_uri": uri,
        "tracking.mlflow.experiment": experiment,
    }
    read = read_config(str(write_config({**told, **more})), {})
    study = open_search(read, resume, 0)
    with tracked(study, read.config.tracking, read.config.name, "ml-search --resume") as told_by:
        search(study, load, told_by(watcher))
    found: list[Any] = json.loads((STUDY / "results.json").read_text())["trials"]
    return found


def go_on_until_all_is_sent(uri: str, experiment: str, **more: Any) -> None:
    """Resume as often as it is said that something is left: on a busy machine a server may be slower than an end's patience."""
    for _ in range(10):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            searched(uri, experiment, Watched(), resume=True, **more)
        if not any("has not had everything" in str(each.message) for each in said):
            return
    raise AssertionError([str(each.message) for each in said])


def values(trials: list[Any]) -> list[Any]:
    return [(each["params"], each["value"], each["metrics"]) for each in trials]


def is_whole(server: Server, experiment: str, n_trials: int) -> bool:
    """Whether MLflow has all of a study: one run of it, one a trial below, every point once, every end."""
    recorded = Recorded(server.uri)
    runs = recorded.runs(experiment)
    (parent,) = [run for run in runs if run.data.tags["mlframework.kind"] == "study"]
    below = [run for run in runs if run is not parent]
    assert [run.info.run_name for run in below if run is not parent] == [f"trial_{n:04d}" for n in range(n_trials)]
    for number, run in enumerate(below):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert recorded.has_the_curves_of(run, STUDY / f"trial_{number:04d}" / "metrics.jsonl")
        assert recorded.artifacts(run) == {"config.yaml"}
    assert {state_of(run) for run in runs} == {("FINISHED", "complete")}
    assert [run for run in below if run.data.tags.get("mlframework.best") == "true"]
    return True


@pytest.mark.slow
def test_answers_that_get_lost_and_a_line_that_is_cut(here: Path, server: Server, line: Line) -> None:
    """The training comes to what it comes to without MLflow, and MLflow has everything afterwards, nothing twice."""

    def disturb(trial: int, epoch: int, _value: float) -> None:
        line.is_cut = (trial, epoch) >= (1, 2) and trial < 2
        time.sleep(0.05)

    more = {"search.n_trials": 4, "training.num_epochs": 4}
    line.swallows = 2
    with_it = searched(line.uri, "cut", Watched(on_epoch=disturb), **more)
    line.is_cut, line.swallows = False, 2
    go_on_until_all_is_sent(line.uri, "cut", **more)
    assert line.swallowed >= 2
    assert is_whole(server, "cut", 4)
    searched("", "none", Watched(), **more, **WITHOUT)
    without = json.loads(Path("runs/optuna_studies/plain/results.json").read_text())["trials"]
    assert values(with_it) == values(without)


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    own = Server(tmp_path_factory.mktemp("own"))
    own.start()

    def kill(trial: int, epoch: int, _value: float) -> None:
        if (trial, epoch) == (1, 2):
            own.kill()

    more = {"search.n_trials": 4, "training.num_epochs": 4}
    with pytest.warns(UserWarning, match="MLflow has not had everything"):
        with_it = searched(own.uri, "killed", Watched(on_epoch=kill), **more)
    searched("", "none", Watched(), **more, **WITHOUT)
    without = json.loads(Path("runs/optuna_studies/plain/results.json").read_text())["trials"]
    assert values(with_it) == values(without)
    own.start()
    try:
        go_on_until_all_is_sent(own.uri, "killed", **more)
        assert is_whole(own, "killed", 4)
    finally:
        own.kill()


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_in_the_same_run(here: Path, server: Server) -> None:
    write_config({"training.num_epochs": 400, "training.batch_size": 1, "search.n_trials": 1})
    words = shlex.split("ml-train --config config.yaml --mlflow-tracking --experiment-name killed_training")
    words += ["--tracking.mlflow.tracking_uri", server.uri]
    run = Path("runs/tiny")
    process = subprocess.Popen([str(PROGRAMS / words[0]), *words[1:]], stdout=subprocess.DEVNULL)
    sent = run / "mlflow_sent.json"
    end = time.monotonic() + PATIENCE
    while not sent.is_file() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    process.wait()
    killed_at = (run / "metrics.jsonl").read_text().count("\n")
    before = Recorded(server.uri).run("killed_training", "tiny")
    assert (before.info.status, 0 < killed_at < 400) == ("RUNNING", True)
    again = [str(PROGRAMS / "ml-train"), "--resume", str(run)]
    subprocess.run(again, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
    found = Recorded(server.uri).run("killed_training", "tiny")
    assert (found.info.run_id, state_of(found)) == (before.info.run_id, ("FINISHED", "complete"))
    assert len(Recorded(server.uri).curve(found, "val_loss")) == 400
    assert Recorded(server.uri).has_the_curves_of(found, run / "metrics.jsonl")


def test_mlflows_pages_show_the_study(here: Path, server: Server) -> None:
    """The tree of runs with the best value, and a trial's curve."""
    searched(server.uri, "pages", Watched(), **{"search.n_trials": 3})
    settled(sender())
    recorded = Recorded(server.uri)
    experiment = recorded.client.get_experiment_by_name("pages")
    assert experiment is not None
    trial = recorded.run("pages", "trial_0001")
    with chromium() as browser:
        with opened(browser, f"{server.uri}/#/experiments/{experiment.experiment_id}/runs") as seen:
            parent = seen.page.get_by_text("tiny_optimization").first
            parent.wait_for(timeout=60_000)
            seen.page.get_by_text("4 matching runs").wait_for(timeout=60_000)
        address = f"{server.uri}/#/experiments/{experiment.experiment_id}/runs/{trial.info.run_id}"
        with opened(browser, address) as seen:
            for text in ("optimizer.lr", "mlframework.state", "best/val_loss", "tiny_optimization"):
                seen.page.get_by_text(text, exact=True).first.wait_for(timeout=60_000)
            shown = seen.page.inner_text("body")
            assert trial.data.params["optimizer.lr"] in shown
