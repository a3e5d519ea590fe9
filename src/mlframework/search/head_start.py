"""What a study is given before its own trials: those of other histories, and settings that are tried first.

Both are noted in the study, so that a resumed search neither imports a history twice nor forgets what was to be tried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from mlframework.config.secrets import masked
from mlframework.errors import StudyError
from mlframework.search.duplicates import IMPORTED
from mlframework.search.feasibility import is_feasible
from mlframework.search.parameters import Scalar
from mlframework.search.samplers import trial_seed
from mlframework.search.space import Space
from mlframework.search.warm_start import History, Imported, Row, judge, read_rows

if TYPE_CHECKING:
    from optuna import Study

HISTORIES = "mlframework:histories"
ENQUEUED = "mlframework:enqueued"
_SHOWN = 10
Point = Mapping[str, Scalar]


@dataclass(frozen=True)
class HeadStart:
    """What a study begins with.

    Attributes:
        histories: what was imported, by a name of the history.
        points: settings that are tried first; what they leave out the sampler fills in.
    """

    histories: Mapping[str, Imported]
    points: Sequence[Point] = ()

    @property
    def n_known(self) -> int:
        """How many trials of other studies teach the sampler."""
        return sum(len(imported.accepted) for imported in self.histories.values())


def seed_beside(seed: int, histories: Sequence[str]) -> int:
    """Return what seeds the suggestions of a study that knows histories, given by name.

    With the config's seed, which most often is that of the history as well, its first draws would be the history's again.
    """
    known = "\n".join(histories)
    return trial_seed(seed, crc32(known.encode())) if known else seed


def read_head_start(
    histories: Sequence[History], points: Sequence[Point], space: Space, metric: str, known: Sequence[str]
) -> HeadStart:
    """Read the histories that the study does not have yet, and judge their rows.

    Args:
        histories: as configured.
        points: of the space, judged already.
        space: what is searched.
        metric: what is searched for.
        known: names of the histories that the study has.

    Raises:
        StudyError: a history cannot be read, or no row of it can be used.
    """
    found: dict[str, Imported] = {}
    for history in histories:
        # It goes into the study's storage, and is of another one: that one's password has no business there.
        name = json.dumps(
            {key: masked(text) for key, text in history.model_dump(exclude_none=True).items()}, sort_keys=True
        )
        if name in known:
            continue
        try:
            rows = read_rows(history, metric)
        except StudyError as error:
            raise StudyError(f"search.warm_start: {error}") from None
        imported = _feasible(judge(rows, space), space)
        if not imported.accepted:
            listed = "".join(f"\n  {line}" for line in rejections(imported)) or ": it is empty"
            raise StudyError(f"search.warm_start: {history.title}: no row can be used{listed}")
        found[name] = imported
    return HeadStart(found, points)


def _feasible(imported: Imported, space: Space) -> Imported:
    """Reject the rows that break a constraint as well."""
    broken = [row for row in imported.accepted if not is_feasible(space, row.params)]
    kept = [row for row in imported.accepted if row not in broken]
    return Imported(kept, [*imported.rejected, *((row, "it breaks a constraint") for row in broken)])


def rejections(imported: Imported) -> list[str]:
    """Return a line for each rejected row, with the reason; the first few, and how many there are besides."""
    lines = [f"{row.source}: rejected: {reason}" for row, reason in imported.rejected[:_SHOWN]]
    more = len(imported.rejected) - len(lines)
    return [*lines, f"and {more} more"] if more > 0 else lines


def give(study: Study, start: HeadStart, space: Space, next_place: int) -> list[str]:
    """Put the head start into a study; returns what to tell the user.

    Args:
        study: Optuna's.
        start: what to put in.
        space: what is searched.
        next_place: the first place of the study that nobody has claimed.
    """
    news: list[str] = []
    known = list(study.user_attrs.get(HISTORIES, []))
    for name, imported in start.histories.items():
        for row in imported.accepted:
            add_row(study, row, space)
        known.append(name)
        study.set_user_attr(HISTORIES, known)
        rows = len(imported.accepted) + len(imported.rejected)
        title = History(**json.loads(name)).title
        news += [f"{title}: {len(imported.accepted)} of {rows} rows imported", *rejections(imported)]
    return news + _enqueue(study, start.points, next_place)


def add_row(study: Study, row: Row, space: Space) -> None:
    """Give a study a trial that was trained elsewhere."""
    from optuna.trial import create_trial

    study.add_trial(
        create_trial(
            params=dict(row.params),
            distributions={key: space.parameters[key].distribution() for key in row.params},
            value=row.value,
            user_attrs={IMPORTED: row.source},
            constraints=space.violations(row.params) or None,
        )
    )


def _enqueue(study: Study, points: Sequence[Point], next_place: int) -> list[str]:
    """Give each point that was not enqueued before a place of its own."""
    places: dict[str, Any] = dict(study.user_attrs.get(ENQUEUED, {}))
    new = [dict(point) for point in points if dict(point) not in places.values()]
    first = max(next_place, *(int(place) + 1 for place in places)) if places else next_place
    for number, point in enumerate(new):
        places[str(first + number)] = point
    if not new:
        return []
    study.set_user_attr(ENQUEUED, places)
    shown = "; ".join(", ".join(f"{key}={value}" for key, value in point.items()) for point in new[:_SHOWN])
    return [f"tried first: {shown}" if not first else f"tried next: {shown}"]


def enqueued(study: Study, place: int) -> dict[str, Any] | None:
    """Return what is to be tried at a place, or None where the sampler decides."""
    found: dict[str, Any] | None = study.user_attrs.get(ENQUEUED, {}).get(str(place))
    return found


def imported_histories(attributes: Mapping[str, Any]) -> list[str]:
    """Return the names of the histories that a study has, from its attributes."""
    return list(attributes.get(HISTORIES, []))
