"""The plots of a run: one line of `RUN_PLOTS` each, one file each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.visualise.run_plots import (
    calibration,
    confusion_matrix,
    curves,
    mistakes,
    popularity,
    precision_recall,
    ranking_at_k,
    recall_at_k,
    residuals,
    roc,
    user_hits,
)
from mlframework.visualise.run_plots.classified import has_outputs, is_classifier, is_regressor
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
    "confusion_matrix": RunPlot(
        "which class is taken for which", is_classifier, confusion_matrix.compute, confusion_matrix.draw
    ),
    "calibration": RunPlot(
        "whether it is as often right as it says", is_classifier, calibration.compute, calibration.draw
    ),
    "roc": RunPlot("ROC curve of each class", is_classifier, roc.compute, roc.draw),
    "precision_recall": RunPlot(
        "precision-recall curve of each class", is_classifier, precision_recall.compute, precision_recall.draw
    ),
    "residuals": RunPlot("predicted against true, and the errors", is_regressor, residuals.compute, residuals.draw),
    "mistakes": RunPlot("where it is most wrong: images, or rows", has_outputs, mistakes.compute, mistakes.draw),
    "recall_at_k": RunPlot("recall@K for every K", has_rankings, recall_at_k.compute, recall_at_k.draw),
    "ranking_at_k": RunPlot(
        "precision@K and NDCG@K for every K", has_rankings, ranking_at_k.compute, ranking_at_k.draw
    ),
    "user_hits": RunPlot("how many users are served how well", has_rankings, user_hits.compute, user_hits.draw),
    "popularity": RunPlot(
        "how much of the catalogue is recommended", has_rankings, popularity.compute, popularity.draw
    ),
}

_OF_OUTPUTS = (is_classifier, is_regressor, has_outputs)


def uses_outputs(view: RunView, names: Sequence[str]) -> bool:
    """Tell whether one of the plots, or where none is named of those that fit the run, shows the model's outputs."""
    chosen = [RUN_PLOTS[name] for name in names if name in RUN_PLOTS] or list(RUN_PLOTS.values())
    return any(plot.fits in _OF_OUTPUTS and plot.fits(view) for plot in chosen)
