"""The best trials over further seeds: every seed's value, means with their intervals, and the value in the search."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.errors import PlotError, RunError
from mlframework.search.statistics import SIGNIFICANT
from mlframework.visualise import style
from mlframework.visualise.study_view import StudyView
from mlframework.visualise.wording import short

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from mlframework.search.confirm import Candidate, Confirmation

_SMALLEST = 1e-12  # error bars want no negative length


@dataclass(frozen=True)
class ConfirmData:
    """What the plot shows.

    Attributes:
        metric: what the trials are judged by.
        candidates: the trials with a complete training, in the order of the search.
        pick: number of the picked one, or None.
        seeds: that each was trained with.
    """

    heading: style.Heading
    metric: str
    candidates: tuple[Candidate, ...]
    pick: int | None
    seeds: tuple[int, ...]


def fits(view: StudyView) -> bool:
    """Tell whether the study was confirmed; a file of that which is damaged is told of by `compute`."""
    try:
        return _read(view) is not None
    except RunError:
        return True


def compute(view: StudyView, params: Sequence[str] = ()) -> ConfirmData:
    """Read the study's confirmation. It shows values only: `params` has no bearing on it.

    Raises:
        PlotError: the study was not confirmed, or every training failed.
    """
    found = _read(view)
    if found is None:
        raise PlotError(
            "the study was not confirmed: set search.confirm: {top_k: 3, seeds: 5}, then ml-search --resume"
        )
    shown = tuple(each for each in found.candidates if each.interval is not None)
    if not shown:
        raise PlotError("every training of the confirmation failed; its confirm.json says why")
    return ConfirmData(
        heading=style.Heading(
            f"{found.metric} of the best trials over {len(found.seeds)} further seeds",
            html.escape(f"{view.name} · {_summary(found)}", quote=False),
        ),
        metric=found.metric,
        candidates=shown,
        pick=found.pick,
        seeds=found.seeds,
    )


def _summary(found: Confirmation) -> str:
    """Say in few words how sure the pick is."""
    if found.pick is None:
        return "none is picked: in each a training failed"
    p = {each.number: each.against.t_p_holm for each in found.candidates if each.against is not None}
    worse = [str(number) for number, value in p.items() if value <= SIGNIFICANT]
    alike = [str(number) for number, value in p.items() if value > SIGNIFICANT]
    said = [f"significantly better than {', '.join(worse)}"] if worse else []
    said += [f"cannot be told apart from {', '.join(alike)}"] if alike else []
    return f"trial {found.pick} is picked: {'; '.join(said)} (p <= {SIGNIFICANT}, paired t-test)" if said else (
        f"trial {found.pick} is picked, there is none to compare it with"
    )  # fmt: skip


def _read(view: StudyView) -> Confirmation | None:
    from mlframework.search.confirm import read_confirmation
    from mlframework.search.study import STUDIES, StudyFolder

    return read_confirmation(StudyFolder(STUDIES / view.name).path)


def draw(data: ConfirmData) -> go.Figure:
    """Draw it: a row a trial."""
    go = style.plotly()
    figure = go.Figure()
    rows = list(range(len(data.candidates)))
    _add_seeds(figure, data)
    _add_means(figure, data)
    figure.add_scatter(
        x=[each.search_value for each in data.candidates],
        y=rows,
        mode="markers",
        name="in the search, not counted in",
        marker={"symbol": "diamond-open", "size": 10, "color": style.VERMILLION, "line": {"width": 2}},
        hovertext=[
            f"<b>trial {each.number}</b><br>in the search {short(each.search_value)}" for each in data.candidates
        ],
        hoverinfo="text",
    )
    labels = [f"trial {each.number}{', picked' if each.number == data.pick else ''}" for each in data.candidates]
    figure.update_xaxes(title_text=data.metric)
    figure.update_yaxes(
        tickmode="array", tickvals=rows, ticktext=labels, range=(len(rows) - 0.5, -0.5), showgrid=False, ticks=""
    )
    return style.styled(figure, data.heading, 240 + 80 * max(2, len(rows)))


def _add_seeds(figure: go.Figure, data: ConfirmData) -> None:
    """Add a point a training, a little below its trial's row."""
    points = [
        (row + 0.22, training, each.number)
        for row, each in enumerate(data.candidates)
        for training in each.trainings
        if training.value is not None
    ]
    figure.add_scatter(
        x=[training.value for _, training, _ in points],
        y=[row for row, _, _ in points],
        mode="markers",
        name="one seed",
        marker={"size": 8, "color": style.GREY, "opacity": 0.8},
        hovertext=[
            f"<b>trial {number}</b>, seed {training.seed}<br>{data.metric} = {short(training.value)}"
            for _, training, number in points
        ],
        hoverinfo="text",
    )


def _add_means(figure: go.Figure, data: ConfirmData) -> None:
    found = [(row, each, each.interval) for row, each in enumerate(data.candidates)]
    ends = [(interval.mean, interval.low, interval.high) for _, _, interval in found if interval is not None]
    figure.add_scatter(
        x=[mean for mean, _, _ in ends],
        y=[row for row, _, _ in found],
        mode="markers",
        name="mean, 95 % interval",
        marker={
            "size": 13,
            "color": [style.BLUE if each.number == data.pick else "white" for _, each, _ in found],
            "line": {"color": style.BLUE, "width": 2},
        },
        error_x={
            "type": "data",
            "array": [max(_SMALLEST, (mean if high is None else high) - mean) for mean, _, high in ends],
            "arrayminus": [max(_SMALLEST, mean - (mean if low is None else low)) for mean, low, _ in ends],
            "color": style.BLUE,
            "thickness": 2,
            "width": 6,
        },
        hovertext=[_said(each) for _, each, _ in found],
        hoverinfo="text",
    )


def _said(each: Candidate) -> str:
    interval, against = each.interval, each.against
    assert interval is not None  # others are not shown
    lines = [f"<b>trial {each.number}</b>", f"mean {short(interval.mean)} of {interval.n} seeds"]
    if interval.low is not None:
        lines.append(f"95 % from {short(interval.low)} to {short(interval.high)}")
    if against is not None:
        lines.append(
            f"p {short(against.t_p_holm)} against the picked one, signed-rank {short(against.wilcoxon_p_holm)}"
        )
    return "<br>".join(lines)
