"""The trackers that a run's config asks for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlframework.config import schema, yaml
from mlframework.config.base import Config
from mlframework.config.override import get
from mlframework.data.images import ImageExamples
from mlframework.data.interaction_examples import InteractionExamples
from mlframework.data.splits import Splits
from mlframework.runs import RunDir
from mlframework.training.callbacks import Callback
from mlframework.training.config import TrackingConfig
from mlframework.training.tracking.board import Samples, TensorBoardTracker
from mlframework.training.tracking.projector import Items

_SECTIONS = ("seed", "data", "model", "training", "optimizer", "scheduler")
_N_SAMPLES = 16


@dataclass(frozen=True)
class Tracked:
    """A run that begins, or goes on.

    Attributes:
        config: its whole config, which has a `name`.
        tracking: its section on tracking.
        run: its folder.
        splits: its data; only train is looked at.
    """

    config: Config
    tracking: TrackingConfig
    run: RunDir
    splits: Splits[Any]


def _tensorboard(tracked: Tracked) -> Callback | None:
    if not tracked.tracking.tensorboard:
        return None
    run, train = tracked.run, tracked.splits.train
    items = Items.of(train) if isinstance(train, InteractionExamples) else None
    return TensorBoardTracker(run.path, hparams_of(tracked.config, run), samples_of(tracked.splits), items)


def _mlflow(tracked: Tracked) -> Callback | None:
    if not tracked.tracking.mlflow.enabled:
        return None
    from mlframework.training.tracking.mlflow.tracker import MlflowTracker, Target, home_of, require_mlflow

    require_mlflow()
    home, _ = home_of(tracked.run.path)
    target = Target.of(tracked.tracking.mlflow, name_of(tracked.config))
    return MlflowTracker(target, tracked.run.path, hparams_of(tracked.config, RunDir(home)))


TRACKERS: Mapping[str, Callable[[Tracked], Callback | None]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}
"""Each makes the tracker of a run, or none where its section of `tracking:`, which has its name, does not ask for it."""


def trackers_of(config: Config, tracking: TrackingConfig, run: RunDir, splits: Splits[Any]) -> list[Callback]:
    """Return the trackers of a run.

    Args:
        config: the run's whole config.
        tracking: its section on tracking.
        run: the run's folder.
        splits: its data; only train is looked at.
    """
    made = (make(Tracked(config, tracking, run, splits)) for make in TRACKERS.values())
    return [tracker for tracker in made if tracker is not None]


def require_trackers(tracking: TrackingConfig) -> None:
    """Check, before any work, that what a config asks for is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if tracking.mlflow.enabled:
        from mlframework.training.tracking.mlflow.tracker import require_installed

        require_installed()


def publish_run(config: Config, tracking: TrackingConfig, run: RunDir, is_final: bool) -> None:
    """Tell the trackers that a run is over, its artifact written.

    Args:
        config: the run's whole config.
        tracking: its section on tracking.
        run: its folder.
        is_final: whether its model is the final one, and no other is made of it.
    """
    if tracking.mlflow.enabled:
        from mlframework.training.tracking.mlflow.tracker import Target, publish, require_mlflow

        require_mlflow()
        settings, name = tracking.mlflow, name_of(config)
        registered = (settings.registered_name or name) if settings.register_model and is_final else None
        publish(Target.of(settings, name), run, registered, f"ml-train --resume {run.path}")


def name_of(config: Config) -> str:
    """Return the name of a run's config."""
    return str(config.model_dump(include={"name"})["name"])


def hparams_of(config: Config, run: RunDir) -> dict[str, Any]:
    """Return the settings of a run by dotted key; of what stands for a variable, `${VAR}`, the name alone."""
    tree = config.model_dump()
    # To parse a config takes longer than all of its settings here: only where a variable stands in it.
    has_variables = run.config.is_file() and b"${" in run.config.read_bytes()
    written = yaml.read(run.config).tree if has_variables else {}
    found: dict[str, Any] = {}
    for leaf in schema.leaves(type(config), tree):
        if leaf.key.split(".")[0] in _SECTIONS:
            value = get(tree, leaf.key)
            found[leaf.key] = get(written, leaf.key, value) if isinstance(value, str) else value
    return found


def samples_of(splits: Splits[Any]) -> Samples | None:
    """Return a few images of the training split, evenly from all of it; None where the data is no images."""
    examples = splits.train
    if not isinstance(examples, ImageExamples):
        return None
    rows = np.linspace(0, len(examples) - 1, min(_N_SAMPLES, len(examples))).astype(np.int64)
    return examples.pixels[rows], [examples.class_names[target] for target in examples.targets[rows]]
