"""What a training does with its time: a trace of an epoch's operations, and a summary in words."""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from mlframework.learners.base import Learner, Traceable, Tracer
from mlframework.runs import make_folder, write_text
from mlframework.training.callbacks import History

STEPS = 50
"""Steps whose operations are traced at most: a trace has some hundred lines a step."""
_MUCH = 0.25  # share of the time from which the summary says what might help


@dataclass
class _Times:
    """Of one epoch, in seconds of the wall clock.

    Attributes:
        spans: name, start and length of training and evaluation.
        steps: how long each batch took.
        data: spent on fetching batches.
        tracing: spent in the training on ending the trace, which no epoch without one would.
        writing: spent on checkpoint, curves and reports after it.
    """

    spans: list[tuple[str, float, float]] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    data: float = 0.0
    tracing: float = 0.0
    writing: float = 0.0

    @property
    def training(self) -> float:
        """The time of the training, without what ended the trace in it."""
        return self._of("train") - self.tracing

    @property
    def evaluation(self) -> float:
        """The time of the evaluation."""
        return self._of("evaluate")

    @property
    def whole(self) -> float:
        """The time from the start of the training to the end of the writing."""
        return self.training + self.evaluation + self.writing

    def _of(self, name: str) -> float:
        """Return the length of a span; 0 where there is none."""
        return sum(length for each, _, length in self.spans if each == name)


class Profile:
    """Traces the third epoch of a training (the last one where there are fewer), and tells what the second one's time went to.

    The trace is Chrome's format, which https://ui.perfetto.dev and TensorBoard's profiler plugin open: with torch every
    operation of the first `STEPS` steps, without it the spans of the epoch. It has to be the last of the callbacks: what
    the others do is the writing.

    Args:
        folder: where the trace and `summary.txt` go.
        num_epochs: of the whole training.

    Attributes:
        summary: lines of the summary; empty until the training has come that far.
    """

    def __init__(self, folder: Path, num_epochs: int) -> None:
        self._folder, self._num_epochs = folder, num_epochs
        self.summary: list[str] = []
        self._times: dict[int, _Times] = {}
        self._now, self._fetched = _Times(), 0.0
        self._since = 0.0  # when the step began that is taken now
        self._traced = 0
        self._tracer: Tracer | None = None
        self._operations: list[str] = []

    def on_start(self, learner: Learner, history: History) -> None:
        """Listen to the learner."""
        done = len(history.records)
        self._traced = min(done + 3, self._num_epochs)
        told = learner.on_batch

        def on_batch(number: int, total: int) -> None:
            told(number, total)
            ended = time.perf_counter()
            self._now.steps.append(ended - self._since)
            if self._tracer is not None and len(self._now.steps) >= STEPS:
                self._end_trace()
                self._now.tracing = time.perf_counter() - ended
            self._since = time.perf_counter()

        learner.on_batch = on_batch
        self._listen(learner, "train_epoch", "train")
        self._listen(learner, "evaluate", "evaluate")
        self._await(learner, done + 1)

    def on_epoch(self, learner: Learner, history: History) -> None:
        """Take note of the epoch; trace the next one, or write what was traced."""
        times, epoch = self._now, history.records[-1].epoch
        _, start, length = times.spans[-1]
        times.writing = time.perf_counter() - start - length
        times.data = learner.data_seconds() - self._fetched
        self._times[epoch] = times
        if epoch == self._traced:
            self._end_trace()
            self._tell(learner)
        self._await(learner, epoch + 1)

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Tell of what there is, where the training ended before its time."""
        self._end_trace()
        if not self.summary and self._times:
            self._traced = max(self._times)
            self._tell(learner)

    def _await(self, learner: Learner, epoch: int) -> None:
        """Get ready for an epoch."""
        self._now, self._fetched = _Times(), learner.data_seconds()
        if epoch == self._traced:
            self._begin_trace(learner)

    def _listen(self, learner: Learner, name: str, shown: str) -> None:
        """Measure every call of a method of the learner; it stays what it is otherwise."""
        call = getattr(learner, name)

        def measured(*arguments: Any) -> Any:
            started = self._since = time.perf_counter()
            found = call(*arguments)
            self._now.spans.append((shown, started, time.perf_counter() - started))
            return found

        setattr(learner, name, measured)

    def _begin_trace(self, learner: Learner) -> None:
        if isinstance(learner, Traceable):
            self._tracer = learner.tracer()
            self._tracer.start()

    def _end_trace(self) -> None:
        tracer, self._tracer = self._tracer, None
        if tracer is not None:
            make_folder(self._folder)
            self._operations = tracer.stop(self._trace_file)

    @property
    def _trace_file(self) -> Path:
        return self._folder / f"epoch_{self._traced}.pt.trace.json"

    def _tell(self, learner: Learner) -> None:
        """Write the summary, and without torch the trace of the spans."""
        make_folder(self._folder)
        if not self._trace_file.is_file():
            write_text(self._trace_file, _spans(self._times))
        first = min(self._times)
        measured = self._traced if self._traced - first < 2 else self._traced - 1
        times = self._times[measured]
        self.summary = [
            f"epoch {measured}: {_time(times.whole)}; {_shares(times)}"
            + ("; tracing it made it slower" if measured == self._traced and self._operations else ""),
            f"training: {learner.n_examples:,} examples in {_time(times.training)}, "
            f"{learner.n_examples / max(times.training, 1e-9):,.0f} a second; evaluation {_time(times.evaluation)}",
            *_steps(times),
            *self._operations,  # of the traced epoch
            f"memory: at most {_peak():,.0f} MB of this process",
            *_advice(times),
            f"trace of epoch {self._traced}: {self._trace_file} (open it at https://ui.perfetto.dev, or in TensorBoard "
            "with its profiler plugin)",
        ]
        write_text(self._folder / "summary.txt", "\n".join(self.summary) + "\n")


def _shares(times: _Times) -> str:
    compute = times.whole - times.data - times.writing
    parts = {"data": times.data, "compute": compute, "writing": times.writing}
    return ", ".join(f"{name} {seconds / times.whole:.0%}" for name, seconds in parts.items())


def _steps(times: _Times) -> list[str]:
    if len(times.steps) < 2:
        return []
    slowest = max(range(len(times.steps)), key=times.steps.__getitem__)
    return [
        f"steps: {len(times.steps):,}, the median one {_time(median(times.steps))}, the slowest "
        f"{_time(times.steps[slowest])} (number {slowest + 1})"
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _advice(times: _Times) -> list[str]:
    """Return what might help, where something other than computing takes much of the time."""
    if times.data / times.whole > _MUCH:
        return ["to try: less work a batch (augmentation, image_size), or larger batches (training.batch_size)"]
    if times.writing / times.whole > _MUCH:
        return ["to try: tracking.tensorboard: false, or a faster disk for runs/: checkpoints are written every epoch"]
    if times.evaluation > times.training:
        return [
            "to try: a smaller val split (data.split.val_fraction), or cheaper metrics: it evaluates longer than it trains"
        ]
    if len(times.steps) < 2:  # one batch is all there is, or no batches at all as with ALS
        return []
    return [
        "to try: larger batches (training.batch_size); optimizer.fused for a small network; for a large one a GPU, with "
        "training.trainer_type: mixed_precision"
    ]


def _peak() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _spans(times: dict[int, _Times]) -> str:
    """Return the spans of all epochs as a trace."""
    events = [
        {"name": f"{name} (epoch {epoch})", "ph": "X", "ts": start * 1e6, "dur": length * 1e6, "pid": 1, "tid": 1}
        for epoch, each in times.items()
        for name, start, length in each.spans
    ]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})
