"""Every trial as a line through its parameters to the value that they led to.

Drawn as ordinary lines, not with plotly's Parcoords, which has no hover, cannot show that a trial lacks a
parameter, and cannot put the best trial in front.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.axes import ParamAxis, param_axis, visible_range
from mlframework.visualise.search_plots.param_importances import ranked
from mlframework.visualise.search_plots.ticks import ticks
from mlframework.visualise.study_view import StudyView, last_value, values_of
from mlframework.visualise.wording import hover, short, subtitle, too_few

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

_MOST_PARAMS = 8
_SHADES = 10
NOT_SET = -0.14  # height of "this trial has no such parameter": beneath the axis


@dataclass(frozen=True)
class ParallelAxis:
    """One vertical axis: its label, and its ticks as (height from 0 to 1, text)."""

    label: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class ParallelLine:
    """One trial.

    Attributes:
        number: the trial's.
        heights: its height on each axis, 0 to 1; `NOT_SET` where it lacks the parameter; None on the value axis for a
            pruned trial, whose value is that of an earlier epoch and not to be compared.
        goodness: share of the finished trials that are no better: close to 0 for the worst, 1 for the best. A rank, not
            the value: a good search ends with many trials of nearly the same value.
        hover: what the mouse shows.
    """

    number: int
    heights: tuple[float | None, ...]
    goodness: float
    hover: str


@dataclass(frozen=True)
class ParallelData:
    """What the plot shows: the axes (the last one is the value's), and the lines, the best finished trial last."""

    heading: style.Heading
    axes: tuple[ParallelAxis, ...]
    complete: tuple[ParallelLine, ...]
    pruned: tuple[ParallelLine, ...]
    best: tuple[ParallelLine, ...]


def compute(view: StudyView, params: Sequence[str] = ()) -> ParallelData:
    """Compute the lines.

    Args:
        view: the study.
        params: dotted keys in the order of the axes; none: the (up to 8) most important, the most important one next
            to the value.

    Raises:
        PlotError: no trial has finished, or there is no parameter.
    """
    if not view.complete:
        raise too_few(view, "1 finished trial", "none")
    if not view.params:
        raise PlotError("the trials have no parameters: put some under search.search_space")
    keys = list(params) or ranked(view)[:_MOST_PARAMS][::-1]
    cut = "" if params or len(view.params) <= len(keys) else f"the {len(keys)} most important parameters"
    values = values_of(view.complete)
    low, high = visible_range(values, view.direction) or (min(values), max(values))
    worst_first = sorted(-view.badness(value) for value in values)
    scales = [param_axis(view, key) for key in keys]

    def line(trial: "optuna.trial.FrozenTrial") -> ParallelLine:
        value = last_value(trial)
        share = _share(low if value is None else value, low, high)
        heights = [
            _height(scale, trial.params[key]) if key in trial.params else NOT_SET
            for key, scale in zip(keys, scales, strict=True)
        ]
        goodness = 0.0 if value is None else bisect.bisect_right(worst_first, -view.badness(value)) / len(worst_first)
        reached = share if trial.state.name == "COMPLETE" else None
        return ParallelLine(trial.number, (*heights, reached), goodness, hover(view, trial))

    value_axis = ParallelAxis(
        view.metric, tuple((_share(at, low, high), short(at)) for at in ticks(low, high, "linear"))
    )
    best_number = view.best.number if view.best else -1
    others = [trial for trial in view.complete if trial.number != best_number]
    return ParallelData(
        heading=style.Heading(f"Each trial's parameters, and the {view.metric} they led to", subtitle(view, cut)),
        axes=(*(_drawn(view, scale) for scale in scales), value_axis),
        complete=tuple(sorted(map(line, others), key=lambda drawn: drawn.goodness)),
        pruned=tuple(line(trial) for trial in view.pruned),
        best=(line(view.best),) if view.best else (),
    )


def _height(axis: ParamAxis, value: object) -> float:
    return _share(axis.position(value), axis.low, axis.high)


def _drawn(view: StudyView, param: ParamAxis) -> ParallelAxis:
    marks: list[tuple[float, str]]
    if param.scale == "category":
        marks = [(_height(param, choice), choice) for choice in param.choices]
    else:
        ends = (10**param.low, 10**param.high) if param.scale == "log" else (param.low, param.high)
        marks = [(_height(param, at), short(at)) for at in ticks(*ends, param.scale)]
    if any(param.key not in trial.params for trial in (*view.complete, *view.pruned)):
        marks.insert(0, (NOT_SET, "not set"))
    return ParallelAxis(param.label, tuple(marks))


def _share(at: float, low: float, high: float) -> float:
    """Return how far `at` lies between low and high, 0 to 1; the middle where there is no way between them."""
    return 0.5 if high == low else min(1.0, max(0.0, (at - low) / (high - low)))


def draw(data: ParallelData) -> "go.Figure":
    """Draw it: darker lines are better, the best is in front, pruned ones are grey and thin."""
    go = style.plotly()
    figure = go.Figure()
    many = len(data.complete) > style.MANY
    if data.pruned:
        figure.add_trace(_lines(go, data.pruned, "pruned", {"color": style.GREY, "width": 0.8}, 0.2 if many else 0.4))
    for shade in range(_SHADES):
        chosen = [line for line in data.complete if min(_SHADES - 1, int(line.goodness * _SHADES)) == shade]
        if chosen:
            colour = _colour((shade + 0.5) / _SHADES)
            trace = _lines(
                go,
                chosen,
                "complete, darker is better",
                {"color": colour, "width": 1 if many else 1.8},
                0.4 if many else 0.8,
            )
            trace.update(showlegend=chosen[-1] is data.complete[-1])
            figure.add_trace(trace)
    if data.best:
        figure.add_trace(_lines(go, data.best, "best", {"color": style.VERMILLION, "width": 3.5}, 1.0))
    _draw_axes(figure, data)
    return style.styled(figure, data.heading, 600)


def _lines(go: Any, lines: Sequence[ParallelLine], name: str, line: dict[str, Any], opacity: float) -> Any:
    """Put many lines into one trace, with a gap after each: a thousand traces would take a browser's breath away."""
    count = len(lines[0].heights)
    return go.Scatter(
        x=[at for _ in lines for at in (*range(count), None)],
        y=[height for drawn in lines for height in (*drawn.heights, None)],
        hovertext=[text for drawn in lines for text in (*[drawn.hover] * count, "")],
        mode="lines+markers",
        line=line,
        marker={"size": 4, "color": line["color"]},
        opacity=opacity,
        name=name,
        hoverinfo="text",
    )


def _draw_axes(figure: "go.Figure", data: ParallelData) -> None:
    last = len(data.axes) - 1
    for at, axis in enumerate(data.axes):
        figure.add_shape(type="line", x0=at, x1=at, y0=0, y1=1, line={"color": style.INK, "width": 1.2}, layer="below")
        for height, text in axis.ticks:
            figure.add_annotation(
                x=at,
                y=height,
                text=text,
                showarrow=False,
                xanchor="left" if at == last else "right",
                xshift=7 if at == last else -7,
                bgcolor="rgba(255,255,255,0.85)",
                borderpad=1,
                font={"size": 12, "color": style.INK if height >= 0 else "#80868B"},
            )
    figure.update_xaxes(
        tickvals=list(range(last + 1)),
        ticktext=[f"<b>{axis.label}</b>" for axis in data.axes],
        range=(-0.35, last + 0.35),
        side="top",
        showgrid=False,
        showline=False,
        ticks="",
    )
    lacking = any(height < 0 for axis in data.axes for height, _ in axis.ticks)
    figure.update_yaxes(visible=False, range=(NOT_SET - 0.06 if lacking else -0.06, 1.05))
    figure.update_layout(legend={"y": -0.02, "yanchor": "top"}, margin={"t": 130, "l": 60, "r": 60})


def _colour(share: float) -> str:
    from plotly.colors import sample_colorscale

    # The palest tenths would vanish on white.
    return str(sample_colorscale([list(stop) for stop in style.VALUES], 0.15 + 0.85 * share)[0])
