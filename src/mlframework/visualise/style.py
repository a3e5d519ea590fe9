"""How every plot looks: one template, and colours that stay apart for every kind of colour blindness."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import MissingExtraError
from mlframework.imports import preload
from mlframework.visualise.axes import ParamAxis

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe and Ito's palette, and greys.
BLUE = "#0072B2"
VERMILLION = "#D55E00"  # the best trial, everywhere
GREEN = "#009E73"
GREY = "#9AA0A6"
FAINT = "#D9DCE0"
INK = "#262626"
GRID = "#ECEEF1"

MANY = 200  # trials of one kind; with more, marks and lines are smaller

# Pale to dark: dark is better, in every plot that colours by value.
VALUES: tuple[tuple[float, str], ...] = ((0.0, "#DCE9F5"), (0.35, "#8CBBDD"), (0.7, "#2E7EBB"), (1.0, "#08306B"))
# Pale to dark: dark is later, in plots that colour by trial number.
TIME: tuple[tuple[float, str], ...] = ((0.0, "#C9DDEE"), (0.5, "#4292C6"), (1.0, "#08306B"))


@dataclass(frozen=True)
class Heading:
    """What stands above a plot: a title that says what is seen, and a subtitle with the counts."""

    title: str
    subtitle: str


def plotly() -> Any:
    """Return plotly.graph_objects.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    try:
        preload("plotly.graph_objects")
        from plotly import graph_objects
    except ImportError as error:
        raise MissingExtraError("plotly", "optuna", "drawing plots") from error
    return graph_objects


def styled(figure: "go.Figure", heading: Heading, height: int) -> "go.Figure":
    """Give a figure the house's look, its heading and its height in pixels; its width is that of the page."""
    figure.update_layout(
        template=_template(),
        height=height,
        title={"text": heading.title, "subtitle": {"text": heading.subtitle}},
    )
    return figure


def panel_title(text: str) -> dict[str, Any]:
    """Return the annotation that stands above a panel, for `add_annotation(row=..., col=...)`: it goes where the panel goes."""
    return {
        "text": f"<b>{text}</b>", "showarrow": False, "x": 0.5, "y": 1, "xref": "x domain", "yref": "y domain",
        "xanchor": "center", "yanchor": "bottom", "font": {"size": 14},
    }  # fmt: skip


def whole_numbers(last: float) -> dict[str, Any]:
    """Return the ticks of an axis up to `last`: whole numbers only, there is no trial 2.5."""
    return {"tickformat": "d"} if last > 12 else {"dtick": 1}


def best_marker(size: int = 15) -> dict[str, Any]:
    """Return the marker of the best trial."""
    return {"symbol": "star", "size": size, "color": VERMILLION, "line": {"color": "white", "width": 1}}


def pruned_marker(count: int) -> dict[str, Any]:
    """Return the marker of pruned trials, of which there are `count`: many must not hide the finished ones."""
    if count > MANY:
        return {"symbol": "x-thin", "size": 4, "opacity": 0.5, "line": {"color": GREY, "width": 1}}
    return {"symbol": "x-thin", "size": 7, "line": {"color": GREY, "width": 1.5}}


def param_axis_layout(axis: ParamAxis) -> dict[str, Any]:
    """Return the layout of an axis that shows a parameter, without its title."""
    if axis.scale == "category":
        return {
            "type": "category",
            # Without these plotly orders by first appearance, and leaves no room at the ends.
            "categoryorder": "array",
            "categoryarray": list(axis.choices),
            "range": (-0.5, len(axis.choices) - 0.5),
            "tickangle": -30 if sum(map(len, axis.choices)) > 20 else 0,
        }
    if axis.scale == "log":
        # 1e-5, as it is written in a config; plotly's own would be 10 micro.
        return {"type": "log", "exponentformat": "e", "minor": {"ticks": "outside", "ticklen": 3}}
    if axis.scale == "whole" and axis.high - axis.low <= 8:
        return {"type": "linear", "dtick": 1}
    return {"type": "linear"}


def _template() -> Any:
    go = plotly()
    axis = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": FAINT,
        "showline": True,
        "ticks": "outside",
        "tickcolor": FAINT,
        "ticklen": 5,
        "title": {"standoff": 12},
        "automargin": True,
        "exponentformat": "e",
    }
    return go.layout.Template(
        layout={
            "font": {"family": "Inter, 'Segoe UI', Helvetica, Arial, sans-serif", "size": 14, "color": INK},
            "title": {
                "font": {"size": 21},
                "subtitle": {"font": {"size": 14, "color": "#5F6368"}},
                "x": 0,
                "xref": "container",
                "pad": {"l": 24, "t": 26},
                "y": 1,
                "yref": "container",
                "yanchor": "top",
            },
            "margin": {"l": 80, "r": 40, "t": 125, "b": 80},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "colorway": [BLUE, VERMILLION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000"],
            "hoverlabel": {
                "bgcolor": "white",
                "bordercolor": FAINT,
                "font": {"size": 13, "color": INK},
                "align": "left",
            },
            "hovermode": "closest",
            "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom"},
            "xaxis": axis,
            "yaxis": axis,
        }
    )
