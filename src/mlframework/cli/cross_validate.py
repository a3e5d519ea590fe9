"""`ml-train --cross-validate`: one config on several folds, a line a fold, and a table."""

from __future__ import annotations

from statistics import stdev
from typing import TYPE_CHECKING

from mlframework.cli import console, tracking
from mlframework.errors import ConfigError, Problem
from mlframework.face import experiment_of, new_run

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

    from mlframework.experiment import ExperimentConfig
    from mlframework.learners.base import Learner
    from mlframework.plans import Evaluation, Folds
    from mlframework.runs import RunDir
    from mlframework.search.read import ReadConfig
    from mlframework.training.callbacks import History

WIDEST = 6
"""Folds that stand beside one another in a table, with their mean and deviation, in a terminal of 80 columns."""


def cross_validate(read: ReadConfig, n_folds: int) -> None:
    """Train the config's run on each of several folds; 0: as many as the config says."""
    from mlframework.experiment import load_data
    from mlframework.folds import CrossValidation
    from mlframework.plans import Folds, mark_folds

    config, tree = experiment_of(read)
    declared = read.config.search.cross_validation if read.config.search is not None else CrossValidation()
    folds = Folds(declared.model_copy(update={"n_folds": n_folds or declared.n_folds}))
    if folds.config.n_folds < 2:
        raise ConfigError([Problem("ml-train", "--cross-validate", f"{n_folds} folds; at least 2 are needed")])
    load_data(config)
    with new_run(read, config, tree, folds=folds.config.n_folds) as run:
        mark_folds(run, folds.config)
        evaluate_folds(config, run, folds)


def evaluate_folds(config: ExperimentConfig, run: RunDir, folds: Folds) -> None:
    """Train on each fold, those before a resume again for no epoch, and show a table."""
    from mlframework.experiment import load_data
    from mlframework.runs import write_json
    from mlframework.training.tracking.start import publish_run

    screen = console.out()
    splits = load_data(config).without_test()
    each = f", {folds.config.repeats} times" if folds.config.repeats > 1 else ""
    screen.print(f"{config.name}: {config.model.architecture} on {folds.config.n_folds} folds{each}, into {run.path}")
    if config.tracking.mlflow.enabled and config.tracking.mlflow.register_model:
        screen.print("tracking.mlflow.register_model has no say here: folds only judge, and leave no model")
    console.say_on_interrupt(f"the last finished epoch is saved; go on with: ml-train --resume {run.path}")
    bar = FoldBar(screen, folds.n_parts, config.training.num_epochs)
    evaluation = folds.evaluate(config, splits, run, lambda *_: None, [bar])
    write_json(run.result, evaluation.to_dict())
    publish_run(config, config.tracking, run, is_final=False)
    tables = _tables if folds.n_parts > WIDEST else _table
    for table in tables(config.metric, evaluation):
        screen.print(table)
    screen.print(
        f"{folds.config.aggregation} {config.metric} {evaluation.value:.6g} over {folds.n_parts} folds, in {run.path}"
    )
    tracking.say_recorded(config.name, config.tracking, f"ml-train --resume {run.path}", run.path)


def _table(_metric: str, evaluation: Evaluation) -> list[RenderableType]:
    """Return one table, a metric a row: names are long, and a terminal is narrow."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("fold", no_wrap=True)
    for heading in (*(str(number) for number, _ in enumerate(evaluation.runs, 1)), "mean", "std"):
        table.add_column(heading, justify="right")
    table.add_row("best epoch", *(str(result.best_epoch) for result in evaluation.runs), "", "")
    table.add_section()
    for name, average in evaluation.metrics.items():
        values = _values(evaluation, name)
        table.add_row(name, *(f"{value:.4f}" for value in (*values, average, stdev(values))))
    return [table]


def _tables(metric: str, evaluation: Evaluation) -> list[RenderableType]:
    """Return two narrow tables: of the folds with the metric in force, and of all metrics."""
    from rich import box
    from rich.table import Table

    of_folds = Table("fold", "best epoch", metric, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, result in enumerate(evaluation.runs, 1):
        of_folds.add_row(str(number), str(result.best_epoch), f"{result.value:.4f}")
    of_metrics = Table("metric", "mean", "std", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, average in evaluation.metrics.items():
        of_metrics.add_row(name, f"{average:.4f}", f"{stdev(_values(evaluation, name)):.4f}")
    return [of_folds, of_metrics]


def _values(evaluation: Evaluation, name: str) -> list[float]:
    return [result.best_metrics[name] for result in evaluation.runs]


class FoldBar:
    """A line a fold or repeat, and on a terminal a bar for all epochs of all of them.

    Args:
        screen: where to draw.
        n_parts: how many folds are trained.
        num_epochs: of each.
        name: what one is called.
    """

    def __init__(self, screen: Console, n_parts: int, num_epochs: int, name: str = "fold") -> None:
        self._screen, self._n_parts, self._num_epochs, self._name = screen, n_parts, num_epochs, name
        self._part = 0
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def on_start(self, learner: Learner, history: History) -> None:
        """Draw the bar with the fold's number."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._part += 1
        if not self._screen.is_terminal:
            return
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=self._screen, transient=True,
        )  # fmt: skip
        done = (self._part - 1) * self._num_epochs + len(history.records)
        total = self._n_parts * self._num_epochs
        self._task = self._progress.add_task(f"{self._name} {self._part}/{self._n_parts}", total=total, completed=done)
        self._progress.start()

    def on_epoch(self, learner: Learner, history: History) -> None:
        """Move the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Take the bar away, and write the fold's line."""
        if self._progress is not None:
            self._progress.stop()
        if history.best is not None and status == "finished":
            best = f"{history.metric} {history.value(history.best):.6g} at epoch {history.best.epoch}"
            self._screen.print(f"{self._name} {self._part}/{self._n_parts}: {best}")
