"""Which metrics are those of a ranking, and how their lines look in the panel that they share."""

import re
from collections.abc import Iterable
from typing import Any

from mlframework.visualise import style

_METRIC = re.compile(r"(?:precision|recall|ndcg|map)_at_(\d+)|mrr")
_COLOURS = {"precision": style.BLUE, "recall": style.GREEN, "ndcg": "#CC79A7", "map": "#E69F00", "mrr": "#56B4E9"}
_DASHES = {"solid": "\u2501", "dash": "- -", "dot": "\u00b7\u00b7\u00b7", "dashdot": "-\u00b7-"}


def is_ranking(base: str) -> bool:
    """Tell whether a metric, without its split, is one of a ranking: `ndcg_at_10`, `mrr`."""
    return _METRIC.fullmatch(base) is not None


def line(base: str, together: Iterable[str]) -> dict[str, Any]:
    """Return a metric's colour, which is that of its kind, and its dashes, which say its K: the smallest is solid.

    Args:
        base: a ranking metric without its split.
        together: all of those that are seen beside one another, `base` among them.
    """
    ks = sorted({k for other in together if (k := _k(other)) is not None})
    k = _k(base)
    dash = list(_DASHES)[0 if k is None else ks.index(k) % len(_DASHES)]
    return {"color": _COLOURS[base.partition("_")[0]], "width": 2.4, "dash": dash}


def sample(dash: str) -> str:
    """Return some characters that look like a dashed line."""
    return _DASHES[dash]


def label(base: str, split: str) -> str:
    """Return how a metric is written beside its line: "ndcg@10"."""
    text = base.replace("_at_", "@")
    return text if split == "val" else f"{text} ({split})"


def _k(base: str) -> int | None:
    match = _METRIC.fullmatch(base)
    return int(match[1]) if match and match[1] else None
