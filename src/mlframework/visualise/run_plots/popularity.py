"""Whether the recommendations reach the whole catalogue, or only what is popular anyway."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.run_plots.ranking import Ranking, rankings
from mlframework.visualise.run_view import RunView, subtitle

if TYPE_CHECKING:
    import plotly.graph_objects as go

_GROUPS = 10
_RECOMMENDATIONS, _INTERACTIONS = "recommendations", "training interactions"
_COLOURS = {_RECOMMENDATIONS: style.BLUE, _INTERACTIONS: style.GREY}


@dataclass(frozen=True)
class PopularityData:
    """What the plot shows. Items are in the order of their training interactions, the most popular first.

    Attributes:
        items: shares of the catalogue, from 0 to 1, at which the curves below are known.
        recommendations: cumulative share of all recommendations that go to these items.
        interactions: cumulative share of the training interactions.
        covered: how many items are recommended to anybody.
        n_items: how many there are.
        k: how many items each user was recommended.
        recommended_by_group: shares of the recommendations that go to the most popular tenth, the next, and so on; a
            catalogue of less than ten items has a group an item.
        interactions_by_group: shares of the training interactions.
    """

    heading: style.Heading
    items: tuple[float, ...]
    recommendations: tuple[float, ...]
    interactions: tuple[float, ...]
    covered: int
    n_items: int
    k: int
    recommended_by_group: tuple[float, ...]
    interactions_by_group: tuple[float, ...]


def compute(view: RunView) -> PopularityData:
    """Compute the shares, of the test split where the run has it, else of val.

    Raises:
        PlotError: the run has no rankings, or they hold no recommendation or no training interaction.
        RunError: a ranking file is damaged.
    """
    ranking = rankings(view)[-1]
    for key, counts in ((_RECOMMENDATIONS, ranking.recommended), (_INTERACTIONS, ranking.interactions)):
        if sum(counts) == 0:
            raise PlotError(
                f"needs {key}; ranking_{ranking.split}.json of {view.run.path} counts none: train again on data that "
                "has users in every split"
            )
    items, recommendations, interactions = curves(ranking)
    groups = min(_GROUPS, ranking.n_items)
    return PopularityData(
        heading=style.Heading(
            "What is recommended, and what is popular",
            subtitle(
                view,
                f"{ranking.split} split: the top {ranking.k} of {ranking.n_users:,} users",
                f"{ranking.n_items:,} items, {sum(ranking.interactions):,} training interactions",
            ),
        ),
        items=items,
        recommendations=recommendations,
        interactions=interactions,
        covered=sum(count > 0 for count in ranking.recommended),
        n_items=ranking.n_items,
        k=ranking.k,
        recommended_by_group=by_group(items, recommendations, groups),
        interactions_by_group=by_group(items, interactions, groups),
    )


def curves(ranking: Ranking) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Return cumulative shares of the items, their recommendations and their interactions, from 0 to 1.

    A Lorenz curve, but from the largest on (Lorenz 1905, "Methods of measuring the concentration of wealth"). Items
    that are equally popular make one step together, so their order in the file does not matter.
    """
    pairs = sorted(zip(ranking.interactions, ranking.recommended, strict=True), key=lambda pair: -pair[0])
    steps = [(0, 0, 0)]
    for popularity, equals in itertools.groupby(pairs, key=lambda pair: pair[0]):
        counts = [recommended for _, recommended in equals]
        n, n_recommended, n_interactions = steps[-1]
        steps.append((n + len(counts), n_recommended + sum(counts), n_interactions + popularity * len(counts)))
    items, recommendations, interactions = zip(*steps, strict=True)
    return _shares(items), _shares(recommendations), _shares(interactions)


def _shares(cumulative: Sequence[int]) -> tuple[float, ...]:
    return tuple(value / cumulative[-1] for value in cumulative)


def by_group(items: Sequence[float], cumulative: Sequence[float], groups: int) -> tuple[float, ...]:
    """Cut a cumulative curve into `groups` equal parts of the catalogue and return the share of each; they sum to 1."""
    heights = [_height(items, cumulative, group / groups) for group in range(groups + 1)]
    return tuple(above - below for below, above in itertools.pairwise(heights))


def _height(items: Sequence[float], cumulative: Sequence[float], at: float) -> float:
    """Return the curve's height at a share of the catalogue, on the straight line between its two neighbours."""
    after = next((index for index, share in enumerate(items) if share >= at), len(items) - 1)
    if after == 0:
        return cumulative[0]
    left, right = items[after - 1], items[after]
    return cumulative[after - 1] + (cumulative[after] - cumulative[after - 1]) * (at - left) / (right - left)


def percent(share: float) -> str:
    """Write a share: "24 %", "5.9 %", "0.06 %"."""
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.2g} %"


def draw(data: PopularityData) -> "go.Figure":
    """Draw it: cumulative shares on the left, shares of equal groups of items on the right; blue is recommended."""
    style.plotly()
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.1)
    for name, heights in ((_INTERACTIONS, data.interactions), (_RECOMMENDATIONS, data.recommendations)):
        figure.add_scatter(**_curve(data, name, heights), row=1, col=1)
    for name, shares in ((_INTERACTIONS, data.interactions_by_group), (_RECOMMENDATIONS, data.recommended_by_group)):
        figure.add_bar(**_bars(name, shares), row=1, col=2)
    figure.add_scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        name="all items alike",
        line={"color": style.GREY, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        row=1,
        col=1,
    )
    groups = len(data.recommended_by_group)
    kind = "tenth of the catalogue" if groups == _GROUPS else "item"
    figure.update_xaxes(
        title_text="share of the catalogue, most popular first", range=(-2, 102), ticksuffix=" %", row=1, col=1
    )
    figure.update_xaxes(title_text=f"{kind}, most popular first", dtick=1, row=1, col=2)
    figure.update_yaxes(title_text="cumulative share", range=(-2, 104), row=1, col=1)
    figure.update_yaxes(title_text="share", row=1, col=2)
    figure.update_yaxes(ticksuffix=" %")
    for column, text in enumerate(_findings(data), 1):
        figure.add_annotation(
            text=text, showarrow=False, x=0, y=1, xref="x domain", yref="y domain", xanchor="left", yanchor="bottom",
            yshift=10, font={"size": 14}, row=1, col=column,
        )  # fmt: skip
    style.styled(figure, data.heading, 580)
    # Below the subtitle, above what is found: both need their own line.
    figure.update_layout(margin={"t": 152, "l": 95}, legend={"y": 1.09}, bargap=0.25, bargroupgap=0.05)
    return figure


def _findings(data: PopularityData) -> tuple[str, str]:
    """Return what is seen on the left and on the right, each in a sentence."""
    noun, verb = "item" if data.n_items == 1 else "items", "is" if data.covered == 1 else "are"
    of = "tenth" if len(data.recommended_by_group) == _GROUPS else "item"
    return (
        f"{data.covered:,} of {data.n_items:,} {noun} ({percent(data.covered / data.n_items)}) {verb} in somebody's "
        f"top {data.k}",
        f"The most popular {of} gets {percent(data.recommended_by_group[0])} of the recommendations",
    )


def _curve(data: PopularityData, name: str, heights: Sequence[float]) -> dict[str, Any]:
    return {
        "x": [100 * share for share in data.items],
        "y": [100 * height for height in heights],
        "mode": "lines",
        "name": name,
        "legendgroup": name,
        "line": {"color": _COLOURS[name], "width": 2.6 if name == _RECOMMENDATIONS else 2},
        "hovertext": [
            f"the most popular {percent(share)} of the items<br>{percent(height)} of the {name}"
            for share, height in zip(data.items, heights, strict=True)
        ],
        "hoverinfo": "text",
    }


def _bars(name: str, shares: Sequence[float]) -> dict[str, Any]:
    return {
        "x": list(range(1, len(shares) + 1)),
        "y": [100 * share for share in shares],
        "name": name,
        "legendgroup": name,
        "showlegend": False,
        "marker": {"color": _COLOURS[name]},
        "hovertext": [f"{percent(share)} of the {name}" for share in shares],
        "hoverinfo": "text",
    }
