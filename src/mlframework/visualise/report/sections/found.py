"""What was found: the best trial, beside the first, the median and the config's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.config.override import get
from mlframework.search.results import TrialRecord
from mlframework.visualise import style
from mlframework.visualise.page import Absent
from mlframework.visualise.page.charts import Chart
from mlframework.visualise.page.words import count_of, duration, short
from mlframework.visualise.report.scale import value_scale
from mlframework.visualise.report.source import Source
from mlframework.visualise.report.ties import said_of_ties
from mlframework.visualise.wording import standing

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from mlframework.visualise.study_view import StudyView


@dataclass(frozen=True)
class Setting:
    """One parameter of the chosen trial: its value, the config's own, and how far up its range it lies, 0 to 1."""

    key: str
    value: Any
    before: Any
    share: float | None


@dataclass(frozen=True)
class Compared:
    """A trial beside the chosen one: what it is, its number, its value, and by how much the chosen one is better."""

    what: str
    number: int
    value: float
    gain: float


@dataclass(frozen=True)
class Line:
    """A trial's curve: its name in the legend, and what it reported by epoch."""

    name: str
    values: Mapping[int, float]


@dataclass(frozen=True)
class Found:
    """What the section shows.

    Attributes:
        headline: the result in a sentence.
        why: how the trial was chosen.
        tiles: the figures that matter, as (name, value, what it says).
        settings: of the chosen trial.
        others: trials that it is compared with.
        chart: the curves; None where the trial reported no epochs.
    """

    headline: str
    why: str
    tiles: Sequence[tuple[str, str, str]]
    settings: Sequence[Setting]
    others: Sequence[Compared]
    chart: Chart | None


def compute(source: Source) -> Found:
    """Collect what was found.

    Raises:
        Absent: no trial has come to its end.
    """
    best, view = source.chosen, source.view
    if best is None:
        raise Absent(f"No trial has come to its end yet ({standing(view)}), so there is nothing that was found.")
    value = source.value(best)
    at = f" at epoch {best.best_epoch}" if best.best_epoch is not None else ""
    reached = f"{view.metric} {short(value)}" if view.goal.is_single else view.goal.shown(best)
    others = _others(source, best) if view.goal.is_single else []
    return Found(
        headline=f"Trial {best.number} reached {reached}{at}.",
        why=_why(source, best),
        tiles=_tiles(source, best, others),
        settings=[_setting(source, key, given) for key, given in best.params.items()],
        others=others,
        chart=_chart(source, best, others),
    )


def charts(found: Found) -> Sequence[Chart]:
    """Return the section's charts."""
    return [found.chart] if found.chart is not None else []


def _why(source: Source, best: TrialRecord) -> str:
    goal = source.view.goal
    if not goal.is_single:
        return f"It is the {goal.rule}; the others of the front are no worse choice where you weigh the objectives otherwise."
    if source.picked == best.number and source.confirmation is not None:
        n = len(source.confirmation.seeds)
        top = source.ranked[0].number
        beside = "" if top == best.number else f" In the search itself trial {top} had the better value."
        return f"It was picked by its mean over {n} further seeds, not by its value in the search.{beside}"
    if len(source.ranked) == 1:
        return "It is the only complete trial."
    better = "highest" if source.view.direction == "maximize" else "lowest"
    ties = said_of_ties(source.view.metric, best, source.ranked)
    return f"It has the {better} {source.view.metric} of {count_of(len(source.ranked), 'complete trial')}.{ties}"


def _others(source: Source, best: TrialRecord) -> list[Compared]:
    view = source.view
    found = [
        ("the config's own values", source.default),
        ("the first complete trial", source.first),
        ("the median trial", source.median),
    ]
    mine, seen, rows = source.value(best), {best.number}, []
    for what, record in found:
        value = source.value(record) if record is not None else None
        if record is None or value is None or mine is None or record.number in seen:
            continue
        seen.add(record.number)
        rows.append(Compared(what, record.number, value, view.badness(value) - view.badness(mine)))
    return rows


def _tiles(source: Source, best: TrialRecord, others: Sequence[Compared]) -> list[tuple[str, str, str]]:
    view = source.view
    each = [
        (target.metric, short(best.values.get(target.metric)), f"trial {best.number}, to {target.direction}")
        for target in view.goal.objectives
    ]
    states = [record.state for record in source.own]
    ended = ", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states))
    tiles = [(f"best {view.metric}", short(source.value(best)), each[0][2])] if view.goal.is_single else each
    if (mean := _mean(source, best)) is not None:
        tiles = [
            (f"{view.metric} in the search", short(source.value(best)), f"trial {best.number}, to {view.direction}"),
            ("with further seeds", short(mean), "what to expect of it"),
        ]
    beaten = [other for other in others if other.gain > 0]
    if beaten:
        last = beaten[-1]
        tiles.append((f"better than {last.what}", short(last.gain), f"trial {last.number} had {short(last.value)}"))
    tiles.append(("trials", str(len(source.own)), ended))
    seconds = sum(record.seconds or 0.0 for record in source.trained)
    tiles.append(("time in trials", duration(seconds), f"{sum(each.epochs for each in source.trained):,} epochs"))
    return tiles


def _mean(source: Source, best: TrialRecord) -> float | None:
    """Return the mean of the further seeds that picked the trial."""
    picked = source.confirmation.picked if source.confirmation is not None else None
    if picked is None or picked.interval is None or not picked.number == best.number == source.picked:
        return None
    return picked.interval.mean


def _setting(source: Source, key: str, value: Any) -> Setting:
    before = get(source.began.get("config", {}), key)
    return Setting(key, value, "its default" if before is None else before, position(source.view, key, value))


def position(view: StudyView, key: str, value: Any) -> float | None:
    """Return how far up its range a parameter's value lies, 0 to 1 on its own scale; None of one that has no order."""
    made = next((trial.distributions[key] for trial in reversed(view.trials) if key in trial.distributions), None)
    ends = [getattr(made, "low", None), getattr(made, "high", None), value]
    if not all(isinstance(each, int | float) for each in ends) or ends[0] == ends[1]:
        return None
    low, high, at = (math.log(each) if getattr(made, "log", False) else float(each) for each in ends)
    return min(1.0, max(0.0, (at - low) / (high - low)))


def _chart(source: Source, best: TrialRecord, others: Sequence[Compared]) -> Chart | None:
    if source.view.metric != source.view.goal.main:
        return None
    shown = [
        (best.number, f"trial {best.number}, chosen"),
        *((o.number, f"trial {o.number}, {o.what}") for o in others),
    ]
    lines = [Line(name, source.by_number[number].intermediate_values) for number, name in shown]
    if len(lines[0].values) < 2:
        return None
    metric = source.view.metric
    summary = f"{metric} by epoch: " + "; ".join(_course(line, source.view) for line in lines if line.values)
    return Chart("found", "How it learned, beside others", f"{summary}.", draw(lines, metric), height=340)


def _course(line: Line, view: StudyView) -> str:
    """Say in words how a curve went."""
    at, best = min(line.values.items(), key=lambda point: view.badness(point[1]))
    return f"{line.name}, is best at epoch {at} with {short(best)}"


def draw(lines: Sequence[Line], metric: str) -> go.Figure:
    """Draw curves: the first one in front."""
    go = style.plotly()
    figure = go.Figure()
    looks = ({"color": style.GREY, "dash": "dot"}, {"color": style.GREEN, "dash": "dash"}, {"color": style.BLUE})
    for at, line in reversed(list(enumerate(lines))):
        look = {"color": style.VERMILLION, "width": 3} if at == 0 else {**looks[at - 1], "width": 2}
        epochs = sorted(line.values)
        figure.add_scatter(
            x=epochs, y=[line.values[epoch] for epoch in epochs], mode="lines+markers", line=look, marker={"size": 5},
            name=line.name, hovertemplate=f"epoch %{{x}}: {metric} %{{y}}", legendrank=at,
        )  # fmt: skip
    figure.update_xaxes(title_text="epoch", **style.whole_numbers(max(max(line.values, default=1) for line in lines)))
    figure.update_yaxes(title_text=metric, **value_scale([value for line in lines for value in line.values.values()]))
    return style.styled(figure, style.Heading("", ""), 420)
