"""Charts of a page: figures made small, with a sentence that says what is seen."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlframework.visualise.page.stacked import Stacked, stacked

if TYPE_CHECKING:
    import plotly.graph_objects as go

_DIGITS = 6
"""Significant digits of what is drawn: no eye sees a seventh."""
_OF_SURFACES = 4
_BOTTOM = 52  # pixels below a plot in a page
_OF_THE_PAGE = ("template", "title", "height", "width", "margin")  # what a page decides on
_TITLE_ROOM = 85  # pixels above a plot that hold its title, which a page has as text
_TOP = 125  # pixels above a plot in the house's template, the title's among them


@dataclass(frozen=True)
class Chart:
    """A chart of a page.

    Attributes:
        name: of the chart, unique in the page.
        title: what stands above it.
        summary: what is seen, in a sentence with its numbers, for those who don't see it and for those who do.
        figure: what is drawn.
        note: what helps to read it.
        height: in pixels; None: the figure's own.
        margin: pixels around the plot, at the sides (l, r, t, b) where the page's own would not do.
        stacked: how its panels stand where the page is narrow; None: as everywhere.
    """

    name: str
    title: str
    summary: str
    figure: go.Figure
    note: str = ""
    height: int | None = None
    margin: Mapping[str, int] = field(default_factory=dict)
    stacked: Stacked | None = None

    @property
    def pixels(self) -> int:
        """The height of the drawing, without the room for the title, which a page has as text."""
        return self.height or max(240, (self.figure.layout.height or 500) - _TITLE_ROOM)


@dataclass
class Pool:
    """The texts that the mouse shows, each once in a page: a trial is in ten charts.

    Attributes:
        texts: all of them.
    """

    texts: list[str] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def place(self, text: str) -> int:
        """Return the number of a text."""
        if text not in self._places:
            self._places[text] = len(self.texts)
            self.texts.append(text)
        return self._places[text]

    def runs(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the numbers of texts, each with how often it follows upon itself."""
        found: list[list[int]] = []
        for text in texts:
            number = self.place(text)
            if found and found[-1][0] == number:
                found[-1][1] += 1
            else:
                found.append([number, 1])
        return found


def chart_of(name: str, figure: go.Figure) -> Chart:
    """Return the chart of a figure that was drawn to stand alone: its heading becomes text, and its room stays.

    Args:
        name: of the chart, unique in the page.
        figure: as `style.styled` leaves it, with its heading.
    """
    title, own = figure.layout.title, figure.layout.margin.to_plotly_json()
    margin = {side: round(own[side]) for side in ("l", "r", "b") if side in own}
    margin["t"] = max(14, round(own.get("t", _TOP)) - _TITLE_ROOM)
    chart = Chart(name, plain(title.text), plain(title.subtitle.text), figure, margin=margin)
    return replace(chart, stacked=stacked(figure, chart.pixels - margin["t"] - margin.get("b", _BOTTOM)))


def plain(text: str | None) -> str:
    """Return what is read of a text of a figure, in which plotly knows some markup."""
    return html.unescape(re.sub(r"<[^<>]*>", "", re.sub(r"<br */?>", " ", text or "")))


def compact(chart: Chart, pool: Pool) -> dict[str, Any]:
    """Return what a page needs to draw a chart: rounded numbers, texts by number, neither title nor template."""
    raw = chart.figure.to_plotly_json()
    layout = {key: value for key, value in raw["layout"].items() if key not in _OF_THE_PAGE}
    if chart.margin:
        layout["margin"] = dict(chart.margin)
    found = {"data": [_trace(each, pool) for each in raw["data"]], "layout": _rounded(layout, _DIGITS)}
    return found if chart.stacked is None else {**found, "stacked": _rounded(chart.stacked.domains, _DIGITS)}


def template_of(figure: go.Figure) -> Any:
    """Return the template of a figure; all of them have the house's."""
    return _rounded(figure.to_plotly_json()["layout"]["template"], _DIGITS)


def to_script(value: Any) -> str:
    """Return JSON that may stand in a <script>: nothing in it ends the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028")


def significant(value: float, digits: int = _DIGITS) -> float | None:
    """Return a number with so many significant digits; None for what is no number."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _trace(raw: Mapping[str, Any], pool: Pool) -> dict[str, Any]:
    found = {key: _rounded(value, _OF_SURFACES if key == "z" else _DIGITS) for key, value in raw.items()}
    texts = raw.get("hovertext")
    if isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts):
        found["hovertext"] = {"pool": pool.runs(texts)}
    return found


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, float):
        short = significant(value, digits)
        return int(short) if short is not None and short.is_integer() and abs(short) < 1e15 else short
    if isinstance(value, Mapping):
        return {str(key): _rounded(inner, digits) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner, digits) for inner in value]
    if hasattr(value, "tolist"):
        return _rounded(value.tolist(), digits)
    return value
