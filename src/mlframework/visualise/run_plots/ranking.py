"""What a recommender's run wrote about its rankings: `ranking_val.json` and `ranking_test.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlframework.errors import PlotError, RunError
from mlframework.runs import FORMAT, read_json
from mlframework.visualise.run_view import RunView

SPLITS = ("val", "test")
_AGAIN = "train again to have it written anew"


@dataclass(frozen=True)
class Ranking:
    """How one split's users were served.

    Attributes:
        split: val or test.
        k: how many items each user was recommended.
        n_users, n_items: how many there are.
        recall_at: recall@1, recall@2, ... of the model.
        popularity_recall_at: the same of recommending everybody the most popular items.
        precision_at, ndcg_at, popularity_precision_at, popularity_ndcg_at: the same of precision and NDCG; empty in a file
            of a version that did not write them.
        users_by_hits: how many users have 0, 1, ... k of their held-out items among the k recommended; may be empty, too.
        recommended: (n_items,) in how many users' top k each item is.
        interactions: (n_items,) how many training interactions each item has.
    """

    split: str
    k: int
    n_users: int
    n_items: int
    recall_at: tuple[float, ...]
    popularity_recall_at: tuple[float, ...]
    recommended: tuple[int, ...]
    interactions: tuple[int, ...]
    precision_at: tuple[float, ...] = ()
    ndcg_at: tuple[float, ...] = ()
    popularity_precision_at: tuple[float, ...] = ()
    popularity_ndcg_at: tuple[float, ...] = ()
    users_by_hits: tuple[int, ...] = ()


def has_rankings(view: RunView) -> bool:
    """Tell whether the run wrote any: a recommender's does."""
    return bool(_paths(view))


def rankings(view: RunView) -> list[Ranking]:
    """Read the run's rankings, val before test.

    Raises:
        PlotError: it has none.
        RunError: a file is damaged.
    """
    paths = _paths(view)
    if not paths:
        raise PlotError(
            f"needs ranking_val.json or ranking_test.json in {view.run.path}, which the run of a recommender (data of "
            "type interactions) writes at its end: draw a run that has one, or --plot-type curves"
        )
    return [read_ranking(path) for path in paths]


def _paths(view: RunView) -> list[Path]:
    return [path for split in SPLITS if (path := view.run.path / f"ranking_{split}.json").is_file()]


def read_ranking(path: Path) -> Ranking:
    """Read a ranking file.

    Raises:
        RunError: it is damaged or of another format; the message has the key and the value.
    """
    raw = read_json(path)
    if raw.get("format") != FORMAT:
        raise RunError(f"{path}: format: this version reads {FORMAT}, got {raw.get('format')!r}; {_AGAIN}")
    split = raw.get("split")
    if split not in SPLITS:
        raise RunError(f"{path}: split: should be {' or '.join(SPLITS)}, got {split!r}; {_AGAIN}")
    k, n_users, n_items = (_count(raw.get(key), f"{path}: {key}") for key in ("k", "n_users", "n_items"))
    recommended, interactions = (
        tuple(_count(value, place) for place, value in _items(raw, key, path))
        for key in ("recommended", "interactions")
    )
    recall_at, popularity = (
        tuple(_share(value, place) for place, value in _items(raw, key, path))
        for key in ("recall_at", "popularity_recall_at")
    )
    _as_long(path, "recommended", recommended, "n_items", n_items)
    _as_long(path, "interactions", interactions, "n_items", n_items)
    _as_long(path, "popularity_recall_at", popularity, "the length of recall_at", len(recall_at))
    return Ranking(
        split,
        k,
        n_users,
        n_items,
        recall_at,
        popularity,
        recommended,
        interactions,
        *_later(raw, path, len(recall_at), k),
    )


def _later(raw: Mapping[str, Any], path: Path, depth: int, k: int) -> list[Any]:
    """Read what the first version of the format did not have: empty where it is not there."""
    keys = ("precision_at", "ndcg_at", "popularity_precision_at", "popularity_ndcg_at")
    found: list[Any] = []
    for key in keys:
        values = tuple(_share(value, place) for place, value in _items(raw, key, path)) if key in raw else ()
        if values:
            _as_long(path, key, values, "the length of recall_at", depth)
        found.append(values)
    users = tuple(_count(value, place) for place, value in _items({"users_by_hits": [], **raw}, "users_by_hits", path))
    if users:
        _as_long(path, "users_by_hits", users, "k + 1", k + 1)
    return [*found, users]


def _items(raw: Mapping[str, Any], key: str, path: Path) -> list[tuple[str, Any]]:
    values = raw.get(key)
    if not isinstance(values, list):
        raise RunError(f"{path}: {key}: should be a list, got {values!r}; {_AGAIN}")
    return [(f"{path}: {key}[{index}]", value) for index, value in enumerate(values)]


def _count(value: Any, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RunError(f"{place}: should be a whole number from 0, got {value!r}; {_AGAIN}")
    return value


def _share(value: Any, place: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise RunError(f"{place}: should be a number from 0 to 1, got {value!r}; {_AGAIN}")
    return float(value)


def _as_long(path: Path, key: str, values: Sequence[float], what: str, length: int) -> None:
    if len(values) != length:
        raise RunError(f"{path}: {key}: has {len(values)} values, {what} is {length}; {_AGAIN}")
