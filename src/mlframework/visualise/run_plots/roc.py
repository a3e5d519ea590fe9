"""How many of a class are found at the price of how many false alarms: the ROC curve of each class against the rest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlframework.visualise import style
from mlframework.visualise.run_plots.class_curves import (
    CurvesOfClasses,
    Floats,
    Found,
    draw_curves,
    grid_of,
    missing_note,
    per_class,
    shown,
    thinned,
    written,
)
from mlframework.visualise.run_plots.classified import above, classified, shortened
from mlframework.visualise.run_view import RunView

if TYPE_CHECKING:
    import plotly.graph_objects as go


def compute(view: RunView) -> CurvesOfClasses:
    """Compute the curves, of two classes the second one's alone: the first one's is its mirror image.

    Raises:
        PlotError: the run is no classifier's, its outputs are not known, or only one class has examples.
        RunError: the file of its outputs is damaged.
    """
    found = classified(view)
    n_classes = len(found.class_names)
    curves, missing = per_class(view, found, range(n_classes) if n_classes > 2 else [n_classes - 1], curve_of)
    area = float(np.mean([each.area for each in curves]))
    macro = thinned(*mean_of(curves)) if len(curves) > 1 else None
    what = (
        f"of {shortened(curves[0].name)}"
        if len(curves) == 1
        else f"mean of {len(curves)} classes, each against the rest"
    )
    return CurvesOfClasses(
        heading=style.Heading(
            f"ROC: area {written(area)}", above(view, found.saved, len(found.rows), what, missing_note(missing))
        ),
        curves=shown(curves),
        macro=macro,
        area=area,
        missing=missing,
    )


def curve_of(true: NDArray[np.bool_], scores: Floats) -> Found:
    """Return scikit-learn's ROC curve, false positive rate to true positive rate, and the area under it."""
    from sklearn.metrics import auc, roc_curve

    false_positive, true_positive, _ = roc_curve(true, scores)
    return Found("", false_positive, true_positive, float(auc(false_positive, true_positive)), 0)


def mean_of(curves: Sequence[Found]) -> tuple[Floats, Floats]:
    """Return the macro average: the mean true positive rate of the classes at each false positive rate.

    As in scikit-learn's example "Multiclass Receiver Operating Characteristic", but that where curves rise straight up it
    has the lower and the upper end, so that its area is the mean of theirs.
    """
    grid = grid_of(curves)
    lower, upper = np.mean([_ends(each, grid) for each in curves], axis=0)
    return np.repeat(grid, 2), np.column_stack([lower, upper]).ravel()


def _ends(curve: Found, grid: Floats) -> tuple[Floats, Floats]:
    """Return a curve's height at each place of a grid as one comes to it from the left and from the right."""
    x, first = np.unique(curve.x, return_index=True)
    lower, upper = curve.y[first], curve.y[np.append(first[1:], len(curve.y)) - 1]
    at = np.searchsorted(x, grid)
    before = np.maximum(at - 1, 0)
    part = (grid - x[before]) / np.where(at > before, x[at] - x[before], 1.0)
    between, meets = upper[before] + (lower[at] - upper[before]) * part, x[at] == grid
    return np.where(meets, lower[at], between), np.where(meets, upper[at], between)


def draw(data: CurvesOfClasses) -> "go.Figure":
    """Draw them: a curve in the upper left corner finds all of a class without a false alarm."""
    return draw_curves(data, ("false positive rate", "true positive rate"), "Area under the curve", False, (0.0, 1.0))
