"""The trackers that a run's config asks for."""

from typing import Any

import numpy as np

from mlframework.config import schema, yaml
from mlframework.config.base import Config
from mlframework.config.override import get
from mlframework.data.images import ImageExamples
from mlframework.data.splits import Splits
from mlframework.runs import RunDir
from mlframework.training.callbacks import Callback
from mlframework.training.config import TrackingConfig
from mlframework.training.tracking.board import Samples, TensorBoardTracker

_SECTIONS = ("seed", "data", "model", "training", "optimizer", "scheduler")
_N_SAMPLES = 16


def trackers_of(config: Config, tracking: TrackingConfig, run: RunDir, splits: Splits[Any]) -> list[Callback]:
    """Return the trackers of a run.

    Args:
        config: the run's whole config.
        tracking: its section on tracking.
        run: the run's folder.
        splits: its data; only train is looked at.
    """
    trackers: list[Callback] = []
    if tracking.tensorboard:
        trackers.append(TensorBoardTracker(run.path, hparams_of(config, run), samples_of(splits)))
    return trackers


def hparams_of(config: Config, run: RunDir) -> dict[str, Any]:
    """Return the settings of a run by dotted key; of what stands for a variable, `${VAR}`, the name alone."""
    tree = config.model_dump()
    written = yaml.read(run.config).tree if run.config.is_file() else {}
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
