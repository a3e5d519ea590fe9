"""The pictures of a comparison of samplers: best-so-far curves with their bands, and ranks."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.search.compare import Comparison, verdicts
from mlframework.visualise import style
from mlframework.visualise.wording import short

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("solid", "dash", "dot", "dashdot")  # where lines lie on one another, all of them are seen

_BELOW = 0.3  # of a row: a seed at the mean rank would lie under the mean's mark
_EARLY = 0.2  # share of the trials that may reach beyond the axis


@dataclass(frozen=True)
class Line:
    """One sampler's curve, from the first trial at which every seed has a value.

    Attributes:
        sampler: its name.
        trials: from 1.
        mean: over the seeds.
        low: lower quartile.
        high: upper quartile.
    """

    sampler: str
    trials: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class CurvesData:
    """What the curves show.

    Attributes:
        metric: of the values.
        lines: one a sampler that has a complete trial.
        visible: reach of the value axis, or None for all.
    """

    heading: style.Heading
    metric: str
    lines: tuple[Line, ...]
    visible: tuple[float, float] | None


@dataclass(frozen=True)
class RanksData:
    """What the ranks show, the best sampler first.

    Attributes:
        samplers: their names.
        mean: rank of each.
        by_seed: (sampler, rank) to how many seeds gave it that rank.
        n_seeds: how many there are.
    """

    heading: style.Heading
    samplers: tuple[str, ...]
    mean: tuple[float, ...]
    by_seed: Mapping[tuple[str, float], int]
    n_seeds: int


def figures(comparison: Comparison) -> dict[str, go.Figure]:
    """Return both pictures, by the names of their files."""
    return {
        "best_so_far": draw_curves(compute_curves(comparison)),
        "ranks": draw_ranks(compute_ranks(comparison)),
    }


def compute_curves(comparison: Comparison) -> CurvesData:
    """Return what the curves show."""
    lines = []
    for each in comparison.contenders:
        columns = zip(each.band.mean, each.band.low, each.band.high, strict=True)
        known = [
            (trial, mean, low, high)
            for trial, (mean, low, high) in enumerate(columns, 1)
            if mean is not None and low is not None and high is not None
        ]
        if known:
            lines.append(Line(each.sampler, *map(tuple, zip(*known, strict=True))))
    visible = _visible(lines, comparison.n_trials)
    notes = [
        comparison.name,
        f"mean over {len(comparison.seeds)} seeds, the band from the lower to the upper quartile",
        *(["the first trials reach beyond the axis"] if visible is not None else []),
    ]
    heading = style.Heading(f"Best {comparison.metric} so far, by sampler", _escaped(" · ".join(notes)))
    return CurvesData(heading, comparison.metric, tuple(lines), visible)


def _visible(lines: Sequence[Line], n_trials: int) -> tuple[float, float] | None:
    """Return the reach of the value axis where the first trials are so bad that all later ones would look alike."""
    everything = [value for line in lines for value in (*line.low, *line.high)]
    later = [
        value
        for line in lines
        for trial, low, high in zip(line.trials, line.low, line.high, strict=True)
        for value in (low, high)
        if trial > n_trials * _EARLY
    ]
    if not later or max(everything) - min(everything) <= 2 * (max(later) - min(later)):
        return None
    pad = 0.06 * (max(later) - min(later))
    return min(later) - pad, max(later) + pad


def draw_curves(data: CurvesData) -> go.Figure:
    """Draw them: steps, since a best value stays until a better one comes."""
    go = style.plotly()
    figure = go.Figure()
    last = max((line.trials[-1] for line in data.lines), default=1)
    end = last + max(0.5, 0.02 * last)  # some way behind, or the last trial's step would lie on the border
    for place, line in enumerate(data.lines):
        _add_band(figure, line, end, _COLOURS[place % len(_COLOURS)])
    for place, line in enumerate(data.lines):
        figure.add_scatter(
            x=_held(line.trials, end),
            y=_held(line.mean),
            mode="lines",
            name=line.sampler,
            line={
                "shape": "hv",
                "color": _COLOURS[place % len(_COLOURS)],
                "width": 2.5,
                "dash": _DASHES[place % len(_DASHES)],
            },
            hovertext=[
                f"<b>{line.sampler}</b> after {trial} trials<br>{data.metric} = {short(mean)}<br>quartiles {short(low)} "
                f"to {short(high)}"
                for trial, mean, low, high in zip(line.trials, line.mean, line.low, line.high, strict=True)
            ],  # none for the point behind the last trial
            hoverinfo="text",
        )
    figure.update_xaxes(title_text="trials", **style.whole_numbers(last))
    figure.update_yaxes(title_text=f"best {data.metric} so far", range=data.visible)
    figure.update_layout(legend={"traceorder": "normal"})  # with bands plotly reverses it
    return style.styled(figure, data.heading, 560)


def _held(values: Sequence[float], end: float | None = None) -> list[float]:
    """Return the values with another one at the end: the last again where none is given."""
    return [*values, values[-1] if end is None else end]


def _add_band(figure: go.Figure, line: Line, end: float, colour: str) -> None:
    edge = {"mode": "lines", "line": {"shape": "hv", "width": 0}, "showlegend": False, "hoverinfo": "skip"}
    trials = _held(line.trials, end)
    figure.add_scatter(x=trials, y=_held(line.high), **edge)
    figure.add_scatter(x=trials, y=_held(line.low), fill="tonexty", fillcolor=_transparent(colour), **edge)


def compute_ranks(comparison: Comparison) -> RanksData:
    """Return what the ranks show."""
    order = sorted(comparison.contenders, key=lambda each: each.mean_rank)
    by_seed: dict[tuple[str, float], int] = {}
    for row in comparison.ranks.tolist():
        for each, rank in zip(comparison.contenders, row, strict=True):
            by_seed[each.sampler, rank] = by_seed.get((each.sampler, rank), 0) + 1
    said = [line for line in verdicts(comparison) if "no trial came" not in line]
    return RanksData(
        heading=style.Heading(
            f"Ranks over {len(comparison.seeds)} seeds, 1 is the best", _escaped(f"{comparison.name} · {said[0]}")
        ),
        samplers=tuple(each.sampler for each in order),
        mean=tuple(each.mean_rank for each in order),
        by_seed=by_seed,
        n_seeds=len(comparison.seeds),
    )


def draw_ranks(data: RanksData) -> go.Figure:
    """Draw them: a row a sampler, how often it had which rank, and its mean rank."""
    go = style.plotly()
    figure = go.Figure()
    rows = {sampler: row for row, sampler in enumerate(data.samplers)}
    points = sorted(data.by_seed.items())
    figure.add_scatter(
        x=[rank for (_, rank), _ in points],
        y=[rows[sampler] + _BELOW for (sampler, _), _ in points],
        mode="markers",
        name="one seed (larger: several)",
        marker={"size": [9 + 16 * count / data.n_seeds for _, count in points], "color": style.GREY, "opacity": 0.7},
        hovertext=[f"<b>{sampler}</b><br>rank {rank:g} at {count} seeds" for (sampler, rank), count in points],
        hoverinfo="text",
    )
    figure.add_scatter(
        x=data.mean,
        y=list(rows.values()),
        mode="markers+text",
        name="mean rank",
        text=[f"{mean:.2f}" for mean in data.mean],
        textposition="top center",
        marker={"symbol": "diamond", "size": 14, "color": style.BLUE, "line": {"color": "white", "width": 1}},
        hovertext=[f"<b>{sampler}</b><br>mean rank {mean:.3f}" for sampler, mean in zip(rows, data.mean, strict=True)],
        hoverinfo="text",
    )
    figure.update_xaxes(title_text="rank", range=(0.6, len(rows) + 0.4), dtick=1)
    figure.update_yaxes(
        tickmode="array", tickvals=list(rows.values()), ticktext=list(rows), range=(len(rows) - 0.5, -0.6),
        showgrid=False, ticks="",
    )  # fmt: skip
    return style.styled(figure, data.heading, 240 + 70 * max(2, len(rows)))


def _transparent(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.15)"


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)
