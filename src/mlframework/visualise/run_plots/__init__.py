"""The plots of a run: one line of `RUN_PLOTS` each, one file each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.visualise.run_plots import curves, popularity, recall_at_k
from mlframework.visualise.run_plots.ranking import has_rankings
from mlframework.visualise.run_view import RunView

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class RunPlot:
    """One kind of plot: compute, then draw.

    Attributes:
        shows: what is seen, for `--help`.
        fits: whether this is a plot for such a run; one that is not is drawn only where it is asked for, and then says
            what it needs.
        compute: the run to plain data. Raises PlotError or RunError, with the reason and what to do, where it cannot
            be drawn.
        draw: that data to a figure. Raises MissingExtraError where plotly is not installed.
    """

    shows: str
    fits: Callable[[RunView], bool]
    compute: Callable[[RunView], Any]
    draw: Callable[[Any], "go.Figure"]


def _always(view: RunView) -> bool:
    return True


RUN_PLOTS: dict[str, RunPlot] = {
    "curves": RunPlot("every metric epoch by epoch", _always, curves.compute, curves.draw),
    "recall_at_k": RunPlot("recall@K for every K", has_rankings, recall_at_k.compute, recall_at_k.draw),
    "popularity": RunPlot(
        "how much of the catalogue is recommended", has_rankings, popularity.compute, popularity.draw
    ),
}
