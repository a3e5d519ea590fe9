"""What the search cost: time, epochs, and what pruning saved of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from mlframework.search.results import TrialRecord
from mlframework.visualise import style
from mlframework.visualise.page import Absent
from mlframework.visualise.page.charts import Chart
from mlframework.visualise.page.words import count_of, duration, percent
from mlframework.visualise.report.source import Source

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = {"complete": style.BLUE, "pruned": style.GREY, "failed": style.VERMILLION}


@dataclass(frozen=True)
class Share:
    """The trials of one state: how many, their seconds, their epochs."""

    state: str
    trials: int
    seconds: float
    epochs: int


@dataclass(frozen=True)
class CostData:
    """What the section shows.

    Attributes:
        shares: the cost by what became of the trials.
        seconds: of all trials together.
        wall: from the first trial's start to the last one's end; breaks between two searches count; None where unknown.
        saved: what pruning saved, in a sentence.
        chart: every trial's time.
    """

    shares: Sequence[Share]
    seconds: float
    wall: float | None
    saved: str
    chart: Chart

    @property
    def epochs(self) -> int:
        """Epochs of all trials together."""
        return sum(share.epochs for share in self.shares)

    @property
    def trials(self) -> int:
        """Trials in all."""
        return sum(share.trials for share in self.shares)


def compute(source: Source) -> CostData:
    """Add up what trials took.

    Raises:
        Absent: no trial is over.
    """
    over = [record for record in source.trained if record.seconds is not None and record.state in _COLOURS]
    if not over:
        raise Absent("No trial is over yet, so there is nothing to add up.")
    shares = []
    for state in _COLOURS:
        found = [record for record in over if record.state == state]
        if found:
            shares.append(Share(state, len(found), _seconds(found), sum(record.epochs for record in found)))
    trials = [source.by_number[record.number] for record in over]
    starts = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    wall = (max(ends) - min(starts)).total_seconds() if starts and ends else None
    return CostData(shares, _seconds(over), wall, saved_by_pruning(over), _chart(over))


def charts(data: CostData) -> Sequence[Chart]:
    """Return the section's charts."""
    return [data.chart]


def _seconds(records: Sequence[TrialRecord]) -> float:
    return sum(record.seconds or 0.0 for record in records)


def saved_by_pruning(over: Sequence[TrialRecord]) -> str:
    """Say how many epochs pruned trials would have taken more, had they gone on as long as the finished ones did."""
    pruned = [record for record in over if record.state == "pruned"]
    complete = [record for record in over if record.state == "complete"]
    if not pruned or not complete:
        return (
            "Nothing was pruned, so nothing was saved by it." if not pruned else "No trial is complete to compare with."
        )
    in_parts = any(record.parts for record in complete)
    unit = "fold or repeat" if in_parts else "epoch"

    def units(record: TrialRecord) -> int:
        return len(record.parts) if in_parts else record.epochs

    usual = median(units(record) for record in complete)
    spent = sum(units(record) for record in pruned)
    saved = sum(max(0.0, usual - units(record)) for record in pruned)
    # The median: a first trial also has the time in which libraries are loaded.
    pace = median([record.seconds / units(record) for record in over if record.seconds and units(record)] or [0.0])
    share = saved / (saved + sum(units(record) for record in over))
    names = "folds or repeats" if in_parts else "epochs"
    return (
        f"{count_of(len(pruned), 'trial')} had {count_of(spent, unit) if spent == 1 else f'{spent:,} {names}'} before the "
        f"pruner stopped them. Had they gone on as long as half of the finished ones did ({usual:g} {names}), the search "
        f"would have taken {saved:,.0f} more, about {duration(saved * pace)}: pruning saved {percent(share)}."
    )


def _chart(over: Sequence[TrialRecord]) -> Chart:
    longest = max(over, key=lambda record: record.seconds or 0.0)
    half = median(record.seconds or 0.0 for record in over)
    summary = (
        f"Half of the trials took {duration(half)} or less; the longest was trial {longest.number} with "
        f"{duration(longest.seconds)}."
    )
    return Chart("cost", "How long each trial took", summary, draw(over), height=300)


def draw(over: Sequence[TrialRecord]) -> go.Figure:
    """Draw a mark a trial at its seconds, by state."""
    go = style.plotly()
    figure = go.Figure()
    size = 8 if len(over) <= style.MANY else 5
    for state, colour in _COLOURS.items():
        found = [record for record in over if record.state == state]
        if found:
            figure.add_scatter(
                x=[record.number for record in found], y=[record.seconds for record in found], mode="markers", name=state,
                marker={"color": colour, "size": size}, customdata=[record.epochs for record in found],
                hovertemplate="trial %{x}: %{y:.3g} s, %{customdata} epochs<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title_text="trial", **style.whole_numbers(max(record.number for record in over)))
    figure.update_yaxes(title_text="seconds", rangemode="tozero")
    return style.styled(figure, style.Heading("", ""), 400)
