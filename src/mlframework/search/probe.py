"""One corner of a search space, tried in a process of its own: whether it trains, and what it takes."""

from __future__ import annotations

import gc
import math
import multiprocessing
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import repeat
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mlframework.config.decode import decode
from mlframework.config.yaml import Document
from mlframework.errors import DataError, MlframeworkError, TrainingError
from mlframework.experiment import ExperimentConfig, build_learner, load_data
from mlframework.learners.base import Learner, Steps
from mlframework.memory import is_out_of_memory, said

PATIENCE = 300.0
"""Seconds after which a corner is given up."""
_TIMED = 0.5  # seconds of steps that are timed after the first one
_PER_EPOCH, _PER_TRAINING = 0.006, 0.06
"""Seconds that files, events and the storage take beside what is measured; docs/decisions/0032 has the figures."""
_HEAVY = ("mlframework.learners.tasks", "mlframework.models.layers", "sklearn.metrics",
          "sklearn.model_selection", "scipy.stats")  # fmt: skip
"""What takes seconds to import at first use. Polars is not among it: it may start threads, which do not survive a fork."""
_GOODBYE = 10.0  # seconds that a process has to end by itself
_SHORT = 1.0  # seconds: an epoch that takes no longer is trained as a whole


@dataclass(frozen=True)
class Measured:
    """What a corner takes.

    Attributes:
        error: why it does not train, or None.
        is_data: whether that is the data's fault.
        num_epochs: of a training.
        started: when the process was ready, in seconds since 1970.
        load_seconds: to load the data and import what the model needs, once a process.
        build_seconds: to build the model.
        epoch_seconds: of training, validating and saving a checkpoint.
        checkpoint_bytes: of one checkpoint.
        peak_bytes: most memory of the process; 0 where the system does not tell.
        gpu_bytes: most memory on the GPU; 0 without one.
    """

    error: str | None = None
    is_data: bool = False
    num_epochs: int = 0
    started: float = 0.0
    load_seconds: float = 0.0
    build_seconds: float = 0.0
    epoch_seconds: float = 0.0
    checkpoint_bytes: int = 0
    peak_bytes: int = 0
    gpu_bytes: int = 0

    @property
    def training_seconds(self) -> float:
        """Of one whole training."""
        return self.build_seconds + _PER_TRAINING + self.num_epochs * (self.epoch_seconds + _PER_EPOCH)


class Prober:
    """Tries corners, each in a process of its own: what one of them breaks or holds concerns no other one.

    The processes come from one that has imported torch already, where the system can fork.

    Args:
        with_torch: whether what is trained needs torch.
    """

    def __init__(self, with_torch: bool) -> None:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self._context = multiprocessing.get_context(method)
        if method == "forkserver":
            first = ("mlframework.search.silent", "mlframework.search.probe")
            self._context.set_forkserver_preload([*first, *(_HEAVY if with_torch else ())])

        self.startup_seconds = 0.0
        """Seconds until the first process was ready: what a search takes to import everything."""

    def try_out(self, tree: Mapping[str, Any]) -> Measured:
        """Try a config tree, and wait for what it takes."""
        asked = time.time()
        if self._context.get_start_method() == "forkserver":
            _start_server()
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_child, args=(dict(tree), sender), daemon=True)  # type: ignore[attr-defined]
        process.start()
        sender.close()
        try:
            if not receiver.poll(PATIENCE):
                return Measured(
                    error=f"not a step and a validation within {PATIENCE:g} s: trials there would take hours"
                )
            measured: Measured = receiver.recv()
            if not self.startup_seconds and measured.started:
                self.startup_seconds = measured.started - asked
            process.join(_GOODBYE)  # by itself, so that it gives back what it shares with the system
            return measured
        except EOFError:
            process.join()
            return Measured(error=_death(process.exitcode or 0))
        finally:
            process.terminate()
            process.join()
            receiver.close()


def _start_server() -> None:
    """Start what forks the processes, if it does not run: deaf to Ctrl-C until it can die of one in silence."""
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()  # it would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _death(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the process was killed, as a system does that runs out of memory"
    name = signal.Signals(-code).name if -code in list(signal.Signals) else str(code)
    return f"the process died ({name})"


def _child(tree: Mapping[str, Any], sender: Connection) -> None:
    # Ctrl-C reaches the whole group of processes: the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    try:
        measured = measure(tree)
    except MlframeworkError as error:
        measured = Measured(error=str(error), is_data=isinstance(error, DataError))
    except Exception as error:  # noqa: BLE001 - whatever a corner raises is what is asked for
        text = str(error).strip().splitlines() or [""]
        measured = Measured(
            error=said(error) if is_out_of_memory(error) else f"{type(error).__name__}: {text[0][:300]}"
        )
    with suppress(BrokenPipeError):
        sender.send(measured)


def measure(tree: Mapping[str, Any]) -> Measured:
    """Load, build, take a step, validate and save, in this process.

    Raises:
        MlframeworkError: it does not train, for a reason that the settings explain.
    """
    clock = time.perf_counter
    began, started = time.time(), clock()
    config = decode(ExperimentConfig, Document(dict(tree), "dry run"))
    splits = load_data(config).without_test()
    build_learner(config, splits)
    imported = clock()
    # The first model and the first optimizer of a process import much that the others find there.
    learner = build_learner(config, splits)
    built = clock()
    epoch = _train(learner)
    if splits.val is not None:
        epoch += _timed(lambda: learner.evaluate("val"))
    saving, size = _save(learner)
    return replace(
        Measured(),
        num_epochs=config.training.num_epochs,
        started=began,
        load_seconds=imported - started,
        build_seconds=built - imported,
        epoch_seconds=epoch + saving,
        checkpoint_bytes=size,
        peak_bytes=_peak(),
        gpu_bytes=_gpu_peak(),
    )


def _train(learner: Learner) -> float:
    """Train the least there is of a learner, and return what an epoch takes: a step, or else an epoch.

    Raises:
        TrainingError: the loss is not a number.
    """
    if not isinstance(learner, Steps):
        return _timed(lambda: _check(learner.train_epoch()["loss"]))
    step = _step(learner)
    if step * learner.steps_per_epoch > _SHORT:
        return step * learner.steps_per_epoch
    return _timed(lambda: _check(learner.train_epoch()["loss"]))


def _step(learner: Any) -> float:
    """Return the seconds of a step, the first one left out: it allocates what the others use."""
    stream = learner.steps(repeat(learner.learning_rate() or 0.0))
    started = time.perf_counter()
    _check(next(stream))
    first = time.perf_counter() - started
    started, count = time.perf_counter(), 0
    while count < learner.steps_per_epoch and time.perf_counter() - started < _TIMED - first:
        next(stream)
        count += 1
    return (time.perf_counter() - started) / count if count else first


def _timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes; what is short is done twice, as a first time takes longer."""
    for _ in range(2):
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        if seconds > _SHORT:
            break
    return seconds


def _check(loss: float) -> None:
    if not math.isfinite(loss):
        raise TrainingError(f"the loss is {loss} at the first step; a smaller learning rate may help")


def _save(learner: Learner) -> tuple[float, int]:
    """Return the seconds that a checkpoint takes, and its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "last.pt")
        seconds = _timed(lambda: path.write_bytes(learner.codec.encode({"learner": learner.state_dict()})))
        return seconds, path.stat().st_size


def _peak() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _gpu_peak() -> int:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.max_memory_reserved())
