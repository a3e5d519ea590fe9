"""How the loss moved while the learning rate was swept, and which learning rates that suggests.

Not one of `RUN_PLOTS`: it is of a sweep, which is no run. `ml-train --find-lr` draws it.
"""

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.training.lr_finder import RULE, Finding
from mlframework.visualise import style
from mlframework.visualise.wording import count_of, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

_NAMES = {"steepest": "steepest descent", "minimum_tenth": "minimum / 10"}
_ROOM = 0.2  # of the fall, that is seen above its start: what diverges would press all else together


@dataclass(frozen=True)
class Mark:
    """A suggested learning rate, the smoothed loss of the step nearest to it, and whether it is the suggestion."""

    name: str
    lr: float
    loss: float
    chosen: bool


@dataclass(frozen=True)
class LrFinderData:
    """What the plot shows: a loss and a smoothed loss a step, the suggestions, and how far the losses' axis reaches."""

    heading: style.Heading
    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    marks: tuple[Mark, ...]
    visible: tuple[float, float]


def compute(finding: Finding, name: str, optimizer: str) -> LrFinderData:
    """Compute the plot of a sweep.

    Args:
        finding: the sweep.
        name: the config's.
        optimizer: its type.
    """
    log_lrs = [math.log(lr) for lr in finding.lrs]

    def mark(rule: str, lr: float) -> Mark:
        step = min(range(len(log_lrs)), key=lambda at: abs(log_lrs[at] - math.log(lr)))
        return Mark(_NAMES[rule], lr, finding.smoothed[step], rule == RULE)

    end = finding.smoothed.index(min(finding.smoothed)) + 1
    low, high = min(finding.losses), max(finding.smoothed[:end])
    room = _ROOM * (high - low)
    parts = (
        name,
        optimizer,
        count_of(len(finding.lrs), "step"),
        f"suggested {short(finding.suggested)}",
        finding.stopped_why,
    )
    return LrFinderData(
        heading=style.Heading(
            "training loss while the learning rate rises", html.escape(" · ".join(parts), quote=False)
        ),
        lrs=finding.lrs,
        losses=finding.losses,
        smoothed=finding.smoothed,
        marks=tuple(mark(rule, lr) for rule, lr in finding.suggestions.items()),
        visible=(low - room / 3, high + room),
    )


def draw(data: LrFinderData) -> "go.Figure":
    """Draw it: dots are steps, the line is their moving average; a star is the suggestion, a diamond the other one."""
    figure = style.plotly().Figure()
    hovers = [
        f"<b>lr = {short(lr)}</b><br>loss = {short(loss)}<br>smoothed = {short(smooth)}"
        for lr, loss, smooth in zip(data.lrs, data.losses, data.smoothed, strict=True)
    ]
    shared = {"x": data.lrs, "hovertext": hovers, "hoverinfo": "text"}
    figure.add_scatter(
        y=data.losses, name="each step", mode="markers", marker={"size": 5, "color": style.GREY}, **shared
    )
    figure.add_scatter(
        y=data.smoothed, name="smoothed", mode="lines", line={"color": style.BLUE, "width": 2.6}, **shared
    )
    for mark in data.marks:
        other = {"symbol": "diamond", "size": 10, "color": style.BLUE, "line": {"color": "white", "width": 1}}
        figure.add_scatter(
            x=[mark.lr],
            y=[mark.loss],
            name=f"{mark.name}: {short(mark.lr)}",
            mode="markers",
            marker=style.best_marker(17) if mark.chosen else other,
            hovertext=[f"<b>{mark.name}</b>{', suggested' if mark.chosen else ''}<br>lr = {short(mark.lr)}"],
            hoverinfo="text",
        )
    figure.update_xaxes(title_text="learning rate", type="log", exponentformat="e", dtick=1)
    figure.update_yaxes(title_text="training loss", range=data.visible)
    return style.styled(figure, data.heading, 580)
