"""How a config is judged: on one validation split, on folds, or with several seeds.

Trials and `ml-train --cross-validate` use the same plans.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, Protocol, runtime_checkable

from mlframework.data.splits import Splits
from mlframework.experiment import ExperimentConfig, train
from mlframework.folds import Aggregation, CrossValidation, folds_of
from mlframework.learners.base import Learner
from mlframework.metrics import Direction
from mlframework.runs import FORMAT, RunDir, read_json, write_json
from mlframework.training.callbacks import Callback, Guard, History
from mlframework.training.result import RunResult


class Report(Protocol):
    """Is told what comes of a plan while it goes on; ends it by raising `Stopped`."""

    def __call__(self, step: int, value: float, parts: Sequence[float] = (), /) -> None:
        """Take the value of a step, and where it ends a fold or a repeat, the values of all that have ended."""


@dataclass(frozen=True)
class Evaluation:
    """What a plan found.

    Attributes:
        value: the metric in force.
        best_epoch: of the only run, or the median of the folds' or repeats'.
        metrics: of the best epoch, or the means of the folds' or repeats'.
        runs: one result, or one a fold or repeat.
    """

    value: float
    best_epoch: int
    metrics: Mapping[str, float]
    runs: Sequence[RunResult]

    @property
    def parts(self) -> list[float]:
        """The value of each fold or repeat; empty where there is one training."""
        return [run.value for run in self.runs] if len(self.runs) > 1 else []

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the result.json of a cross-validation."""
        return {
            "format": FORMAT,
            "metric": self.runs[0].metric,
            "direction": self.runs[0].direction,
            "value": self.value,
            "best_epoch": self.best_epoch,
            "best_metrics": dict(self.metrics),
            "seconds": round(sum(run.seconds for run in self.runs), 3),
            "folds": [run.value for run in self.runs],
        }


@runtime_checkable
class Restoring(Protocol):
    """What a report may offer as well: to be told of the epochs before a resume."""

    def restored(self, values: Mapping[int, float]) -> None:
        """Take the values of epochs by number that were reported before a kill, or were to be."""


class Plan(Protocol):
    """A way to judge a config.

    Attributes:
        n_parts: trainings of a trial.
        part: what one of them is called: `fold` or `repeat`.
        n_seeds: how many seeds they take, from the config's on.
    """

    n_parts: int
    part: str
    n_seeds: int

    def last_step(self, config: ExperimentConfig) -> int:
        """Return the step of the last report: what has come so far has cost all that it can cost."""

    def check(self, config: ExperimentConfig, splits: Splits[Any]) -> None:
        """Raise DataError where a config's data can't be judged so."""

    def evaluate(
        self, config: ExperimentConfig, splits: Splits[Any], run: RunDir, report: Report, callbacks: Sequence[Callback]
    ) -> Evaluation:
        """Train as often as the plan says, reporting on the way."""


class SingleSplit:
    """Train once, validate on the val split, report every epoch."""

    n_parts, part, n_seeds = 1, "training", 1

    def last_step(self, config: ExperimentConfig) -> int:
        """Return the last epoch."""
        return config.training.num_epochs

    def check(self, config: ExperimentConfig, splits: Splits[Any]) -> None:
        """Any data will do."""

    def evaluate(
        self, config: ExperimentConfig, splits: Splits[Any], run: RunDir, report: Report, callbacks: Sequence[Callback]
    ) -> Evaluation:
        """Train once."""
        result = train(config, splits, run, [*callbacks, _Reporting(report)])
        return Evaluation(result.value, result.best_epoch, result.best_metrics, [result])


class Folds:
    """Train once a fold of train and val together, each in a folder `fold_1`, `fold_2` ... of the run's.

    The first fold reports every epoch, like a single split does; each later fold reports once, the aggregate of the
    folds so far, at the steps after the last epoch. So a pruner compares like with like at every step.
    """

    part, n_seeds = "fold", 1

    def __init__(self, config: CrossValidation) -> None:
        self.config, self.n_parts = config, config.n_parts

    def last_step(self, config: ExperimentConfig) -> int:
        """Return the step of the last fold."""
        return config.training.num_epochs + self.n_parts - 1

    def check(self, config: ExperimentConfig, splits: Splits[Any]) -> None:
        """Cut the first fold: what is wrong with it is wrong with all."""
        next(folds_of(config, splits, self.config))

    def evaluate(
        self, config: ExperimentConfig, splits: Splits[Any], run: RunDir, report: Report, callbacks: Sequence[Callback]
    ) -> Evaluation:
        """Train once a fold."""
        folds = ((config, fold) for fold in folds_of(config, splits, self.config))
        return _evaluate_parts(folds, self.part, self.config.aggregation, run, report, callbacks)


class Repeats:
    """Train with several seeds on the same split, each in a folder `repeat_1`, `repeat_2` ... of the run's.

    They report as folds do; the value is the mean.
    """

    part = "repeat"

    def __init__(self, n_repeats: int) -> None:
        self.n_parts = self.n_seeds = n_repeats

    def last_step(self, config: ExperimentConfig) -> int:
        """Return the step of the last repeat."""
        return config.training.num_epochs + self.n_parts - 1

    def check(self, config: ExperimentConfig, splits: Splits[Any]) -> None:
        """Any data will do."""

    def evaluate(
        self, config: ExperimentConfig, splits: Splits[Any], run: RunDir, report: Report, callbacks: Sequence[Callback]
    ) -> Evaluation:
        """Train once a seed: the config's, and those after it."""
        # The splits are given, so that another seed draws none of its own.
        repeats = ((config.model_copy(update={"seed": config.seed + n}), splits) for n in range(self.n_parts))
        return _evaluate_parts(repeats, self.part, "mean", run, report, callbacks)


def _evaluate_parts(
    parts: Iterable[tuple[ExperimentConfig, Splits[Any]]],
    part: str,
    how: Aggregation,
    run: RunDir,
    report: Report,
    callbacks: Sequence[Callback],
) -> Evaluation:
    results: list[RunResult] = []
    for number, (config, splits) in enumerate(parts, 1):
        reporting = [_Reporting(report) if number == 1 else _Guarding(report)]
        results.append(train(config, splits, RunDir(run.path / f"{part}_{number}"), [*callbacks, *reporting]))
        values = [result.value for result in results]
        value = aggregate(values, how, results[0].direction)
        if number > 1:
            report(config.training.num_epochs + number - 1, value, values)
    names = results[0].best_metrics
    return Evaluation(
        value=value,
        best_epoch=max(1, round(median(result.best_epoch for result in results))),
        metrics={name: mean(result.best_metrics[name] for result in results) for name in names},
        runs=results,
    )


def aggregate(values: Sequence[float], how: Aggregation, direction: Direction) -> float:
    """Put the folds' values together: their mean, their median, or the worst of them."""
    worst = min if direction == "maximize" else max
    return float({"mean": mean, "median": median, "worst": worst}[how](values))  # type: ignore[operator]


class _Guarding:
    """Asks whoever is reported to, where it knows, whether an epoch may be saved."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def on_start(self, learner: Learner, history: History) -> None:
        """Do nothing."""

    def before_save(self) -> None:
        """Ask."""
        if isinstance(self._report, Guard):
            self._report.before_save()

    def on_epoch(self, learner: Learner, history: History) -> None:
        """Do nothing."""

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Do nothing."""


class _Reporting:
    """Passes every epoch's value on."""

    def __init__(self, report: Report) -> None:
        self._report, self._guarding = report, _Guarding(report)

    def before_save(self) -> None:
        """Ask whether the epoch may be saved."""
        self._guarding.before_save()

    def on_start(self, learner: Learner, history: History) -> None:
        """Report the epochs before a resume: their checkpoint may have been all that was saved of them."""
        if history.records:
            if isinstance(self._report, Restoring):
                self._report.restored({each.epoch: history.value(each) for each in history.records[:-1]})
            self.on_epoch(learner, history)

    def on_epoch(self, learner: Learner, history: History) -> None:
        """Report the epoch."""
        record = history.records[-1]
        self._report(record.epoch, history.value(record))

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Do nothing."""


def mark_folds(run: RunDir, config: CrossValidation) -> None:
    """Write into a run's folder that it is a cross-validation, so that a resume knows."""
    write_json(run.path / "cross_validation.json", {"format": FORMAT, **config.model_dump(exclude={"enabled"})})


def marked_folds(run: RunDir) -> Folds | None:
    """Return the plan of a run that is a cross-validation, or None for another run."""
    path = run.path / "cross_validation.json"
    if not path.is_file():
        return None
    content = read_json(path)
    return Folds(CrossValidation(**{key: content[key] for key in CrossValidation.model_fields if key in content}))


def build_plan(cross_validation: CrossValidation, repeats: int = 1) -> Plan:
    """Return the plan that the config asks for."""
    if cross_validation.enabled:
        return Folds(cross_validation)
    return Repeats(repeats) if repeats > 1 else SingleSplit()
