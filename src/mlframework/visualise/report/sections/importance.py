"""Which parameters decided the value, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.page import Absent
from mlframework.visualise.page.charts import Chart
from mlframework.visualise.page.words import count_of, percent
from mlframework.visualise.report.source import FEWEST_TO_RANK, Source
from mlframework.visualise.search_plots.param_importances import importances

if TYPE_CHECKING:
    import plotly.graph_objects as go

FEWEST = 10
"""Finished trials below which an interval would say nothing."""
_ENOUGH = 30
_MOST_BARS = 15
_REPEATS, _FEWER_REPEATS, _MANY = 200, 60, 200
_SEED = 0
_FEW = 3
_SMALLEST = 1e-12  # error bars want no negative length


@dataclass(frozen=True)
class Share:
    """One parameter's share of the importance, and its interval: None of one that only some trials have."""

    key: str
    label: str
    share: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ImportanceData:
    """What the section shows: the most important parameter first, and what can be said of it."""

    shares: Sequence[Share]
    said: str
    chart: Chart


def compute(source: Source) -> ImportanceData:
    """Compute importances, with bootstrap intervals for what every finished trial has.

    Raises:
        Absent: fewer than 2 finished trials with different values, or no parameter.
    """
    view = source.view
    if len(view.complete) < FEWEST_TO_RANK:
        raise Absent(f"It takes {FEWEST_TO_RANK} finished trials to say anything; there are {len(view.complete)}.")
    try:
        order = importances(view)
    except PlotError as error:
        raise Absent(f"It {error}." if str(error).startswith("needs") else f"{str(error).capitalize()}.") from None
    ends = _intervals(source, list(order))
    shares = [Share(key, view.labels[key], share, *ends.get(key, (None, None))) for key, share in order.items()]
    shown = shares[:_MOST_BARS]
    top = shown[0]
    summary = ", ".join(f"{each.label} {percent(each.share)}" for each in shown[:5])
    more = f", and {len(shown) - 5} with less" if len(shown) > 5 else ""
    chart = Chart(
        "importance", f"Share of the importance for {view.metric}", f"{summary}{more}.", draw(shown),
        "A line is the 95 % interval of a bootstrap over the trials." if ends else "", 70 + 42 * max(3, len(shown)),
    )  # fmt: skip
    return ImportanceData(shown, _said(source, top, shown), chart)


def charts(data: ImportanceData) -> Sequence[Chart]:
    """Return the section's charts."""
    return [data.chart]


def _intervals(source: Source, order: Sequence[str]) -> Mapping[str, tuple[float, float]]:
    """Return the ends of each parameter's interval; none where a parameter is in so few trials that draws would miss it."""
    from mlframework.search.importance import shares_with_intervals

    complete = source.view.complete
    if len(complete) < FEWEST or any(sum(key in trial.params for trial in complete) < _FEW for key in order):
        return {}
    repeats = _REPEATS if len(complete) <= _MANY else _FEWER_REPEATS
    found = shares_with_intervals(complete, source.view.direction, order, repeats, _SEED)
    return {key: (low, high) for key, (_, low, high) in found.items()}


def _said(source: Source, top: Share, shares: Sequence[Share]) -> str:
    n = len(source.view.complete)
    said = f"PED-ANOVA over {count_of(n, 'finished trial')}: what set the best trials apart from all others."
    if n < _ENOUGH:
        said += " With so few it is a rough guide."
    if top.low is None:
        if n >= FEWEST:
            said += " A parameter is in so few trials that no interval can be given."
        else:
            said += f" Intervals take {FEWEST} finished trials, so there are none yet."
        return said
    rivals = [each.label for each in shares[1:] if each.high is not None and each.high >= top.low]
    if rivals:
        return f"{said} Another {n} trials might well put {' or '.join(rivals[:3])} first: the intervals overlap."
    return (
        f"{said} That {top.label} comes first is unlikely to be chance: its interval overlaps no other."
        if shares[1:]
        else said
    )


def draw(shares: Sequence[Share]) -> go.Figure:
    """Draw a bar a parameter with its interval, the longest on top."""
    go = style.plotly()
    figure = go.Figure()
    known = [each for each in shares if each.low is not None and each.high is not None]
    figure.add_bar(
        x=[each.share for each in shares], y=[each.label for each in shares], orientation="h", name="share",
        marker={"color": style.BLUE}, hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )  # fmt: skip
    if known:
        figure.add_scatter(
            x=[each.share for each in known], y=[each.label for each in known], mode="markers", name="95 % interval",
            marker={"color": style.INK, "size": 6},
            error_x={
                "type": "data",
                "array": [max(_SMALLEST, (each.high or 0.0) - each.share) for each in known],
                "arrayminus": [max(_SMALLEST, each.share - (each.low or 0.0)) for each in known],
                "color": style.INK, "thickness": 1.5, "width": 5,
            },
            hoverinfo="skip",
        )  # fmt: skip
    figure.update_xaxes(range=(0, 1.04 * max(1e-9, *(each.high or each.share for each in shares))), tickformat=".0%")
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", ticklabelstandoff=6, type="category")
    figure.update_layout(bargap=0.4, showlegend=False)
    return style.styled(figure, style.Heading("", ""), 220 + 42 * max(3, len(shares)))
