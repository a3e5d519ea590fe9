"""Telling an interaction log from other files, and looking at it: what `ml-init-config` writes a recommender's config from.

What is refused here is what training would refuse: a config written from these facts runs as it is.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlframework.data.inspect import SPLITS, TARGET_NAMES
from mlframework.data.interaction_file import BY_POSITION, RawTable, finite, ids, moments, read_raw
from mlframework.data.interaction_filters import merge, with_enough
from mlframework.data.splits import Array, Rows
from mlframework.data.table_file import SEPARATORS, known_suffix, open_file, reading, text_errors
from mlframework.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MAX_OTHERS = 3
"""Columns besides user, item, rating and time that a log may have; a file of more is a table that has ids."""
MIN_OF_USER = SPLITS
"""Interactions that a user needs: one each for train, val and test."""
_LOG_NAME = re.compile(r"\.(data|inter|dat|txt)(\.gz)?$", re.IGNORECASE)
_LONGEST_HEADER = 100_000


def _ids_of(things: Sequence[str], codes: Sequence[str] = ()) -> tuple[str, ...]:
    """Return names of columns that hold ids, the most telling first: `itemid` and `sku` before `item` and `itemname`."""
    return (*(f"{thing}id" for thing in things), *codes, *things, *(f"{thing}name" for thing in things))


_PERSONS = (
    "user", "customer", "client", "member", "reviewer", "visitor", "account", "buyer", "shopper", "subscriber", "profile",
    "listener", "viewer", "reader",
)  # fmt: skip
_THINGS = (
    "item", "movie", "film", "product", "article", "book", "song", "track", "artist", "album", "business", "video", "game",
    "recipe", "restaurant", "anime", "show", "content", "listing", "hotel", "course", "news",
)  # fmt: skip
_USERS = (*_ids_of(_PERSONS, ("uid",)), *_ids_of(("session", "basket")))
_ITEMS = _ids_of(_THINGS, ("iid", "sku", "asin", "parentasin", "isbn"))
_RATINGS = ("rating", "ratings", "score", "stars", "star", "rate", "preference", "overall", "starrating", "userrating",
            *(f"{thing}rating" for thing in _THINGS))  # fmt: skip
_TIMES = ("timestamp", "datetime", "time", "unixreviewtime", "ts", "date", "reviewtime", "reviewdate", "createdat",
          "eventtime", "eventdate", "orderdate", "purchasedate")  # fmt: skip


@dataclass(frozen=True)
class Roles:
    """The columns of a log, by what they hold."""

    user: str
    item: str
    rating: str | None
    time: str | None
    others: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """What is left of a log once repeated pairs are merged and users of fewer than `MIN_OF_USER` interactions are out."""

    n_interactions: int
    n_users: int
    n_items: int


@dataclass(frozen=True)
class Ratings:
    """The ratings of a log, at least two different ones."""

    lowest: float
    median: float
    """At least half of the ratings are as high or higher."""
    highest: float
    liked_from: float
    """What counts as liked: from the median on, or where there are only two different ratings the higher."""
    class_from: float | None
    """What is class 1 in a classification: from the median on, but never all; None where those kept are all the same."""


@dataclass(frozen=True)
class InteractionFacts:
    """What a log of users and items holds."""

    path: Path
    user_column: str
    item_column: str
    rating_column: str | None
    """Its column of ratings; None where there is none that says anything."""
    time_column: str | None
    reason: str
    """Why the file is taken for a log."""
    n_interactions: int
    """Rows of the file."""
    n_users: int
    n_items: int
    n_pairs: int
    """Different pairs of a user and an item."""
    ratings: Ratings | None
    liked: Kept
    """What a ranking learns from: rows of a rating below `ratings.liked_from` are left out, too."""
    rated: Kept
    """What a prediction of ratings learns from."""
    a_user: int | str
    """Id of a user that is kept."""
    unused: dict[str, str]
    """Columns that are not used, and why."""

    @property
    def density(self) -> float:
        """Share of all pairs of a user and an item that the log has."""
        return self.n_pairs / (self.n_users * self.n_items)


def inspect_interactions(path: Path) -> InteractionFacts | None:
    """Look at a file: the facts of an interaction log, or None where it is none.

    A log has a column of users and a column of items, by their names or, in a file of three or four columns of numbers
    without a header, by their places; hardly any column besides rating and time; and no target.

    Raises:
        DataError: it is a log that cannot be read or trained with.
    """
    suffix = known_suffix(path)
    if suffix is None and not _LOG_NAME.search(path.name):
        return None
    if suffix in SEPARATORS and not _begins_like_a_log(_first_fields(path, SEPARATORS[suffix]), suffix):
        return None
    raw = read_raw(path, "data.path", BY_POSITION)
    roles = _roles_by_position(raw) if raw.headerless else _roles_by_name(raw.frame.columns)
    if roles is None or (roles.others and raw.frame[roles.user].n_unique() == raw.frame.height):
        return None  # with a row for each user, and more about them, it is a table of users
    try:
        return _facts(raw, roles)
    except DataError as error:
        if suffix is None:
            raise
        taken = f"taken for interactions, as it {_reason(raw, roles)}; --target COLUMN makes it a table"
        raise DataError(f"{error} ({taken})") from None


def _first_fields(path: Path, separator: str) -> list[str]:
    with reading(path, "data.path"), text_errors(path), open_file(path, "rt", encoding="utf-8-sig") as file:
        return next(csv.reader([file.readline(_LONGEST_HEADER)], delimiter=separator), [])


def _begins_like_a_log(fields: list[str], suffix: str) -> bool:
    if _roles_by_name(fields) is not None:
        return True
    return suffix == ".tsv" and 3 <= len(fields) <= len(BY_POSITION) and all(map(_is_number, fields))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _roles_by_name(columns: Sequence[str]) -> Roles | None:
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(re.sub(r"[^a-z0-9]", "", column.partition(":")[0].lower()), column)

    def first(names: Sequence[str]) -> str | None:
        return next((by_name[name] for name in names if name in by_name), None)

    user, item, rating, time = map(first, (_USERS, _ITEMS, _RATINGS, _TIMES))
    others = tuple(column for column in columns if column not in (user, item, rating, time))
    if user is None or item is None or len(others) > MAX_OTHERS or first(TARGET_NAMES) is not None:
        return None
    return Roles(user, item, rating, time, others)


def _roles_by_position(raw: RawTable) -> Roles | None:
    """Return the columns of a file without a header, where the first two hold whole numbers, as ids do."""
    import polars as pl

    columns = raw.frame.columns
    for name in columns[:2]:
        values = raw.frame[name].cast(pl.Float64, strict=False)
        if not (values == values.round()).all():
            return None
    user, item, rating, time = (*columns, None, None)[:4]
    return Roles(str(user), str(item), rating, time, ())


def _reason(raw: RawTable, roles: Roles) -> str:
    if raw.headerless:
        return f"has no header, and {len(raw.frame.columns)} columns of numbers, as a log of users and items has"
    return f"has a user column ({roles.user}) and an item column ({roles.item})"


def _facts(raw: RawTable, roles: Roles) -> InteractionFacts:
    user_ids, item_ids = ids(raw, roles.user), ids(raw, roles.item)
    unused = dict.fromkeys(roles.others, "neither user, item, rating nor time; features stand in files of their own")
    time = _time(raw, roles, unused)
    values = _rating_values(raw, roles, unused)
    users, items = _codes(user_ids), _codes(item_ids)
    rated, n_pairs = _kept(users, items, time, np.arange(len(users)))
    ratings = None if values is None else _ratings(values, values[rated])
    liked_from = -np.inf if ratings is None else ratings.liked_from
    is_liked = np.ones(len(users), dtype=bool) if values is None else values >= liked_from
    liked, _ = _kept(users, items, time, np.flatnonzero(is_liked))
    _check_enough(
        raw, users[liked], f"a {roles.rating} of {liked_from:g} or more for" if ratings else "interactions with"
    )
    return InteractionFacts(
        path=raw.path,
        user_column=roles.user,
        item_column=roles.item,
        rating_column=None if values is None else roles.rating,
        time_column=None if time is None else roles.time,
        reason=_reason(raw, roles),
        n_interactions=len(users),
        n_users=user_ids.n_unique(),
        n_items=item_ids.n_unique(),
        n_pairs=n_pairs,
        ratings=ratings,
        liked=_counted(users, items, liked),
        rated=_counted(users, items, rated),
        a_user=user_ids[int(liked[0])],
        unused=unused,
    )


def _time(raw: RawTable, roles: Roles, unused: dict[str, str]) -> Array | None:
    """Return the times, or None: a log can do without, so a column that only looks like times by its name is not used."""
    if roles.time is None:
        return None
    try:
        return moments(raw, roles.time)
    except DataError as error:
        unused[roles.time] = f"no times: {error}"
        return None


def _rating_values(raw: RawTable, roles: Roles, unused: dict[str, str]) -> Array | None:
    if roles.rating is None:
        return None
    values = finite(raw, roles.rating)
    if values.min() == values.max():
        unused[roles.rating] = f"always {values[0]:g}"
        return None
    return values


def _codes(values: "pl.Series") -> Rows:
    return values.rank("dense").to_numpy().astype(np.int64) - 1


def _kept(users: Rows, items: Rows, time: Array | None, rows: Rows) -> tuple[Rows, int]:
    """Return which of these rows training keeps, and how many different pairs they have."""
    merged, _ = merge(users[rows], items[rows], None if time is None else time[rows])
    pairs = rows[merged]
    return pairs[with_enough(users[pairs], items[pairs], MIN_OF_USER, 1)], len(pairs)


def _ratings(values: Array, kept: Array) -> Ratings:
    median = float(np.percentile(values, 50, method="lower"))
    different, lowest, highest = np.unique(values), float(values.min()), float(values.max())
    above = np.unique(kept)[1:]
    from_median = above[above >= median]
    return Ratings(
        lowest=lowest,
        median=median,
        highest=highest,
        liked_from=highest if len(different) == 2 else median,
        class_from=float((from_median if len(from_median) else above[-1:])[0]) if len(above) else None,
    )


def _check_enough(raw: RawTable, users: Rows, liked: str) -> None:
    n_users = len(np.unique(users))
    if n_users < 2:
        raise DataError(
            f"{raw.path}: {'no user has' if n_users == 0 else 'only one user has'} {liked} {MIN_OF_USER} different items, "
            "but two users or more need that, one item each for train, val and test; add interactions"
        )


def _counted(users: Rows, items: Rows, rows: Rows) -> Kept:
    return Kept(len(rows), len(np.unique(users[rows])), len(np.unique(items[rows])))
