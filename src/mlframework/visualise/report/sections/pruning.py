"""What was pruned, and whether that was right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.search.audit import Audit, audit_of
from mlframework.search.diagnosis.pruning import tells
from mlframework.visualise import style
from mlframework.visualise.page import Absent
from mlframework.visualise.page.charts import Chart
from mlframework.visualise.page.words import count_of, percent, short
from mlframework.visualise.report.source import Source

if TYPE_CHECKING:
    import plotly.graph_objects as go

_TELLS_WELL, _TELLS = 0.8, 0.5


@dataclass(frozen=True)
class Audited:
    """A condemned trial that was let finish: when it was condemned, what it reached, and its rank among the finished."""

    number: int
    epoch: int | None
    value: float | None
    rank: int


@dataclass(frozen=True)
class PruningData:
    """What the section shows.

    Attributes:
        pruner: that stopped trials; empty where that is not known.
        pruned: how many trials were stopped.
        trials: how many were trained.
        steps: at which epoch how many were stopped.
        judged: what the complete trials say of the epoch at which most were stopped.
        audit: what became of condemned trials that were let finish; None where none was to be.
        audited: those trials, the best first.
        chart: trials by the epoch at which they were stopped.
    """

    pruner: str
    pruned: int
    trials: int
    steps: Mapping[int, int]
    judged: str
    audit: Audit | None
    audited: Sequence[Audited]
    chart: Chart | None


def compute(source: Source) -> PruningData:
    """Collect what was pruned, and whatever tells whether it was right.

    Raises:
        Absent: the study was searched without a pruner, or it stopped nothing, and none was let finish.
    """
    pruned = [trial for trial in source.view.pruned if trial.number in {record.number for record in source.trained}]
    settings = source.written.get("search", {}).get("pruner") or {}
    name = str(settings.get("type", ""))
    fraction = settings.get("audit_fraction")
    audit = audit_of(source.view.goal, source.view.records, fraction if isinstance(fraction, int | float) else 0.0)
    if not pruned and (audit is None or not audit.trials):
        if name in ("none", ""):
            raise Absent("The study was searched without a pruner: every trial could train to its end.")
        raise Absent(
            f"{name} has stopped no trial. A pruner compares with trials that have ended: the first ones it lets train."
            if not source.view.complete
            else f"{name} has stopped no trial: every one could train to its end, or was judged too late to be stopped."
        )
    steps = Counter(max(trial.intermediate_values, default=0) for trial in pruned)
    return PruningData(
        pruner=name,
        pruned=len(pruned),
        trials=len(source.trained),
        steps=dict(sorted(steps.items())),
        judged=_judged(source, steps),
        audit=audit,
        audited=_audited(source, audit),
        chart=_chart(steps) if steps else None,
    )


def charts(data: PruningData) -> Sequence[Chart]:
    """Return the section's charts."""
    return [data.chart] if data.chart is not None else []


def _audited(source: Source, audit: Audit | None) -> list[Audited]:
    numbers = set(audit.trials) if audit is not None else set()
    return [
        Audited(record.number, record.audited_at, record.value, rank)
        for rank, record in enumerate(source.ranked, 1)
        if record.number in numbers
    ]


def _judged(source: Source, steps: Counter[int]) -> str:
    """Say how well the values of the epoch at which most were stopped foretell the final ones."""
    if not steps:
        return ""
    step, count = steps.most_common(1)[0]
    others = [other for other, as_many in steps.items() if as_many == count and other != step]
    numbers = {record.number for record in source.ranked}
    told = tells([trial for trial in source.view.complete if trial.number in numbers], step)
    most = "Most were stopped" if 2 * count > sum(steps.values()) else "More were stopped than elsewhere"
    at = f"As many were stopped after epoch {step} as anywhere." if others else f"{most} after epoch {step}."
    if told is None:
        return f"{at} Too few finished trials reported there to say how well that epoch foretells the end."
    how = "well" if told >= _TELLS_WELL else "roughly" if told >= _TELLS else "hardly"
    what = {
        "well": "to stop there cost little",
        "roughly": "a few good trials may have been stopped with the bad ones",
        "hardly": "the pruner went by luck there: raise its n_warmup_steps",
    }[how]
    return (
        f"{at} Among the trials that finished, the order at that epoch foretells the final order {how} (rank correlation "
        f"{short(round(told, 2))}): {what}. Finished trials are the better ones, so this is a hint and no proof."
    )


def _chart(steps: Counter[int]) -> Chart:
    parts = ", ".join(f"{count} after epoch {step}" for step, count in sorted(steps.items())[:8])
    more = f", and {len(steps) - 8} epochs more" if len(steps) > 8 else ""
    share = percent(max(steps.values()) / sum(steps.values()))
    summary = f"{count_of(sum(steps.values()), 'trial')} stopped: {parts}{more}; the most frequent epoch has {share}."
    return Chart("pruning", "When trials were stopped", summary, draw(steps), height=280)


def draw(steps: Mapping[int, int]) -> go.Figure:
    """Draw a bar an epoch."""
    go = style.plotly()
    figure = go.Figure()
    figure.add_bar(
        x=list(steps), y=list(steps.values()), marker={"color": style.BLUE}, name="stopped",
        hovertemplate="%{y} stopped after epoch %{x}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title_text="epoch", **style.whole_numbers(max(steps)))
    figure.update_yaxes(title_text="trials stopped", **style.whole_numbers(max(steps.values())))
    figure.update_layout(bargap=0.35)
    return style.styled(figure, style.Heading("", ""), 380)
