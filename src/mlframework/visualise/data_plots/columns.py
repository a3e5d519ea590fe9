"""What the columns of a table hold, and how much each says of the target: all of it from the training split."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlframework.data import TableExamples
from mlframework.visualise import style
from mlframework.visualise.data_plots.balance import edges_of
from mlframework.visualise.wording import short

if TYPE_CHECKING:
    import plotly.graph_objects as go

DRAWN = 12  # columns, those that say most of the target
GIVES_AWAY = 0.99
_CATEGORIES, _CLASSES, _BINS = 12, 6, 24
_ROW = 230


@dataclass(frozen=True)
class Column:
    """One feature.

    Attributes:
        name: of the column.
        kind: numeric or categorical.
        missing: share of the training rows that have no value.
        missing_val: the same of the validation rows; None without a validation split.
        distinct: how many different values there are.
        about: the range and mean of numbers, the most frequent categories.
        association: how much it says of the target, from 0 to 1; None where there is no target, or nothing to tell. Of two
            numbers the absolute correlation; of a number and classes the correlation ratio; of categories and classes
            Cramér's V; the last two corrected for the number of categories.
    """

    name: str
    kind: str
    missing: float
    missing_val: float | None
    distinct: int
    about: str
    association: float | None


def describe(train: TableExamples, val: TableExamples | None, has_target: bool = True) -> list[Column]:
    """Describe the columns, those that say most of the target first."""
    found = [_numeric(train, val, at, has_target) for at in range(len(train.schema.numeric))]
    found += [_categorical(train, val, at, has_target) for at in range(len(train.schema.categorical))]
    return sorted(found, key=lambda column: -(column.association or 0))


def _numeric(train: TableExamples, val: TableExamples | None, at: int, has_target: bool) -> Column:
    values = train.numeric[:, at].astype(np.float64)
    known = ~np.isnan(values)
    about = "no value"
    if known.any():
        own = values[known]
        about = f"{short(float(own.min()))} to {short(float(own.max()))}, mean {short(float(own.mean()))}"
    association = None
    if has_target and known.sum() > 2:
        targets = train.targets[known]
        by_class = train.schema.class_names is not None
        association = _ratio(values[known], targets) if by_class else _correlation(values[known], targets)
    of_val = None if val is None or not len(val) else float(np.isnan(val.numeric[:, at]).mean())
    distinct = len(np.unique(values[known]))
    return Column(train.schema.numeric[at], "numeric", float(1 - known.mean()), of_val, distinct, about, association)


def _categorical(train: TableExamples, val: TableExamples | None, at: int, has_target: bool) -> Column:
    name = train.schema.categorical[at]
    codes = train.categorical[:, at]
    known = codes >= 0
    counts = np.bincount(codes[known], minlength=1)
    most = np.argsort(-counts, kind="stable")[:3]
    words = train.schema.vocabulary[name]
    about = ", ".join(f"{words[each]} {counts[each] / known.sum():.0%}" for each in most if counts[each]) or "no value"
    association = None
    if has_target and known.sum() > 2:
        targets = train.targets[known]
        by_class = train.schema.class_names is not None
        association = (
            _cramers_v(codes[known], targets) if by_class else _ratio(targets.astype(np.float64), codes[known])
        )
    of_val = None if val is None or not len(val) else float((val.categorical[:, at] < 0).mean())
    distinct = int((counts > 0).sum())
    return Column(name, "categorical", float(1 - known.mean()), of_val, distinct, about, association)


def _correlation(one: NDArray[Any], two: NDArray[Any]) -> float | None:
    one, two = one - one.mean(), two.astype(np.float64) - two.mean()
    size = math.sqrt(float((one**2).sum() * (two**2).sum()))
    return None if size == 0 else min(1.0, abs(float((one * two).sum())) / size)


def _ratio(values: NDArray[np.float64], groups: NDArray[Any]) -> float | None:
    """Return the correlation ratio of values and groups, by epsilon squared: about 0 where groups say nothing."""
    _, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    n, k = len(values), len(counts)
    total = float(((values - values.mean()) ** 2).sum())
    if total == 0 or k < 2 or n <= k:
        return None
    means = np.bincount(places, values) / counts
    within = float(((values - means[places]) ** 2).sum())
    return math.sqrt(max(0.0, 1 - within / (n - k) / (total / (n - 1))))


def _cramers_v(one: NDArray[Any], two: NDArray[Any]) -> float | None:
    """Return Cramér's V with Bergsma's correction: about 0 for independent columns, however many categories they have."""
    _, rows = np.unique(one, return_inverse=True)
    _, columns = np.unique(two, return_inverse=True)
    n, r, k = len(rows), int(rows.max()) + 1, int(columns.max()) + 1
    if r < 2 or k < 2 or n <= max(r, k):
        return None
    counts = np.bincount(rows * k + columns, minlength=r * k).reshape(r, k)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / n
    phi = float(((counts - expected) ** 2 / expected).sum()) / n
    phi = max(0.0, phi - (k - 1) * (r - 1) / (n - 1))
    r_own, k_own = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    least = min(r_own, k_own) - 1
    return None if least <= 0 else min(1.0, math.sqrt(phi / least))


def giveaways(columns: Sequence[Column]) -> list[str]:
    """Say which columns say nearly all of the target, as one does that was only known afterwards."""
    return [
        f"{column.name} says nearly all of the target (association {column.association:.3f}): is it known before the target "
        "is? If not, name it under data.drop."
        for column in columns
        if column.association is not None and column.association >= GIVES_AWAY
    ]


@dataclass(frozen=True)
class Distribution:
    """How one column's values are spread, for each class where there are few.

    Attributes:
        column: its name.
        labels: of the categories or of the bins.
        edges: of the bins; empty where the column is categorical.
        shares: by class, or under "all rows": the share of its rows in each bin or category.
    """

    column: str
    labels: tuple[str, ...]
    edges: tuple[float, ...]
    shares: dict[str, tuple[float, ...]]


def distributions(train: TableExamples, columns: Sequence[Column]) -> list[Distribution]:
    """Return how the first columns' values are spread over the training rows."""
    names = train.schema.class_names
    groups: dict[str, NDArray[np.bool_]] = {"all rows": np.ones(len(train), dtype=bool)}
    if names is not None and len(names) <= _CLASSES:
        groups = {name: train.targets == number for number, name in enumerate(names)}
    found = []
    for column in columns[:DRAWN]:
        if column.distinct == 0:
            continue
        of = _bins if column.kind == "numeric" else _categories
        found.append(of(train, column.name, groups))
    return found


def _bins(train: TableExamples, name: str, groups: dict[str, NDArray[np.bool_]]) -> Distribution:
    values = train.numeric[:, train.schema.numeric.index(name)].astype(np.float64)
    known = ~np.isnan(values)
    edges = edges_of(values[known], _BINS)
    shares = {}
    for label, rows in groups.items():
        own = values[rows & known]
        shares[label] = tuple((np.histogram(own, edges)[0] / max(1, len(own))).tolist())
    labels = tuple(f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges))
    return Distribution(name, labels, tuple(edges.tolist()), shares)


def _categories(train: TableExamples, name: str, groups: dict[str, NDArray[np.bool_]]) -> Distribution:
    codes = train.categorical[:, train.schema.categorical.index(name)]
    words = train.schema.vocabulary[name]
    counts = np.bincount(codes[codes >= 0], minlength=len(words))
    most = np.argsort(-counts, kind="stable")[:_CATEGORIES]
    most = most[counts[most] > 0]
    shares = {}
    for label, rows in groups.items():
        own = codes[rows & (codes >= 0)]
        shares[label] = tuple((np.bincount(own, minlength=len(words))[most] / max(1, len(own))).tolist())
    return Distribution(name, tuple(words[each] for each in most), (), shares)


def draw(data: Sequence[Distribution]) -> "go.Figure":
    """Draw a small chart a column, three in a row."""
    go = style.plotly()
    from plotly.subplots import make_subplots

    colours = (style.BLUE, style.VERMILLION, style.GREEN, "#CC79A7", "#E69F00", "#56B4E9")
    in_row = min(3, len(data))
    rows = math.ceil(len(data) / in_row)
    inner = rows * _ROW
    figure = make_subplots(
        rows=rows, cols=in_row, vertical_spacing=min(0.9 / max(1, rows - 1), 75 / inner),
        horizontal_spacing=0.06,
    )  # fmt: skip
    by_class = "all rows" not in data[0].shares
    for index, each in enumerate(data):
        row, column = divmod(index, in_row)
        middles = [(low + high) / 2 for low, high in pairwise(each.edges)]
        for number, (label, shares) in enumerate(each.shares.items()):
            said = [f"{label}<br>{word}: {share:.1%}" for word, share in zip(each.labels, shares, strict=True)]
            trace: Any = go.Bar(
                x=middles or list(range(len(shares))), y=shares, name=html.escape(label), legendgroup=label,
                showlegend=by_class and index == 0, marker={"color": colours[number % len(colours)]},
                # Bins of classes lie over one another; categories stand side by side.
                opacity=0.6 if middles else 1, width=each.edges[1] - each.edges[0] if middles else 0.8 / len(each.shares),
                offset=None if middles else 0.8 * (number / len(each.shares) - 0.5), hoverinfo="text",
                hovertext=[html.escape(text).replace("&lt;br&gt;", "<br>") for text in said],
            )  # fmt: skip
            figure.add_trace(trace, row=row + 1, col=column + 1)
        if not middles:
            words = [html.escape(_short(word, 14)) for word in each.labels]
            figure.update_xaxes(tickvals=list(range(len(words))), ticktext=words, row=row + 1, col=column + 1)
        title = style.panel_title(html.escape(_short(each.column, 34)))
        figure.add_annotation(**title, row=row + 1, col=column + 1)
    what = "the share of each class's rows" if by_class else "the share of the rows"
    heading = style.Heading("How the columns are spread in train", f"{what}; those that say most of the target first")
    style.styled(figure, heading, 205 + inner)
    figure.update_layout(barmode="overlay", legend={"y": 1 + 30 / inner})
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def _short(name: str, longest: int) -> str:
    half = longest // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half + 1 :]}"
