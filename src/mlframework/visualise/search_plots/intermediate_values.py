"""Every trial's value epoch by epoch; of folds or repeats the first, as no other reports its epochs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.search.duplicates import PARTS
from mlframework.visualise import style
from mlframework.visualise.axes import beyond, visible_range
from mlframework.visualise.study_view import StudyView
from mlframework.visualise.wording import hover, short, standing, subtitle

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

_FULL_HOVERS = 5000  # points; with more only a curve's last point tells the parameters, or the page becomes huge


@dataclass(frozen=True)
class Curve:
    """One trial: its number, the epochs (from 1) at which it reported, the finite values, and its hover text."""

    number: int
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    hover: str


@dataclass(frozen=True)
class IntermediateData:
    """What the plot shows.

    Attributes:
        metric: name of the values.
        complete, pruned, running, interrupted: the curves, but for the best trial's.
        best: the best trial's curve; empty where there is none.
        best_epoch: the epoch at which the best trial's curve is best, or None.
        visible: reach of the value axis, or None for all.
        cut: how many trials go beyond it, in words.
    """

    heading: style.Heading
    metric: str
    complete: tuple[Curve, ...]
    pruned: tuple[Curve, ...]
    running: tuple[Curve, ...]
    interrupted: tuple[Curve, ...]
    best: tuple[Curve, ...]
    best_epoch: int | None
    visible: tuple[float, float] | None
    cut: str

    @property
    def groups(self) -> dict[str, tuple[Curve, ...]]:
        """The curves by what became of their trials, the best one last, as it is in front."""
        return {
            "pruned": self.pruned, "interrupted": self.interrupted, "running": self.running,
            "complete": self.complete, "best": self.best,
        }  # fmt: skip


def compute(view: StudyView, params: Sequence[str] = ()) -> IntermediateData:
    """Compute the curves. They show values only: `params` has no bearing on them.

    Raises:
        PlotError: no trial reported a value while it ran.
    """
    if view.metric != view.goal.main:
        raise PlotError(
            f"trials report {view.goal.main} after an epoch, nothing else: leave out --metric {view.metric}"
        )
    best = _curves(view, [view.best] if view.best else [])
    complete = _curves(view, [trial for trial in view.complete if trial is not view.best])
    pruned = _curves(view, view.pruned)
    running, interrupted = _curves(view, view.running), _curves(view, view.interrupted)
    curves = (*best, *complete, *pruned, *running, *interrupted)
    if not curves:
        raise PlotError(
            f"needs a trial that reported a value after an epoch; none of the study's did ({standing(view)}): "
            "trials report while they train, so let at least one get through its first epoch"
        )
    visible = visible_range([value for curve in curves for value in curve.values], view.direction)
    farthest = [max(curve.values, key=view.badness) for curve in curves]
    cut = beyond(farthest, visible)
    return IntermediateData(
        heading=style.Heading(f"{view.metric} epoch by epoch{_part(view)}", subtitle(view, cut)),
        metric=view.metric,
        complete=complete,
        pruned=pruned,
        running=running,
        interrupted=interrupted,
        best=best,
        best_epoch=_best_epoch(view, best),
        visible=visible,
        cut=cut,
    )


def _curves(view: StudyView, trials: "Sequence[optuna.trial.FrozenTrial]") -> tuple[Curve, ...]:
    curves = []
    for trial in trials:
        # Behind the epochs of the first fold or repeat each later one reports once, what they have in common.
        later = max(0, len(trial.user_attrs.get(PARTS, ())) - 1)
        epochs = sorted(trial.intermediate_values.items())[: -later or None]
        reported = [(epoch, value) for epoch, value in epochs if math.isfinite(value)]
        if reported:
            at, values = zip(*reported, strict=True)
            curves.append(Curve(trial.number, at, values, hover(view, trial)))
    return tuple(curves)


def _part(view: StudyView) -> str:
    """Say that there is more than what is shown, where trials have folds or repeats."""
    return ", of the first fold or repeat" if any(PARTS in trial.user_attrs for trial in view.trials) else ""


def _best_epoch(view: StudyView, best: tuple[Curve, ...]) -> int | None:
    if not best:
        return None
    return min(zip(best[0].epochs, best[0].values, strict=True), key=lambda point: view.badness(point[1]))[0]


def draw(data: IntermediateData) -> "go.Figure":
    """Draw it: pruned curves thin and grey, ending in a cross; the best in front, with a star at its best epoch."""
    go = style.plotly()
    figure = go.Figure()
    total = sum(len(curve.epochs) for curves in data.groups.values() for curve in curves)
    many = len(data.complete) > 100
    lines = {
        "pruned": {"color": style.GREY, "width": 0.7},
        "interrupted": {"color": style.GREY, "width": 1.2, "dash": "dot"},
        "running": {"color": style.GREEN, "width": 1.2, "dash": "dot"},
        "complete": {"color": style.BLUE, "width": 0.8 if many else 1.5},
        "best": {"color": style.VERMILLION, "width": 3.2},
    }
    for name, curves in data.groups.items():
        if curves:
            opacity = 1.0 if name == "best" else 0.35 if many else 0.7
            figure.add_trace(_trace(go, data, name, curves, lines[name], opacity, total <= _FULL_HOVERS))
    if data.pruned:
        figure.add_trace(_ends(go, data.pruned))
    if data.best and data.best_epoch is not None:
        at = data.best[0].epochs.index(data.best_epoch)
        figure.add_scatter(
            x=[data.best_epoch],
            y=[data.best[0].values[at]],
            mode="markers",
            marker=style.best_marker(17),
            showlegend=False,
            hovertext=[data.best[0].hover],
            hoverinfo="text",
        )
    last = max(epoch for curves in data.groups.values() for curve in curves for epoch in curve.epochs)
    figure.update_xaxes(title_text="epoch", range=(1 - 0.02 * last, last * 1.02), **style.whole_numbers(last))
    figure.update_yaxes(title_text=data.metric, range=data.visible)
    return style.styled(figure, data.heading, 580)


def _trace(
    go: Any,
    data: IntermediateData,
    name: str,
    curves: Sequence[Curve],
    line: dict[str, Any],
    opacity: float,
    full: bool,
) -> Any:
    """Put a group's curves into one trace, with a gap after each: a thousand traces would be slow."""
    return go.Scatter(
        x=[at for curve in curves for at in (*curve.epochs, None)],
        y=[at for curve in curves for at in (*curve.values, None)],
        hovertext=[text for curve in curves for text in (*_hovers(data.metric, curve, full), "")],
        # A curve of one epoch has no line.
        mode="lines" if min(len(curve.epochs) for curve in curves) > 1 else "lines+markers",
        marker={"size": 4},
        line=line,
        opacity=opacity,
        name=name,
        hoverinfo="text",
    )


def _hovers(metric: str, curve: Curve, full: bool) -> list[str]:
    reports = list(zip(curve.epochs, curve.values, strict=True))
    if full:
        return [f"epoch {epoch}: {metric} = {short(value)}<br>{curve.hover}" for epoch, value in reports]
    brief = [f"trial {curve.number}, epoch {epoch}: {metric} = {short(value)}" for epoch, value in reports]
    return [*brief[:-1], f"{brief[-1]}<br>{curve.hover}"]


def _ends(go: Any, pruned: Sequence[Curve]) -> Any:
    return go.Scatter(
        x=[curve.epochs[-1] for curve in pruned],
        y=[curve.values[-1] for curve in pruned],
        mode="markers",
        marker=style.pruned_marker(len(pruned)),
        hovertext=[curve.hover for curve in pruned],
        hoverinfo="text",
        showlegend=False,
    )
