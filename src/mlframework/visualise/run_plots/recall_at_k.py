"""How much of what users will like is among their first K recommendations, for every K."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.run_plots.ranking import Ranking, rankings
from mlframework.visualise.run_view import RunView, subtitle
from mlframework.visualise.wording import short

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = {"val": style.BLUE, "test": style.GREEN}
_LARGEST_LINEAR = 10  # with more, the first places, which everybody sees, would be squeezed together
_TICKS = (1, 2, 5)


@dataclass(frozen=True)
class RecallCurve:
    """One split: recall@1, recall@2, ... of the model, and of recommending everybody the most popular items."""

    split: str
    recall: tuple[float, ...]
    popularity: tuple[float, ...]


@dataclass(frozen=True)
class RecallData:
    """What the plot shows: the splits, val before test, and the K that the run's metrics go by."""

    heading: style.Heading
    curves: tuple[RecallCurve, ...]
    k: int


def compute(view: RunView) -> RecallData:
    """Compute the curves.

    Raises:
        PlotError: the run has no rankings, or nobody in them has a held-out item.
        RunError: a ranking file is damaged.
    """
    found = [ranking for ranking in rankings(view) if ranking.recall_at]
    if not found:
        raise PlotError(
            f"needs recall@K; recall_at is empty in the rankings of {view.run.path}: no user has a held-out item, so "
            "hold more out (data.split) and train again"
        )
    users = " and ".join(dict.fromkeys(f"{ranking.n_users:,}" for ranking in found))
    return RecallData(
        heading=style.Heading(
            "recall@K of the recommendations, and of the most popular items",
            subtitle(view, *(_said(ranking) for ranking in found), f"{users} users, {found[0].n_items:,} items"),
        ),
        curves=tuple(RecallCurve(each.split, each.recall_at, each.popularity_recall_at) for each in found),
        k=found[-1].k,
    )


def _said(ranking: Ranking) -> str:
    at = min(max(ranking.k, 1), len(ranking.recall_at))
    own, popular = ranking.recall_at[at - 1], ranking.popularity_recall_at[at - 1]
    return f"{ranking.split} recall@{at} {short(own)} against {short(popular)}"


def draw(data: RecallData) -> "go.Figure":
    """Draw it: a line a split, dashed for the most popular items; a dot at the K of the run's metrics."""
    figure = style.plotly().Figure()
    for curve in data.curves:
        colour = _COLOURS[curve.split]
        figure.add_scatter(**_line(curve, curve.recall), name=curve.split, line={"color": colour, "width": 2.6})
        figure.add_scatter(
            **_line(curve, curve.popularity),
            name=f"most popular, {curve.split}",
            line={"color": colour, "width": 1.5, "dash": "dash"},
        )
        if 1 <= data.k <= len(curve.recall):
            figure.add_scatter(
                x=[data.k, data.k],
                y=[curve.recall[data.k - 1], curve.popularity[data.k - 1]],
                mode="markers",
                marker={"color": colour, "size": 9, "line": {"color": "white", "width": 1.5}},
                showlegend=False,
                hoverinfo="skip",
            )
    last = max(len(curve.recall) for curve in data.curves)
    figure.update_xaxes(title_text="K", **k_axis(last))
    figure.update_yaxes(title_text="recall@K", rangemode="tozero")
    return style.styled(figure, data.heading, 580)


def _line(curve: RecallCurve, values: tuple[float, ...]) -> dict[str, Any]:
    hovers = [
        f"<b>{curve.split} recall@{k}</b><br>recommendations = <b>{short(own)}</b><br>most popular = {short(popular)}"
        for k, (own, popular) in enumerate(zip(curve.recall, curve.popularity, strict=True), 1)
    ]
    return {
        "x": list(range(1, len(values) + 1)),
        "y": values,
        # One value has no line.
        "mode": "lines" if len(values) > 1 else "markers",
        "hovertext": hovers,
        "hoverinfo": "text",
    }


def k_axis(last: int) -> dict[str, Any]:
    """Return the axis of K from 1 to `last`: logarithmic where they are many."""
    if last <= _LARGEST_LINEAR:
        return {"type": "linear", "dtick": 1, "range": (1 - 0.02 * last, last * 1.02)}
    ticks = [step * 10**power for power in range(len(str(last))) for step in _TICKS if step * 10**power <= last]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,}" for tick in ticks]}
