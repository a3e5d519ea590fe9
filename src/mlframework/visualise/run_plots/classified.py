"""What the plots of a classifier share: its predictions, how sure it is of them, and how its classes are written."""

import html
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlframework.errors import PlotError
from mlframework.outputs import SavedOutputs
from mlframework.visualise.run_view import RunView, subtitle
from mlframework.visualise.wording import count_of

LONGEST_NAME = 24
"""Characters of a class's name beside an axis."""


@dataclass(frozen=True)
class Classified:
    """A classifier's predictions of a split.

    Attributes:
        saved: all outputs.
        rows: (n,) positions in them of the examples whose probabilities are numbers.
        targets: (n,) their classes.
        probabilities: (n, k).
    """

    saved: SavedOutputs
    rows: NDArray[np.int64]
    targets: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The k names."""
        return self.saved.class_names

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each example, (n,)."""
        found: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return found

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of the predicted class, (n,)."""
        found: NDArray[np.float64] = self.probabilities.max(axis=1)
        return found

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the true one, (n,)."""
        found: NDArray[np.bool_] = self.predicted == self.targets
        return found


def is_classifier(view: RunView) -> bool:
    """Tell whether the run learns classes."""
    return view.task == "classification"


def is_regressor(view: RunView) -> bool:
    """Tell whether the run learns a number."""
    return view.task == "regression"


def has_outputs(view: RunView) -> bool:
    """Tell whether the run has an output for each example, class or number."""
    return is_classifier(view) or is_regressor(view)


def classified(view: RunView) -> Classified:
    """Return what a run's model says of the examples of a split.

    Raises:
        PlotError: the run is no classifier's, has no outputs, or none of them is a number.
        RunError: the file is damaged.
    """
    if not is_classifier(view):
        raise PlotError(f"needs classes, and {view.run.path} is a {view.task}: draw another plot of it, such as curves")
    saved = view.outputs
    if saved.task != "classification":
        raise PlotError(f"needs classes, and the outputs of {view.run.path} are of a {saved.task}: train again")
    rows = numbers_only(view, saved)
    probabilities = saved.values[rows].astype(np.float64)
    return Classified(saved, rows, saved.targets[rows], probabilities)


def numbers_only(view: RunView, saved: SavedOutputs) -> NDArray[np.int64]:
    """Return the positions of the examples whose outputs are numbers, (n,).

    Raises:
        PlotError: no output is one.
    """
    values: NDArray[Any] = saved.values.reshape(len(saved), -1)
    rows = np.flatnonzero(np.isfinite(values).all(axis=1) & np.isfinite(saved.targets))
    if not len(rows):
        raise PlotError(
            f"needs outputs that are numbers, and none of the {len(saved)} of {view.run.path} is one: a lower learning "
            "rate (optimizer.lr) may keep the training from diverging"
        )
    return rows


def above(view: RunView, saved: SavedOutputs, n_rows: int, *notes: str) -> str:
    """Return the subtitle: which run, split and epoch is seen, and how many examples have no numbers."""
    left_out = len(saved) - n_rows
    without = f"{count_of(left_out, 'example')} without a number left out" if left_out else ""
    split = f"{saved.split} split: {count_of(len(saved), 'example')}, epoch {saved.epoch}"
    return subtitle(view, split, without, *notes)


def label(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name as a picture may have it: short, and without a sign that plotly or a browser would obey."""
    # Between two dollar signs plotly sees a formula.
    return html.escape(shortened(name, longest), quote=False).replace("$", "&#36;")


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name of at most so many characters, all of which can be seen; a long one is cut in its middle."""
    shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in name)
    if len(shown) > longest:
        shown = f"{shown[: longest - 6]}…{shown[-5:]}"
    return shown


def share(value: float) -> str:
    """Write a share: "97.2 %"; never 100 % or 0 % where it is not."""
    if value in (0.0, 1.0):
        return f"{100 * value:.0f} %"
    return f"{min(max(100 * value, 0.1), 99.9):.1f} %"
