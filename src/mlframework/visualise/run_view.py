"""What the run plots see of a run: its epochs, which of them is the best, and the words above every plot."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError, RunError
from mlframework.outputs import SavedOutputs
from mlframework.runs import RunDir
from mlframework.visualise.run_outputs import outputs_of
from mlframework.visualise.wording import count_of, short

if TYPE_CHECKING:
    from mlframework.metrics import Task
    from mlframework.training.callbacks import EpochRecord


@dataclass(frozen=True)
class Best:
    """The best epoch (from 1), the metric that chose it, and that metric's value there."""

    epoch: int
    metric: str
    value: float


@dataclass(frozen=True)
class RunView:
    """A run as the plots see it.

    Attributes:
        run: its folder.
        records: the finished epochs, at least one; a metric that was not a number is NaN.
        best: the best epoch, or None where the metric is not known or was never a number.
        reason: why the run ended, or None for one that has not.
    """

    run: RunDir
    records: "Sequence[EpochRecord]"
    best: Best | None
    reason: str | None

    @classmethod
    def of(cls, path: Path) -> "RunView":
        """Read a run once: a run of `ml-train`, a trial, or a fold of a cross-validation.

        Raises:
            RunError: it is no run folder, no epoch has finished, or a file in it is damaged.
            ConfigError: the run has not ended, and its config.yaml cannot be read.
        """
        run = RunDir(path) if RunDir(path).metrics.is_file() else RunDir.open(path)
        records = read_epochs(run.metrics) if run.metrics.is_file() else []
        if not records:
            raise RunError(_nothing_yet(run))
        result = run.read_result()
        if result is not None and result.get("last_epoch") != records[-1].epoch:
            result = None  # of an earlier end: the run was resumed, and goes on
        best = _worked_out(run, records) if result is None else _recorded(run, result, records)
        return cls(run, records, best, None if result is None else str(result.get("reason", "ended")))

    @property
    def name(self) -> str:
        """The name of the run's folder; of a fold also that of the run that it is a part of."""
        path = self.run.path.resolve()
        return path.name if self.run.config.is_file() else f"{path.parent.name}/{path.name}"

    @property
    def task(self) -> "Task":
        """What the run learns, as its metrics tell."""
        bases = {name.partition("_")[2] for record in self.records for name in record.metrics}
        if "acc" in bases:
            return "classification"
        return "regression" if "rmse" in bases else "ranking"

    @property
    def outputs(self) -> SavedOutputs:
        """What the model says of each example of the test split, where it was opened, else of val; read once.

        Raises:
            PlotError: that is known of none, with what to do.
            RunError: the file is damaged.
        """
        if isinstance(self._outputs, SavedOutputs):
            return self._outputs
        raise self._outputs

    @cached_property
    def _outputs(self) -> SavedOutputs | PlotError | RunError:
        try:
            return outputs_of(self.run, keep=self.reason is not None)
        except (PlotError, RunError) as error:
            return error


def read_epochs(path: Path) -> "list[EpochRecord]":
    """Read metrics.jsonl. A last line that was cut short, as by a crash, is left out: its epoch is not finished.

    Raises:
        RunError: the file cannot be read, or a line holds something else than an epoch; the message has its number.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            if number == len(lines):  # every whole line ends with a newline
                break
            raise RunError(f"{path}:{number}: is damaged ({error}): take the line out") from None
        records.append(_record(values, f"{path}:{number}"))
    return records


def _record(values: Any, place: str) -> "EpochRecord":
    from mlframework.training.callbacks import GRADIENTS, NO_METRICS, SHARES, EpochRecord

    if not isinstance(values, Mapping):
        raise RunError(f"{place}: should hold a JSON object, got {type(values).__name__}: take the line out")
    epoch = values.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 1:
        raise RunError(f"{place}: epoch: should be a whole number from 1, got {epoch!r}: take the line out")
    for key, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise RunError(f"{place}: {key}: should be a number or null, got {value!r}: take the line out")
    numbers = {key: math.nan if value is None else float(value) for key, value in values.items()}
    metrics = {key: value for key, value in numbers.items() if key not in NO_METRICS}
    lr, *others = (_finite(numbers, key) for key in ("lr", "throughput", *GRADIENTS, *SHARES))
    return EpochRecord(epoch, metrics, numbers.get("seconds", math.nan), lr, *others)


def _finite(numbers: Mapping[str, float], key: str) -> float | None:
    value = numbers.get(key, math.nan)
    return value if math.isfinite(value) else None


def _nothing_yet(run: RunDir) -> str:
    folds = sorted(run.path.glob("fold_*/metrics.jsonl"))
    if folds:
        return f"{run.path}: is a cross-validation; draw its folds one by one: --mode run {folds[0].parent}"
    return (
        f"{run.path}: no epoch of this run has finished: look again once one has, or, if it was cut short, go on with "
        f"ml-train --resume {run.path}"
    )


def _recorded(run: RunDir, result: Mapping[str, Any], records: "Sequence[EpochRecord]") -> Best | None:
    """Return the best epoch as result.json has it."""
    for key in ("metric", "best_epoch"):
        if key not in result:
            raise RunError(f"{run.result}: has no {key}, it is damaged: without the file the run can be drawn")
    metric = str(result["metric"])
    values = [record.metrics.get(metric, math.nan) for record in records if record.epoch == result["best_epoch"]]
    return Best(result["best_epoch"], metric, values[0]) if values and math.isfinite(values[0]) else None


def _worked_out(run: RunDir, records: "Sequence[EpochRecord]") -> Best | None:
    """Return the best epoch so far of a run that has not ended, by its config's metric."""
    from mlframework.config import yaml
    from mlframework.experiment import ExperimentConfig
    from mlframework.metrics import direction_of
    from mlframework.training.callbacks import History

    if not run.config.is_file():  # a fold's config stands in the folder above
        return None
    metric = str(yaml.read(run.config).tree.get("metric", ExperimentConfig.model_fields["metric"].default))
    computed = [record for record in records if metric in record.metrics]
    try:
        history = History(metric, direction_of(metric), computed)
    except ValueError:  # a metric of another version: the curves can be drawn all the same
        return None
    best = history.best
    return None if best is None else Best(best.epoch, metric, history.value(best))


def subtitle(view: RunView, *notes: str) -> str:
    """Say which run is seen, and whatever else the reader must know."""
    text = html.escape(" · ".join([view.name, *(note for note in notes if note)]), quote=False)
    return text.replace("$", "&#36;")  # between two of them plotly sees a formula


def standing(view: RunView) -> list[str]:
    """Say how many epochs there are, how long they took, which was the best, and why the run ended."""
    epochs = count_of(len(view.records), "epoch")
    seconds = sum(record.seconds for record in view.records)
    parts = [f"{epochs} in {duration(seconds)}" if math.isfinite(seconds) else epochs]
    if view.best is not None:
        parts.append(f"best {view.best.metric} {short(view.best.value)} (epoch {view.best.epoch})")
    return [*parts, view.reason or "not ended"]


def duration(seconds: float) -> str:
    """Write "0.6 s", "34 s", "2 min 5 s", "1 h 4 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
