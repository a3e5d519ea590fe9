"""How good the first K recommendations are, for every K: precision and NDCG, beside those of the most popular items."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.run_plots.ranking import Ranking, rankings
from mlframework.visualise.run_plots.recall_at_k import k_axis
from mlframework.visualise.run_view import RunView, subtitle
from mlframework.visualise.wording import short

if TYPE_CHECKING:
    import plotly.graph_objects as go

METRICS = ("precision", "NDCG")
_COLOURS = {"val": style.BLUE, "test": style.GREEN}


@dataclass(frozen=True)
class AtK:
    """A metric of one split at 1, 2, ...: of the model, and of recommending everybody the most popular items."""

    metric: str
    split: str
    own: tuple[float, ...]
    popular: tuple[float, ...]


@dataclass(frozen=True)
class RankingAtKData:
    """What the plot shows: for each metric the splits, val before test, and the K that the run's metrics go by."""

    heading: style.Heading
    curves: tuple[AtK, ...]
    k: int


def compute(view: RunView) -> RankingAtKData:
    """Compute the curves.

    Raises:
        PlotError: the run has no rankings, or none that were written with these metrics.
        RunError: a ranking file is damaged.
    """
    found = [each for each in rankings(view) if each.ndcg_at and each.precision_at]
    if not found:
        raise PlotError(
            f"needs precision_at and ndcg_at in the rankings of {view.run.path}, which an earlier version did not write, or "
            "nobody has a held-out item: train again"
        )
    curves = [
        curve
        for each in found
        for curve in (
            AtK("precision", each.split, each.precision_at, each.popularity_precision_at),
            AtK("NDCG", each.split, each.ndcg_at, each.popularity_ndcg_at),
        )
    ]
    users = " and ".join(dict.fromkeys(f"{each.n_users:,}" for each in found))
    return RankingAtKData(
        heading=style.Heading(
            "Precision@K and NDCG@K of the recommendations, and of the most popular items",
            subtitle(view, *map(_said, found), f"{users} users, {found[0].n_items:,} items"),
        ),
        curves=tuple(curves),
        k=found[-1].k,
    )


def _said(each: Ranking) -> str:
    at = min(max(each.k, 1), len(each.ndcg_at))
    own, popular = each.ndcg_at[at - 1], each.popularity_ndcg_at[at - 1 : at]
    against = f" against {short(popular[0])}" if popular else ""
    return f"{each.split} NDCG@{at} {short(own)}{against}"


def draw(data: RankingAtKData) -> "go.Figure":
    """Draw it: a panel a metric, a line a split, dashed for the most popular items; a dot at the K of the run's metrics."""
    style.plotly()
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=len(METRICS), horizontal_spacing=0.1)
    last = max(len(curve.own) for curve in data.curves)
    for column, metric in enumerate(METRICS, 1):
        for curve in (each for each in data.curves if each.metric == metric):
            colour, first = _COLOURS[curve.split], column == 1
            for name, values, line in (
                (curve.split, curve.own, {"color": colour, "width": 2.6}),
                (f"most popular, {curve.split}", curve.popular, {"color": colour, "width": 1.5, "dash": "dash"}),
            ):
                if not values:
                    continue
                figure.add_scatter(
                    **_line(metric, name, values), line=line, legendgroup=name, showlegend=first, row=1, col=column
                )
                if 1 <= data.k <= len(values):
                    figure.add_scatter(
                        x=[data.k], y=[values[data.k - 1]], mode="markers", showlegend=False, hoverinfo="skip",
                        marker={"color": colour, "size": 9, "line": {"color": "white", "width": 1.5}}, row=1, col=column,
                    )  # fmt: skip
        figure.update_yaxes(title_text=f"{metric}@K", rangemode="tozero", row=1, col=column)
    figure.update_xaxes(title_text="K", **k_axis(last))
    return style.styled(figure, data.heading, 560)


def _line(metric: str, name: str, values: tuple[float, ...]) -> dict[str, Any]:
    return {
        "x": list(range(1, len(values) + 1)),
        "y": values,
        "name": name,
        # One value has no line.
        "mode": "lines" if len(values) > 1 else "markers",
        "hovertext": [f"<b>{metric}@{k}</b><br>{name} = {short(value)}" for k, value in enumerate(values, 1)],
        "hoverinfo": "text",
    }
