"""What Python is offered beside `search`: `train`, `load` and `load_config`, and what `ml-train` shares with them."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlframework import markup
from mlframework.errors import MlframeworkError, RunError
from mlframework.heap import given_back
from mlframework.imports import preload

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from mlframework.experiment import ExperimentConfig
    from mlframework.learners.base import Learner, Predictor
    from mlframework.read_run import ReadRun
    from mlframework.runs import RunDir
    from mlframework.search.config import ConfigFile
    from mlframework.training.callbacks import Callback, History
    from mlframework.training.result import RunResult

RUNS = Path("runs")


@dataclass(frozen=True)
class TrainedRun:
    """A run that was trained. In a notebook it shows itself.

    Attributes:
        folder: of the run; `mlframework.load(folder)` gives its predictor.
        result: how it ended.
    """

    folder: Path
    result: RunResult

    @property
    def metrics(self) -> Mapping[str, float]:
        """The best epoch's metrics: `{"val_acc": 0.97, ...}`."""
        return self.result.best_metrics

    @property
    def value(self) -> float:
        """The best epoch's metric: what a trial of these settings would have as its value."""
        return self.result.value

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are in `artifacts/`."""
        return self.result.best_epoch

    def plot(self, name: str) -> go.Figure:
        """Return one of the run's plots, as `ml-visualise --mode run RUN --plot-type NAME` draws it.

        Args:
            name: of the plot: `curves`, `confusion_matrix` ...

        Raises:
            PlotError: there is no such plot.
            RunError: the run does not have what it shows.
            MissingExtraError: plotly is not installed.
        """
        from mlframework.visualise.draw_all import run_figure
        from mlframework.visualise.run_view import RunView

        return run_figure(RunView.of(self.folder), name)

    def _repr_html_(self) -> str:
        """Return it for a notebook: the curve of its metric, the best epoch's metrics beside the last one's."""
        from mlframework.visualise.run_view import RunView, duration

        values = [record.metrics.get(self.result.metric, math.nan) for record in RunView.of(self.folder).records]
        what = f"{self.result.metric} {markup.short(self.value)} in epoch {self.best_epoch} of {self.result.last_epoch}"
        rows = [(name, value, self.result.last_metrics.get(name)) for name, value in self.metrics.items()]
        marked = list(self.metrics).index(self.result.metric)
        subtitle = f"{what} · {duration(self.result.seconds)} · {self.result.reason} · {self.folder}"
        return markup.card(
            self.folder.name,
            subtitle,
            f"<div>{markup.curve(values, self.best_epoch - 1, what)}</div>",
            markup.table(rows, ("metric", f"best epoch ({self.best_epoch})", "last epoch"), marked),
        )


def load_config(path: str | Path | Mapping[str, Any], **overrides: Any) -> ConfigFile:
    """Return a config file, checked as the commands check it.

    Args:
        path: the YAML file, or a tree of one.
        overrides: settings by their dotted key or their last part: `lr=0.1`, `**{"optimizer.lr": 0.1}`.

    Raises:
        ConfigError: with `file:line:column` of every problem.
    """
    from mlframework.search.start import read_any

    return read_any(path, overrides).config


def open_run(folder: str | Path) -> TrainedRun:
    """Return a run that is there and has ended.

    Args:
        folder: the run's: `runs/digits`, or a trial's.

    Raises:
        RunError: it is no run's folder, or the run has not ended.
    """
    from mlframework.runs import RunDir
    from mlframework.training.result import RunResult

    run = RunDir.open(Path(folder))
    content = run.read_result()
    if content is None:
        raise RunError(f"{folder}: the run has not ended; go on with ml-train --resume {folder}")
    return TrainedRun(run.path, RunResult.from_dict(content, run.result))


def train(
    config: str | Path | Mapping[str, Any] | ConfigFile, *, progress: bool = False, **overrides: Any
) -> TrainedRun:
    """Train the run that a config describes into a folder of its own under `runs/`, as `ml-train` does.

    Args:
        config: the YAML file, a tree of one, or what `load_config` returned.
        progress: write a line an epoch to stdout.
        overrides: settings by their dotted key or their last part: `lr=0.1`, `**{"optimizer.lr": 0.1}`.

    Raises:
        ConfigError: the config or an override; with `file:line:column` of every problem.
        DataError: the data can't be used.
        TrainingError: settings that don't work: a loss that is not a number, a model that can't take the data.
    """
    preload("mlframework.experiment")
    from mlframework.experiment import load_data
    from mlframework.search.start import read_any, read_plain

    read = (None if overrides else read_plain(config)) or read_any(config, overrides, own=("progress",))
    experiment, tree = experiment_of(read)
    load_data(experiment)
    with given_back(), new_run(read, experiment, tree) as run:
        result = select(experiment, run, [_EpochLines()] if progress else [])
    return TrainedRun(run.path, result)


def load(run: str | Path) -> Predictor:
    """Return the predictor of a run.

    Args:
        run: a run's folder, such as `runs/digits`.

    Raises:
        RunError: it is no run folder, or it has no artifact: the run did not end; or the artifact is damaged.
        ConfigError: its config does not decode.
    """
    from mlframework.config import yaml
    from mlframework.config.decode import decode
    from mlframework.errors import MlframeworkError, RunError
    from mlframework.experiment import ExperimentConfig
    from mlframework.runs import RunDir

    folder = RunDir.open(Path(run))
    if (folder.path.parent / "study.json").is_file() or (folder.path / "cross_validation.json").is_file():
        raise RunError(
            f"{run}: a trial or a cross-validation keeps no model; train one by: ml-train --config {folder.config}"
        )
    if not (folder.artifacts / "model_meta.json").is_file():
        raise RunError(
            f"{run}: there is no trained model in it (no artifacts/); train it to its end by: ml-train --resume {run}"
        )
    model = decode(ExperimentConfig, yaml.read(folder.config)).model
    try:
        return model.predictor(folder.artifacts)
    except MlframeworkError:
        raise
    except Exception as error:
        # Whoever wrote these files, they hold numbers and text only: what is wrong with them can do no harm, and is open-ended.
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise RunError(
            f"{folder.artifacts}: is damaged, or is not what ml-train wrote ({type(error).__name__}: {reason}); train the "
            "model again"
        ) from error


def experiment_of(read: ReadRun) -> tuple[ExperimentConfig, dict[str, object]]:
    """Return the training run that a config file describes, and its tree.

    Raises:
        MissingExtraError: a tracker that it asks for is not installed.
    """
    from mlframework.config.decode import decode
    from mlframework.config.yaml import Document
    from mlframework.experiment import ExperimentConfig
    from mlframework.training.tracking.start import require_trackers

    tree = read.tree
    config = decode(ExperimentConfig, Document(tree, read.document.name))
    require_trackers(config.tracking)
    return config, tree


def of_the_run(read: ReadRun) -> dict[str, object]:
    """Return the overrides that the run's name shows: not those of search and tracking, which may hold a password."""
    return {key: value for key, value in read.overrides.items() if not key.startswith(("search.", "tracking."))}


@contextmanager
def new_run(read: ReadRun, config: ExperimentConfig, tree: Mapping[str, Any], **also: object) -> Iterator[RunDir]:
    """Make the folder of a new run, named after the config, its overrides and what `also` sets it apart."""
    from mlframework.experiment import start_run
    from mlframework.runs import RunDir, run_name

    run = RunDir.create(RUNS, run_name(config.name, {**of_the_run(read), **also}))
    with or_no_trace(run):
        start_run(run, tree)
        yield run


@contextmanager
def or_no_trace(run: RunDir) -> Iterator[None]:
    """Take a new run's folder away again where an error ends it before the first epoch is saved."""
    try:
        yield
    except MlframeworkError:
        if next(run.path.rglob("last.pt"), None) is None:
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def select(
    config: ExperimentConfig, run: RunDir, callbacks: Sequence[Callback], is_final: bool = True
) -> RunResult:  # fmt: skip
    """Train on train, choose the best epoch on val, and write the artifact of that epoch.

    Args:
        config: the run.
        run: its folder.
        callbacks: told of every epoch.
        is_final: whether this is the final model: no other is made of the run.
    """
    from mlframework.experiment import export, load_data, train
    from mlframework.training.tracking.start import publish_run

    splits = load_data(config).without_test()
    result = train(config, splits, run, callbacks)
    export(config, splits, run, "best")
    publish_run(config, config.tracking, run, is_final)
    return result


class _EpochLines:
    """Writes a line an epoch."""

    def on_start(self, learner: Learner, history: History) -> None:
        """Say nothing."""

    def on_epoch(self, learner: Learner, history: History) -> None:
        """Write the epoch's line."""
        record = history.records[-1]
        values = "  ".join(f"{name} {value:.4f}" for name, value in record.metrics.items())
        sys.stdout.write(f"epoch {record.epoch}: {values}\n")

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Say nothing."""
