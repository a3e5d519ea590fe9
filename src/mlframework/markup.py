"""Small pieces of HTML, by which configs, runs and studies show themselves in a notebook.

They bring no style sheet and no colours of their own but one: text and lines are those of the notebook, light or dark.
"""

import html
import math
from collections.abc import Iterable, Sequence

ACCENT = "#D55E00"  # the best one, as in every plot
_WIDTH, _HEIGHT, _MARGIN = 240, 48, 4  # of a curve, in pixels


def card(title: str, subtitle: str, *parts: str) -> str:
    """Return a titled block of parts that are HTML already; title and subtitle are text."""
    heading = f"<strong>{html.escape(title)}</strong>"
    if subtitle:
        heading += f" <span style='opacity:.75'>{html.escape(subtitle)}</span>"
    return f"<div style='line-height:1.45'><div>{heading}</div>{''.join(parts)}</div>"


def table(rows: Iterable[Sequence[object]], columns: Sequence[str] = (), marked: int | None = None) -> str:
    """Return a table of values, as text.

    Args:
        rows: its rows; the first cell of each says what the row is.
        columns: the head, where there is one.
        marked: the row (from 0) that is set in bold.
    """
    head = "".join(f"<th scope='col' style='text-align:left'>{html.escape(name)}</th>" for name in columns)
    lines = [f"<tr>{head}</tr>"] if columns else []
    for number, (first, *others) in enumerate(rows):
        cells = f"<th scope='row' style='text-align:left;font-weight:normal'>{_cell(first)}</th>"
        cells += "".join(f"<td style='text-align:left'>{_cell(other)}</td>" for other in others)
        lines.append(f"<tr style='font-weight:bold'>{cells}</tr>" if number == marked else f"<tr>{cells}</tr>")
    return f"<table style='margin:.4em 0'>{''.join(lines)}</table>"


def folded(summary: str, content: str) -> str:
    """Return content (HTML) that a click on its summary (text) unfolds."""
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def curve(values: Sequence[float], best: int | None, about: str) -> str:
    """Return a small line chart (SVG) of values in their order.

    Args:
        values: what is drawn; a gap where one is not a finite number.
        best: which of them (from 0) is marked.
        about: what is seen, for who can't see it.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    points = [_point(number, value, len(values), low, high) for number, value in enumerate(values)]
    path = ""
    for number, point in enumerate(points):
        if point is not None:
            path += f"{'L' if number and points[number - 1] is not None else 'M'}{point[0]:.1f} {point[1]:.1f}"
    marked = points[best] if best is not None else None
    star = f"<circle cx='{marked[0]:.1f}' cy='{marked[1]:.1f}' r='3.5' fill='{ACCENT}'/>" if marked else ""
    return (
        f"<svg width='{_WIDTH}' height='{_HEIGHT}' role='img' aria-label='{html.escape(about, quote=True)}'>"
        f"<path d='{path}' fill='none' stroke='currentColor' stroke-width='1.5'/>{star}</svg>"
    )


def short(value: object) -> str:
    """Write a value as a table shows it: six digits of a number are enough to look at."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _cell(value: object) -> str:
    return html.escape(short(value))


def _point(number: int, value: float, count: int, low: float, high: float) -> tuple[float, float] | None:
    if not math.isfinite(value):
        return None
    across = number / (count - 1) if count > 1 else 0.5
    up = (value - low) / (high - low) if high > low else 0.5
    return _MARGIN + across * (_WIDTH - 2 * _MARGIN), _HEIGHT - _MARGIN - up * (_HEIGHT - 2 * _MARGIN)
