"""Which class is taken for which: the confusion matrix, and the most frequent mistakes in words."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlframework.visualise import style
from mlframework.visualise.run_plots.classified import above, classified, label, share
from mlframework.visualise.run_view import RunView
from mlframework.visualise.wording import count_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

_NUMBERS_UP_TO = 20  # classes; with more the numbers in the cells could not be read
_WHOLE_UP_TO = 100  # classes; with more a cell would be a few pixels
_SHOWN = 40  # classes, where not all are
_LISTED = 10  # mistakes
_WIDEST = 40  # characters of a mistake's two names
OTHERS = "all other classes"

# White to dark: blue on the diagonal, orange beside it, each by its own largest share.
_RIGHT = ((0.0, "#EAF2FA"), (0.5, "#6BAED6"), (1.0, "#08519C"))
_WRONG = ((0.0, "#FDEBDD"), (0.5, "#F0975A"), (1.0, style.VERMILLION))


@dataclass(frozen=True)
class Confusion:
    """A mistake: the true class, the predicted one, how often."""

    true: str
    predicted: str
    count: int


@dataclass(frozen=True)
class ConfusionData:
    """What the plot shows.

    Attributes:
        class_names: of the rows and columns; the last is `OTHERS` where not all classes are shown.
        counts: (k, k) row = true class, column = predicted class; it sums to the number of examples.
        confusions: the most frequent mistakes, of all classes, the most frequent first.
        n_wrong: mistakes in all.
    """

    heading: style.Heading
    class_names: tuple[str, ...]
    counts: NDArray[np.int64]
    confusions: tuple[Confusion, ...]
    n_wrong: int


def compute(view: RunView) -> ConfusionData:
    """Count them.

    Raises:
        PlotError: the run is no classifier's, or its outputs are not known.
        RunError: the file of its outputs is damaged.
    """
    from mlframework.training.tracking.pictures import confusion_matrix

    found = classified(view)
    counts = confusion_matrix(found.targets, found.predicted, found.class_names)
    n_wrong = int((~found.right).sum())
    names, shown = found.class_names, counts
    note = ""
    if len(names) > _WHOLE_UP_TO:
        names, shown = gathered(names, counts, _SHOWN)
        note = f"the {_SHOWN} classes with the most mistakes of {len(found.class_names)}"
    return ConfusionData(
        heading=style.Heading(
            f"{share(float(found.right.mean()))} right: which class is taken for which",
            above(view, found.saved, len(found.rows), f"{count_of(n_wrong, 'mistake')}", note),
        ),
        class_names=names,
        counts=shown,
        confusions=most_frequent(found.class_names, counts, _LISTED),
        n_wrong=n_wrong,
    )


def gathered(
    names: tuple[str, ...], counts: NDArray[np.int64], n_shown: int
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Keep the classes with the most mistakes, in their order, and put all others together in a last row and column."""
    wrong = counts - np.diag(np.diag(counts))
    mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
    kept = np.sort(np.argsort(-mistakes, kind="stable")[:n_shown])
    to = np.full(len(names), len(kept))
    to[kept] = np.arange(len(kept))
    small = np.zeros((len(kept) + 1, len(kept) + 1), dtype=np.int64)
    np.add.at(small, (to[:, None], to[None, :]), counts)
    return (*(names[row] for row in kept), OTHERS), small


def most_frequent(names: tuple[str, ...], counts: NDArray[np.int64], n: int) -> tuple[Confusion, ...]:
    """Return the n most frequent mistakes; of equally frequent ones those that come first in the matrix."""
    wrong = (counts - np.diag(np.diag(counts))).ravel()
    order = np.argsort(-wrong, kind="stable")[:n]
    cells = [(*divmod(int(cell), len(names)), int(wrong[cell])) for cell in order if wrong[cell]]
    return tuple(Confusion(names[true], names[predicted], count) for true, predicted, count in cells)


def draw(data: ConfusionData) -> "go.Figure":
    """Draw it: blue is right, orange is wrong; a colour is the share of the row's class. The mistakes are listed beside."""
    style.plotly()
    from plotly.subplots import make_subplots

    k = len(data.class_names)
    figure = make_subplots(
        rows=1, cols=2, column_widths=[0.66, 0.34], horizontal_spacing=0.24 if data.confusions else 0.1
    )
    totals = np.maximum(data.counts.sum(axis=1, keepdims=True), 1)
    shares, diagonal = data.counts / totals, np.eye(k, dtype=bool)
    for name, cells, colours in (("right", diagonal, _RIGHT), ("wrong", ~diagonal, _WRONG)):
        figure.add_trace(_heat(data, np.where(cells & (data.counts > 0), shares, np.nan), name, colours), row=1, col=1)
    ticks = list(range(k))
    axis = {"tickvals": ticks, "range": (-0.5, k - 0.5), "showgrid": False, "ticks": ""}
    labels = [label(name, 24 if k <= _NUMBERS_UP_TO else 14) for name in data.class_names]
    if k > _NUMBERS_UP_TO:
        every = -(-k // 40)
        axis["tickvals"], labels = ticks[::every], labels[::every]
        axis["tickfont"] = {"size": 10}
    slanted = sum(map(len, labels)) > 60
    figure.update_xaxes(title_text="predicted", ticktext=labels, tickangle=-60 if slanted else 0, **axis, row=1, col=1)
    figure.update_yaxes(title_text="true", ticktext=labels, **{**axis, "range": (k - 0.5, -0.5)}, row=1, col=1)
    _list(figure, data)
    height = min(max(520, 215 + 42 * k), 900) if k <= _NUMBERS_UP_TO else 900
    style.styled(figure, data.heading, height)
    figure.update_layout(showlegend=False, margin={"t": 140})
    return figure


def _heat(data: ConfusionData, shares: NDArray[np.float64], name: str, colours: Any) -> Any:
    from plotly.graph_objects import Heatmap

    k = len(data.class_names)
    totals = data.counts.sum(axis=1)
    names = [label(each) for each in data.class_names]
    # Most cells of many classes are empty: a hover for each would be megabytes.
    hovers = [
        [_hover(names, data.counts, totals, row, column) if shares[row, column] > 0 else "" for column in range(k)]
        for row in range(k)
    ]
    written = [[f"{n:,}" if value > 0 else "" for n, value in zip(*pair, strict=True)]
               for pair in zip(data.counts.tolist(), shares.tolist(), strict=True)]  # fmt: skip
    largest = float(np.nanmax(shares)) if np.isfinite(shares).any() else 1.0
    return Heatmap(
        z=shares,
        name=name,
        colorscale=[list(step) for step in colours],
        zmin=0,
        zmax=largest,
        showscale=False,
        xgap=1 if k <= 60 else 0,
        ygap=1 if k <= 60 else 0,
        hovertext=hovers,
        hoverinfo="text",
        hoverongaps=False,
        **({"text": written, "texttemplate": "%{text}"} if k <= _NUMBERS_UP_TO else {}),
    )


def _hover(names: list[str], counts: NDArray[np.int64], totals: NDArray[np.int64], row: int, column: int) -> str:
    count, total = int(counts[row, column]), int(totals[row])
    what = f"true <b>{names[row]}</b><br>predicted <b>{names[column]}</b>"
    return f"{what}<br>{count:,} of {total:,} ({share(count / total)})"


def _list(figure: "go.Figure", data: ConfusionData) -> None:
    """Draw the most frequent mistakes as bars, the most frequent on top."""
    title = "The most frequent mistakes" if data.confusions else "No mistake"
    figure.add_annotation(
        text=f"<b>{title}</b>", showarrow=False, x=0, y=1, xref="x2 domain", yref="y2 domain", xanchor="left",
        yanchor="bottom", yshift=8, font={"size": 15},
    )  # fmt: skip
    if not data.confusions:
        figure.update_xaxes(visible=False, row=1, col=2)
        figure.update_yaxes(visible=False, row=1, col=2)
        return
    longest = _WIDEST // 2
    places = list(range(len(data.confusions)))
    figure.add_bar(
        x=[each.count for each in data.confusions],
        y=places,
        orientation="h",
        width=0.7,
        marker={"color": _WRONG[1][1]},
        text=[f"{each.count:,}" for each in data.confusions],
        textposition="outside",
        cliponaxis=False,
        hovertext=[f"{count_of(each.count, 'time')}: {label(each.true)} taken for {label(each.predicted)}"
                   for each in data.confusions],
        hoverinfo="text",
        row=1,
        col=2,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=places,
        ticktext=[f"{label(each.true, longest)} → {label(each.predicted, longest)}" for each in data.confusions],
        range=(max(len(places), 6) - 0.5, -0.5),
        showgrid=False,
        ticks="",
        row=1,
        col=2,
    )
    figure.update_xaxes(
        title_text="true → predicted, how often",
        range=(0, 1.15 * data.confusions[0].count),
        tickformat=",d",
        nticks=5,
        row=1,
        col=2,
    )
