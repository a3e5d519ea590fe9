"""How a config is judged: on one validation split, or on folds. Trials and `ml-train --cross-validate` use the same plans."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import Field

from mlframework.config.base import Config
from mlframework.data.splits import Splits
from mlframework.errors import DataError
from mlframework.experiment import ExperimentConfig, RunResult, train
from mlframework.learners.base import Learner
from mlframework.metrics import Direction
from mlframework.runs import FORMAT, RunDir, read_json, write_json
from mlframework.training.callbacks import Callback, History

Report = Callable[[int, float], None]
"""Is told (step, value) while a plan goes on; ends it by raising `Stopped`."""
Aggregation = Literal["mean", "median", "worst"]


class CrossValidation(Config):
    """Train on several folds instead of one validation split."""

    enabled: bool = False
    """Whether each trial is trained once a fold."""
    n_folds: Annotated[int, Field(ge=2)] = 5
    """Parts that train and val together are cut into; each is validated on once."""
    aggregation: Aggregation = "mean"
    """How the folds' values make the trial's."""


@dataclass(frozen=True)
class Evaluation:
    """What a plan found.

    Attributes:
        value: the metric in force.
        best_epoch: of the only run, or the median of the folds'.
        metrics: of the best epoch, or the means of the folds'.
        runs: one result, or one a fold.
    """

    value: float
    best_epoch: int
    metrics: Mapping[str, float]
    runs: Sequence[RunResult]

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


class Plan(Protocol):
    """A way to judge a config."""

    def last_step(self, config: ExperimentConfig) -> int:
        """Return the step of the last report: what has come so far has cost all that it can cost."""

    def evaluate(
        self, config: ExperimentConfig, splits: Splits[Any], run: RunDir, report: Report, callbacks: Sequence[Callback]
    ) -> Evaluation:
        """Train as often as the plan says, reporting on the way."""


class SingleSplit:
    """Train once, validate on the val split, report every epoch."""

    def last_step(self, config: ExperimentConfig) -> int:
        """Return the last epoch."""
        return config.training.num_epochs

    def evaluate(
        self, config: ExperimentConfig, splits: Splits[Any], run: RunDir, report: Report, callbacks: Sequence[Callback]
    ) -> Evaluation:
        """Train once."""
        result = train(config, splits, run, [*callbacks, _Reporting(report)])
        return Evaluation(result.value, result.best_epoch, result.best_metrics, [result])


@dataclass(frozen=True)
class Folds:
    """Train once a fold of train and val together.

    The first fold reports every epoch, like a single split does; each later fold reports once, the aggregate of the
    folds so far, at the steps after the last epoch. So a pruner compares like with like at every step.
    """

    config: CrossValidation

    def last_step(self, config: ExperimentConfig) -> int:
        """Return the step of the last fold."""
        return config.training.num_epochs + self.config.n_folds - 1

    def evaluate(
        self, config: ExperimentConfig, splits: Splits[Any], run: RunDir, report: Report, callbacks: Sequence[Callback]
    ) -> Evaluation:
        """Train once a fold, each in a folder `fold_1`, `fold_2` ... of the run's."""
        results: list[RunResult] = []
        for number, fold in enumerate(_folds(config, splits, self.config.n_folds), 1):
            reporting = [_Reporting(report)] if number == 1 else []
            results.append(train(config, fold, RunDir(run.path / f"fold_{number}"), [*callbacks, *reporting]))
            if number > 1:
                report(config.training.num_epochs + number - 1, self._aggregate(results))
        names = results[0].best_metrics
        return Evaluation(
            value=self._aggregate(results),
            best_epoch=max(1, round(median(result.best_epoch for result in results))),
            metrics={name: mean(result.best_metrics[name] for result in results) for name in names},
            runs=results,
        )

    def _aggregate(self, results: Sequence[RunResult]) -> float:
        return aggregate([result.value for result in results], self.config.aggregation, results[0].direction)


def _folds(config: ExperimentConfig, splits: Splits[Any], n_folds: int) -> Iterator[Splits[Any]]:
    """Cut the folds as the data's config would cut its splits."""
    by_time = config.data.type == "table" and config.data.time_column is not None
    cut = config.data.split
    if cut.strategy == "leave_one_out":
        raise DataError(
            "data.split.strategy is leave_one_out, which makes no folds; use random or time to cross-validate"
        )
    return cut_folds(
        splits, n_folds, cut.strategy or ("time" if by_time else None), config.seed if cut.seed is None else cut.seed
    )


def aggregate(values: Sequence[float], how: Aggregation, direction: Direction) -> float:
    """Put the folds' values together: their mean, their median, or the worst of them."""
    worst = min if direction == "maximize" else max
    return float({"mean": mean, "median": median, "worst": worst}[how](values))  # type: ignore[operator]


def cut_folds(splits: Splits[Any], n_folds: int, strategy: str | None, seed: int) -> Iterator[Splits[Any]]:
    """Yield splits whose val is one fold of train and val together, and which have no test split.

    Classes are spread evenly over the folds unless `strategy` is random; by time, each fold is validated on what comes
    after all it trains on.

    Raises:
        DataError: there are fewer examples, or fewer of a class, than folds.
    """
    from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

    together = splits.refit().train
    stratified = together.targets.dtype.kind in "iu" and strategy not in ("random", "time")
    counts = np.bincount(together.targets) if stratified else np.array([len(together)])
    smallest = int(counts[counts > 0].min())
    if smallest < n_folds + (strategy == "time"):
        what = "examples of the smallest class" if stratified else "examples"
        raise DataError(f"cross_validation.n_folds: {n_folds} is too many for the {smallest} {what}")
    if strategy == "time":
        cuts = TimeSeriesSplit(n_folds).split(np.zeros(len(together)))
    elif stratified:
        cuts = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(
            np.zeros(len(together)), together.targets
        )
    else:
        cuts = KFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(len(together)))
    for train_rows, val_rows in cuts:
        yield Splits(together.take(np.asarray(train_rows)), together.take(np.asarray(val_rows)), None)


class _Reporting:
    """Passes every epoch's value on."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def on_start(self, learner: Learner, history: History) -> None:
        """Report the last epoch before a resume: its checkpoint may have been all that was saved of it."""
        if history.records:
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
    return Folds(CrossValidation(n_folds=content["n_folds"], aggregation=content["aggregation"]))


def build_plan(cross_validation: CrossValidation) -> Plan:
    """Return the plan that the config asks for."""
    return Folds(cross_validation) if cross_validation.enabled else SingleSplit()
