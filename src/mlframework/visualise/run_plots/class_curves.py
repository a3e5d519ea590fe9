"""What ROC and precision-recall curves share: one curve a class, their mean, and how they are drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.run_plots.classified import Classified, label, shortened
from mlframework.visualise.run_view import RunView

if TYPE_CHECKING:
    import plotly.graph_objects as go

Floats = NDArray[np.float64]

EVERY_UP_TO = 10
"""Classes that have a curve in a colour each; with more it is those with the least area."""
_WORST = 5
_PALE_UP_TO = 100  # curves in grey behind them
POINTS = 400
"""Of a curve, that are drawn; the areas are those of the whole curve."""
_AVERAGED = 5_000_000  # values, a fraction of a second
_COLOURS = (style.BLUE, style.GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#9B59B6")


@dataclass(frozen=True)
class ClassCurve:
    """One class against all others.

    Attributes:
        name: of the class.
        x, y: the curve, thinned to `POINTS`.
        area: under the whole curve.
        n_examples: of the class.
        named: whether it has a colour and a line in the legend.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    area: float
    n_examples: int
    named: bool


@dataclass(frozen=True)
class CurvesOfClasses:
    """What a plot of such curves shows.

    Attributes:
        curves: the least area first.
        macro: the mean of all classes' curves, or None where there is one curve.
        area: the mean of the classes' areas.
        missing: classes that cannot have a curve, as the split has no example of them, or no other.
    """

    heading: style.Heading
    curves: tuple[ClassCurve, ...]
    macro: tuple[tuple[float, ...], tuple[float, ...]] | None
    area: float
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A curve of one class as it was computed, whole: x ascending, and the area under it."""

    name: str
    x: Floats
    y: Floats
    area: float
    n_examples: int


def per_class(
    view: RunView, found: Classified, classes: Sequence[int], curve: Callable[[NDArray[np.bool_], Floats], Found]
) -> tuple[list[Found], tuple[str, ...]]:
    """Compute the curve of each class, and say which have none.

    Raises:
        PlotError: no class has both an example and another class's.
    """
    curves, missing = [], []
    for number in classes:
        true = found.targets == number
        if true.all() or not true.any():
            missing.append(found.class_names[number])
            continue
        whole = curve(true, found.probabilities[:, number])
        curves.append(Found(found.class_names[number], whole.x, whole.y, whole.area, int(true.sum())))
    if not curves:
        there = found.class_names[int(found.targets[0])]
        raise PlotError(
            f"needs examples of two classes, and all {len(found.targets)} of the {found.saved.split} split of "
            f"{view.run.path} are of {shortened(there)!r}: a larger data.split.{found.saved.split}_fraction, or "
            "data.split.strategy: stratified, then train again"
        )
    return curves, tuple(missing)


def shown(curves: Sequence[Found]) -> tuple[ClassCurve, ...]:
    """Return what is drawn of the curves: thinned, the worst first, and named as far as colours go."""
    ordered = sorted(curves, key=lambda each: each.area)
    n_named = len(ordered) if len(ordered) <= EVERY_UP_TO else _WORST
    drawn = ordered[: n_named + _PALE_UP_TO]
    return tuple(
        ClassCurve(each.name, *thinned(each.x, each.y), each.area, each.n_examples, place < n_named)
        for place, each in enumerate(drawn)
    )


def thinned(x: Floats, y: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return at most about `POINTS` points of a curve, its ends among them."""
    if len(x) > POINTS:
        kept = np.unique(np.append(np.searchsorted(x, np.linspace(x[0], x[-1], POINTS // 2)), [0, len(x) - 1]))
        # Where it rises steeply x hardly moves: as many by their place.
        kept = np.unique(np.append(kept, np.linspace(0, len(x) - 1, POINTS // 2).astype(np.int64)))
        x, y = x[kept], y[kept]
    return tuple(x.tolist()), tuple(y.tolist())


def grid_of(curves: Sequence[Found]) -> Floats:
    """Return the places at which curves are averaged: all at which one of them bends, or of very many evenly taken ones."""
    bends = np.unique(np.concatenate([np.linspace(0, 1, 201), *(each.x for each in curves)]))
    return bends if len(bends) * len(curves) <= _AVERAGED else np.linspace(0, 1, 1001)


def written(area: float) -> str:
    """Write an area: "0.997"; never 1 where it is not."""
    return "above 0.999" if 0.9995 <= area < 1 else f"{area:.3f}"


def missing_note(missing: Sequence[str]) -> str:
    """Say which classes have no curve."""
    if not missing:
        return ""
    listed = ", ".join(map(shortened, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    return f"no example of {listed}"


def draw_curves(
    data: CurvesOfClasses, axes: tuple[str, str], measure: str, step: bool, chance: tuple[float, float] | None
) -> "go.Figure":
    """Draw the curves, the worst in the strongest colours first, and what chance would give."""
    figure = style.plotly().Figure()
    shape = "hv" if step else "linear"
    if chance is not None:
        figure.add_scatter(
            x=[0, 1], y=list(chance), mode="lines", name="chance", hoverinfo="skip",
            line={"color": style.GREY, "width": 1.5, "dash": "dot"}, legendrank=3000,
        )  # fmt: skip
    for place, curve in enumerate(data.curves):
        colour = _COLOURS[place % len(_COLOURS)] if curve.named else style.GREY
        dash = ("solid", "dash")[place // len(_COLOURS) % 2] if curve.named else "solid"
        named = f"{label(curve.name)}: {written(curve.area)}"
        figure.add_scatter(
            x=curve.x,
            y=curve.y,
            mode="lines",
            line={"color": colour, "width": 2.2 if curve.named else 1, "dash": dash, "shape": shape},
            name=named,
            opacity=1 if curve.named else 0.35,
            showlegend=curve.named,
            legendrank=1000 + place,
            hovertemplate=f"<b>{named}</b> ({curve.n_examples:,} examples)<br>{axes[0]} %{{x:.3f}}<br>{axes[1]} %{{y:.3f}}"
            "<extra></extra>",
            zorder=2 if curve.named else 1,
        )
    if data.macro is not None:
        figure.add_scatter(
            x=data.macro[0], y=data.macro[1], mode="lines", name=f"mean of the classes: {written(data.area)}",
            line={"color": style.VERMILLION, "width": 3.4, "shape": shape}, legendrank=900, zorder=3,
            hovertemplate=f"<b>mean</b><br>{axes[0]} %{{x:.3f}}<br>{axes[1]} %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text=axes[0], range=(-0.01, 1.01))
    figure.update_yaxes(title_text=axes[1], range=(-0.01, 1.02))
    style.styled(figure, data.heading, 640)
    n_named = sum(curve.named for curve in data.curves)
    grey = f"<br>grey: the next {len(data.curves) - n_named}" if len(data.curves) > n_named else ""
    figure.update_layout(
        legend={
            "orientation": "v", "x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top",
            "title": {"text": f"<b>{measure}</b>{', the lowest first' if n_named > 2 else ''}{grey}"},
        },
    )  # fmt: skip
    return figure
