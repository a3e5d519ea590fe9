"""The plots of a study: one line of `PLOTS` each, one file each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.visualise.search_plots import (
    contour,
    intermediate_values,
    optimization_history,
    parallel_coordinate,
    param_importances,
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
    """

    shows: str
    compute: Callable[[StudyView, Sequence[str]], Any]
    draw: Callable[[Any], "go.Figure"]
    uses_params: bool


PLOTS: dict[str, Plot] = {
    "optimization_history": Plot(
        "every trial's value, and the best so far", optimization_history.compute, optimization_history.draw, False
    ),
    "param_importances": Plot(
        "which parameters decided the value", param_importances.compute, param_importances.draw, True
    ),
    "slice": Plot("the value against each parameter", slice.compute, slice.draw, True),
    "contour": Plot("the value over two parameters", contour.compute, contour.draw, True),
    "parallel_coordinate": Plot(
        "every trial's parameters and its value", parallel_coordinate.compute, parallel_coordinate.draw, True
    ),
    "intermediate_values": Plot(
        "every trial's training curve", intermediate_values.compute, intermediate_values.draw, False
    ),
}
