"""The TensorBoard tracker: curves, learning rate, hyperparameters, sample images, confusion matrix."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlframework.learners.base import Learner, Outputs
from mlframework.training.callbacks import EpochRecord, History
from mlframework.training.tracking.tensorboard import TensorBoardWriter

Samples = tuple[NDArray[np.uint8], Sequence[str]]
"""Some training images, uint8 (n, 3, h, w), and the name of each one's class."""


class TensorBoardTracker:
    """Writes a run's event files into its folder.

    Args:
        folder: the run's folder.
        hparams: the run's settings by dotted key.
        samples: images to show, or None for data that is no images.
    """

    def __init__(self, folder: Path, hparams: Mapping[str, Any], samples: Samples | None) -> None:
        self._folder, self._hparams, self._samples = folder, hparams, samples
        self._writer: TensorBoardWriter | None = None

    def on_start(self, learner: Learner, history: History) -> None:
        """Write the hyperparameters and the sample images."""
        self._writer = TensorBoardWriter(self._folder)
        self._writer.hparams(self._hparams)
        if self._samples is not None and not history.records:
            from mlframework.training.tracking.pictures import image_grid

            self._writer.image("samples/train", 0, image_grid(*self._samples))

    def on_epoch(self, learner: Learner, history: History) -> None:
        """Write a point of each curve, and the confusion matrix of an epoch that is the best so far."""
        record = history.records[-1]
        values = {_tag(name): value for name, value in record.metrics.items()}
        values[f"hparam/{history.metric}"] = history.value(record)
        if record.lr is not None:
            values["lr"] = record.lr
        assert self._writer is not None
        self._writer.scalars(record.epoch, values)
        if history.best is record and any(name.startswith("val_") for name in record.metrics):
            self._confusion_matrix(record, learner.outputs("val"))

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Write how the run ended."""
        if self._writer is None:
            return
        if status != "interrupted":
            self._writer.finish("success" if status == "finished" else "failure")
        self._writer.close()

    def _confusion_matrix(self, record: EpochRecord, outputs: Outputs | None) -> None:
        from mlframework.training.tracking.pictures import confusion_matrix, draw_confusion_matrix

        if outputs is None or outputs.class_names is None:
            return
        counts = confusion_matrix(outputs.targets, outputs.values.argmax(axis=1), outputs.class_names)
        assert self._writer is not None
        self._writer.image("confusion_matrix/val", record.epoch, draw_confusion_matrix(counts, outputs.class_names))


def _tag(name: str) -> str:
    """`val_acc` stands under the heading `acc`, beside `train_acc`."""
    split, _, base = name.partition("_")
    return f"{base}/{split}"
