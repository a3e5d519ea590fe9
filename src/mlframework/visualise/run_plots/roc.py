"""How many of a class are found at the price of how many false alarms: the ROC curve of each class against the rest."""

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
    macro = _mean(curves) if len(curves) > 1 else None
    what = (
        f"of {shortened(curves[0].name)}"
        if len(curves) == 1
        else f"mean of {len(curves)} classes, each against the rest"
    )
    return CurvesOfClasses(
        heading=style.Heading(
            f"ROC: area {written(area)}", above(view, found.saved, len(found.rows), what, missing_note(missing))
        ),
        curves=shown(curves, step=False),
        macro=macro,
        area=area,
        missing=missing,
    )


def curve_of(true: NDArray[np.bool_], scores: Floats) -> Found:
    """Return scikit-learn's ROC curve, false positive rate to true positive rate, and the area under it."""
    from sklearn.metrics import auc, roc_curve

    false_positive, true_positive, _ = roc_curve(true, scores)
    return Found("", false_positive, true_positive, float(auc(false_positive, true_positive)), 0)


def _mean(curves: list[Found]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the macro average: the mean true positive rate of the classes at each false positive rate.

    As in scikit-learn's example "Multiclass Receiver Operating Characteristic".
    """
    grid = grid_of(curves)
    heights = np.mean([_at(each, grid) for each in curves], axis=0)
    # Where the false positive rate is 0 a curve rises: it begins in the corner.
    return thinned(np.append(0.0, grid), np.append(0.0, heights), step=False)


def _at(curve: Found, grid: Floats) -> Floats:
    """Return a curve's height at each false positive rate, the largest where it rises there."""
    last = np.append(np.flatnonzero(np.diff(curve.x) > 0), len(curve.x) - 1)
    heights: Floats = np.interp(grid, curve.x[last], curve.y[last])
    return heights


def draw(data: CurvesOfClasses) -> "go.Figure":
    """Draw them: a curve in the upper left corner finds all of a class without a false alarm."""
    return draw_curves(data, ("false positive rate", "true positive rate"), "Area under the curve", False, (0.0, 1.0))
