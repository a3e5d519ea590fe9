"""How far a regression is off: what it predicts against what is true, and how its errors are spread."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlframework.errors import PlotError
from mlframework.outputs import SavedOutputs
from mlframework.visualise import style
from mlframework.visualise.run_plots.classified import above, is_regressor, label, numbers_only
from mlframework.visualise.run_view import RunView
from mlframework.visualise.wording import short

if TYPE_CHECKING:
    import plotly.graph_objects as go

DRAWN = 3000
"""Points at most; with more a picture is a blot, and a page megabytes. The histogram counts them all."""
_MOST_BINS = 60


@dataclass(frozen=True)
class ResidualsData:
    """What the plot shows.

    Attributes:
        true, predicted: of the examples that are drawn, all or an evenly taken part.
        called: what each of them is called.
        edges, counts: the histogram of predicted - true of all examples.
        rmse, mae, bias: root mean square, mean absolute value and mean of predicted - true.
        r2: the share of the variance that is explained; None where all targets are equal.
        n_examples: of which all this is.
    """

    heading: style.Heading
    true: tuple[float, ...]
    predicted: tuple[float, ...]
    called: tuple[str, ...]
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    rmse: float
    mae: float
    bias: float
    r2: float | None
    n_examples: int


def compute(view: RunView) -> ResidualsData:
    """Compute them.

    Raises:
        PlotError: the run is no regression, or its outputs are not known.
        RunError: the file of its outputs is damaged.
    """
    saved, rows = regression_of(view)
    true, predicted = saved.targets[rows].astype(np.float64), saved.values[rows].astype(np.float64)
    residuals = predicted - true
    rmse, mae, bias = math.sqrt(np.mean(residuals**2)), float(np.mean(np.abs(residuals))), float(residuals.mean())
    spread = float(np.mean((true - true.mean()) ** 2))
    r2 = 1 - rmse**2 / spread if spread > 0 else None
    edges, counts = histogram(residuals)
    drawn = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), DRAWN)).astype(np.int64))
    part = f"{len(drawn):,} of {len(rows):,} points drawn" if len(drawn) < len(rows) else ""
    explained = f"R² {short(r2)}" if r2 is not None else "R² undefined, as all targets are equal"
    return ResidualsData(
        heading=style.Heading(
            f"It is {short(mae)} off on average: predicted against true",
            above(view, saved, len(rows), f"RMSE {short(rmse)}", explained, part),
        ),
        true=tuple(true[drawn].tolist()),
        predicted=tuple(predicted[drawn].tolist()),
        called=tuple(example_name(saved, int(row)) for row in rows[drawn]),
        edges=edges,
        counts=counts,
        rmse=rmse,
        mae=mae,
        bias=bias,
        r2=r2,
        n_examples=len(rows),
    )


def regression_of(view: RunView) -> tuple[SavedOutputs, NDArray[np.int64]]:
    """Return a regression's outputs, and the positions of those that are numbers.

    Raises:
        PlotError: the run is no regression, or its outputs are not known.
        RunError: the file of its outputs is damaged.
    """
    if not is_regressor(view):
        raise PlotError(f"needs a regression, and {view.run.path} is a {view.task}: draw another plot of it")
    saved = view.outputs
    if saved.task != "regression":
        raise PlotError(f"needs a regression, and the outputs of {view.run.path} are of a {saved.task}: train again")
    return saved, numbers_only(view, saved)


def example_name(saved: SavedOutputs, row: int) -> str:
    """Return what an example is called: its file, its row in the table, or its user and item."""
    if saved.names:
        return saved.names[row]
    return f"row {saved.rows[row]}" if len(saved.rows) else f"example {row + 1}"


def histogram(residuals: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Count residuals in bins of equal width (Freedman and Diaconis 1981), of which 0 is an edge; the counts sum to n."""
    low, high = float(residuals.min()), float(residuals.max())
    quarters = np.percentile(residuals, [25, 75])
    width = 2 * float(quarters[1] - quarters[0]) / len(residuals) ** (1 / 3)
    width = max(width, (high - low) / _MOST_BINS)
    if not width > 0 or not math.isfinite(width):
        # All are equal: one bin around them.
        half = abs(low) / 20 or 0.5
        return (low - half, low + half), (len(residuals),)
    first, last = math.floor(low / width), math.floor(high / width) + 1
    places = np.clip(np.floor(residuals / width).astype(np.int64) - first, 0, last - first - 1)
    counts = np.bincount(places, minlength=last - first)
    return tuple(width * edge for edge in range(first, last + 1)), tuple(counts.tolist())


def draw(data: ResidualsData) -> "go.Figure":
    """Draw it: on the left a dot an example, on the line where it is right; on the right the errors."""
    style.plotly()
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, column_widths=[0.56, 0.44], horizontal_spacing=0.12)
    low = min(*data.true, *data.predicted)
    high = max(*data.true, *data.predicted)
    pad = 0.04 * (high - low) or abs(high) / 20 or 0.5
    ends = [low - pad, high + pad]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", hoverinfo="skip", line={"color": style.GREY, "width": 1.5, "dash": "dot"},
        row=1, col=1,
    )  # fmt: skip
    figure.add_scatter(
        x=data.true, y=data.predicted, mode="markers", marker=_dots(len(data.true)), hoverinfo="text",
        hovertext=[_hover(*each) for each in zip(data.called, data.true, data.predicted, strict=True)],
        row=1, col=1,
    )  # fmt: skip
    widths = np.diff(data.edges)
    figure.add_bar(
        x=[(left + right) / 2 for left, right in zip(data.edges, data.edges[1:], strict=False)],
        y=data.counts,
        width=(0.96 * widths).tolist(),
        marker={"color": "#6BAED6"},
        hovertext=[
            f"{short(float(left))} to {short(float(right))}<br>{count:,} examples"
            for left, right, count in zip(data.edges, data.edges[1:], data.counts, strict=False)
        ],
        hoverinfo="text",
        row=1,
        col=2,
    )
    for value, colour, dash in ((0.0, style.GREY, "dot"), (data.bias, style.VERMILLION, "solid")):
        figure.add_vline(x=value, line={"color": colour, "width": 1.8, "dash": dash}, row=1, col=2)
    figure.add_annotation(
        text=f"on average {short(data.bias)}", x=data.bias, y=1, xref="x2", yref="y2 domain", showarrow=False,
        yanchor="bottom", font={"color": style.VERMILLION},
    )  # fmt: skip
    figure.update_xaxes(title_text="true", range=ends, row=1, col=1)
    figure.update_yaxes(title_text="predicted", range=ends, row=1, col=1)
    figure.update_xaxes(title_text="predicted − true", row=1, col=2)
    figure.update_yaxes(title_text="examples", rangemode="tozero", tickformat=",d", row=1, col=2)
    style.styled(figure, data.heading, 600)
    figure.update_layout(showlegend=False)
    return figure


def _dots(count: int) -> dict[str, Any]:
    many = count > style.MANY
    return {"color": style.BLUE, "size": 6 if many else 8, "opacity": 0.35 if count > 1000 else 0.55}


def _hover(called: str, true: float, predicted: float) -> str:
    said = f"true {short(true)}<br>predicted {short(predicted)}<br>off by {short(predicted - true)}"
    return f"<b>{label(called, 60)}</b><br>{said}"
