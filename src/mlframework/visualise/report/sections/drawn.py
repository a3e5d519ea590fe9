"""Sections that are charts and nothing else: those that `ml-visualise` draws by themselves, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from mlframework.errors import PlotError
from mlframework.visualise.axes import ParamAxis
from mlframework.visualise.page import Absent
from mlframework.visualise.page.charts import Chart
from mlframework.visualise.page.words import count_of, short
from mlframework.visualise.report.scale import value_scale
from mlframework.visualise.report.source import Source
from mlframework.visualise.report.ties import equals, finer, is_at_bound, no_better
from mlframework.visualise.search_plots import contour, intermediate_values, optimization_history, pareto_front, slice
from mlframework.visualise.search_plots.intermediate_values import IntermediateData

_PAIRS = 4
_PANEL = 300  # pixels
_SLICES = 12


@dataclass(frozen=True)
class Drawn:
    """What the section shows: a sentence, and its charts; small ones stand side by side."""

    said: str
    charts: Sequence[Chart]
    small: bool = False


def charts(drawn: Drawn) -> Sequence[Chart]:
    """Return the section's charts."""
    return drawn.charts


def history(source: Source) -> Drawn:
    """Draw every trial's value and the best so far.

    Raises:
        Absent: no trial has finished.
    """
    try:
        data = optimization_history.compute(source.view)
    except PlotError as error:
        raise Absent(_sentence(error)) from None
    line = data.running_best
    steps = [each for at, each in enumerate(line) if not at or each[1] != line[at - 1][1]]
    told = steps if len(steps) <= 3 else [steps[0], *steps[-2:]]
    said = ", then ".join(f"{short(value)} at trial {number}" for number, value in told)
    chart = Chart(
        "history",
        "Every trial, and the best so far",
        f"The best {data.metric} so far was {said}." if steps else f"{count_of(len(data.complete.numbers), 'trial')}.",
        optimization_history.draw(data),
        f"A cross is a pruned trial at its last value.{_beyond(data.cut)}",
        400,
    )
    return Drawn(_since(source, steps), [chart])


def _since(source: Source, steps: Sequence[tuple[int, float]]) -> str:
    """Say how long nothing better was found, which tells whether to search on."""
    if not steps:
        return ""
    last, value = steps[-1]
    after = sum(record.number > last for record in source.own if record.has_ended)
    if is_at_bound(source.view.metric, value):
        return _at_bound(source, last, after)
    if after == 0:
        return "The last trial is the best so far: searching on is likely to pay."
    half = len(source.own) / 2
    advice = "more of the same is unlikely to bring much" if after > half and after > 20 else "it may still get better"
    return f"{count_of(after, 'trial')} since the best one brought nothing better: {advice}."


def _at_bound(source: Source, best: int, after: int) -> str:
    """Say that no trial can be better, and which metric would tell those apart that are as good."""
    metric, goal = source.view.metric, source.view.goal
    since = f"{count_of(after, 'trial')} since the best one brought nothing better, and none can" if after else ""
    said = f"{since or 'Trial ' + str(best) + ' is as good as any can be'}: {no_better(metric)}."
    record = next((each for each in source.ranked if each.number == best), None)
    other = finer(metric)
    if not goal.is_single or record is None or not other:
        return said
    count = 1 + len(equals(record, source.ranked))
    what = f"the {count} equal trials apart" if count > 1 else "which trials are better still"
    return f"{said} Another metric, {other}, would tell {what} (search.metric)."


def curves(source: Source) -> Drawn | None:
    """Draw every trial's curve, the best in front; nothing for another objective than the one that trials report.

    Raises:
        Absent: no trial has reported a value.
    """
    if source.view.metric != source.view.goal.main:
        return None
    try:
        data = intermediate_values.compute(source.view)
    except PlotError as error:
        raise Absent(_sentence(error)) from None
    figure = intermediate_values.draw(data)
    _brief_hovers(figure, data)
    scale = value_scale([at for curves in data.groups.values() for curve in curves for at in curve.values])
    figure.update_yaxes(scale)
    counts = [
        (len(data.complete) + len(data.best), "finished"),
        (len(data.pruned), "pruned"),
        (len(data.running), "unfinished"),
        (len(data.interrupted), "interrupted"),
    ]
    said = ", ".join(f"{count} {word}" for count, word in counts if count)
    n_curves = sum(count for count, _ in counts)
    best = f" The best, trial {data.best[0].number}, is best at epoch {data.best_epoch}." if data.best else ""
    last = _last_epoch(data)
    trials = "trial" if n_curves == 1 else "trials"
    front = "The best is in front, with a star at its best epoch. " if data.best else ""
    stopped = "A cross is where a trial was stopped." if data.pruned else ""
    return Drawn("", [
        Chart("curves", f"{data.metric} epoch by epoch", f"Curves of {said} {trials}.{best}{last}",
              figure, f"{front}{stopped}{_beyond('' if scale else data.cut)}", 460)
    ])  # fmt: skip


def _beyond(cut: str) -> str:
    """Say what an axis leaves out, and how it is seen nevertheless."""
    return f" {cut}: a double click shows all." if cut else ""


def _last_epoch(data: IntermediateData) -> str:
    """Say so where the best trial was still getting better when it ended."""
    if not data.best or len(data.best[0].epochs) < 4 or data.best_epoch != data.best[0].epochs[-1]:
        return ""
    return " That is its last one: it was still getting better, and more epochs may help."


def _brief_hovers(figure: object, data: IntermediateData) -> None:
    """Let a curve's points share their trial's text: the epoch and the value are known to the chart."""
    for trace in figure.data:  # type: ignore[attr-defined]
        if trace.name in data.groups and trace.mode != "markers":
            texts = [curve.hover for curve in data.groups[trace.name] for _ in (*curve.epochs, None)]
            trace.update(
                hovertext=texts, hoverinfo=None,
                hovertemplate=f"epoch %{{x}}: {data.metric} = %{{y}}<br>%{{hovertext}}<extra></extra>",
            )  # fmt: skip


def slices(source: Source) -> Drawn:
    """Draw the value against each parameter, a chart each.

    Raises:
        Absent: no trial has finished, or there is no parameter.
    """
    try:
        data = slice.compute(source.view, source.order[:_SLICES])
    except PlotError as error:
        raise Absent(_sentence(error)) from None
    found = []
    for number, panel in enumerate(data.panels):
        figure = slice.draw(replace(data, panels=(panel,)))
        figure.update_layout(showlegend=False, coloraxis_showscale=False)
        best = panel.best.at[0] if panel.best.at else None
        at = f"The best trial has {short(best)}." if best is not None else "The best trial does not have it."
        without = f" {count_of(panel.without, 'trial')} without it." if panel.without else ""
        figure.update_xaxes(title_text="", **_few_ticks(panel.axis))
        found.append(Chart(f"slice-{number}", panel.axis.label, f"{at}{without}", figure, height=_PANEL))
    beyond = len(source.view.params) - len(data.panels)
    more = f" The {len(data.panels)} most important parameters are shown, {beyond} more are not." if beyond > 0 else ""
    return Drawn(
        f"The {data.metric} of every trial against each parameter, the most important one first. The stronger the colour, the "
        f"later the trial; the star is the best, a cross was pruned.{_beyond(data.cut)}{more}",
        found,
        small=True,
    )


def _few_ticks(axis: ParamAxis) -> dict[str, object]:
    """Keep the ticks of a small chart apart from one another: decades, or 1, 2 and 5 where there are few of those."""
    return {"dtick": 1 if axis.high - axis.low > 2 else "D2"} if axis.scale == "log" else {"nticks": 6}


def contours(source: Source) -> Drawn | None:
    """Draw the value over the pairs of the most important parameters, a chart each; nothing where there is one parameter.

    Raises:
        Absent: too few trials have finished.
    """
    view = source.view
    keys = source.order[:5]
    # The most important parameters with one another first.
    pairs = sorted(combinations(range(len(keys)), 2), key=lambda pair: (sum(pair), pair))
    if len(view.params) < 2:
        return None
    found: list[Chart] = []
    reason = ""
    for first, second in pairs:
        pair = (keys[first], keys[second])
        if len(found) == _PAIRS:
            break
        try:
            data = contour.compute(view, pair)
        except PlotError as error:
            reason = reason or _sentence(error)
            continue
        figure = contour.draw(data)
        figure.update_layout(showlegend=False)
        names = [view.labels[key] for key in pair]
        best = view.best
        at = ""
        if best is not None and all(key in best.params for key in pair):
            at = (
                "The best trial has "
                + " and ".join(f"{view.labels[key]} {short(best.params[key])}" for key in pair)
                + "."
            )
        count = sum(len(panel.complete.x) for panel in data.panels.values())
        found.append(
            Chart(
                f"contour-{len(found)}",
                " and ".join(names),
                f"{count_of(count, 'finished trial')}. {at}",
                figure,
                height=380,
            )
        )
    if not found:
        raise Absent(reason or "No two parameters are in one finished trial.")
    better = "higher" if view.direction == "maximize" else "lower"
    pruned = " A grey cross is a pruned trial, which counts for no average." if view.pruned else ""
    return Drawn(
        f"What two parameters do together: {view.metric}, averaged over the finished trials near by ({better} is better, and has "
        "the stronger colour). Where nothing was tried, nothing is drawn. A dot is a finished trial, the star is the best."
        f"{pruned}",
        found,
        small=True,
    )


def pareto(source: Source) -> Drawn | None:
    """Draw the objectives against one another, a chart a pair; nothing where there is one objective.

    Raises:
        Absent: no trial has finished.
    """
    if not pareto_front.has_front(source.view):
        return None
    try:
        data = pareto_front.compute(source.view)
    except PlotError as error:
        raise Absent(_sentence(error)) from None
    front, chosen = data.front.numbers, data.chosen.numbers
    numbers = ", ".join(map(str, sorted(front)[:15])) + (", …" if len(front) > 15 else "")
    summary = (
        f"{count_of(len(front), 'trial')} on the front ({numbers}), {len(data.dominated.numbers)} behind it; the {data.rule} is "
        f"trial {chosen[0]}."
    )
    found = []
    for number, (x, y) in enumerate(data.panels):
        pair = replace(
            data,
            axes=(data.axes[x], data.axes[y]),
            dominated=_of_pair(data.dominated, x, y),
            front=_of_pair(data.front, x, y),
            chosen=_of_pair(data.chosen, x, y),
        )
        names = [axis.title.partition(" (")[0] for axis in pair.axes]
        figure = pareto_front.draw(pair)
        if len(data.axes) > 2:
            _no_line(figure)
        found.append(Chart(f"pareto-{number}", f"{names[1]} against {names[0]}", summary, figure, height=420))
    return Drawn(
        "No trial is better than one of the front in every objective. Which of them to take depends on what an objective is "
        "worth to you.",
        found,
        small=len(found) > 1,
    )


def _of_pair(marks: pareto_front.Marks, x: int, y: int) -> pareto_front.Marks:
    return replace(marks, values=(marks.values[x], marks.values[y]))


def _no_line(figure: object) -> None:
    """Take the line off: in more dimensions than two the front is none."""
    figure.data = [trace for trace in figure.data if trace.mode != "lines"]  # type: ignore[attr-defined]


def _sentence(error: PlotError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
