"""Labels at the ends of curves, kept apart where the curves end close together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LINE = 17  # pixels that a line of text takes


@dataclass(frozen=True)
class Label:
    """A text, the mark before it in its curve's colour, and the value at which the curve ends."""

    text: str
    mark: str
    colour: str
    value: float


def write_labels(
    figure: "go.Figure", labels: Sequence[Label], axis: tuple[float, float], pixels: int, place: tuple[int, int]
) -> None:
    """Write labels at the right of a panel.

    Args:
        figure: what the panel is in.
        labels: one a curve.
        axis: (low, high) of the panel's value axis.
        pixels: the panel's height.
        place: (row, column) of the panel.
    """
    low, high = axis
    heights = spread([label.value for label in labels], (high - low) * _LINE / pixels, low, high)
    for label, height in zip(labels, heights, strict=True):
        figure.add_annotation(
            text=f'<span style="color:{label.colour}"><b>{label.mark}</b></span> {label.text}', showarrow=False,
            x=1, y=height, xref="x domain", yref="y", xanchor="left", xshift=4, font={"size": 13},
            row=place[0], col=place[1],
        )  # fmt: skip


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move heights apart, each to `gap` from the next, in the same order.

    Args:
        wanted: where each label would stand best.
        gap: least distance between two; where there is no room for so much, they stand evenly.
        low, high: the axis; labels stay within it.

    Returns:
        One height a label, in the order of `wanted`.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    heights: list[float] = []
    for index in order:
        heights.append(max(wanted[index], heights[-1] + gap if heights else low))
    # What was pushed above the axis comes down again, and pushes those below it.
    ceiling = high
    for rank in reversed(range(len(heights))):
        heights[rank] = min(heights[rank], ceiling)
        ceiling = heights[rank] - gap
    by_index = dict(zip(order, heights, strict=True))
    return [by_index[index] for index in range(len(wanted))]
