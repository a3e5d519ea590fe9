"""What every recommender exports, and the predictor that reads it: vectors, ids and what each user has seen. No torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlframework.errors import DataError, RunError
from mlframework.learners.base import Prediction
from mlframework.metrics import ranking
from mlframework.models.compressed_rows import some_rows, with_pairs
from mlframework.runs import FORMAT, read_json, replacing, write_json

if TYPE_CHECKING:
    from mlframework.data.interaction_examples import InteractionExamples
    from mlframework.learners.ranking import Vectors

Id = int | str
Ints = NDArray[np.int64]
FEW = 5
_ARRAYS = {
    "user_vecs": np.float32,
    "item_vecs": np.float32,
    "seen_indptr": np.int64,
    "seen_items": np.int64,
    "rated_low": np.int64,
}
"""The arrays of an artifact, each in a file of its name, and their type."""


@dataclass(frozen=True)
class Recommendation:
    """An item for a user, or beside an item.

    Attributes:
        item: the item's id.
        score: the model's score, a similarity from -1 to 1, or how many interactions a popular item has.
    """

    item: Id
    score: float


@dataclass(frozen=True)
class Link:
    """What a score means, where it is more than an order.

    Attributes:
        class_names: the two classes of which the score is the log odds; None where it is a value.
        mean: added to a value.
        scale: by which a value is multiplied.
    """

    class_names: tuple[str, str] | None = None
    mean: float = 0.0
    scale: float = 1.0

    def prediction(self, score: float) -> Prediction:
        """Return what a score says."""
        if self.class_names is None:
            return Prediction(score * self.scale + self.mean, {})
        positive = 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
        return Prediction(
            self.class_names[score > 0], dict(zip(self.class_names, (1 - positive, positive), strict=True))
        )


def exporter(
    model: str, train: InteractionExamples, n_factors: int, link: Link | None = None
) -> Callable[[Path, Vectors], None]:
    """Return what writes the artifact of a recommender.

    Args:
        model: the architecture.
        train: what it was trained on.
        n_factors: how many of the vectors' first columns say what an item is like; those behind them are biases.
        link: what a score means.
    """

    def export(folder: Path, vectors: Vectors) -> None:
        matrix, catalogue = train.matrix(), train.catalogue
        arrays = {
            "user_vecs": vectors.users,
            "item_vecs": vectors.items,
            "seen_indptr": matrix.indptr,
            "seen_items": matrix.indices,
            "rated_low": np.stack(catalogue.rated_low),
        }
        for name, array in arrays.items():
            _write_array(folder / f"{name}.npy", array.astype(np.float32 if name.endswith("vecs") else np.int64))
        meta = {
            "format": FORMAT,
            "family": "recommender",
            "model": model,
            "n_factors": n_factors,
            "link": None if link is None else {**link.__dict__},
            "user_column": catalogue.user_column,
            "item_column": catalogue.item_column,
            "users": list(catalogue.users),
            "items": list(catalogue.items),
        }
        write_json(folder / "model_meta.json", meta)

    return export


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


class Recommender:
    """Recommends items to the users that a model was trained on.

    Attributes:
        users: ids of the users, in the order of the rows of user_vecs.npy.
        items: ids of the items, in the order of the rows of item_vecs.npy.
    """

    def __init__(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self.users: tuple[Id, ...] = tuple(meta["users"])
        self.items: tuple[Id, ...] = tuple(meta["items"])
        self._columns = str(meta["user_column"]), str(meta["item_column"])
        self._n_factors = int(meta["n_factors"])
        link = meta["link"] or {}
        names = link.get("class_names")
        self._link = Link(**{**link, "class_names": None if names is None else (names[0], names[1])})
        self._user_vecs, self._item_vecs = arrays["user_vecs"], arrays["item_vecs"]
        self._indptr, self._seen = arrays["seen_indptr"], arrays["seen_items"]
        self._rated_low = arrays["rated_low"]
        self._user_rows = {user: row for row, user in enumerate(self.users)}
        self._item_rows = {item: row for row, item in enumerate(self.items)}

    @classmethod
    def read(cls, artifacts: Path) -> Recommender:
        """Read what `exporter` wrote.

        Raises:
            RunError: a file is missing or damaged.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for name in _ARRAYS:
            path = artifacts / f"{name}.npy"
            try:
                # Of an archive of arrays np.load returns something else.
                arrays[name] = np.asarray(np.load(path, allow_pickle=False), dtype=_ARRAYS[name])
            except (OSError, ValueError, EOFError, TypeError) as error:
                raise RunError(f"{path}: cannot be read: {error}; train the model again") from None
        path = artifacts / "model_meta.json"
        try:
            recommender = cls(read_json(path), arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path}: is no description of a recommender: {error}; train the model again") from None
        wrong = _misfit(arrays, len(recommender.users), len(recommender.items))
        if wrong is not None:
            raise RunError(f"{artifacts / wrong}.npy: does not fit the other files beside it; train the model again")
        return recommender

    def recommend(
        self,
        user_ids: Id | Sequence[Id],
        k: int = 10,
        exclude_seen: bool = True,
        unknown: Literal["error", "popular"] = "error",
    ) -> list[list[Recommendation]]:
        """Return the best items for each user, the best first.

        Args:
            user_ids: ids as the data has them; one id is taken for a list of one.
            k: how many items; a user who has seen nearly all gets fewer.
            exclude_seen: leave out what the user had in training, and what the user rated below `min_rating`.
            unknown: what a user gets who was not in training: an error, or the most popular items.

        Raises:
            DataError: a user was not in training, or there are no `k` items.
        """
        if unknown not in ("error", "popular"):
            raise DataError(f"unknown: {unknown!r} should be 'error' or 'popular'")
        k = self._checked(k, len(self.items))
        ids = _listed(user_ids)
        rows = np.array([self._trained_row(user) for user in ids], dtype=np.int64)
        strangers = [user for user, row in zip(ids, rows, strict=True) if row < 0]
        wrong_type = next((hint for user in strangers if (hint := _hint(user, self.users))), "")
        # Ids of another type are a mistake, whatever is asked for strangers: they would all be strangers.
        if strangers and (unknown == "error" or wrong_type):
            remedy = "" if wrong_type else "; unknown='popular' gives such users the most popular items"
            raise DataError(
                f"{_few(strangers)}: not among the {int((np.diff(self._indptr) > 0).sum()):,} users with interactions in "
                f"training{wrong_type}{remedy}"
            )
        found: list[list[Recommendation]] = [self._popular(k) if row < 0 else [] for row in rows]
        known = np.flatnonzero(rows >= 0)
        indptr, seen = some_rows(*self._excluded, rows[known]) if exclude_seen else (None, None)
        items, scores = ranking.top(self._user_vecs[rows[known]], self._item_vecs, indptr, seen, k)
        for place, row_items, row_scores in zip(known, items, scores, strict=True):
            found[place] = self._recommendations(row_items, row_scores)
        return found

    def similar_items(self, item_ids: Id | Sequence[Id], k: int = 10) -> list[list[Recommendation]]:
        """Return the items most like each item: by the cosine of their factors, the item itself left out.

        Raises:
            DataError: there is no such item, or there are not `k` others.
        """
        k = self._checked(k, len(self.items) - 1)
        rows = self._rows(_listed(item_ids), self._item_rows, "items")
        factors = self._item_vecs[:, : self._n_factors]
        lengths = np.linalg.norm(factors, axis=1, keepdims=True)
        directions = (factors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        itself = np.arange(len(rows) + 1)
        items, scores = ranking.top(directions[rows], directions, itself, rows, k)
        return [self._recommendations(*each) for each in zip(items, scores, strict=True)]

    def predict(self, source: Any) -> list[Prediction]:
        """Return the score of each row's user and item; of a model of ratings, the rating or its class.

        Args:
            source: a path (CSV, TSV, Parquet), a polars or pandas data frame, or a dict of columns, with the user and the
                item column that the model was trained with.

        Raises:
            DataError: a column is missing, or a user or item is unknown.
        """
        from mlframework.data.sources import user_item_pairs

        users, items = user_item_pairs(source, *self._columns)
        if isinstance(source, str | Path):
            # A file whose ids all happen to be numbers is read as numbers, also where the log had others beside them.
            users, items = _as_text(users, self.users), _as_text(items, self.items)
        user_rows = self._rows(users, self._user_rows, "users")
        item_rows = self._rows(items, self._item_rows, "items")
        scores = np.einsum("nd,nd->n", self._user_vecs[user_rows], self._item_vecs[item_rows])
        return [self._link.prediction(float(score)) for score in scores]

    @cached_property
    def _excluded(self) -> tuple[Ints, Ints]:
        """What is none to recommend to each user, as a CSR matrix's indptr and indices."""
        return with_pairs(self._indptr, self._seen, self._rated_low)

    def _checked(self, k: int, most: int) -> int:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= most:
            raise DataError(
                f"k: {k!r} should be a whole number from 1 to {most:,}, as there are so many items to choose from"
            )
        return int(k)

    def _trained_row(self, user: Id) -> int:
        row = self._user_rows.get(user, -1)
        return row if row >= 0 and self._indptr[row + 1] > self._indptr[row] else -1

    def _popular(self, k: int) -> list[Recommendation]:
        counts = np.bincount(self._seen, minlength=len(self.items))
        best = np.argsort(-counts, kind="stable")[:k]
        return self._recommendations(best, counts[best])

    def _recommendations(self, items: NDArray[np.int64], scores: NDArray[Any]) -> list[Recommendation]:
        pairs = zip(items.tolist(), scores.tolist(), strict=True)
        return [Recommendation(self.items[item], float(score)) for item, score in pairs if item >= 0]

    def _rows(self, ids: Sequence[Id], known: Mapping[Id, int], what: str) -> NDArray[np.int64]:
        strange = [each for each in ids if each not in known]
        if strange:
            rows = f" (row {next(row for row, each in enumerate(ids, 1) if each not in known)})" if len(ids) > 1 else ""
            raise DataError(
                f"{_few(list(dict.fromkeys(strange)))}{rows}: not among the {len(known):,} {what} that the model was trained "
                f"with{_hint(strange[0], list(known))}; nothing is known of them: take such rows out"
            )
        return np.array([known[each] for each in ids], dtype=np.int64)


def _misfit(arrays: Mapping[str, NDArray[Any]], n_users: int, n_items: int) -> str | None:
    """Return the array that does not fit the numbers of users and items, or None."""
    users, items, indptr, seen, low = (arrays[name] for name in _ARRAYS)
    if items.ndim != 2 or len(items) != n_items:
        return "item_vecs"
    if users.shape != (n_users, items.shape[1]):
        return "user_vecs"
    if indptr.shape != (n_users + 1,) or indptr[0] != 0 or np.any(np.diff(indptr) < 0):
        return "seen_indptr"
    fits = seen.shape == (indptr[-1],) and seen.min(initial=0) >= 0 and seen.max(initial=-1) < n_items
    if not fits:
        return "seen_items"
    pairs = low.ndim == 2 and len(low) == 2 and low.min(initial=0) >= 0
    fits = pairs and low[0].max(initial=-1) < n_users and low[1].max(initial=-1) < n_items
    return None if fits else "rated_low"


def _as_text(ids: list[Id], known: Sequence[Id]) -> list[Id]:
    """Return ids as text where the known ones are."""
    return [str(each) for each in ids] if known and isinstance(known[0], str) else ids


def _listed(ids: Id | Sequence[Id]) -> list[Id]:
    if isinstance(ids, bool | float) or not isinstance(ids, int | str | np.integer | Iterable):
        raise DataError(f"ids should be ids or a list of them, got {ids!r}")
    listed = [ids] if isinstance(ids, int | str | np.integer) else list(ids)
    return [int(each) if isinstance(each, np.integer) else each for each in listed]


def _few(ids: Sequence[Id]) -> str:
    listed = ", ".join(repr(each) for each in ids[:FEW])
    return listed + (f" and {len(ids) - FEW} more" if len(ids) > FEW else "")


def _hint(strange: Id, known: Sequence[Id]) -> str:
    """Say that ids are of another type, where that is what is wrong."""
    if known and isinstance(strange, str) != isinstance(known[0], str):
        return f" (ids are {'text' if isinstance(known[0], str) else 'whole numbers'} here, such as {known[0]!r})"
    return ""
