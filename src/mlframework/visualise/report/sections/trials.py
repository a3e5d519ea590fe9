"""The table of all trials, as the page's script sorts and filters it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlframework.search.results import TrialRecord
from mlframework.visualise.page import Absent
from mlframework.visualise.report.source import Source
from mlframework.visualise.study_view import short_names

_LONGEST = 300  # characters of a reason; results.json has it whole


@dataclass(frozen=True)
class Column:
    """One column: its key, what stands above it, and whether it holds numbers."""

    key: str
    label: str
    is_number: bool


@dataclass(frozen=True)
class TrialsData:
    """What the section shows: the columns, a row a trial in their order, and the number of the best trial."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    best: int | None

    @property
    def table(self) -> dict[str, Any]:
        """What the page's script wants."""
        columns = [{"key": each.key, "label": each.label, "number": each.is_number} for each in self.columns]
        return {"columns": columns, "rows": self.rows, "best": self.best}


def compute(source: Source) -> TrialsData:
    """Collect a row a trial: those that count, and those that were imported or drawn again.

    Raises:
        Absent: there are no trials.
    """
    records = source.view.records
    if not records:
        raise Absent("The study has no trials yet.")
    goal = source.view.goal
    keys = list(dict.fromkeys(key for record in records for key in record.params))
    labels = short_names(keys)
    plain: dict[str, list[Any]] = {
        "number": [record.number for record in records],
        "state": [record.state for record in records],
        **({} if goal.is_single else {name: [_of(record, name) for record in records] for name in goal.metrics}),
        "value": [_number(record.value) for record in records],
        "std": [_number(record.std) for record in records],
    }
    names = {
        "value": goal.main if goal.is_single else f"{goal.main}, at the best epoch",
        "number": "trial",
        "std": "± std",
    }
    if not goal.is_single:
        del plain["value"]
    params = {key: [_param(record, key) for record in records] for key in keys}
    rest: dict[str, list[Any]] = {
        "epochs": [record.epochs for record in records],
        "best_epoch": [record.best_epoch for record in records],
        "seconds": [_number(record.seconds) for record in records],
        "seed": [record.seed for record in records],
        "same_as": [record.same_as for record in records],
        "fault": [record.fault for record in records],
        "reason": [_reason(record) for record in records],
    }
    names |= {"best_epoch": "best epoch", "same_as": "same as"}
    found = {**plain, **params, **rest}
    shown = {key: values for key, values in found.items() if any(value is not None for value in values)}
    columns = [Column(key, names.get(key, labels.get(key, key)), _is_number(values)) for key, values in shown.items()]
    chosen = source.chosen.number if source.chosen is not None else None
    return TrialsData(columns, list(map(list, zip(*shown.values(), strict=True))), chosen)


def _of(record: TrialRecord, metric: str) -> float | None:
    return _number(record.values.get(metric))


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _param(record: TrialRecord, key: str) -> Any:
    value = record.params.get(key)
    if isinstance(value, float):
        return _number(value)
    return value if value is None or (isinstance(value, int) and not isinstance(value, bool)) else _text(value)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reason(record: TrialRecord) -> str | None:
    if record.reason is None or len(record.reason) <= _LONGEST:
        return record.reason
    return f"{record.reason[:_LONGEST]}…"


def _is_number(values: Sequence[Any]) -> bool:
    return all(value is None or isinstance(value, int | float) for value in values)
