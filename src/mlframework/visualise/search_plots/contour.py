"""The value over two parameters: what they do together. More than two parameters give a matrix of pairs."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.axes import ParamAxis, param_axis
from mlframework.visualise.search_plots.param_importances import ranked
from mlframework.visualise.search_plots.points import Points, points
from mlframework.visualise.search_plots.surface import smooth
from mlframework.visualise.study_view import Direction, StudyView, last_value, values_of
from mlframework.visualise.wording import count_of, short, subtitle, too_few

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

_MOST_PARAMS = 5
_GRID = 48  # positions along a numeric axis

Coordinates = tuple[float | str, ...]


@dataclass(frozen=True)
class PairMarks:
    """Some trials that have both parameters: where they lie, and the points themselves."""

    x: Coordinates
    y: Coordinates
    points: Points


@dataclass(frozen=True)
class ContourPanel:
    """One pair of parameters.

    Attributes:
        x_axis, y_axis: the parameters.
        grid_x, grid_y: where the surface is known, in plotly's coordinates.
        surface: the smoothed value, [row of grid_y][column of grid_x]; None where no finished trial is near.
        complete, pruned, best: the trials.
    """

    x_axis: ParamAxis
    y_axis: ParamAxis
    grid_x: Coordinates
    grid_y: Coordinates
    surface: tuple[tuple[float | None, ...], ...]
    complete: PairMarks
    pruned: PairMarks
    best: PairMarks


@dataclass(frozen=True)
class ContourData:
    """What the plot shows.

    Attributes:
        metric: what the colours are.
        higher_is_better: which end of the colours is the dark one.
        limits: (low, high) of the colours.
        size: parameters on each side.
        panels: the pairs, keyed by (row, column) of the matrix, from 1; one pair: just (1, 1).
    """

    heading: style.Heading
    metric: str
    higher_is_better: bool
    limits: tuple[float, float]
    size: int
    panels: dict[tuple[int, int], ContourPanel]


def compute(view: StudyView, params: Sequence[str] = ()) -> ContourData:
    """Compute the pairs.

    Args:
        view: the study.
        params: dotted keys, 2 to 5; none: the two most important.

    Raises:
        PlotError: too few or too many parameters, or fewer than 2 finished trials with different values that have
            two of the parameters.
    """
    values = values_of(view.complete)
    if len(set(values)) < 2:
        raise too_few(view, "2 finished trials with different values", count_of(len(set(values)), "value"))
    keys = list(params) or _two_most_important(view)
    _check(view, keys)
    visible = _limits(values, view.direction)
    panels = {
        (second, first + 1): _panel(view, keys[first], keys[second], visible)
        for first, second in itertools.combinations(range(len(keys)), 2)
    }
    if not any(panel.complete.x for panel in panels.values()):
        raise too_few(view, f"a finished trial that has {' and '.join(keys)}", "none")
    names = [view.labels[key] for key in keys]
    title = (
        f"{view.metric} over {names[0]} and {names[1]}{'' if params else ', the two most important parameters'}"
        if len(keys) == 2
        else f"{view.metric} over pairs of parameters"
    )
    notes = (
        "between trials an estimate",
        f"palest: {short(visible[0] if view.direction == 'maximize' else visible[1])} or worse",
    )
    return ContourData(
        heading=style.Heading(title, subtitle(view, *notes)),
        metric=view.metric,
        higher_is_better=view.direction == "maximize",
        limits=visible,
        size=len(keys) - 1,
        panels=panels,
    )


def _limits(values: Sequence[float], direction: Direction) -> tuple[float, float]:
    """Return the colours' ends: the worst tenth shares one, or the good trials could not be told from one another."""
    if len(values) < 10:
        return min(values), max(values)
    tenths = statistics.quantiles(values, n=10)
    low, high = (tenths[0], max(values)) if direction == "maximize" else (min(values), tenths[-1])
    return (low, high) if low < high else (min(values), max(values))


def _two_most_important(view: StudyView) -> list[str]:
    """Return the most important parameter, and the most important one that some finished trial has together with it."""
    order = ranked(view)
    pairs = [
        [first, second]
        for first, second in itertools.combinations(order, 2)
        if any(first in trial.params and second in trial.params for trial in view.complete)
    ]
    return pairs[0] if pairs else order


def _check(view: StudyView, keys: Sequence[str]) -> None:
    if len(keys) < 2:
        others = [view.labels[key] for key in ranked(view) if key not in keys]
        raise PlotError(
            f"needs 2 parameters, got {', '.join(keys) or 'none'}: "
            + (f"name another one: {', '.join(others[:5])}" if others else "the study searches no other")
        )
    if len(keys) > _MOST_PARAMS:
        pairs = len(keys) * (len(keys) - 1) // 2
        raise PlotError(f"{len(keys)} parameters make {pairs} pairs: name at most {_MOST_PARAMS} with --params")


def _panel(view: StudyView, x_key: str, y_key: str, visible: tuple[float, float]) -> ContourPanel:
    x_axis, y_axis = param_axis(view, x_key), param_axis(view, y_key)

    def marks(trials: "Sequence[optuna.trial.FrozenTrial]") -> PairMarks:
        both = [trial for trial in trials if {x_key, y_key} <= trial.params.keys() and last_value(trial) is not None]
        return PairMarks(
            tuple(x_axis.coordinate(trial.params[x_key]) for trial in both),
            tuple(y_axis.coordinate(trial.params[y_key]) for trial in both),
            points(view, both),
        )

    complete = marks(view.complete)
    grid_x, grid_y = _grid(x_axis), _grid(y_axis)
    # One diverged trial must not colour its whole neighbourhood.
    values = [min(max(value, visible[0]), visible[1]) for value in complete.points.values]
    surface = smooth(
        ([x_axis.position(at) for at in complete.x], [y_axis.position(at) for at in complete.y], values),
        (grid_x, grid_y),
        (grid_x[-1] - grid_x[0], grid_y[-1] - grid_y[0]),
        (x_axis.scale == "category", y_axis.scale == "category"),
    )
    return ContourPanel(
        x_axis,
        y_axis,
        tuple(_coordinate(x_axis, position) for position in grid_x),
        tuple(_coordinate(y_axis, position) for position in grid_y),
        surface,
        complete,
        marks(view.pruned),
        marks([view.best] if view.best else []),
    )


def _coordinate(axis: ParamAxis, position: float) -> float | str:
    if axis.scale == "category":
        return axis.choices[round(position)]
    return 10**position if axis.scale == "log" else position


def _grid(axis: ParamAxis) -> list[float]:
    """Return the positions at which a surface is computed: every category, or even steps past both ends."""
    if axis.scale == "category":
        return [float(index) for index in range(len(axis.choices))]
    pad = 0.04 * (axis.high - axis.low) or 0.1 * abs(axis.high) or 0.5
    step = (axis.high - axis.low + 2 * pad) / (_GRID - 1)
    return [axis.low - pad + index * step for index in range(_GRID)]


def draw(data: ContourData) -> "go.Figure":
    """Draw it: darker is better, dots are finished trials, the star is the best; white is where nothing was tried."""
    go = style.plotly()
    from plotly.subplots import make_subplots

    gap = 0.03 if data.size > 1 else 0.0
    sides = range(1, data.size + 1)
    figure = make_subplots(
        rows=data.size,
        cols=data.size,
        specs=[[{} if (row, column) in data.panels else None for column in sides] for row in sides],
        shared_xaxes="columns",
        shared_yaxes="rows",
        horizontal_spacing=gap,
        vertical_spacing=gap,
    )
    colours = _colour_scale(data)
    named: set[str] = set()
    for (row, column), panel in data.panels.items():
        for trace in (_surface(go, colours, panel), *_marks(go, panel, named)):
            figure.add_trace(trace, row=row, col=column)
        figure.update_xaxes(_axis_layout(panel.x_axis, panel.grid_x), row=row, col=column)
        figure.update_yaxes(_axis_layout(panel.y_axis, panel.grid_y), row=row, col=column)
        if row == data.size:
            figure.update_xaxes(title_text=panel.x_axis.label, row=row, col=column)
        if column == 1:
            figure.update_yaxes(title_text=panel.y_axis.label, row=row, col=column)
    _add_colour_bar(figure, data, colours)
    return style.styled(figure, data.heading, 640 if data.size == 1 else 180 + 260 * data.size)


def _colour_scale(data: ContourData) -> dict[str, Any]:
    better_is_darker = style.VALUES if data.higher_is_better else [(1 - at, hue) for at, hue in reversed(style.VALUES)]
    return {"colorscale": list(better_is_darker), "zmin": data.limits[0], "zmax": data.limits[1]}


def _axis_layout(axis: ParamAxis, grid: Coordinates) -> dict[str, Any]:
    layout = {**style.param_axis_layout(axis), "showgrid": False}
    if axis.scale != "category":
        # The marks of trials at the very end would be cut in half without this bit more room.
        ends = [axis.position(grid[0]), axis.position(grid[-1])]
        room = 0.02 * (ends[1] - ends[0])
        layout["range"] = (ends[0] - room, ends[1] + room)
    return layout


def _surface(go: Any, colours: dict[str, Any], panel: ContourPanel) -> Any:
    grid = {"x": panel.grid_x, "y": panel.grid_y, "z": panel.surface, "hoverinfo": "skip", "showscale": False}
    if "category" in (panel.x_axis.scale, panel.y_axis.scale):
        gaps = {"xgap" if panel.x_axis.scale == "category" else "ygap": 3}
        return go.Heatmap(**grid, **colours, **gaps)
    step = (colours["zmax"] - colours["zmin"]) / 12
    # The lowest and the highest value lie on no line: a flat piece at either end would be scribbled over.
    levels = {"start": colours["zmin"] + step / 2, "end": colours["zmax"] - step / 2, "size": step}
    return go.Contour(**grid, **colours, contours=levels, line={"width": 0.5, "color": "white"}, connectgaps=False)


def _add_colour_bar(figure: "go.Figure", data: ContourData, colours: dict[str, Any]) -> None:
    """Add one colour bar for all panels, on a mark without a place: plotly mixes up shared ones of contours."""
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        marker={
            "color": [data.limits[0]],
            "colorscale": colours["colorscale"],
            "cmin": data.limits[0],
            "cmax": data.limits[1],
            "showscale": True,
            "colorbar": {"title": {"text": data.metric}, "thickness": 14, "outlinewidth": 0},
        },
    )


def _marks(go: Any, panel: ContourPanel, named: set[str]) -> list[Any]:
    """Return the marks of one panel; `named` holds what has its entry in the legend already."""
    many = len(panel.complete.x) > style.MANY
    dot = {"color": "white", "size": 4 if many else 7, "line": {"color": style.INK, "width": 1}}
    looks = {
        "pruned": (panel.pruned, style.pruned_marker(len(panel.pruned.x))),
        "complete": (panel.complete, dot),
        "best": (panel.best, style.best_marker(17)),
    }
    traces = []
    for name, (marks, marker) in looks.items():
        if not marks.x:
            continue
        traces.append(
            go.Scatter(
                x=marks.x,
                y=marks.y,
                mode="markers",
                marker=marker,
                name=name,
                legendgroup=name,
                showlegend=name not in named,
                hovertext=marks.points.hovers,
                hoverinfo="text",
            )
        )
        named.add(name)
    return traces
