"""What a recommender recommends to users, beside what they had in training and what was held out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlframework.data import InteractionExamples, read_frame
from mlframework.data.interaction_file import read_raw
from mlframework.data.table_columns import texts
from mlframework.data.table_file import known_suffix
from mlframework.errors import DataError
from mlframework.registry import nearest, unknown
from mlframework.visualise.predictions.answers import drawn

Id = int | str
K = 10
TITLES = ("title", "name", "item_name", "item_title", "movie_title", "product_name")
"""Columns of a table of items that are taken for their name."""
_FEATURES = 3  # that stand for a name where there is none


class Scored(Protocol):
    """An item with its score."""

    @property
    def item(self) -> Id: ...

    @property
    def score(self) -> float: ...


class Recommends(Protocol):
    """A predictor that recommends items to the users that it knows."""

    users: tuple[Id, ...]
    items: tuple[Id, ...]

    def recommend(self, user_ids: Sequence[Id], k: int) -> Sequence[Sequence[Scored]]:
        """Return the best `k` items for each user."""


@dataclass(frozen=True)
class Recommended:
    """One item of a list.

    Attributes:
        item: its id.
        score: the model's score.
        held_out: whether the user has it in the validation split; None where that was not looked up.
    """

    item: Id
    score: float
    held_out: bool | None


@dataclass(frozen=True)
class ForUser:
    """What one user is recommended.

    Attributes:
        user: the id.
        items: the best first.
        history: what the user had in training, the largest weight first.
        held_out: how many items the user has in the validation split.
    """

    user: Id
    items: tuple[Recommended, ...]
    history: tuple[Id, ...]
    held_out: int


@dataclass(frozen=True)
class Recommendations:
    """What several users are recommended.

    Attributes:
        source: where the users are from, in words.
        users: at least one.
        names: of items, by id as text; empty where there are none.
    """

    source: str
    users: tuple[ForUser, ...]
    names: Mapping[str, str]

    def name(self, item: Id) -> str:
        """Return what an item is called: its name where it has one."""
        return self.names.get(str(item), "")


def recommend(
    model: Recommends, users: Sequence[Id], k: int, source: str, names: Mapping[str, str],
    train: InteractionExamples | None, val: InteractionExamples | None,
) -> Recommendations:  # fmt: skip
    """Recommend items to users.

    Args:
        model: the trained one.
        users: ids as the data has them.
        k: how many items.
        source: where the users are from, in words.
        names: of items, by id as text.
        train: what the model has learnt from; None: no history is shown.
        val: what was held out; None: nothing is marked.

    Raises:
        DataError: a user had nothing in training, or there are no `k` items.
    """
    found = []
    histories, held = _by_user(train, users), _by_user(val, users)
    for user, items in zip(users, model.recommend(users, k), strict=True):
        own = set(held.get(user, ()))
        marked = [Recommended(each.item, each.score, None if val is None else each.item in own) for each in items]
        found.append(ForUser(user, tuple(marked), tuple(histories.get(user, ())), len(own)))
    return Recommendations(source, tuple(found), names)


def _by_user(examples: InteractionExamples | None, users: Sequence[Id]) -> dict[Id, list[Id]]:
    if examples is None:
        return {}
    catalogue, wanted = examples.catalogue, set(users)
    codes = {code: user for code, user in enumerate(catalogue.users) if user in wanted}
    rows = np.flatnonzero(np.isin(examples.users, list(codes)))
    rows = rows[np.argsort(-examples.values[rows], kind="stable")]
    found: dict[Id, list[Id]] = {}
    for row in rows:
        found.setdefault(codes[int(examples.users[row])], []).append(catalogue.items[int(examples.items[row])])
    return found


def some_users(val: InteractionExamples, train: InteractionExamples, number: int) -> list[Id]:
    """Draw users of the validation split, of those with something in train."""
    codes = np.intersect1d(np.unique(val.users), np.unique(train.users))
    return [val.catalogue.users[int(codes[at])] for at in drawn(len(codes), number)]


def known_users(model: Recommends, given: Sequence[str]) -> list[Id]:
    """Return ids from the command line as the data has them: whole numbers where those are.

    Raises:
        DataError: some are unknown.
    """
    numbers = bool(model.users) and isinstance(model.users[0], int)
    ids: list[Id] = [int(each) if numbers and each.strip().lstrip("-").isdecimal() else each for each in given]
    known = set(model.users)
    strange = [str(each) for each in ids if each not in known]
    if strange:
        near = nearest(strange[0], map(str, model.users))
        guess = f"did you mean {near!r}?" if near else f"ids are such as {str(model.users[0])!r}"
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        raise DataError(
            f"users {', '.join(strange[:5])}{more}: not among the {len(known):,} users that the model was trained with; {guess}"
        )
    return list(dict.fromkeys(ids))


def users_of(paths: Sequence[str], user_column: str) -> list[str]:
    """Read users from files: a table with their column, or a text file with an id a line.

    Raises:
        DataError: a file is missing, or has no such column, or nobody in it.
    """
    found: list[str] = []
    for path in map(Path, paths):
        if known_suffix(path) is not None:
            frame = read_frame(path, "--input")
            if user_column not in frame.columns:
                raise DataError(
                    f"{path}: {unknown(user_column, frame.columns, 'column')}; it should hold the users' ids"
                )
            found += texts(frame[user_column]).drop_nulls().to_list()
            continue
        try:
            found += [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise DataError(
                f"{path}: cannot be read: {reason}; give a text file with a user's id a line, or a table"
            ) from None
    if not found:
        raise DataError(f"{', '.join(paths)}: there is no user in it")
    return found


def item_names(path: str, setting: str, item_column: str) -> dict[str, str]:
    """Return what items are called, by id as text: their title where the table has one, else their first columns.

    Args:
        path: of the table of items.
        setting: what named it, for messages.
        item_column: its column of ids.

    Raises:
        DataError: the table cannot be read, or has no ids.
    """
    frame = read_raw(path, setting).frame
    if item_column not in frame.columns:
        raise DataError(f"{path}: {unknown(item_column, frame.columns, 'column')}; it should hold the items' ids")
    others = [name for name in frame.columns if name != item_column]
    titles = [name for name in others if name.lower() in TITLES]
    chosen = titles[:1] or others[:_FEATURES]
    rows: list[tuple[Any, ...]] = frame.select(item_column, *chosen).rows()
    keys = texts(frame[item_column]).to_list()
    return {
        str(key): ", ".join(str(cell) for cell in row[1:] if cell is not None)
        for key, row in zip(keys, rows, strict=True)
    }
