"""What is shown of the best epoch: worked out and written when there is time for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mlframework.learners.base import Outputs
from mlframework.training.tracking.curves import MOST_CLASSES, RocCurve, precision_recall, roc, shown_classes

if TYPE_CHECKING:
    from mlframework.training.tracking.tensorboard import TensorBoardWriter

_SHARE = 0.02  # of the time may go into drawing while a training goes on
_COLOURS = 256  # of what is drawn with lines and points
_FIRST = 0.1  # seconds that a drawing is taken to need before there was one


class Findings(Protocol):
    """What an epoch is shown by."""

    def write(self, writer: TensorBoardWriter, epoch: int) -> None:
        """Draw it, and write the pictures."""


@dataclass(frozen=True)
class OfClasses:
    """What is shown of a classification.

    Attributes:
        class_names: of all classes.
        confusion: counts (k, k): row = true class, column = predicted class.
        precision_recall: by class, see `curves.precision_recall`.
        roc: by class.
    """

    class_names: Sequence[str]
    confusion: NDArray[np.int64]
    precision_recall: Mapping[str, NDArray[np.float32]]
    roc: Mapping[str, RocCurve]

    @classmethod
    def of(cls, outputs: Outputs, class_names: Sequence[str]) -> OfClasses:
        """Work it out."""
        from mlframework.training.tracking.pictures import confusion_matrix

        targets, values = outputs.targets, outputs.values
        counts = confusion_matrix(targets, values.argmax(axis=1), class_names)
        shown = {
            class_names[index]: (targets == index, values[:, index]) for index in shown_classes(targets, class_names)
        }
        return cls(
            class_names, counts,
            {name: precision_recall(*each) for name, each in shown.items()},
            {name: roc(*each) for name, each in shown.items()},
        )  # fmt: skip

    @property
    def note(self) -> str:
        """Which classes are shown, where that is not clear."""
        k = len(self.class_names)
        return f"{len(self.roc)} of {k} classes: those with\nthe most examples" if k > MOST_CLASSES else ""

    def write(self, writer: TensorBoardWriter, epoch: int) -> None:
        """Draw the confusion matrix and the ROC curves; precision and recall TensorBoard draws itself."""
        from mlframework.training.tracking.charts import draw_roc
        from mlframework.training.tracking.pictures import draw_confusion_matrix

        writer.image("confusion_matrix/val", epoch, draw_confusion_matrix(self.confusion, self.class_names))
        for name, counts in self.precision_recall.items():
            writer.pr_curve(f"pr_curve/{name}", epoch, counts, " ".join(self.note.split()))
        if self.roc:
            one_of_two = len(self.class_names) == 2
            title = "val: ROC curve" if one_of_two else "val: ROC curves, each class against the others"
            writer.image("roc_curve/val", epoch, draw_roc(self.roc, title, self.note), _COLOURS)


@dataclass(frozen=True)
class OfValues:
    """What is shown of a regression: true and predicted values, (n,) each, in the target's unit."""

    truth: NDArray[np.floating]
    predicted: NDArray[np.floating]

    def write(self, writer: TensorBoardWriter, epoch: int) -> None:
        """Draw predictions against the truth."""
        from mlframework.training.tracking.charts import draw_predictions

        title = "val: predicted against true"
        writer.image("predicted_against_true/val", epoch, draw_predictions(self.truth, self.predicted, title), _COLOURS)


def findings_of(outputs: Outputs) -> Findings | None:
    """Return what is shown of what a learner said of a split, or None where it said what is no number."""
    if not np.isfinite(outputs.values).all():
        return None
    if outputs.class_names is None:
        return OfValues(outputs.targets, outputs.values)
    return OfClasses.of(outputs, outputs.class_names)


class Pace:
    """Says when there is time to draw again: a chart takes as long as a short epoch does.

    Whoever asks draws at the end in any case, so that a training of seconds is drawn once.
    """

    def __init__(self) -> None:
        self._cost, self._since = _FIRST, time.monotonic()

    def has_time(self) -> bool:
        """Whether so long was trained since the last drawing that another one is a small share of it."""
        return time.monotonic() - self._since > self._cost / _SHARE

    def drawn(self, began: float) -> None:
        """Take note of a drawing that began at that time of the clock `time.monotonic`."""
        self._since = time.monotonic()
        self._cost = self._since - began
