"""How the few trials that others work on are read from a database, again and again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy import BindParameter, Row, Select

_FEW = 100
"""Trials that are read here, since databases limit the values in a statement.

More are read where a study is opened, or hundreds work on it.
"""


def read_trials(storage: RDBStorage, study_id: int, ids: Collection[int], newest: int) -> Sequence[FrozenTrial]:
    """Return some trials of a study, and all that are newer than one: what `RDBStorage._get_trials` returns.

    That loads objects which follow what becomes of their rows, and takes six times as long; these are only read.

    Raises:
        KeyError: there is no such study any more.
    """
    which, parts = _statements()
    with storage.engine.connect() as connection:
        # The trials come first: of one that is over, all that it has was written with its end.
        rows = connection.execute(which, {"study_id": study_id, "ids": [*ids][:_FEW], "newest": newest}).all()
        if not rows and not ids:
            return ()
        found = {row.trial_id: _Trial(row) for row in rows}
        # Where all of those that were known are gone, Optuna says what became of the study.
        is_for_optuna = not rows or max(len(ids), len(rows)) > _FEW
        for name, statement in () if is_for_optuna else parts.items():
            for part in connection.execute(statement, {"ids": [*found]}):
                getattr(found[part.trial_id], name).append(part)
    if is_for_optuna:
        return storage._get_trials(study_id, None, {*ids}, newest)
    return [storage._build_frozen_trial_from_trial_model(trial) for trial in found.values()]  # type: ignore[arg-type]


class _Trial(SimpleNamespace):
    """What Optuna makes a trial of: its row, and those of all tables that have something of it."""

    def __init__(self, row: Row[Any]) -> None:
        super().__init__(
            trial_id=row.trial_id, number=row.number, state=row.state,
            datetime_start=_local(row.datetime_start), datetime_complete=_local(row.datetime_complete),
            params=[], values=[], user_attributes=[], system_attributes=[], intermediate_values=[],
        )  # fmt: skip


def _local(stored: datetime | None) -> datetime | None:
    return stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None) if stored is not None else None


@lru_cache(maxsize=1)
def _statements() -> tuple[Select[Any], dict[str, Select[Any]]]:
    """Return what reads the rows of trials, and what reads those of each table beside them."""
    from optuna.storages._rdb import models
    from sqlalchemy import Table, bindparam, or_, select

    trials: Table = models.TrialModel.__table__
    ids: BindParameter[Any] = bindparam("ids", expanding=True)
    either = or_(trials.c.trial_id.in_(ids), trials.c.trial_id > bindparam("newest"))
    which = (
        select(trials)
        .where(trials.c.study_id == bindparam("study_id"), either)
        .order_by(trials.c.trial_id)
        .limit(_FEW + 1)
    )
    tables: dict[str, Any] = {
        "params": models.TrialParamModel, "values": models.TrialValueModel,
        "user_attributes": models.TrialUserAttributeModel, "system_attributes": models.TrialSystemAttributeModel,
        "intermediate_values": models.TrialIntermediateValueModel,
    }  # fmt: skip
    return which, {
        name: select(model.__table__).where(model.__table__.c.trial_id.in_(ids)) for name, model in tables.items()
    }
