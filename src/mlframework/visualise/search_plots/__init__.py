"""The plots of a study: one line of `PLOTS` each, one file each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.visualise.search_plots import (
    confirm,
    contour,
    folds,
    importance_significance,
    intermediate_values,
    optimization_history,
    parallel_coordinate,
    param_importances,
    pareto_front,
    slice,
)
from mlframework.visualise.study_view import StudyView

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Plot:
    """One kind of plot: compute, then draw.

    Attributes:
        shows: what is seen, for `--help`.
        compute: (view, dotted keys of the parameters to show, or none for its own choice) to plain data. Raises
            PlotError, with the reason and what to do, where it cannot be drawn.
        draw: that data to a figure. Raises MissingExtraError where plotly is not installed.
        uses_params: whether the parameters asked for have a bearing on it.
        by_default: whether it is drawn where no plot is named; one that takes long is not.
        fits: whether the study has what it shows; where no plot is named, one that does not fit is left out.
    """

    shows: str
    compute: Callable[[StudyView, Sequence[str]], Any]
    draw: Callable[[Any], "go.Figure"]
    uses_params: bool
    by_default: bool = True
    fits: Callable[[StudyView], bool] = lambda view: True


PLOTS: dict[str, Plot] = {
    "optimization_history": Plot(
        "every trial's value, and the best so far", optimization_history.compute, optimization_history.draw, False
    ),
    "param_importances": Plot(
        "which parameters decided the value", param_importances.compute, param_importances.draw, True
    ),
    "importance_significance": Plot(
        "how sure that is: intervals, p-values, rank correlations",
        importance_significance.compute,
        importance_significance.draw,
        uses_params=True,
        by_default=False,
    ),
    "folds": Plot("each trial's folds or repeats", folds.compute, folds.draw, uses_params=False, by_default=False),
    "slice": Plot("the value against each parameter", slice.compute, slice.draw, True),
    "contour": Plot("the value over two parameters", contour.compute, contour.draw, True),
    "parallel_coordinate": Plot(
        "every trial's parameters and its value", parallel_coordinate.compute, parallel_coordinate.draw, True
    ),
    "intermediate_values": Plot(
        "every trial's training curve",
        intermediate_values.compute,
        intermediate_values.draw,
        uses_params=False,
        fits=lambda view: view.metric == view.goal.main,
    ),
    "pareto_front": Plot(
        "several objectives against one another",
        pareto_front.compute,
        pareto_front.draw,
        uses_params=False,
        fits=pareto_front.has_front,
    ),
    "confirm": Plot(
        "the best trials over further seeds", confirm.compute, confirm.draw, uses_params=False, fits=confirm.fits
    ),
}
