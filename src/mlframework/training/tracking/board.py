"""The TensorBoard tracker: curves, hyperparameters, sample images, and what the best epoch so far comes to."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlframework.errors import RunError
from mlframework.imports import preload
from mlframework.learners.base import Learner, Outputs
from mlframework.training.callbacks import SHARES, EpochRecord, History
from mlframework.training.tracking.findings import Pace, findings_of
from mlframework.training.tracking.projector import Items, Projector
from mlframework.training.tracking.tensorboard import TensorBoardWriter

Samples = tuple[NDArray[np.uint8], Sequence[str]]
"""Some training images, uint8 (n, 3, h, w), and the name of each one's class."""
_DRAWN_BY = ("mlframework.training.tracking.pictures", "mlframework.training.tracking.charts")
_PACE = ("gradient_norm", "gradient_norm_max", "seconds", "throughput", *SHARES)


class TensorBoardTracker:
    """Writes a run's event files into its folder.

    Args:
        folder: the run's folder.
        hparams: the run's settings by dotted key.
        samples: images to show, or None for data that is no images.
        items: items to show, or None for data without any.
    """

    def __init__(
        self, folder: Path, hparams: Mapping[str, Any], samples: Samples | None, items: Items | None = None
    ) -> None:
        self._folder, self._hparams, self._samples = folder, hparams, samples
        self._projector = None if items is None else Projector(folder, items)
        self._writer: TensorBoardWriter | None = None
        self._pace = Pace()
        self._due: tuple[int, Outputs | None, NDArray[np.float32] | None] | None = None

    def on_start(self, learner: Learner, history: History) -> None:
        """Write the hyperparameters and the sample images."""
        self._writer = TensorBoardWriter(self._folder)
        self._writer.hparams(self._hparams)
        if self._samples is not None and not history.records:
            from mlframework.training.tracking.pictures import image_grid

            self._writer.image("samples/train", 0, image_grid(*self._samples))

    def on_epoch(self, learner: Learner, history: History) -> None:
        """Write a point of each curve; of an epoch that is the best so far also pictures, where there is time for them."""
        record, best = history.records[-1], history.best
        assert best is not None  # the loop lets no epoch pass whose metric is not a number
        values = {_tag(name): value for name, value in record.metrics.items()}
        # The table of HPARAMS shows the last point of a curve: so it has what the run, or the trial, is worth by now.
        values[f"hparam/{history.metric}"] = history.value(best)
        if record.lr is not None:
            values["lr"] = record.lr
        values |= {f"training/{name}": value for name in _PACE if (value := getattr(record, name)) is not None}
        assert self._writer is not None
        self._writer.scalars(record.epoch, values)
        if best is record:
            outputs = _outputs(learner, record)
            if outputs is not None:
                preload(*_DRAWN_BY)  # in the first epoch, where such things are expected
            self._due = (record.epoch, outputs, self._vectors(learner))
            if self._pace.has_time():
                self._draw()

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Write what is still to be written of the best epoch, and how the run ended."""
        if self._writer is None:
            return
        try:
            if status == "interrupted":
                with suppress(RunError):  # it may be what ended the run: there is an error on its way already
                    self._draw()
            else:
                self._draw()
                self._writer.finish("success" if status == "finished" else "failure")
        finally:
            self._writer.close()

    def _vectors(self, learner: Learner) -> NDArray[np.float32] | None:
        found = None if self._projector is None else learner.item_vectors()
        if found is None or self._projector is None or not np.isfinite(found).all():
            return None
        return found[self._projector.items.rows]

    def _draw(self) -> None:
        if self._due is None:
            return
        began = time.monotonic()
        epoch, outputs, vectors = self._due
        self._due = None
        assert self._writer is not None
        findings = None if outputs is None else findings_of(outputs)
        if findings is not None:
            findings.write(self._writer, epoch)
        if vectors is not None and self._projector is not None:
            self._projector.write(vectors)
        self._pace.drawn(began)


def _outputs(learner: Learner, record: EpochRecord) -> Outputs | None:
    return learner.outputs("val") if any(name.startswith("val_") for name in record.metrics) else None


def _tag(name: str) -> str:
    """`val_acc` stands under the heading `acc`, beside `train_acc`."""
    split, _, base = name.partition("_")
    return f"{base}/{split}"
