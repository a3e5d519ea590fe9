"""What recording in MLflow costs: the same training of digits with and without it, in turn, in one process.

Run it with `python benchmarks/mlflow_overhead.py [--epochs 40] [--rounds 2] [--server]`. Import and first use are left out: a
short training comes first. The processor time is the whole process's, the sending thread's included; the wall time
includes the wait at the end until everything is sent. It ends with exit 1 where MLflow costs more than 2 % of processor
time, or where its curves are not those of metrics.jsonl.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

import mlframework
from mlframework.data.samples import write_digits

MOST = 1.02
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


def measured(epochs: int, uri: str | None) -> tuple[float, float, Path]:
    """Train, and return the processor time, the wall time and the run's folder."""
    wall, cpu = time.perf_counter(), time.process_time()
    run = mlframework.train(config(epochs, uri))
    return time.process_time() - cpu, time.perf_counter() - wall, run.folder


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
            measured(1, None)
            measured(1, uri)
            found: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
            complete = True
            for _ in range(arguments.rounds):
                for name, where in (("without", None), ("with", uri)):
                    cpu, wall, run = measured(arguments.epochs, where)
                    found[name].append((cpu, wall))
                    complete &= where is None or is_complete(run, uri)
                    console.print(f"{name:8} processor {cpu:7.2f} s   wall {wall:7.2f} s")
        os.chdir("/")
    cpu_ratio, wall_ratio = (
        median(each[at] for each in found["with"]) / median(each[at] for each in found["without"]) for at in (0, 1)
    )
    console.print(f"with / without: processor {cpu_ratio:.4f}, wall {wall_ratio:.4f}; curves complete: {complete}")
    sys.exit(cpu_ratio > MOST or not complete)


if __name__ == "__main__":
    main()
