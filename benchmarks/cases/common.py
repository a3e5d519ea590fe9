"""What every case shares: one side is run by name, and tells what it measured in its last line."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Side = Callable[[], dict[str, Any]]
"""Runs one side; returns its result, by which both are checked, and `seconds` where the case measures a part."""


class Clock:
    """Tells how long a part of a process takes, also one that it is run through several times.

    What runs inside of a part that is being counted, or in another thread, is not counted once more.
    """

    def __init__(self) -> None:
        self._thread, self._runs = threading.get_ident(), False
        self.seconds = 0.0
        self.ends: list[float] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time in this block, and note when it ends."""
        if self._runs or threading.get_ident() != self._thread:
            yield
            return
        self._runs = True
        started = time.perf_counter()
        try:
            yield
        finally:
            self._runs = False
            self.ends.append(time.perf_counter())
            self.seconds += self.ends[-1] - started

    def watch(self, owner: Any, name: str) -> None:
        """Count the time of every call of a function, which stays what it is otherwise."""
        call = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            with self.running():
                return call(*arguments, **options)

        setattr(owner, name, watched)


class Epochs:
    """Tells how long an epoch of ours takes: all that is done from the end of the first epoch to the end of the fit.

    The first one has what is done once: what an epoch needs is imported there.
    """

    def __init__(self) -> None:
        from mlframework import experiment
        from mlframework.training import loop

        self._epochs, self._fit = Clock(), Clock()
        self._epochs.watch(loop, "_epoch")
        self._fit.watch(experiment, "fit")

    @property
    def seconds(self) -> float:
        """Seconds an epoch, validation and all that is written included."""
        return an_epoch([*self._epochs.ends[:-1], self._fit.ends[-1]])


def trained(config: dict[str, Any]) -> tuple[float, Mapping[str, float]]:
    """Train by a config of ours; returns the seconds of an epoch, and the metrics of the best one."""
    import mlframework

    epochs = Epochs()
    run = mlframework.train(config)
    return epochs.seconds, run.result.best_metrics


def ml_train(config: str) -> dict[str, Any]:
    """Do what the installed command does with a config file in the current folder; returns the run's result.json."""
    from mlframework.cli.train import main as command

    sys.argv = ["ml-train", "--config", config]
    try:
        command()
    except SystemExit as end:
        assert not end.code, f"ml-train ended with {end.code}"
    result: dict[str, Any] = json.loads(next(Path("runs").glob("*/result.json")).read_text())
    return result


def shuffled(n: int, batch_size: int, order: Any) -> Iterator[Any]:
    """Yield the rows of each batch of an epoch by hand, in an order that the generator draws."""
    import torch

    permutation = torch.randperm(n, generator=order)
    for start in range(0, n, batch_size):
        yield permutation[start : start + batch_size]


def an_epoch(ends: list[float]) -> float:
    """Return the seconds an epoch takes, of when each of them ended; the first one is not counted."""
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def quick(number: int, less: int) -> int:
    """Return how many epochs, trials or images a case takes: `less` where MLFRAMEWORK_BENCH_QUICK asks for a rehearsal."""
    return less if os.environ.get("MLFRAMEWORK_BENCH_QUICK") else number


def main(**sides: Side) -> None:
    """Run the side that the command line names, in the current folder."""
    sys.stdout.write(f"{json.dumps(sides[sys.argv[1]]())}\n")
