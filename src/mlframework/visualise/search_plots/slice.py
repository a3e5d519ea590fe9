"""The value against each parameter, one small plot a parameter."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.axes import ParamAxis, beyond, param_axis, visible_range
from mlframework.visualise.search_plots.param_importances import ranked
from mlframework.visualise.search_plots.points import Points, points
from mlframework.visualise.study_view import StudyView, last_value, values_of
from mlframework.visualise.wording import count_of, subtitle, too_few

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

_MOST_PANELS = 12
_IN_A_ROW = 4


@dataclass(frozen=True)
class SliceMarks:
    """Some trials on one panel: where each lies on the parameter's axis, and the point itself."""

    at: tuple[float | str, ...]
    points: Points


@dataclass(frozen=True)
class SlicePanel:
    """One parameter.

    Attributes:
        axis: the parameter's axis.
        complete: the finished trials that have the parameter.
        pruned: the pruned trials that have it.
        best: the best trial, or none where it lacks the parameter.
        without: how many finished trials do not have the parameter.
    """

    axis: ParamAxis
    complete: SliceMarks
    pruned: SliceMarks
    best: SliceMarks
    without: int


@dataclass(frozen=True)
class SliceData:
    """What the plot shows; `visible` is the reach of the value axis, or None for all, `cut` how many trials that leaves out."""

    heading: style.Heading
    metric: str
    panels: tuple[SlicePanel, ...]
    visible: tuple[float, float] | None
    cut: str


def compute(view: StudyView, params: Sequence[str] = ()) -> SliceData:
    """Compute the panels.

    Args:
        view: the study.
        params: dotted keys to show, in this order; none: the (up to 12) most important.

    Raises:
        PlotError: no trial has finished, or there is no parameter.
    """
    if not view.complete:
        raise too_few(view, "1 finished trial", "none")
    if not view.params:
        raise PlotError("the trials have no parameters: put some under search.search_space")
    keys = list(params) or ranked(view)[:_MOST_PANELS]
    fewer = "" if params or len(view.params) <= len(keys) else f"the {len(keys)} most important parameters"
    values = values_of(view.complete)
    visible = visible_range(values, view.direction)
    cut = beyond(values, visible)
    return SliceData(
        heading=style.Heading(
            f"{view.metric} against {'each parameter' if len(keys) > 1 else view.labels[keys[0]]}",
            subtitle(view, fewer, cut),
        ),
        metric=view.metric,
        panels=tuple(_panel(view, key) for key in keys),
        visible=visible,
        cut=cut,
    )


def _panel(view: StudyView, key: str) -> SlicePanel:
    axis = param_axis(view, key)

    def marks(trials: "Sequence[optuna.trial.FrozenTrial]") -> SliceMarks:
        having = [trial for trial in trials if key in trial.params and last_value(trial) is not None]
        return SliceMarks(tuple(axis.coordinate(trial.params[key]) for trial in having), points(view, having))

    without = sum(key not in trial.params for trial in view.complete)
    return SlicePanel(axis, marks(view.complete), marks(view.pruned), marks([view.best] if view.best else []), without)


def draw(data: SliceData) -> "go.Figure":
    """Draw it: small plots in rows of four, one value axis; darker marks are later trials, the star is the best."""
    go = style.plotly()
    from plotly.subplots import make_subplots

    columns = min(_IN_A_ROW, len(data.panels))
    rows = math.ceil(len(data.panels) / columns)
    figure = make_subplots(
        rows=rows, cols=columns, shared_yaxes=True, horizontal_spacing=0.025, vertical_spacing=0.32 / rows
    )
    named: set[str] = set()
    for index, panel in enumerate(data.panels):
        row, column = index // columns + 1, index % columns + 1
        for trace in _traces(go, panel, named):
            figure.add_trace(trace, row=row, col=column)
        missing = f"<br><sup>{count_of(panel.without, 'trial')} without it</sup>" if panel.without else ""
        figure.update_xaxes(
            title_text=panel.axis.label + missing, **style.param_axis_layout(panel.axis), row=row, col=column
        )
    figure.update_yaxes(range=data.visible)
    figure.update_yaxes(title_text=data.metric, col=1)
    last = max((1, *(number for panel in data.panels for number in panel.complete.points.numbers)))
    figure.update_layout(
        coloraxis={
            "colorscale": style.TIME,
            "cmin": 0,
            "cmax": last,
            "colorbar": {
                "title": {"text": "trial"},
                "thickness": 14,
                "outlinewidth": 0,
                "dtick": 1 if last < 8 else None,
            },
        }
    )
    return style.styled(figure, data.heading, 180 + 340 * rows)


def _traces(go: Any, panel: SlicePanel, named: set[str]) -> list[Any]:
    """Return the marks of one panel; `named` holds what has its entry in the legend already."""
    dot = {
        "color": panel.complete.points.numbers,
        "coloraxis": "coloraxis",
        "size": 8 if len(panel.complete.at) <= style.MANY else 5,
        "line": {"color": "white", "width": 0.5},
    }
    looks = {
        "pruned": (panel.pruned, style.pruned_marker(len(panel.pruned.at))),
        "complete": (panel.complete, dot),
        "best": (panel.best, style.best_marker()),
    }
    traces = []
    for name, (marks, marker) in looks.items():
        if not marks.at:
            continue
        traces.append(
            go.Scatter(
                x=marks.at,
                y=marks.points.values,
                mode="markers",
                marker=marker,
                name=name,
                legendgroup=name,
                showlegend=name not in named and name != "complete",  # the colour bar stands for those
                hovertext=marks.points.hovers,
                hoverinfo="text",
            )
        )
        named.add(name)
    return traces
