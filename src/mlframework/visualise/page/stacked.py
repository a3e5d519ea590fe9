"""Panels of a figure that stand side by side, put below one another: on a phone half of the width is too little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

_BETWEEN = 84  # pixels between two panels: the ticks of one, the title of the next
_AROUND = 130  # above and below all of them, with a legend
_MANY = 3  # panels in a row; more are pictures, which stand in pairs


@dataclass(frozen=True)
class Stacked:
    """Where panels stand on a narrow page.

    Attributes:
        domains: by axis of the layout (`xaxis2`), its share of the plot.
        pixels: height of the whole.
    """

    domains: Mapping[str, tuple[float, float]]
    pixels: int


@dataclass(frozen=True)
class _Panel:
    x: str
    y: str
    left: float
    bottom: float
    top: float


def stacked(figure: go.Figure, inner: int) -> Stacked | None:
    """Return how the panels of a figure stand below one another; None where none stand side by side.

    Args:
        figure: with its axes.
        inner: pixels of its height that all panels have together.
    """
    panels = sorted(_panels(figure), key=lambda panel: (-panel.top, panel.left))
    columns = len({round(panel.left, 3) for panel in panels})
    if columns < 2 or len({panel.x for panel in panels}) < len(panels):
        return None
    across = 1 if columns <= _MANY else 2
    rows = [panels[at : at + across] for at in range(0, len(panels), across)]
    heights = [round(max(panel.top - panel.bottom for panel in row) * inner) for row in rows]
    total = sum(heights) + _BETWEEN * (len(rows) - 1)
    domains: dict[str, tuple[float, float]] = {}
    top = total
    for row, height in zip(rows, heights, strict=True):
        for place, panel in enumerate(row):
            domains[panel.x] = (place / across + 0.02 * place, (place + 1) / across)
            domains[panel.y] = (max(0.0, (top - height) / total), top / total)
        top -= height + _BETWEEN
    return Stacked(domains, total + _AROUND)


def _panels(figure: go.Figure) -> list[_Panel]:
    """Return the panels in which something is drawn."""
    layout, found = figure.to_plotly_json()["layout"], []
    for name in dict.fromkeys(trace.yaxis or "y" for trace in figure.data if "yaxis" in trace):
        axis = layout.get(f"yaxis{name[1:]}", {})
        if "anchor" in axis and "domain" in axis:
            x = f"xaxis{axis['anchor'][1:]}"
            found.append(_Panel(x, f"yaxis{name[1:]}", layout[x].get("domain", (0, 1))[0], *axis["domain"]))
    return found
