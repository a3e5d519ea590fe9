"""One training run from its config: what `ml-train`, every trial, every fold and the final refit go through.

This module does not know that a search exists.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from mlframework.artifact import describe_artifact, write_ranking
from mlframework.config import yaml
from mlframework.config.base import Config
from mlframework.config.override import get, override
from mlframework.config.secrets import masked
from mlframework.data import DataConfig, load_splits
from mlframework.data.fingerprint import Fingerprint, fingerprint_of
from mlframework.data.splits import Splits
from mlframework.environment import environment
from mlframework.errors import TrainingError
from mlframework.imports import preload
from mlframework.learners import ranks
from mlframework.learners.base import Learner, LearnerSpec
from mlframework.learners.ranking import require_items
from mlframework.memory import explained, remedy
from mlframework.metrics import METRICS, Direction, MetricName, direction_of, shown, tasks_of
from mlframework.models import MODELS, ModelConfig
from mlframework.optim import Adam, OptimizerConfig
from mlframework.outputs import write_outputs
from mlframework.runs import FORMAT, RunDir, append_line, read_json, write_json, write_lines, write_text
from mlframework.schedules import NoScheduler, SchedulerConfig
from mlframework.training.callbacks import Callback, History, early_stop
from mlframework.training.checkpoint import Checkpoints
from mlframework.training.config import TrackingConfig, TrainingConfig
from mlframework.training.loop import Fit, fit
from mlframework.training.metrics_file import MetricsFile
from mlframework.training.result import RunResult
from mlframework.training.tracking.mlflow.settings import recorded
from mlframework.training.tracking.start import trackers_of

Weights = Literal["best", "last"]


class ExperimentConfig(Config):
    """A training run: the data, the model, how it is trained, and what "best" means."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=150)
    """Stem of the run's and the study's name: letters, digits, `.`, `_` and `-`."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Seeds the split, the weights, the order of the examples, augmentation and dropout."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """`auto` takes a GPU where there is one; `cpu`, `cuda`, `cuda:1` and `mps` name a device."""
    data: DataConfig
    """What is learnt from."""
    model: ModelConfig
    """What learns."""
    training: TrainingConfig = TrainingConfig()
    """How it is trained."""
    optimizer: OptimizerConfig = Adam()
    """What turns gradients into steps."""
    scheduler: SchedulerConfig = NoScheduler()
    """How the learning rate changes."""
    metric: MetricName = "val_loss"
    """What the best epoch, early stopping and a search go by; its direction is known."""
    metrics: list[MetricName] = []
    """What is computed besides `metric`, such as `val_f1` or `val_auc`."""
    tracking: TrackingConfig = TrackingConfig()
    """Where the run is recorded."""

    @model_validator(mode="after")
    def _fits_together(self) -> "ExperimentConfig":
        tasks = self.model.consumes.get(self.data.type)
        if tasks is None:
            what = f"data of type {' or '.join(self.model.consumes)}, the data is of type {self.data.type}"
            raise ValueError(self._no_model(what))
        task = self.data.task
        if task is not None and task not in tasks:
            wanted = f"set data.task to {' or '.join(tasks)}, or " if self.data.type == "interactions" else ""
            raise ValueError(self._no_model(f"a {' or a '.join(tasks)}, data.task is {task}", wanted))
        for name in (self.metric, *self.metrics):
            if not {task} - {None} <= set(tasks_of(name)) or not set(tasks) & set(tasks_of(name)):
                fitting = ", ".join(f"val_{shown(key)}" for key in METRICS[task or tasks[0]])
                raise ValueError(
                    f"metric: {name} has no meaning in a {task or tasks[0]}, which this data is; it has {fitting}"
                )
        if self.metric.startswith("test_"):
            raise ValueError(
                f"metric: {self.metric} would select on the test split; use {self.metric.replace('test', 'val', 1)}"
            )
        stem, size = getattr(self.model, "stem", "imagenet"), getattr(self.data, "image_size", 0)
        if stem == "small" and size > 64:
            raise ValueError(
                f"model.stem: small is for images of 64 pixels or less, data.image_size is {size}; use stem: imagenet"
            )
        return self

    def _no_model(self, what: str, remedy: str = "") -> str:
        """Say that the model is none for the data, and which would be."""
        fitting = [
            name
            for name, model in MODELS.items()
            if (self.data.task or "classification") in model.consumes.get(self.data.type, ())
        ]
        # Eighty of them are torchvision's.
        few = ["resnet18"] if "resnet18" in fitting else fitting
        return f"model.architecture: {self.model.architecture} takes {what}; {remedy}use {', '.join(few)}, for example"

    @property
    def direction(self) -> Direction:
        """Which direction of the metric is better."""
        return direction_of(self.metric)


def load_data(config: ExperimentConfig) -> Splits[Any]:
    """Return the splits, the test split included; loaded once a process.

    Raises:
        DataError: the data cannot be used.
        TrainingError: a metric looks at more items than there are.
    """
    splits = load_splits(config.data, config.seed)
    if config.data.type == "interactions":
        require_items((config.metric, *config.metrics), len(splits.train.catalogue.items))
    return splits


def start_run(run: RunDir, tree: Mapping[str, Any]) -> None:
    """Write what a run is: config.yaml, and environment.json with the fingerprint of its data.

    Raises:
        DataError: the data is not there.
    """
    data = fingerprint_of(tree)
    write_text(run.config, yaml.dump(without_password(tree)))
    about = {"format": FORMAT, "started": _now(), **environment()}
    write_json(run.environment, {**about, "data": data.to_dict() if data is not None else None})


def without_password(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's tree as it may be written: without the password of a tracking server."""
    uri = get(tree, "tracking.mlflow.tracking_uri")
    return override(tree, {"tracking.mlflow.tracking_uri": recorded(uri)}) if isinstance(uri, str) else dict(tree)


def is_of_data(run: RunDir, tree: Mapping[str, Any]) -> bool:
    """Whether a run was started on the data that a tree reads now; of one that did not record its data, it is believed."""
    recorded = read_json(run.environment).get("data") if run.environment.is_file() else None
    now = fingerprint_of(tree)
    return recorded is None or now is None or Fingerprint.from_dict(recorded).digest == now.digest


def train(config: ExperimentConfig, splits: Splits[Any], run: RunDir, callbacks: Sequence[Callback] = ()) -> RunResult:
    """Train a config on splits into a run's folder; a folder with a checkpoint is gone on with, bit for bit.

    Args:
        config: the run.
        splits: `val` is None in a refit, which then goes by the training loss; `test` is not looked at.
        run: its folder.
        callbacks: told of every epoch, besides those that the config asks for.

    Raises:
        TrainingError: settings that do not work: a loss that is not a number, a model that cannot take the data.
        CheckpointError: the folder's checkpoint is damaged, or of another training.
    """
    metric = config.metric if splits.val is not None or not config.metric.startswith("val_") else "train_loss"
    history = History(metric, direction_of(metric))
    early_stopping = partial(early_stop, config.training.early_stopping)
    with explained(remedy(config.model.excludes, config.training.on_oom)):
        return _fit(config, splits, run, callbacks, history, config.training.num_epochs, early_stopping)


def refit(
    config: ExperimentConfig, splits: Splits[Any], run: RunDir, num_epochs: int, callbacks: Sequence[Callback] = ()
) -> RunResult:
    """Train on train and val together for `num_epochs`: the best epoch of the run that selected them.

    The schedule stretches over `training.num_epochs` as it did there, and early stopping has nothing to go by.
    """
    history = History("train_loss", "minimize")
    with explained(remedy(config.model.excludes, config.training.on_oom)):
        return _fit(config, splits.refit(), run, callbacks, history, num_epochs, partial(early_stop, None))


def _fit(
    config: ExperimentConfig, splits: Splits[Any], run: RunDir, callbacks: Sequence[Callback],
    history: History, num_epochs: int, stop: Callable[[History], str | None],
) -> RunResult:  # fmt: skip
    learner = build_learner(config, splits.without_test())
    checkpoints = Checkpoints(run.checkpoints, _identity(config))
    checkpoints.resume(learner, history)
    write_lines(run.metrics, [record.to_dict() for record in history.records])
    plan = Fit(
        learner=learner,
        num_epochs=num_epochs,
        evaluate=splits.val is not None,
        stop=stop,
        checkpoints=checkpoints,
        callbacks=[MetricsFile(run), *trackers_of(config, config.tracking, run, splits), *callbacks],
    )
    reason = fit(plan, history)
    best, last = history.best, history.records[-1]
    assert best is not None  # the loop lets no epoch pass whose metric is not a number
    result = RunResult(
        metric=history.metric,
        direction=history.direction,
        best_epoch=best.epoch,
        best_metrics=best.metrics,
        last_epoch=last.epoch,
        last_metrics=last.metrics,
        seconds=sum(record.seconds for record in history.records),
        reason=reason,
        n_parameters=learner.n_parameters,
    )
    write_json(run.result, result.to_dict())
    checkpoints.forget_previous()
    return result


def build_learner(config: ExperimentConfig, splits: Splits[Any]) -> Learner:
    """Return the learner of a config, seeded and on its device.

    Raises:
        TrainingError: the device is not there, or the model does not fit the data.
    """
    spec = LearnerSpec(
        data=config.data,
        splits=splits,
        settings=config.training,
        optimizer=config.optimizer,
        scheduler=config.scheduler,
        device=config.device,
        num_threads=config.training.num_threads,
        seed=config.seed,
        num_epochs=config.training.num_epochs,
        metrics=(config.metric, *config.metrics),
    )
    preload(*config.model.imports)
    return ranks.build_learner(config.model, spec)


def evaluate_test(config: ExperimentConfig, splits: Splits[Any], run: RunDir, weights: Weights) -> dict[str, float]:
    """Open the test split: evaluate the run's weights on it, and write a line into the run's ledger.

    Returns:
        Metrics by name: `{"test_acc": 0.97}`.

    Raises:
        TrainingError: there is no test split.
    """
    if splits.test is None:
        raise TrainingError("there is no test split: set data.split.test_fraction above 0, or add a test folder")
    learner, epoch = trained_learner(config, splits, run, weights)
    append_line(
        run.test_ledger,
        {
            "time": _now(),
            "weights": weights,
            "examples": len(splits.test),
            "command": [Path(sys.argv[0]).name, *map(masked, sys.argv[1:])],
        },
    )
    found = {f"test_{name}": value for name, value in learner.evaluate("test").items()}
    write_outputs(run, "test", epoch, learner.outputs("test"), splits.test, config.data)
    write_json(run.result, {**(run.read_result() or {}), "test_metrics": found})
    write_ranking(run, "test", learner.ranking("test"))
    return found


def export(config: ExperimentConfig, splits: Splits[Any], run: RunDir, weights: Weights) -> None:
    """Write the artifact that serving needs into `artifacts/`, and what the model says of val, for pictures of the run."""
    learner, epoch = trained_learner(config, splits.without_test(), run, weights)
    if splits.val is not None:
        write_outputs(run, "val", epoch, learner.outputs("val"), splits.val, config.data)
    learner.export(run.artifacts)
    if splits.val is not None:
        write_ranking(run, "val", learner.ranking("val"))
    describe_artifact(run)


def trained_learner(
    config: ExperimentConfig, splits: Splits[Any], run: RunDir, weights: Weights
) -> tuple[Learner, int]:
    """Return the learner with the run's weights, and the epoch that they are of.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged or of other settings.
    """
    learner, history = build_learner(config, splits), History(config.metric, config.direction)
    checkpoints = Checkpoints(run.checkpoints, _identity(config))
    path = checkpoints.best if weights == "best" else checkpoints.last
    checkpoints.restore(learner, history, path)
    return learner, len(history.records)


def _identity(config: ExperimentConfig) -> str:
    """Return what makes a training the same one.

    All settings do but its name, its device, its trackers, its processes, and where its data lies.
    """
    settings = config.model_dump(exclude={"name", "tracking", "device"})
    settings["training"] = ranks.comparable(settings["training"])
    data = settings["data"]
    for section in (data, data.get("user_features"), data.get("item_features")):
        if section is not None:
            del section["path"]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
