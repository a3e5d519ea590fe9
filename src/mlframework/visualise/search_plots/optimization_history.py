"""Every trial's value in the order of the trials, and the best so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.visualise import style
from mlframework.visualise.axes import beyond, visible_range
from mlframework.visualise.search_plots.points import Points, points
from mlframework.visualise.study_view import StudyView, is_feasible
from mlframework.visualise.wording import subtitle, too_few

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class HistoryData:
    """What the plot shows.

    Attributes:
        metric: name of the values.
        complete: the finished trials.
        pruned: the pruned trials, at the value that they last reported.
        running_best: (trial number, best value of all finished trials up to it), one entry a finished trial that
            keeps the constraints.
        best: the best trial, one point; none where every finished trial breaks a constraint.
        visible: reach of the value axis, or None for all.
        cut: how many trials that leaves out, in words.
    """

    heading: style.Heading
    metric: str
    complete: Points
    pruned: Points
    running_best: tuple[tuple[int, float], ...]
    best: Points
    visible: tuple[float, float] | None
    cut: str


def compute(view: StudyView, params: Sequence[str] = ()) -> HistoryData:
    """Compute the history. It shows values only: `params` has no bearing on it.

    Raises:
        PlotError: no trial has finished.
    """
    if not view.complete:
        raise too_few(view, "1 finished trial", "none")
    complete, pruned = points(view, view.complete), points(view, view.pruned)
    visible = visible_range(complete.values, view.direction)
    cut = beyond((*complete.values, *pruned.values), visible)
    return HistoryData(
        heading=style.Heading(f"{view.metric} of every trial, and the best so far", subtitle(view, cut)),
        metric=view.metric,
        complete=complete,
        pruned=pruned,
        running_best=running_best(view),
        best=points(view, [view.best] if view.best else []),
        visible=visible,
        cut=cut,
    )


def running_best(view: StudyView) -> tuple[tuple[int, float], ...]:
    """Return (trial number, best value so far) for each finished trial that keeps the constraints."""
    line: list[tuple[int, float]] = []
    for number, value in ((trial.number, trial.value) for trial in view.complete if is_feasible(trial)):
        if value is not None:
            best = min((line[-1][1], value), key=view.badness) if line else value
            line.append((number, best))
    return tuple(line)


def draw(data: HistoryData) -> "go.Figure":
    """Draw it: a mark a trial, a step line for the best so far, a star for the best."""
    go = style.plotly()
    figure = go.Figure()
    last = max((*data.complete.numbers, *data.pruned.numbers))
    if data.pruned.numbers:
        figure.add_scatter(
            x=data.pruned.numbers,
            y=data.pruned.values,
            mode="markers",
            name="pruned",
            marker=style.pruned_marker(len(data.pruned.numbers)),
            hovertext=data.pruned.hovers,
            hoverinfo="text",
        )
    if data.running_best:
        steps = [*data.running_best, (last, data.running_best[-1][1])]
        figure.add_scatter(
            x=[number for number, _ in steps],
            y=[value for _, value in steps],
            mode="lines",
            name="best so far",
            line={"shape": "hv", "color": style.VERMILLION, "width": 2},
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=data.complete.numbers,
        y=data.complete.values,
        mode="markers",
        name="complete",
        marker={"color": style.BLUE, "size": 9 if len(data.complete.numbers) <= style.MANY else 5, "opacity": 0.75},
        hovertext=data.complete.hovers,
        hoverinfo="text",
    )
    figure.add_scatter(
        x=data.best.numbers,
        y=data.best.values,
        mode="markers",
        name="best",
        marker=style.best_marker(),
        hovertext=data.best.hovers,
        hoverinfo="text",
    )
    figure.update_xaxes(title_text="trial", **style.whole_numbers(last))
    figure.update_yaxes(title_text=data.metric, range=data.visible)
    return style.styled(figure, data.heading, 560)
