"""How sure it is that the best trial is the best: what further seeds, folds, and the runners-up say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, stdev

from mlframework.errors import PlotError
from mlframework.search.confirm import Candidate, Confirmation, verdicts
from mlframework.search.results import TrialRecord
from mlframework.visualise.page.charts import Chart
from mlframework.visualise.page.words import count_of, short
from mlframework.visualise.report.source import Source
from mlframework.visualise.report.ties import equals, finer, is_at_bound
from mlframework.visualise.search_plots import confirm, folds

_TOP = 5


@dataclass(frozen=True)
class RunnerUp:
    """One of the best trials: its number, its value, how far behind the best it is, and the spread of its folds."""

    number: int
    value: float
    behind: float
    std: float | None


@dataclass(frozen=True)
class Certainty:
    """What the section shows.

    Attributes:
        verdict: how sure it is, in a sentence or two.
        said: what else can be said, and what cannot.
        remedy: what would make it surer; empty where further seeds have spoken.
        runners_up: the best trials of the search.
        candidates: those that were trained with further seeds.
        pick: number of the one that those picked.
        charts: of the further seeds, and of the folds.
    """

    verdict: str
    said: Sequence[str]
    remedy: str
    runners_up: Sequence[RunnerUp]
    candidates: Sequence[Candidate]
    pick: int | None
    charts: Sequence[Chart]


def compute(source: Source) -> Certainty | None:
    """Say how sure the result is. Nothing to say of a study in which no trial has come to its end."""
    if source.chosen is None:
        return None
    found = source.confirmation
    counts = found is not None and source.picked is not None
    verdict, remedy = _of_seeds(found) if found is not None and counts else _without_seeds(source)
    charts = [chart for chart in (_confirm_chart(source), _folds_chart(source)) if chart is not None]
    outdated = (source.results.get("confirmed") or {}).get("outdated")
    said = list(verdicts(found)) if found is not None else []
    if outdated:
        said.insert(0, f"the confirmation that there is does not count: {outdated}")
    return Certainty(
        verdict, said, remedy, _runners_up(source), found.candidates if found is not None else (), source.picked, charts
    )


def charts(certainty: Certainty) -> Sequence[Chart]:
    """Return the section's charts."""
    return certainty.charts


def _of_seeds(found: Confirmation) -> tuple[str, str]:
    picked = found.picked
    assert picked is not None and picked.interval is not None  # it counts
    interval, n = picked.interval, len(found.seeds)
    others = [each for each in found.candidates if each.against is not None]
    beaten = [each for each in others if each.against is not None and each.against.t_p_holm <= 0.05]
    said = f"Over {n} further seeds trial {picked.number} reaches {short(interval.mean)} on average"
    if interval.low is not None:
        said += f" (95 % interval {short(interval.low)} to {short(interval.high)})"
    if len(beaten) == len(others) and others:
        return f"{said}, and it is better than {_all(others)} by a test. That is as sure as {n} seeds make it.", ""
    alike = [each for each in others if each not in beaten]
    if not others:
        return f"{said}. No other trial was trained with those seeds, so nothing is said against others.", ""
    return f"{said}. By a test it cannot be told apart from {_all(alike)}: take either, or more seeds.", ""


def _all(candidates: Sequence[Candidate]) -> str:
    numbers = [str(each.number) for each in candidates]
    return f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {', '.join(numbers[:-1])} and {numbers[-1]}"


def _without_seeds(source: Source) -> tuple[str, str]:
    best = source.chosen
    assert best is not None  # `compute` has looked
    remedy = "search.confirm: {top_k: 3, seeds: 5}"
    if not source.view.goal.is_single:
        front = len(source.view.goal.front(source.view.records))
        return (
            f"Each trial's values are those of one evaluation, and {count_of(front, 'trial')} stand on the front: how much of "
            "a small difference between two of them is luck, this study cannot say."
        ), ""
    top = source.ranked[:2]
    ahead = abs((top[0].value or 0.0) - (top[1].value or 0.0)) if len(top) > 1 else None
    if ties := equals(top[0], source.ranked):
        spread = f"Its {len(best.parts)} folds or repeats differ by a standard deviation of {short(best.std)}. "
        return (spread if best.std is not None else "") + _tied(source, 1 + len(ties)), remedy
    if best.std is not None:
        n = len(best.parts)
        noise = f"Its {n} folds or repeats differ by a standard deviation of {short(best.std)}"
        if ahead is None:
            return f"{noise}; there is no other complete trial.", remedy
        error = best.std / n**0.5
        word = "less" if ahead < error else "more"
        return (
            f"{noise}, so its mean is known to about ± {short(error)}. It is {short(ahead)} ahead of {_next(top[1])}, "
            + (
                f"{word} than that: {'the order of the two may be luck' if ahead < error else 'the order is likely to hold'}."
            ),
            remedy,
        )
    if ahead is None:
        return "There is one complete trial, trained once: neither its luck nor its rank can be judged.", remedy
    return (
        f"Each trial was trained once, with one seed, so this study cannot tell luck from merit. The best has "
        f"{short(top[0].value)}, {short(ahead)} ahead of {_next(top[1])}{_typical(source)}. The best of many trials is "
        "partly lucky: expect a somewhat worse value with another seed."
    ), remedy


def _tied(source: Source, count: int) -> str:
    """Say that the order of trials with one value is none."""
    best = source.ranked[0]
    other = finer(source.view.metric) if is_at_bound(source.view.metric, best.value) else ""
    what = f"further seeds, or a search by {other}, can" if other else "further seeds can"
    return (
        f"{count} trials have the best value, {short(best.value)}: this study does not say which of them is the best; {what}. "
        "The best of many trials are partly lucky, too: expect a somewhat worse value with another seed."
    )


def _next(record: TrialRecord) -> str:
    return f"the next trial, {record.number} with {short(record.value)}"


def _typical(source: Source) -> str:
    """Set the lead beside the steps between the other good trials, which stand in the table."""
    rest = [record for record in source.ranked[1:_TOP] if record.value is not None]
    steps = [abs((a.value or 0.0) - (b.value or 0.0)) for a, b in pairwise(rest)]
    if len(steps) < 2:
        return ""
    told = ", ".join(short(round(step, 12)) for step in steps[:-1])
    return f"; from there to trial {rest[-1].number} the steps are {told} and {short(round(steps[-1], 12))}"


def _runners_up(source: Source) -> list[RunnerUp]:
    if not source.view.goal.is_single:
        return []
    rows = [(record, record.value) for record in source.ranked[:_TOP]]
    best = source.view.badness(rows[0][1])
    return [
        RunnerUp(record.number, value, source.view.badness(value) - best, _std(record))
        for record, value in rows
        if value is not None
    ]


def _std(record: TrialRecord) -> float | None:
    return stdev(record.parts) if len(record.parts) > 1 else None


def _confirm_chart(source: Source) -> Chart | None:
    found = source.confirmation
    if found is None:
        return None
    shown = [each for each in found.candidates if each.interval is not None]
    if not shown:
        return None
    means = [f"trial {each.number} {short(each.interval.mean)}" for each in shown if each.interval is not None]
    try:
        data = confirm.compute(source.view)
    except PlotError:
        return None
    return Chart(
        "confirm",
        f"{found.metric} with {len(found.seeds)} further seeds",
        f"Means: {', '.join(means)}.",
        confirm.draw(data),
        "A bar is the 95 % interval of the mean, a grey dot one seed; the open diamond is the value in the search.",
    )


def _folds_chart(source: Source) -> Chart | None:
    if source.view.metric != source.view.goal.main:
        return None
    try:
        data = folds.compute(source.view)
    except PlotError:
        return None
    spreads = [record.std for record in source.ranked if record.std is not None]
    summary = f"{count_of(len(data.complete.numbers), 'trial')} with {len(data.parts)} folds or repeats in all"
    typical = f"; half of the trials spread by {short(median(spreads))} or less (standard deviation)" if spreads else ""
    return Chart("folds", "Folds or repeats of every trial", f"{summary}{typical}.", folds.draw(data))
