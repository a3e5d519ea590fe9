"""Every trial's folds or repeats: how far they lie apart, and after how many a trial was stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.errors import PlotError
from mlframework.search.duplicates import PARTS
from mlframework.visualise import style
from mlframework.visualise.axes import beyond, visible_range
from mlframework.visualise.search_plots.points import Points, points
from mlframework.visualise.study_view import StudyView
from mlframework.visualise.wording import subtitle

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class FoldsData:
    """What the plot shows.

    Attributes:
        metric: name of the values.
        parts: (trial number, fold or repeat from 1 on, value) of complete trials.
        stopped: the same of trials that were stopped between folds.
        complete: the complete trials, at their values.
        best: the best trial, one point.
        visible: reach of the value axis, or None for all.
    """

    heading: style.Heading
    metric: str
    parts: tuple[tuple[int, int, float], ...]
    stopped: tuple[tuple[int, int, float], ...]
    complete: Points
    best: Points
    visible: tuple[float, float] | None


def compute(view: StudyView, params: Sequence[str] = ()) -> FoldsData:
    """Collect the folds. It shows values only: `params` has no bearing on it.

    Raises:
        PlotError: no trial was trained on folds or with several seeds.
    """
    if view.metric != view.goal.main:
        raise PlotError(f"folds and repeats report {view.goal.main}, nothing else: leave out --metric {view.metric}")
    complete = [trial for trial in view.complete if PARTS in trial.user_attrs]
    if not complete:
        raise PlotError(
            "no complete trial was trained several times; set search.cross_validation or search.repeats for that"
        )
    stopped = [trial for trial in view.pruned if PARTS in trial.user_attrs]
    shown = tuple((t.number, n, value) for t in complete for n, value in enumerate(t.user_attrs[PARTS], 1))
    others = tuple((t.number, n, value) for t in stopped for n, value in enumerate(t.user_attrs[PARTS], 1))
    values = [value for *_, value in (*shown, *others)]
    visible = visible_range([value for *_, value in shown], view.direction)
    return FoldsData(
        heading=style.Heading(
            f"{view.metric} of every trial on each fold or repeat", subtitle(view, beyond(values, visible))
        ),
        metric=view.metric,
        parts=shown,
        stopped=others,
        complete=points(view, complete),
        best=points(view, [view.best] if view.best else []),
        visible=visible,
    )


def draw(data: FoldsData) -> "go.Figure":
    """Draw it: a small mark a fold, a dash for the trial's value, a star for the best trial."""
    go = style.plotly()
    figure = go.Figure()
    for name, marks, marker in (
        ("fold, trial stopped", data.stopped, style.pruned_marker(len(data.stopped))),
        ("fold", data.parts, {"color": style.BLUE, "size": 6, "opacity": 0.5}),
    ):
        if marks:
            figure.add_scatter(
                x=[number for number, _, _ in marks],
                y=[value for *_, value in marks],
                mode="markers",
                name=name,
                marker=marker,
                hovertext=[f"trial {number}, {part}: {value:.6g}" for number, part, value in marks],
                hoverinfo="text",
            )
    figure.add_scatter(
        x=data.complete.numbers,
        y=data.complete.values,
        mode="markers",
        name="trial",
        marker={"symbol": "line-ew-open", "size": 16, "color": style.VERMILLION, "line": {"width": 2}},
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
    last = max(number for number, *_ in (*data.parts, *data.stopped))
    figure.update_xaxes(title_text="trial", **style.whole_numbers(last))
    figure.update_yaxes(title_text=data.metric, range=data.visible)
    return style.styled(figure, data.heading, 560)
