"""Every trial as a line through its parameters: drawn by the page itself, since a part of an axis can be brushed there.

plotly's own can be brushed, too, but shows neither which trial a line is nor that a trial lacks a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlframework.errors import PlotError
from mlframework.visualise.page import Absent
from mlframework.visualise.page.charts import significant
from mlframework.visualise.page.words import count_of
from mlframework.visualise.report.source import Source
from mlframework.visualise.search_plots import parallel_coordinate
from mlframework.visualise.search_plots.parallel_coordinate import ParallelLine

_AXES = 8


@dataclass(frozen=True)
class ParallelData:
    """What the section shows: the axes and lines as the page's script wants them, and a sentence."""

    lines: dict[str, Any]
    summary: str


def compute(source: Source) -> ParallelData:
    """Compute the lines.

    Raises:
        Absent: no trial has finished, or there is no parameter.
    """
    try:
        data = parallel_coordinate.compute(source.view, source.order[:_AXES][::-1])
    except PlotError as error:
        text = str(error)
        raise Absent(f"{text[:1].upper()}{text[1:]}.") from None
    drawn = [*(_line(each, "pruned") for each in data.pruned), *(_line(each, "complete") for each in data.complete)]
    drawn += [_line(each, "best") for each in data.best]
    names = ", ".join(axis.label for axis in data.axes[:-1])
    return ParallelData(
        lines={
            "axes": [{"label": axis.label, "ticks": [[significant(at), text] for at, text in axis.ticks]} for axis in data.axes],
            "lines": drawn,
        },
        summary=f"{count_of(len(drawn), 'trial')} through {names} to {data.axes[-1].label}.",
    )  # fmt: skip


def _line(line: ParallelLine, kind: str) -> list[Any]:
    """Return a line as number, kind, goodness, and its heights; None where it has none."""
    heights = [None if height is None else significant(height, 4) for height in line.heights]
    return [line.number, kind, significant(line.goodness, 3), *heights]
