"""How many of those that are taken for a class are of it, and how many of it are found: precision-recall curves."""

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
from mlframework.visualise.run_plots.classified import above, classified
from mlframework.visualise.run_view import RunView

if TYPE_CHECKING:
    import plotly.graph_objects as go


def compute(view: RunView) -> CurvesOfClasses:
    """Compute the curves of all classes.

    Raises:
        PlotError: the run is no classifier's, its outputs are not known, or only one class has examples.
        RunError: the file of its outputs is damaged.
    """
    found = classified(view)
    curves, missing = per_class(view, found, range(len(found.class_names)), curve_of)
    area = float(np.mean([each.area for each in curves]))
    what = f"mean of {len(curves)} classes, each against the rest"
    return CurvesOfClasses(
        heading=style.Heading(
            f"Precision and recall: average precision {written(area)}",
            above(view, found.saved, len(found.rows), what, missing_note(missing)),
        ),
        curves=shown(curves),
        macro=thinned(*mean_of(curves)) if len(curves) > 1 else None,
        area=area,
        missing=missing,
    )


def curve_of(true: NDArray[np.bool_], scores: Floats) -> Found:
    """Return scikit-learn's curve as steps, recall to precision, and the average precision, which is the area under them.

    The precision at a point is that of the steps which end in it: sum of (R_n - R_(n-1)) P_n, without interpolation.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(true, scores)
    # Ascending recall; its first point, recall 0 with precision 1, is a convention, and no threshold has it.
    recall, precision = recall[::-1], precision[::-1]
    return Found("", recall, np.append(precision[1:], precision[-1]), float(average_precision_score(true, scores)), 0)


def mean_of(curves: Sequence[Found]) -> tuple[Floats, Floats]:
    """Return the mean precision of the classes at each recall: steps, whose area is the mean of the areas."""
    grid = grid_of(curves)
    heights = np.mean([each.y[_last_at(each.x, grid)] for each in curves], axis=0)
    return grid, heights


def _last_at(x: Floats, grid: Floats) -> NDArray[np.int64]:
    """Return the last place of a curve that is not beyond each value of a grid."""
    places: NDArray[np.int64] = np.searchsorted(x, grid, side="right") - 1
    return places


def draw(data: CurvesOfClasses) -> "go.Figure":
    """Draw them: a curve along the upper edge takes nothing else for the class until all of it is found."""
    return draw_curves(data, ("recall", "precision"), "Average precision", True, None)
