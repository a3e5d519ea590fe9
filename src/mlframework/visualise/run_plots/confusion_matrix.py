"""Which class is taken for which: the confusion matrix, and the most frequent mistakes in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlframework.visualise import style
from mlframework.visualise.run_plots.class_curves import missing_note
from mlframework.visualise.run_plots.classified import LONGEST_NAME, above, classified, label, share
from mlframework.visualise.run_view import RunView
from mlframework.visualise.wording import count_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

_NUMBERS_UP_TO = 20  # classes; with more the numbers in the cells could not be read
_WHOLE_UP_TO = 100  # classes; with more a cell would be a few pixels
_SHOWN = 40  # classes, where not all are
_LISTED = 10  # mistakes
_LINE = 42  # pixels of one of them
_LONGEST = 18  # characters of a class in the list of mistakes
_STRONG = 0.2
OTHERS = "all other classes"

# White to dark: blue on the diagonal, orange beside it, each on a scale of its own.
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
    missing = [name for name, there in zip(names, counts.sum(axis=1), strict=True) if not there]
    note = ""
    if len(names) > _WHOLE_UP_TO:
        names, shown = gathered(names, counts, _SHOWN)
        note = f"the {_SHOWN} classes with the most mistakes of {len(found.class_names)}"
    return ConfusionData(
        heading=style.Heading(
            f"{share(float(found.right.mean()))} right: which class is taken for which",
            above(view, found.saved, len(found.rows), count_of(n_wrong, "mistake"), note, missing_note(missing)),
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
    widths = [0.66, 0.34] if data.confusions else [1.0]
    figure = make_subplots(rows=1, cols=len(widths), column_widths=widths, horizontal_spacing=0.08)
    totals = np.maximum(data.counts.sum(axis=1, keepdims=True), 1)
    shares, diagonal = data.counts / totals, np.eye(k, dtype=bool)
    for name, cells, colours in (("right", diagonal, _RIGHT), ("wrong", ~diagonal, _WRONG)):
        figure.add_trace(_heat(data, np.where(cells & (data.counts > 0), shares, np.nan), name, colours), row=1, col=1)
    below = _name_axes(figure, data)
    height = min(max(430, 135 + 42 * k), 820) if k <= _NUMBERS_UP_TO else 820
    if data.confusions:
        _list(figure, data.confusions[: max(5, (height - 220) // _LINE)])
    style.styled(figure, data.heading, height + below)
    figure.update_layout(showlegend=False, margin={"t": 140})
    return figure


def _name_axes(figure: "go.Figure", data: ConfusionData) -> int:
    """Write the classes beside the matrix, as many as there is room for; returns the pixels that they take below it."""
    k = len(data.class_names)
    longest, every = (LONGEST_NAME, 1) if k <= _NUMBERS_UP_TO else (14, -(-k // 40))
    size = 14 if k <= _NUMBERS_UP_TO else 10
    ticks = list(range(0, k, every))
    lengths = [min(len(data.class_names[tick]), longest) for tick in ticks]
    slanted = size * sum(lengths) > 1000
    axis = {
        "tickvals": ticks,
        "ticktext": [label(data.class_names[tick], longest) for tick in ticks],
        "tickfont": {"size": size},
        "showgrid": False,
        "ticks": "",
    }
    figure.update_xaxes(
        title_text="predicted", tickangle=-60 if slanted else 0, range=(-0.5, k - 0.5), **axis, row=1, col=1
    )
    figure.update_yaxes(title_text="true", range=(k - 0.5, -0.5), **axis, row=1, col=1)
    return 80 + (round(0.5 * size * max(lengths)) if slanted else 0)


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
    # One mistake in a thousand is no alarm: a colour is at its strongest from a fifth of a class on.
    largest = float(np.nanmax(shares)) if np.isfinite(shares).any() else 1.0
    largest = 1.0 if name == "right" else max(largest, _STRONG)
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


def _list(figure: "go.Figure", confusions: Sequence[Confusion]) -> None:
    """Draw the most frequent mistakes as bars, the most frequent on top, each with its two classes above it."""
    figure.add_annotation(
        text="<b>The most frequent mistakes</b>", showarrow=False, x=0, y=1, xref="x2 domain", yref="y2 domain",
        xanchor="left", yanchor="bottom", yshift=8, font={"size": 15},
    )  # fmt: skip
    places = list(range(len(confusions)))
    figure.add_bar(
        x=[each.count for each in confusions],
        y=places,
        orientation="h",
        width=0.3,
        offset=0.1,
        marker={"color": _WRONG[1][1]},
        text=[f"{each.count:,}" for each in confusions],
        textposition="outside",
        cliponaxis=False,
        hovertext=[f"{count_of(each.count, 'time')}: {label(each.true)} taken for {label(each.predicted)}"
                   for each in confusions],
        hoverinfo="text",
        row=1,
        col=2,
    )  # fmt: skip
    for place, each in enumerate(confusions):
        figure.add_annotation(
            text=f"{label(each.true, _LONGEST)} taken for {label(each.predicted, _LONGEST)}", showarrow=False,
            x=0, y=place + 0.08, xref="x2 domain", yref="y2", xanchor="left", yanchor="bottom", font={"size": 13},
        )  # fmt: skip
    most = confusions[0].count
    figure.update_yaxes(visible=False, range=(max(len(places), 5) - 0.45, -0.5), row=1, col=2)
    figure.update_xaxes(
        title_text="how often", range=(0, 1.15 * most), nticks=5, **style.whole_numbers(3 * most), row=1, col=2
    )
