"""A log of interactions: how many each user and item has, when they happened, and who is new in the validation split."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlframework.data import InteractionExamples, Splits
from mlframework.visualise import style
from mlframework.visualise.data_plots.balance import COLOURS
from mlframework.visualise.data_plots.leakage import parts_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

_POINTS = 400  # of a curve
_BINS = 60


@dataclass(frozen=True)
class Tail:
    """How the interactions of train are spread over users, or over items.

    Attributes:
        counts: interactions of each, the most first; those without any among them.
        top_share: the share of all interactions that the first tenth has.
    """

    counts: tuple[int, ...]
    top_share: float

    @property
    def without(self) -> int:
        """How many have none in train."""
        return sum(count == 0 for count in self.counts)


@dataclass(frozen=True)
class Times:
    """When the interactions of the splits happened.

    Attributes:
        ranges: by split, the first and the last moment.
        edges: of the bins.
        counts: by split, interactions in each bin; not of the test split.
        after_val: how many of train's are later than the first of val.
        of_train: how many train has.
        is_date: whether moments are dates, written as ISO; else plain numbers.
    """

    ranges: Mapping[str, tuple[str, str]]
    edges: tuple[str | float, ...]
    counts: Mapping[str, tuple[int, ...]]
    after_val: int
    of_train: int
    is_date: bool


@dataclass(frozen=True)
class Log:
    """What is known about a log.

    Attributes:
        n: interactions by split.
        n_users: users in all.
        n_items: items in all.
        density: the share of all pairs of a user and an item that are in the log.
        users: interactions of each user in train.
        items: interactions of each item in train.
        strangers: users of val with nothing in train, and how many users val has.
        new_items: items of val with nothing in train, and how many items val has.
    """

    n: Mapping[str, int]
    n_users: int
    n_items: int
    density: float
    users: Tail
    items: Tail
    strangers: tuple[int, int]
    new_items: tuple[int, int]


def describe(splits: Splits[InteractionExamples]) -> Log:
    """Count a log."""
    parts = parts_of(splits)
    catalogue, train = splits.train.catalogue, splits.train
    n_users, n_items = len(catalogue.users), len(catalogue.items)
    n = {name: len(part) for name, part in parts.items()}
    val = parts.get("val")

    def new(of_val: NDArray[Any] | None, of_train: NDArray[Any]) -> tuple[int, int]:
        own = np.unique(of_val) if of_val is not None else np.empty(0, dtype=np.int64)
        return len(np.setdiff1d(own, np.unique(of_train), assume_unique=True)), len(own)

    return Log(
        n, n_users, n_items, sum(n.values()) / (n_users * n_items), _tail(train.users, n_users), _tail(train.items, n_items),
        new(None if val is None else val.users, train.users), new(None if val is None else val.items, train.items),
    )  # fmt: skip


def _tail(codes: NDArray[np.int32], n: int) -> Tail:
    counts = np.sort(np.bincount(codes, minlength=n))[::-1]
    return Tail(tuple(counts.tolist()), float(counts[: max(1, n // 10)].sum() / max(1, counts.sum())))


def times(splits: Splits[InteractionExamples]) -> Times | None:
    """Find out when the interactions of each split happened; None without a time_column."""
    return times_of({name: part.time for name, part in parts_of(splits).items() if part.time is not None})


def times_of(found: Mapping[str, NDArray[Any]]) -> Times | None:
    """Sum up the moments of each split; None where a moment is missing everywhere."""
    known = {
        name: each[~(np.isnat(each) if each.dtype.kind == "M" else np.isnan(each))] for name, each in found.items()
    }
    known = {name: each for name, each in known.items() if len(each)}
    if "train" not in known:
        return None
    is_date, as_moment = _dates(known["train"])
    shown = {name: each for name, each in known.items() if name != "test"}
    numbers = {
        name: each.astype("datetime64[s]").astype(np.int64) if each.dtype.kind == "M" else each
        for name, each in shown.items()
    }
    edges = np.histogram_bin_edges(np.concatenate(list(numbers.values())).astype(np.float64), _BINS)
    first_of_val = numbers["val"].min() if "val" in numbers else math.inf
    return Times(
        ranges={name: (as_moment(each.min()), as_moment(each.max())) for name, each in known.items()},
        edges=tuple(as_moment(edge) if is_date else float(edge) for edge in edges),
        counts={name: tuple(np.histogram(each, edges)[0].tolist()) for name, each in numbers.items()},
        after_val=int((numbers["train"] > first_of_val).sum()),
        of_train=len(numbers["train"]),
        is_date=is_date,
    )


def _dates(moments: NDArray[Any]) -> "tuple[bool, Any]":
    """Return whether moments are dates, and what writes one: dates, or seconds since 1970 of the last fifty years."""
    if moments.dtype.kind == "M":
        return True, lambda moment: _iso(
            moment if isinstance(moment, np.datetime64) else np.datetime64(int(moment), "s")
        )
    if float(moments.min()) > 3e8 and float(moments.max()) < 4e9:
        return True, lambda moment: _iso(np.datetime64(int(moment), "s"))
    return False, lambda moment: f"{float(moment):g}"


def _iso(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[s]")).replace("T", " ")


def draw_tails(log: Log) -> "go.Figure":
    """Draw how many interactions each user and each item has, from the most to the least, on logarithmic axes."""
    go = style.plotly()
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.09)
    for column, (what, tail) in enumerate((("user", log.users), ("item", log.items)), 1):
        counts = [count for count in tail.counts if count]
        ranks = np.unique(np.geomspace(1, len(counts), min(_POINTS, len(counts))).round().astype(int)).tolist()
        figure.add_trace(
            go.Scatter(
                x=ranks, y=[counts[rank - 1] for rank in ranks], mode="lines", line={"color": style.BLUE, "width": 2.4},
                hovertext=[f"{what} {rank:,} of {len(counts):,}: {counts[rank - 1]:,} interactions" for rank in ranks],
                hoverinfo="text", showlegend=False,
            ),
            row=1, col=column,
        )  # fmt: skip
        figure.add_annotation(**style.panel_title(f"{what}s"), row=1, col=column)
        figure.update_xaxes(type="log", title_text=f"{what}s, the one with most first", row=1, col=column)
        figure.update_yaxes(type="log", row=1, col=column)
    figure.update_yaxes(title_text="interactions in train", row=1, col=1)
    heading = style.Heading(
        "How many interactions each has",
        f"the first tenth of the users has {log.users.top_share:.0%} of them, the first tenth of the items "
        f"{log.items.top_share:.0%}",
    )
    return style.styled(figure, heading, 440)


def draw_times(data: Times) -> "go.Figure":
    """Draw how many interactions happened when, train and val; of the test split the range alone stands in the page."""
    go = style.plotly()
    figure = go.Figure()
    for name, counts in data.counts.items():
        figure.add_scatter(
            x=data.edges[:-1], y=counts, mode="lines", line={"shape": "hv", "color": COLOURS[name], "width": 2},
            fill="tozeroy" if name == "train" else None, name=name, opacity=0.8,
        )  # fmt: skip
    share = data.after_val / max(1, data.of_train)
    said = (
        "train ends before val begins" if not data.after_val else f"{share:.0%} of train is later than the first of val"
    )
    style.styled(figure, style.Heading("When the interactions happened", said), 400)
    figure.update_yaxes(title_text="interactions", rangemode="tozero")
    figure.update_xaxes(title_text=None if data.is_date else "time")
    return figure
