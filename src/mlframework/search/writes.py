"""What is to be written of a trial, and how it is written: to a database in one transaction, elsewhere one by one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy import Insert, Table

Row = dict[str, Any]


@dataclass
class Writes:
    """What is to be written of a trial; of what is written twice, the last.

    Attributes:
        params: internal value and distribution by name.
        system_attrs: Optuna's attributes.
        user_attrs: our own ones.
        values: reported values by step.
    """

    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def followed_by(self, later: Writes) -> Writes:
        """Return these writes and later ones."""
        return Writes(*({**getattr(self, each.name), **getattr(later, each.name)} for each in fields(self)))


@dataclass(frozen=True)
class End:
    """How a trial ends.

    Attributes:
        state: complete, pruned or failed.
        values: of its objectives.
        at: when.
    """

    state: TrialState
    values: Sequence[float] | None
    at: datetime = field(default_factory=datetime.now)


def write_one_by_one(storage: BaseStorage, trial_id: int, writes: Writes, end: End | None) -> None:
    """Write by the calls that every storage has: the end comes last.

    Raises:
        UpdateFinishedTrialError: the trial is over.
    """
    for name, (value, distribution) in writes.params.items():
        storage.set_trial_param(trial_id, name, value, distribution)
    for key, value in writes.system_attrs.items():
        storage.set_trial_system_attr(trial_id, key, value)
    for key, value in writes.user_attrs.items():
        storage.set_trial_user_attr(trial_id, key, value)
    for step, value in writes.values.items():
        storage.set_trial_intermediate_value(trial_id, step, value)
    if end is not None:
        storage.set_trial_state_values(trial_id, end.state, end.values)


def writes_at_once(storage: RDBStorage) -> bool:
    """Whether `write_at_once` knows the database."""
    return storage.engine.dialect.name in ("sqlite", "postgresql")


def write_at_once(storage: RDBStorage, trial_id: int, writes: Writes, end: End | None) -> None:
    """Write in one transaction: all of it is there afterwards, or nothing.

    Its first statement finds the trial running, and keeps all others from ending it until the transaction is over.

    Raises:
        UpdateFinishedTrialError: the trial is over.
    """
    from optuna.storages._rdb.models import TrialModel
    from optuna.storages._rdb.storage import _create_scoped_session
    from optuna.trial import TrialState

    trials: Table = TrialModel.__table__
    changes: Row = {"state": TrialState.RUNNING}
    if end is not None:
        changes = {"state": end.state, "datetime_complete": end.at.astimezone(UTC).replace(tzinfo=None)}
    running = (trials.c.trial_id == trial_id, trials.c.state == TrialState.RUNNING)
    with _create_scoped_session(storage.scoped_session) as session:
        found: Any = session.execute(trials.update().where(*running).values(changes))
        if found.rowcount != 1:
            present: Any = TrialModel.find_or_raise_by_id(trial_id, session)
            storage.check_trial_is_updatable(trial_id, present.state)
        for statement, rows in _statements(storage.engine.dialect.name, trial_id, writes, end):
            session.execute(statement, rows)


def _statements(dialect: str, trial_id: int, writes: Writes, end: End | None) -> Iterator[tuple[Insert, list[Row]]]:
    """Yield what fills the tables, and with which rows."""
    from optuna.distributions import distribution_to_json
    from optuna.storages._rdb import models

    values, reports = models.TrialValueModel, models.TrialIntermediateValueModel
    rows: list[tuple[Any, str, list[Row]]] = [
        (models.TrialParamModel, "param_name", [
            {"param_name": name, "param_value": value, "distribution_json": distribution_to_json(distribution)}
            for name, (value, distribution) in writes.params.items()
        ]),
        (models.TrialSystemAttributeModel, "key", _attributes(writes.system_attrs)),
        (models.TrialUserAttributeModel, "key", _attributes(writes.user_attrs)),
        (reports, "step", [
            {"step": step, "intermediate_value": stored, "intermediate_value_type": kind}
            for step, value in writes.values.items()
            for stored, kind in [reports.intermediate_value_to_stored_repr(value)]
        ]),
        (values, "objective", [
            {"objective": objective, "value": stored, "value_type": kind}
            for objective, value in enumerate((end.values if end is not None else None) or ())
            for stored, kind in [values.value_to_stored_repr(value)]
        ]),
    ]  # fmt: skip
    for model, key, new in rows:
        if new:
            yield _upsert(dialect, model, key), [{"trial_id": trial_id, **row} for row in new]


def _attributes(attributes: dict[str, Any]) -> list[Row]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


@lru_cache
def _upsert(dialect: str, model: Any, key: str) -> Insert:
    """Return what writes rows of a table, each in the place of the one that has its trial and key already."""
    from sqlalchemy.dialects import postgresql, sqlite

    table: Table = model.__table__
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    own = [each.name for each in table.columns if each.name not in ("trial_id", key) and not each.primary_key]
    replaced: Insert = statement.on_conflict_do_update(
        index_elements=["trial_id", key], set_={name: statement.excluded[name] for name in own}
    )
    return replaced


def copied(trial: FrozenTrial, **changes: Any) -> FrozenTrial:
    """Return a trial with other attributes, which shares nothing that may change with the first."""
    own = {
        name: dict(getattr(trial, name)) for name in ("params", "distributions", "user_attrs", "intermediate_values")
    }
    made = copy.copy(trial)
    for name, value in {**own, "system_attrs": dict(trial._system_attrs), **changes}.items():
        setattr(made, name, value)
    return made


def as_read(value: Any) -> Any:
    """Return a value as it is read from a storage: a tuple as a list."""
    return json.loads(json.dumps(value))
