"""How much each parameter decided the value, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.search.statistics import SIGNIFICANT
from mlframework.visualise import style
from mlframework.visualise.search_plots.param_importances import importances
from mlframework.visualise.study_view import StudyView
from mlframework.visualise.wording import short, subtitle, too_few

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from mlframework.search.importance import Estimate, Evaluator

FEWEST = 10
"""Finished trials below which an interval would say nothing."""
_SEED = 0
_COLOURS = {"PED-ANOVA": style.BLUE, "fANOVA": style.GREEN}
_SMALLEST = 1e-12  # error bars want no negative length


@dataclass(frozen=True)
class SignificanceData:
    """What the plot shows, the most important parameter first.

    Attributes:
        metric: what they are important for.
        keys: dotted keys.
        labels: what the axis shows for each.
        shares: by evaluator and key, each one's share of the importance.
        correlations: by key, Spearman's rank correlation with the metric; none of a parameter whose values have no order.
    """

    heading: style.Heading
    metric: str
    keys: tuple[str, ...]
    labels: tuple[str, ...]
    shares: Mapping[Evaluator, Mapping[str, Estimate]]
    correlations: Mapping[str, Estimate]


def compute(view: StudyView, params: Sequence[str] = ()) -> SignificanceData:
    """Compute importances and correlations with their uncertainty.

    Args:
        view: the study.
        params: dotted keys to show; none: all that every finished trial has. Shares are shares of the whole all the same.

    Raises:
        PlotError: fewer than 10 finished trials, all of one value, or a parameter that only some of them have.
    """
    from mlframework.search.importance import REPEATS, importance

    if len(view.complete) < FEWEST:
        raise too_few(view, f"{FEWEST} finished trials", str(len(view.complete)))
    order = importances(view)
    everywhere = [key for key in order if all(key in trial.params for trial in view.complete)]
    if missing := [key for key in params if key not in everywhere]:
        raise PlotError(
            f"{' and '.join(missing)}: only some of the finished trials have it, so they cannot be compared by it"
        )
    if not everywhere:
        raise PlotError("there is no parameter that every finished trial has, so they cannot be compared by one")
    shares = {
        evaluator: importance(view.complete, view.direction, everywhere, evaluator, repeats, _SEED)
        for evaluator, repeats in REPEATS.items()
    }
    keys = [key for key in everywhere if not params or key in params]
    conditional = len(order) - len(everywhere)
    sure = [key for key in keys if shares["PED-ANOVA"][key].p_holm <= SIGNIFICANT]
    return SignificanceData(
        heading=style.Heading(
            f"Which parameters decided {view.metric}, and how sure that is",
            subtitle(
                view,
                f"{len(sure)} of {len(keys)} significant, filled: p <= {SIGNIFICANT} after Holm",
                f"{conditional} that not every trial has left out" if conditional else "",
            ),
        ),
        metric=view.metric,
        keys=tuple(keys),
        labels=tuple(view.labels[key] for key in keys),
        shares=shares,
        correlations=_correlations(view, keys),
    )


def _correlations(view: StudyView, keys: Sequence[str]) -> dict[str, Estimate]:
    import numpy as np

    from mlframework.search.importance import REPEATS, Estimate, correlation
    from mlframework.search.statistics import holm

    values = np.array([trial.value for trial in view.complete], dtype=np.float64)
    found: dict[str, tuple[float, float, float, float]] = {}
    for key in keys:
        column: list[Any] = [trial.params[key] for trial in view.complete]
        if all(isinstance(each, int | float) and not isinstance(each, bool) for each in column):
            result = correlation(np.array(column, dtype=np.float64), values, REPEATS["PED-ANOVA"].bootstrap, _SEED)
            if not math.isnan(result[0]):
                found[key] = result
    corrected = holm([result[3] for result in found.values()])
    return {
        key: Estimate(*result, float(p_holm)) for (key, result), p_holm in zip(found.items(), corrected, strict=True)
    }


def draw(data: SignificanceData) -> go.Figure:
    """Draw it: shares with their intervals on the left, rank correlations with theirs on the right."""
    style.plotly()
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, column_widths=[0.6, 0.4], horizontal_spacing=0.04)
    rows = list(range(len(data.keys)))
    for place, (evaluator, estimates) in enumerate(data.shares.items()):
        found = [estimates[key] for key in data.keys]
        offset = 0.14 * (2 * place - 1)
        _add(figure, 1, found, [row + offset for row in rows], data.keys, _COLOURS[evaluator], evaluator)
    known = [(row, key) for row, key in zip(rows, data.keys, strict=True) if key in data.correlations]
    _add(
        figure, 2, [data.correlations[key] for _, key in known], [row for row, _ in known],
        [key for _, key in known], style.VERMILLION, "Spearman's rank correlation",
    )  # fmt: skip
    figure.update_xaxes(title_text=f"share of the importance for {data.metric}", range=(-0.03, 1.03), col=1)
    figure.update_xaxes(title_text=f"rank correlation with {data.metric}", range=(-1.05, 1.05), zeroline=True,
                        zerolinecolor=style.GREY, col=2)  # fmt: skip
    figure.update_yaxes(
        tickmode="array", tickvals=rows, ticktext=data.labels, range=(len(rows) - 0.5, -0.5), showgrid=False, ticks=""
    )
    return style.styled(figure, data.heading, 260 + 64 * max(3, len(data.keys)))


def _add(
    figure: go.Figure, column: int, found: Sequence[Estimate], rows: Any, keys: Sequence[str], colour: str, name: str
) -> None:
    """Add a row of points with their intervals: filled where the parameter is significant."""
    figure.add_scatter(
        x=[each.value for each in found],
        y=rows,
        mode="markers",
        name=name,
        marker={
            "size": 11,
            "color": [colour if each.p_holm <= SIGNIFICANT else "white" for each in found],
            "line": {"color": colour, "width": 2},
        },
        error_x={
            "type": "data",
            "array": [max(_SMALLEST, each.high - each.value) for each in found],
            "arrayminus": [max(_SMALLEST, each.value - each.low) for each in found],
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        },
        hovertext=[
            f"<b>{key}</b><br>{name} {short(each.value)}, 95 % from {short(each.low)} to {short(each.high)}<br>"
            f"p {short(each.p)}, {short(each.p_holm)} after Holm"
            for key, each in zip(keys, found, strict=True)
        ],
        hoverinfo="text",
        row=1,
        col=column,
    )
