"""Whether the model is as often right as it says: the reliability diagram, and the expected calibration error."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlframework.visualise import style
from mlframework.visualise.run_plots.classified import above, classified, share
from mlframework.visualise.run_view import RunView
from mlframework.visualise.wording import count_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

N_BINS = 10
_Z = 1.959964  # of a normal distribution, 95 % lie within so many deviations


@dataclass(frozen=True)
class Bin:
    """The examples whose confidence is above `low` and at most `high`.

    Attributes:
        count: how many there are; never 0.
        confidence: the mean of their confidences.
        accuracy: the share of them that is right.
        surely: between which values the accuracy lies, with 95 % confidence.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    surely: tuple[float, float]


@dataclass(frozen=True)
class CalibrationData:
    """What the plot shows.

    Attributes:
        bins: those that have an example, in their order.
        error: the expected calibration error.
        confidence, accuracy: of all examples.
    """

    heading: style.Heading
    bins: tuple[Bin, ...]
    error: float
    confidence: float
    accuracy: float


def compute(view: RunView) -> CalibrationData:
    """Compute the bins.

    Raises:
        PlotError: the run is no classifier's, or its outputs are not known.
        RunError: the file of its outputs is damaged.
    """
    found = classified(view)
    bins = binned(found.confidence, found.right)
    confidence, accuracy = float(found.confidence.mean()), float(found.right.mean())
    error = expected_calibration_error(bins)
    return CalibrationData(
        heading=style.Heading(
            f"It is {share(confidence)} sure on average, and right in {share(accuracy)}",
            above(view, found.saved, len(found.rows), f"expected calibration error {error:.3f} ({N_BINS} bins)"),
        ),
        bins=bins,
        error=error,
        confidence=confidence,
        accuracy=accuracy,
    )


def binned(confidence: NDArray[np.float64], right: NDArray[np.bool_], n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """Sort examples into bins of equal width by the probability of the class that they are taken for.

    The reliability diagram of Guo, Pleiss, Sun and Weinberger (2017), "On calibration of modern neural networks",
    equations 1 and 2, with bins ((m - 1) / M, m / M].
    """
    # What is rounded to a little above 1 belongs to the last bin.
    places = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    found = []
    for place in np.unique(places):
        inside = places == place
        count, n_right = int(inside.sum()), int(right[inside].sum())
        found.append(
            Bin(
                low=float(place / n_bins),
                high=float((place + 1) / n_bins),
                count=count,
                confidence=min(float(confidence[inside].mean()), 1.0),
                accuracy=n_right / count,
                surely=wilson(n_right, count),
            )
        )
    return tuple(found)


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the mean over examples of their bin's |accuracy - confidence|: from 0, as it says, to 1.

    ECE of Naeini, Cooper and Hauskrecht (2015), as in Guo et al. (2017), equation 3. It depends on the number of bins.
    """
    n = sum(each.count for each in bins)
    return math.fsum(each.count / n * abs(each.accuracy - each.confidence) for each in bins)


def wilson(n_right: int, n: int) -> tuple[float, float]:
    """Return the interval in which a share lies with 95 % confidence (Wilson 1927)."""
    p, z2 = n_right / n, _Z**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # The ends of a share of 0 and of 1 miss these by a last digit.
    return max(0.0, min(middle - half, p)), min(1.0, max(middle + half, p))


def draw(data: CalibrationData) -> "go.Figure":
    """Draw it: above, how often it is right at each confidence, below, how many examples that is."""
    style.plotly()
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.06)
    low = min(each.low for each in data.bins)
    figure.add_scatter(
        x=[low, 1], y=[low, 1], mode="lines", name="as sure as right", hoverinfo="skip",
        line={"color": style.GREY, "width": 1.5, "dash": "dot"}, row=1, col=1,
    )  # fmt: skip
    hovers = [_hover(each) for each in data.bins]
    figure.add_scatter(
        x=[each.confidence for each in data.bins],
        y=[each.accuracy for each in data.bins],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [each.surely[1] - each.accuracy for each in data.bins],
            "arrayminus": [each.accuracy - each.surely[0] for each in data.bins],
            "thickness": 1.2,
            "width": 4,
            "color": style.BLUE,
        },
        mode="lines+markers" if len(data.bins) > 1 else "markers",
        name="the model, with 95 % intervals",
        line={"color": style.BLUE, "width": 2.4},
        marker={"size": 9},
        hovertext=hovers,
        hoverinfo="text",
        row=1,
        col=1,
    )
    figure.add_bar(
        x=[(each.low + each.high) / 2 for each in data.bins],
        y=[each.count for each in data.bins],
        width=[0.94 * (each.high - each.low) for each in data.bins],
        marker={"color": "#8CBBDD"},
        text=[f"{each.count:,}" for each in data.bins],
        textposition="outside",
        cliponaxis=False,
        hovertext=hovers,
        hoverinfo="text",
        showlegend=False,
        row=2,
        col=1,
    )
    pad = 0.02 * (1 - low)
    figure.update_xaxes(range=(low - pad, 1 + pad), tickformat=".0%")
    figure.update_xaxes(title_text="how sure: the probability of the predicted class", row=2, col=1)
    least = min(low, *(each.surely[0] for each in data.bins))
    figure.update_yaxes(title_text="how often it is right", range=(least - 0.03, 1.03), tickformat=".0%", row=1, col=1)
    most = max(each.count for each in data.bins)
    figure.update_yaxes(title_text="examples", range=(0, 1.3 * most), nticks=4, tickformat=",d", row=2, col=1)
    style.styled(figure, data.heading, 680)
    return figure


def _hover(each: Bin) -> str:
    return (
        f"<b>{100 * each.low:.0f} % to {100 * each.high:.0f} % sure</b>: {count_of(each.count, 'example')}<br>"
        f"sure on average {share(each.confidence)}<br>right {share(each.accuracy)}, surely {share(each.surely[0])} to "
        f"{share(each.surely[1])}"
    )
