"""The curves of several runs in one picture: a panel a metric, a colour a run."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.compare_runs.sides import Side
from mlframework.visualise.wording import count_of, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

# No black among them: it would be lost on a dark page.
COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
_ROW, _BETWEEN = 280, 90
_LOG_FROM = 100  # largest over smallest
_LONGEST = 34  # characters of a name in the legend


@dataclass(frozen=True)
class Line:
    """One run's values of one metric.

    Attributes:
        run: its position among the runs.
        metric: as in metrics.jsonl, `val_acc`.
        epochs: at which it was a number, from 1.
        values: one an epoch.
        best: the best epoch and the value there, where this metric chose it.
    """

    run: int
    metric: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    best: tuple[int, float] | None = None

    @property
    def is_of_training(self) -> bool:
        """Whether it is what the model was trained on: drawn faintly."""
        return self.metric.startswith("train_")


@dataclass(frozen=True)
class Panel:
    """One small chart: a metric without its split, and every run's line of it."""

    title: str
    lines: tuple[Line, ...]
    log: bool


@dataclass(frozen=True)
class Overlaid:
    """What the picture shows.

    Attributes:
        names: of all runs, by position.
        panels: what the best epochs were chosen by comes first.
        last_epoch: how far the axes reach.
        left_out: metrics that only one of the runs has.
    """

    heading: style.Heading
    names: tuple[str, ...]
    panels: tuple[Panel, ...]
    last_epoch: int
    left_out: tuple[str, ...]


def compute(sides: Sequence[Side]) -> Overlaid:
    """Compute the panels: all metrics that two of the runs or more have.

    Raises:
        PlotError: they share none.
    """
    lines = [line for run, side in enumerate(sides) for line in _lines(run, side)]
    runs_with: dict[str, set[int]] = {}
    for line in lines:
        runs_with.setdefault(line.metric, set()).add(line.run)
    shared = [name for name, runs in runs_with.items() if len(runs) > 1]
    if not shared:
        raise PlotError("needs a metric that two of the runs have; these have none in common")
    in_force = {_base(side.metric) for side in sides}
    bases = sorted(
        dict.fromkeys(map(_base, shared)), key=lambda base: (base not in in_force, base != "loss", base == "lr")
    )
    panels = [
        _panel(base, [line for line in lines if line.metric in shared and _base(line.metric) == base]) for base in bases
    ]
    kept = [panel for panel in panels if panel.title != "lr" or _differ(panel.lines)]
    n_shown = len({line.run for panel in kept for line in panel.lines})
    without = len(sides) - n_shown
    return Overlaid(
        heading=style.Heading(
            f"{count_of(n_shown, 'run')} epoch by epoch",
            "solid is validation, dotted is training, a star is the best epoch; a click in the legend hides a run"
            + (f" · {count_of(without, 'run')} without epochs" if without else ""),
        ),
        names=tuple(side.name for side in sides),
        panels=tuple(kept),
        last_epoch=max(line.epochs[-1] for panel in kept for line in panel.lines),
        left_out=tuple(sorted(name for name in runs_with if name not in shared)),
    )


def _base(metric: str) -> str:
    split, _, base = metric.partition("_")
    return base if split in ("train", "val", "test") and base else metric


def _lines(run: int, side: Side) -> list[Line]:
    found = []
    for name in dict.fromkeys(["lr", *(name for record in side.records for name in record.metrics)]):
        pairs = [(record.epoch, record.lr if name == "lr" else record.metrics.get(name)) for record in side.records]
        known = {epoch: value for epoch, value in pairs if value is not None and math.isfinite(value)}
        chosen = side.best is not None and side.best.metric == name and side.best.epoch in known
        best = (side.best.epoch, known[side.best.epoch]) if chosen and side.best is not None else None
        if known:
            found.append(Line(run, name, tuple(known), tuple(known.values()), best))
    return found


def _panel(base: str, lines: Sequence[Line]) -> Panel:
    values = [value for line in lines for value in line.values]
    return Panel(base, tuple(lines), min(values) > 0 and max(values) / min(values) >= _LOG_FROM)


def _differ(lines: Sequence[Line]) -> bool:
    """Whether some of the lines are not the beginning of the longest."""
    longest = max(lines, key=lambda line: len(line.values)).values
    return any(line.values != longest[: len(line.values)] for line in lines)


def colour_of(run: int, n_runs: int) -> str:
    """Return a run's colour: of few runs one that stays apart for every kind of colour blindness."""
    if n_runs <= len(COLOURS):
        return COLOURS[run]
    # The golden angle: neighbours in the legend are far apart in hue.
    return f"hsl({(run * 137.5 + 205) % 360:.0f},{65 if run % 2 else 50}%,{(46, 58, 38)[run % 3]}%)"


def draw(data: Overlaid) -> "go.Figure":
    """Draw it, two panels in a row; the legend stands for all of them."""
    go = style.plotly()
    from plotly.subplots import make_subplots

    n_panels, n_runs = len(data.panels), len(data.names)
    rows = math.ceil(n_panels / 2)
    inner = max(rows * _ROW + (rows - 1) * _BETWEEN, 20 * n_runs)
    wide = n_panels % 2
    specs: list[list[Any]] = [[{"colspan": 2}, None] if wide and row == 0 else [{}, {}] for row in range(rows)]
    figure = make_subplots(rows=rows, cols=2, specs=specs, horizontal_spacing=0.09, vertical_spacing=_BETWEEN / inner)
    named: set[int] = set()
    for index, panel in enumerate(data.panels):
        place = divmod(index + wide, 2) if index or not wide else (0, 0)
        row, column = place[0] + 1, place[1] + 1
        # What was trained on lies behind.
        for line in sorted(panel.lines, key=lambda line: not line.is_of_training):
            for trace in _traces(go, line, data):
                trace.showlegend = line.run not in named and not line.is_of_training
                named |= {line.run} if trace.showlegend else set()
                figure.add_trace(trace, row=row, col=column)
        whole = {**style.whole_numbers(data.last_epoch), "range": (1 - 0.02 * data.last_epoch, data.last_epoch * 1.02)}
        figure.update_xaxes(title_text="epoch" if row == rows else None, **whole, row=row, col=column)
        figure.update_yaxes(type="log" if panel.log else "linear", row=row, col=column)
        figure.add_annotation(
            text=f"<b>{html.escape(panel.title)}</b>{', logarithmic' if panel.log else ''}", showarrow=False, x=0, y=1,
            xref="x domain", yref="y domain", xanchor="left", yanchor="bottom", yshift=6, font={"size": 15}, row=row, col=column,
        )  # fmt: skip
    style.styled(figure, data.heading, 205 + inner)
    legend = {"orientation": "v", "x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top"}
    figure.update_layout(legend=legend, margin={"r": 60})
    return figure


def _traces(go: Any, line: Line, data: Overlaid) -> list[Any]:
    colour, name = colour_of(line.run, len(data.names)), data.names[line.run]
    look = {
        "color": colour,
        "width": 1.3 if line.is_of_training else 2.2,
        "dash": "dot" if line.is_of_training else "solid",
    }
    common = {"name": _shortened(name, data.names), "legendgroup": str(line.run), "hoverinfo": "text"}
    traces = [
        go.Scatter(
            x=line.epochs, y=line.values, line=look, opacity=0.55 if line.is_of_training else 1,
            mode="lines" if len(line.epochs) > 1 else "markers", marker={"color": colour, "size": 6},
            hovertext=[
                f"<b>{html.escape(name)}</b><br>epoch {epoch}: {html.escape(line.metric)} = {short(value)}"
                for epoch, value in zip(line.epochs, line.values, strict=True)
            ],
            **common,
        )
    ]  # fmt: skip
    if line.best is not None:
        told = f"<b>{html.escape(name)}</b><br>best epoch {line.best[0]}: {html.escape(line.metric)} = {short(line.best[1])}"
        star = {"symbol": "star", "size": 13, "color": colour, "line": {"color": "white", "width": 1}}
        traces.append(
            go.Scatter(x=[line.best[0]], y=[line.best[1]], mode="markers", marker=star, hovertext=[told], **common)
        )
    return traces


def _shortened(name: str, names: Sequence[str]) -> str:
    """Return what fits into the legend: a name without what all begin with, and cut in its middle where it is still long."""
    same = next((at for at, signs in enumerate(zip(*names, strict=False)) if len(set(signs)) > 1), 0)
    shared = name[:same].rpartition("_")[0]
    name = f"…{name[len(shared) :]}" if len(name) > _LONGEST and shared else name
    half = _LONGEST // 2
    return html.escape(name if len(name) <= _LONGEST else f"{name[:half]}…{name[-half:]}")
