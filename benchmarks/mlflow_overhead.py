"""What recording in MLflow costs: the same training of digits with and without it, in turn, in one process.

Run it with `python benchmarks/mlflow_overhead.py [--epochs 40] [--rounds 2] [--server]`. Import and first use are left out: a
short training comes first. The same training varies by five percent from run to run, so two whole runs beside each other
cannot tell 2 %: they are printed, and what decides is what the runs with MLflow say of themselves. Its parts are the
processor time of the thread that sends, and the time that the training's own thread spends in the tracker; their sum is
the most that the training can lose, even where it has one core and shares the interpreter's lock. The wait at the end
until everything is sent is counted in the wall time. It ends with exit 1 where that is more than 2 %, or where MLflow's
curves are not those of metrics.jsonl.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

import mlframework
from mlframework.data.samples import write_digits
from mlframework.training.tracking.mlflow import tracker
from mlframework.training.tracking.mlflow.sender import sender

MOST = 0.02
PORT = 5973


def config(epochs: int, uri: str | None) -> dict[str, Any]:
    """Return the config of a training."""
    return {
        "name": "digits_mlflow" if uri else "digits",
        "device": "cpu",
        "data": {"type": "image_folder", "path": "digits", "image_size": 32},
        "model": {"architecture": "resnet18"},
        "training": {"num_epochs": epochs, "batch_size": 64},
        "optimizer": {"type": "sgd", "lr": 0.01, "momentum": 0.9},
        "tracking": {"mlflow": {"enabled": True, "tracking_uri": uri}} if uri else {},
    }


class Tracked:
    """What MLflow's tracker takes: `processor` and `wall`, in seconds, of all its calls and of the thread that sends."""

    def __init__(self) -> None:
        self.processor = self.wall = 0.0
        for owner, name in (
            (tracker.MlflowTracker, "on_start"),
            (tracker.MlflowTracker, "on_epoch"),
            (tracker.MlflowTracker, "on_end"),
            (tracker, "publish"),
        ):
            setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return call(*arguments, **options)
            finally:
                self.wall += time.perf_counter() - wall
                self.processor += time.thread_time() - cpu

        return timed

    def read(self) -> tuple[float, float]:
        """Return the processor time of both threads, and the wall time of the training's, so far."""
        thread = sender()._thread
        sent = time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) if thread and thread.ident else 0.0
        return self.processor + sent, self.wall


@dataclass(frozen=True)
class Cost:
    """Of one training: processor and wall time, and what of it MLflow's tracker took, in seconds."""

    processor: float
    wall: float
    tracked_processor: float
    tracked_wall: float


def measured(epochs: int, uri: str | None, tracked: Tracked) -> tuple[Cost, Path]:
    """Train, and return what it cost, and the run's folder."""
    before = tracked.read()
    wall, cpu = time.perf_counter(), time.process_time()
    run = mlframework.train(config(epochs, uri))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    after = tracked.read()
    return Cost(cpu, wall, after[0] - before[0], after[1] - before[1]), run.folder


@contextmanager
def server(uri: str | None) -> Iterator[str]:
    """Start a tracking server, unless there is a database in its place."""
    if uri is not None:
        yield uri
        return
    command = ["mlflow", "server", "--workers", "1", "--port", str(PORT), "--backend-store-uri", "sqlite:///server.db"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with Path("server.log").open("w") as log:
        program = [str(Path(sys.executable).with_name("mlflow")), *command[1:]]
        process = subprocess.Popen(program, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{PORT}"
    try:
        for _ in range(240):
            with suppress(OSError), urllib.request.urlopen(f"{address}/health"):
                break
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait()


def is_complete(run: Path, uri: str) -> bool:
    """Whether MLflow has the curves of metrics.jsonl, each point once."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    run_id = json.loads((run / "mlflow_sent.json").read_text())["run_id"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = client.get_metric_history(run_id, "val_loss")
    return [(point.step, point.value) for point in found] == [(line["epoch"], line["val_loss"]) for line in lines]


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--server", action="store_true", help="record on a server, and not in a database")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_digits(Path("digits"))
        with server(None if arguments.server else "sqlite:///mlflow.db") as uri:
            tracked = Tracked()
            measured(1, None, tracked)
            measured(1, uri, tracked)
            found: dict[str, list[Cost]] = {"without": [], "with": []}
            complete = True
            for _ in range(arguments.rounds):
                for name, where in (("without", None), ("with", uri)):
                    cost, run = measured(arguments.epochs, where, tracked)
                    found[name].append(cost)
                    complete &= where is None or is_complete(run, uri)
                    console.print(
                        f"{name:8} processor {cost.processor:7.2f} s, of that MLflow {cost.tracked_processor:.2f} s;   "
                        f"wall {cost.wall:7.2f} s, of that MLflow {cost.tracked_wall:.2f} s"
                    )
        os.chdir("/")
    own = median(each.tracked_processor / each.processor for each in found["with"])
    waited = median(each.tracked_wall / each.wall for each in found["with"])
    pairs = [
        median(getattr(each, what) for each in found["with"]) / median(getattr(each, what) for each in found["without"])
        for what in ("processor", "wall")
    ]
    console.print(f"MLflow's share: processor {own:.2%}, wall {waited:.2%}; curves complete: {complete}")
    console.print(f"with / without, whole runs: processor {pairs[0]:.3f}, wall {pairs[1]:.3f}")
    sys.exit(max(own, waited) > MOST or not complete)


if __name__ == "__main__":
    main()
