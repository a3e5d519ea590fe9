"""Every metric epoch by epoch, one small plot a metric, training and validation in one."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.run_plots import ranking_lines
from mlframework.visualise.run_plots.labels import Label, write_labels
from mlframework.visualise.run_view import Best, RunView, standing, subtitle
from mlframework.visualise.wording import short

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from mlframework.training.callbacks import EpochRecord

RANKING = "ranking"
LEARNING_RATE = "learning rate"

_LOG_FROM = 100  # largest over smallest: on a linear axis all that is small would lie on the floor
_MARKED = 30  # epochs; with more a dot an epoch would only thicken the line
_ROW, _BETWEEN = 280, 100  # pixels: a row of panels, the gap between two
_SPLITS = {
    "train": {"color": style.GREY, "width": 1.8},
    "val": {"color": style.BLUE, "width": 2.4},
    "test": {"color": style.GREEN, "width": 2.4},
    "": {"color": style.INK, "width": 1.8},
}


@dataclass(frozen=True)
class Curve:
    """One metric on one split: its name, the epochs (from 1) at which it was a number, and its values.

    Attributes:
        name: as in metrics.jsonl, `val_acc`.
        split: train, val, or nothing for what belongs to neither.
        base: the name without the split, `acc`.
    """

    name: str
    split: str
    base: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One small plot.

    Attributes:
        title: the metric, or "ranking", or "learning rate".
        curves: what is drawn, at least one.
        best: (name of the curve, its value) at the best epoch, of each curve that the star stands on.
        decides: whether the best epoch was chosen by one of the curves.
        log: whether its axis is logarithmic.
    """

    title: str
    curves: tuple[Curve, ...]
    best: tuple[tuple[str, float], ...]
    decides: bool
    log: bool


@dataclass(frozen=True)
class CurvesData:
    """What the plot shows.

    Attributes:
        panels: the ranking first where there is one, then the loss; the learning rate last.
        best_epoch: the epoch that the stars stand on, or None.
        last_epoch: how far the axes reach.
    """

    heading: style.Heading
    panels: tuple[Panel, ...]
    best_epoch: int | None
    last_epoch: int


def compute(view: RunView) -> CurvesData:
    """Compute the panels.

    Raises:
        PlotError: no metric was ever a number.
    """
    families: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for record in view.records for name in record.metrics):
        families.setdefault(_family(name), []).append(name)
    # The ranking, then the loss, then the others as they are.
    ordered = sorted(families, key=lambda family: (family != RANKING, family != "loss"))
    found = [_panel(family, [_curve(name, view.records) for name in families[family]], view) for family in ordered]
    panels = [panel for panel in found if panel is not None]
    if not panels:
        raise PlotError(
            f"needs a metric that is a number; {view.run.metrics} has none: a lower learning rate (optimizer.lr) may "
            "keep the training from diverging"
        )
    panels += _learning_rate(view)
    return CurvesData(
        heading=style.Heading(_title([panel.title for panel in panels]), subtitle(view, *standing(view))),
        panels=tuple(panels),
        best_epoch=view.best.epoch if view.best else None,
        last_epoch=max(record.epoch for record in view.records),
    )


def _split_of(name: str) -> tuple[str, str]:
    split, _, base = name.partition("_")
    return (split, base) if split in ("train", "val", "test") and base else ("", name)


def _family(name: str) -> str:
    base = _split_of(name)[1]
    return RANKING if ranking_lines.is_ranking(base) else base


def _curve(name: str, records: "Sequence[EpochRecord]") -> Curve:
    known = {record.epoch: record.lr if name == "lr" else record.metrics.get(name) for record in records}
    found = {epoch: value for epoch, value in known.items() if value is not None and math.isfinite(value)}
    return Curve(name, *_split_of(name), tuple(found), tuple(found.values()))


def _panel(title: str, curves: Sequence[Curve], view: RunView) -> Panel | None:
    drawn = tuple(curve for curve in curves if curve.epochs)
    if not drawn:
        return None
    values = [value for curve in drawn for value in curve.values]
    log = title != RANKING and _is_wide(values)
    decides = view.best is not None and any(curve.name == view.best.metric for curve in drawn)
    return Panel(title, drawn, _stars(drawn, view.best), decides, log)


def _stars(curves: Sequence[Curve], best: Best | None) -> tuple[tuple[str, float], ...]:
    """Return where the best epoch is marked: on what chose it, else on validation, else on what there is."""
    if best is None:
        return ()
    on = [curve for curve in curves if curve.name == best.metric]
    on = on or [curve for curve in curves if curve.split == "val"] or list(curves)
    return tuple(
        (curve.name, curve.values[curve.epochs.index(best.epoch)]) for curve in on if best.epoch in curve.epochs
    )


def _learning_rate(view: RunView) -> list[Panel]:
    """Return the panel of the learning rate, or none where it stays the same."""
    curve = _curve("lr", view.records)
    if len(set(curve.values)) < 2:
        return []
    return [Panel(LEARNING_RATE, (curve,), (), False, _is_wide(curve.values))]


def _is_wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) >= _LOG_FROM


def _title(names: Sequence[str]) -> str:
    if len(names) > 6:
        return f"{len(names)} curves epoch by epoch"
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    return html.escape(f"{listed} epoch by epoch", quote=False)


def draw(data: CurvesData) -> "go.Figure":
    """Draw it: small plots, at most two in a row; grey is training, blue is validation, a star is the best epoch."""
    go = style.plotly()
    from plotly.subplots import make_subplots

    places = _places(data.panels)
    rows = places[-1][0]
    inner = rows * _ROW + (rows - 1) * _BETWEEN
    wide = {row for row, _, whole in places if whole}
    figure = make_subplots(
        rows=rows,
        cols=2,
        specs=[[{"colspan": 2}, None] if row in wide else [{}, {}] for row in range(1, rows + 1)],
        horizontal_spacing=0.1,
        vertical_spacing=_BETWEEN / inner,
    )
    named: set[str] = set()
    for panel, (row, column, _) in zip(data.panels, places, strict=True):
        for trace in (*_lines(go, panel, data.last_epoch), *_star(go, panel, data.best_epoch)):
            # Ranking metrics have a label of their own at their end.
            trace.showlegend = trace.name not in named and trace.name in ("train", "val", "test", "best epoch")
            named.add(trace.name)
            figure.add_trace(trace, row=row, col=column)
        figure.update_xaxes(
            title_text="epoch" if row == rows else None, **_epochs(data.last_epoch), row=row, col=column
        )
        figure.update_yaxes(type="log" if panel.log else "linear", row=row, col=column)
        _write_title(figure, panel, row, column)
        if panel.title == RANKING:
            _label_ends(figure, panel, row, column)
    style.styled(figure, data.heading, 580 if rows == 1 else 205 + inner)
    figure.update_layout(margin={"r": 130 if data.panels[0].title == RANKING else 40})
    return figure


def _places(panels: Sequence[Panel]) -> list[tuple[int, int, bool]]:
    """Return (row, column, whether it takes the whole row) of each panel, so that no place stays empty.

    The ranking, with its many curves, takes a row; so does the first of the others where they are odd in number.
    """
    rankings = sum(panel.title == RANKING for panel in panels)
    whole = rankings + (len(panels) - rankings) % 2
    rest = [(whole + 1 + index // 2, 1 + index % 2, False) for index in range(len(panels) - whole)]
    return [*((row, 1, True) for row in range(1, whole + 1)), *rest]


def _lines(go: Any, panel: Panel, last_epoch: int) -> list[Any]:
    many = last_epoch > _MARKED
    return [
        go.Scatter(
            x=curve.epochs,
            y=curve.values,
            # A curve of one epoch has no line.
            mode="lines" if many and len(curve.epochs) > 1 else "lines+markers",
            marker={"size": 5},
            line=_line(curve, panel),
            name=curve.name if panel.title == RANKING else curve.split,
            legendgroup=curve.split,
            hovertext=[_hover(panel, epoch) for epoch in curve.epochs],
            hoverinfo="text",
        )
        for curve in panel.curves
    ]


def _line(curve: Curve, panel: Panel) -> dict[str, Any]:
    if panel.title != RANKING:
        return _SPLITS[curve.split]
    return ranking_lines.line(curve.base, [other.base for other in panel.curves])


def _hover(panel: Panel, epoch: int) -> str:
    known = [
        f"{html.escape(curve.name)} = {short(curve.values[curve.epochs.index(epoch)])}"
        for curve in panel.curves
        if epoch in curve.epochs
    ]
    return "<br>".join([f"<b>epoch {epoch}</b>", *known])


def _star(go: Any, panel: Panel, best_epoch: int | None) -> list[Any]:
    if not panel.best:
        return []
    return [
        go.Scatter(
            x=[best_epoch] * len(panel.best),
            y=[value for _, value in panel.best],
            mode="markers",
            marker=style.best_marker(17 if panel.decides else 12),
            name="best epoch",
            legendgroup="best epoch",
            legendrank=1001,  # the last
            hovertext=[f"best epoch<br>{html.escape(name)} = {short(value)}" for name, value in panel.best],
            hoverinfo="text",
        )
    ]


def _epochs(last: int) -> dict[str, Any]:
    return {**style.whole_numbers(last), "range": (1 - 0.02 * last, last * 1.02)}


def _write_title(figure: "go.Figure", panel: Panel, row: int, column: int) -> None:
    figure.add_annotation(
        text=f"<b>{html.escape(panel.title)}</b>{', logarithmic' if panel.log else ''}",
        showarrow=False, x=0, y=1, xref="x domain", yref="y domain", xanchor="left", yanchor="bottom", yshift=8,
        font={"size": 15}, row=row, col=column,
    )  # fmt: skip


def _label_ends(figure: "go.Figure", panel: Panel, row: int, column: int) -> None:
    """Write each ranking metric's name at the end of its curve: a legend of so many would send the eye to and fro."""
    values = [value for curve in panel.curves for value in curve.values]
    pad = 0.08 * (max(values) - min(values)) or 0.1 * max(values) or 0.1
    axis = (min(values) - pad, max(values) + pad)
    figure.update_yaxes(range=axis, row=row, col=column)
    labels = []
    for curve in panel.curves:
        look, text = _line(curve, panel), ranking_lines.label(curve.base, curve.split)
        labels.append(Label(text, ranking_lines.sample(look["dash"]), look["color"], curve.values[-1]))
    write_labels(figure, labels, axis, _ROW, (row, column))
