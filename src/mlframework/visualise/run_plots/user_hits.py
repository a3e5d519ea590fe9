"""Whom the recommendations serve: how many users find none, one, two ... of what they will like among the first K."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.run_plots.classified import share
from mlframework.visualise.run_plots.ranking import rankings
from mlframework.visualise.run_view import RunView, subtitle

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = {"val": style.BLUE, "test": style.GREEN}


@dataclass(frozen=True)
class UserHitsData:
    """What the plot shows: for each split, val before test, how many users have 0, 1, ... k hits."""

    heading: style.Heading
    splits: tuple[tuple[str, tuple[int, ...]], ...]
    k: int


def compute(view: RunView) -> UserHitsData:
    """Read the counts.

    Raises:
        PlotError: the run has no rankings, or they were written without the counts.
        RunError: a ranking file is damaged.
    """
    found = [each for each in rankings(view) if sum(each.users_by_hits)]
    if not found:
        raise PlotError(
            f"needs users_by_hits in the rankings of {view.run.path}, which an earlier version did not write: train again"
        )
    last = found[-1]
    n, none = sum(last.users_by_hits), last.users_by_hits[0]
    return UserHitsData(
        heading=style.Heading(
            f"{share(1 - none / n)} of the users find something they like among their first {last.k}",
            subtitle(view, *(f"{each.split} split: {sum(each.users_by_hits):,} users" for each in found)),
        ),
        splits=tuple((each.split, each.users_by_hits) for each in found),
        k=last.k,
    )


def draw(data: UserHitsData) -> "go.Figure":
    """Draw it: a bar a number of hits."""
    figure = style.plotly().Figure()
    for split, counts in data.splits:
        n = sum(counts)
        figure.add_bar(
            x=list(range(len(counts))),
            y=[100 * count / n for count in counts],
            name=split,
            marker={"color": _COLOURS[split]},
            text=[f"{count:,}" if count else "" for count in counts],
            textposition="outside",
            cliponaxis=False,
            hovertext=[f"{count:,} of {n:,} users ({share(count / n)})<br>{hits} of their items among the first {data.k}"
                       for hits, count in enumerate(counts)],
            hoverinfo="text",
        )  # fmt: skip
    most = max(100 * max(counts) / sum(counts) for _, counts in data.splits)
    figure.update_xaxes(
        title_text=f"held-out items among the first {data.k}", **style.whole_numbers(data.k), showgrid=False
    )
    figure.update_yaxes(title_text="share of the users", ticksuffix=" %", range=(0, 1.12 * most))
    style.styled(figure, data.heading, 520)
    figure.update_layout(bargap=0.25, showlegend=len(data.splits) > 1)
    return figure
