"""How the targets are spread over the splits."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlframework.visualise import style

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_CLASSES = 60  # that are drawn, the most frequent ones
_BINS = 30
COLOURS = {"train": style.BLUE, "val": style.VERMILLION, "test": style.GREY}


@dataclass(frozen=True)
class ClassBalance:
    """How many examples of each class the splits have.

    Attributes:
        class_names: of all classes, in their order.
        counts: by split, a number a class.
    """

    class_names: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]

    @property
    def ratio(self) -> float | None:
        """How many times more often the most frequent class is in train than the rarest; None where one is missing."""
        of_train = self.counts["train"]
        return max(of_train) / min(of_train) if min(of_train) else None


@dataclass(frozen=True)
class Spread:
    """How numbers are spread: the share of each split's examples in each bin.

    Attributes:
        name: what the numbers are.
        edges: of the bins, one more than there are bins.
        shares: by split.
        means: by split.
    """

    name: str
    edges: tuple[float, ...]
    shares: Mapping[str, tuple[float, ...]]
    means: Mapping[str, float]


def class_balance(targets: Mapping[str, NDArray[np.int64]], class_names: Sequence[str]) -> ClassBalance:
    """Count the classes in each split."""
    counts = {name: tuple(np.bincount(each, minlength=len(class_names)).tolist()) for name, each in targets.items()}
    return ClassBalance(tuple(class_names), counts)


def spread(name: str, values: Mapping[str, NDArray[Any]]) -> Spread:
    """Cut the range of all values into bins, or give each a bin of its own where they are few and whole."""
    known = {split: each[np.isfinite(each)].astype(np.float64) for split, each in values.items()}
    whole = np.concatenate(list(known.values()))
    edges = edges_of(whole, _BINS)
    shares = {
        split: tuple((np.histogram(each, edges)[0] / max(1, len(each))).tolist()) for split, each in known.items()
    }
    means = {split: float(each.mean()) for split, each in known.items() if len(each)}
    return Spread(name, tuple(edges.tolist()), shares, means)


def edges_of(values: NDArray[np.float64], n_bins: int) -> NDArray[np.float64]:
    """Return the edges of the bins of numbers, at least one: equal ones, or one bin for each of a few whole numbers."""
    low, high = float(values.min()), float(values.max())
    if high - low <= n_bins and np.array_equal(values, np.rint(values)):
        return np.arange(low - 0.5, high + 1)
    return np.histogram_bin_edges(values, n_bins)


def draw_balance(data: ClassBalance) -> "go.Figure":
    """Draw the share of each class in each split, the number in the hover text."""
    go = style.plotly()
    order = list(range(len(data.class_names)))
    if len(data.class_names) > MOST_CLASSES:
        order = sorted(order, key=lambda each: -data.counts["train"][each])[:MOST_CLASSES]
    names = [html.escape(_short(data.class_names[each])) for each in order]
    figure = go.Figure()
    for split, counts in data.counts.items():
        total = max(1, sum(counts))
        figure.add_bar(
            x=list(range(len(names))), y=[counts[each] / total for each in order], name=f"{split} ({sum(counts):,})",
            marker={"color": COLOURS[split]},
            hovertext=[
                f"{name}<br>{split}: {counts[each]:,} ({counts[each] / total:.1%})"
                for name, each in zip(names, order, strict=True)
            ],
            hoverinfo="text",
        )  # fmt: skip
    n, ratio = len(data.class_names), data.ratio
    shown = f"the {MOST_CLASSES} most frequent of {n} classes" if n > MOST_CLASSES else f"{n} classes"
    said = "" if ratio is None else f"; the most frequent comes {ratio:.3g} times as often in train as the rarest"
    style.styled(figure, style.Heading("Share of each class", shown + said), 460)
    figure.update_xaxes(tickmode="array", tickvals=list(range(len(names))), ticktext=names)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def draw_spread(data: Spread) -> "go.Figure":
    """Draw the bins of each split over one another."""
    go = style.plotly()
    middles = [(low + high) / 2 for low, high in zip(data.edges, data.edges[1:], strict=False)]
    figure = go.Figure()
    for split, shares in data.shares.items():
        figure.add_bar(
            x=middles, y=shares, width=data.edges[1] - data.edges[0], name=split, opacity=0.6, marker={"color": COLOURS[split]},
            hovertemplate=f"{split}: %{{y:.1%}} from %{{customdata[0]:.4g}} to %{{customdata[1]:.4g}}<extra></extra>",
            customdata=list(zip(data.edges, data.edges[1:], strict=False)),
        )  # fmt: skip
    means = ", ".join(f"{split} {mean:.4g}" for split, mean in data.means.items())
    style.styled(figure, style.Heading(f"How {html.escape(data.name)} is spread", f"mean: {means}"), 420)
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_xaxes(title_text=html.escape(data.name))
    figure.update_yaxes(tickformat=".0%", title_text="share of the split")
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"
