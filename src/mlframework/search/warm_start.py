"""What a study may know before its first trial: the history of others, row by row accepted or rejected with its reason."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from mlframework.config.base import Config
from mlframework.config.override import get
from mlframework.config.schema import leaves
from mlframework.config.yaml import parse_scalar
from mlframework.errors import StudyError
from mlframework.experiment import ExperimentConfig
from mlframework.metrics import RESOURCES, direction_of
from mlframework.registry import nearest
from mlframework.search.faults import FAULT
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Scalar
from mlframework.search.space import Space, active

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ABOUT_TRIALS = ("number", "state", "std", "best_epoch", "epochs", "seconds", "reason", "fault", "audited_at")
"""Columns of our trials.csv that are neither parameters nor the value."""
VALUES = ("value", "score", "performance")
"""What the column of the values may be called, besides by the metric's name."""


class History(Config):
    """Trials that were trained elsewhere: a file, or another study."""

    path: str | None = None
    """A csv file: a column a parameter, by dotted key or its last part, and one of the values: `value`, or the metric's name.
    A study's trials.csv is one."""
    study: str | None = None
    """Name of another study."""
    storage: str | None = None
    """The other study's storage; null: the one that its folder records."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> History:
        if (self.path is None) == (self.study is None):
            raise ValueError("name either a path or a study")
        if self.storage is not None and self.study is None:
            raise ValueError("storage: is of a study; name the study, too, or leave it out")
        return self

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return self.path if self.path is not None else f"study {self.study}"


@dataclass(frozen=True)
class Row:
    """A trial of another history, as it was written.

    Attributes:
        source: where it stands: `history.csv:3`, or `study digits trial 7`.
        params: key to value.
        value: the metric, or what stood in its place.
        state: how the trial ended, `complete` where that is not said.
        malformed: why it cannot be read as a row, where it cannot.
    """

    source: str
    params: Mapping[str, Any]
    value: Any
    state: str = "complete"
    malformed: str | None = None


@dataclass(frozen=True)
class Imported:
    """What became of the rows: those that teach the sampler, and those that do not, each with its reason."""

    accepted: Sequence[Row]
    rejected: Sequence[tuple[Row, str]]


def read_rows(history: History, metric: str) -> list[Row]:
    """Return the rows of a history as they are written.

    Raises:
        StudyError: there is no such file or study, or the file has no column of values.
        StorageError: the other study's storage does not answer.
    """
    if history.path is not None:
        return list(_of_file(Path(history.path), metric))
    assert history.study is not None
    return _of_study(history.study, history.storage, metric)


def judge(rows: Sequence[Row], space: Space) -> Imported:
    """Accept each row that is a point of the space with a number for a value, its parameters by dotted key."""
    accepted: list[Row] = []
    rejected: list[tuple[Row, str]] = []
    for row in rows:
        params, reason = ({}, row.malformed) if row.malformed is not None else point(row.params, space)
        if reason is None and row.state != "complete":
            reason = f"the trial did not come to its end, it is {row.state}"
        if reason is None:
            reason = _no_number(row.value)
        if reason is None:
            accepted.append(Row(row.source, params, float(row.value)))
        else:
            rejected.append((row, reason))
    return Imported(accepted, rejected)


def point(params: Mapping[str, Any], space: Space, partial: bool = False) -> tuple[dict[str, Scalar], str | None]:
    """Return parameters as a point of the space, by dotted key, or the reason why they are none.

    Args:
        params: by dotted key or its last part; settings that are not searched may stand among them with the value that they
            have in such a trial, written out or by default.
        space: what is searched.
        partial: whether parameters may be missing, for the sampler to fill in.
    """
    found: dict[str, Scalar] = {}
    others: dict[str, Any] = {}
    for name, raw in params.items():
        keys = _named(name, space.parameters)
        if not keys:
            others[name] = raw
        elif len(keys) > 1:
            return {}, f"{name} may be {' or '.join(keys)}"
        elif raw is not None or _takes(space.parameters[keys[0]], raw):
            value = _as(space.parameters[keys[0]], raw)
            if not _takes(space.parameters[keys[0]], value):
                return {}, f"{keys[0]} is {raw!r}, outside the space: {space.parameters[keys[0]].describe()}"
            found[keys[0]] = value
    if (reason := _unlike(others, found, space)) is not None:
        return {}, reason
    if partial:
        return found, _alone(found, space)
    missing = [key for key in _existing(space, found) if key not in found]
    if missing:
        return {}, f"it has no value of {', '.join(missing)}"
    return active(space.parameters, found), None


_ABSENT = object()


def _named(name: str, keys: Iterable[str]) -> list[str]:
    return [key for key in keys if name in (key, key.split(".")[-1])]


def _unlike(others: Mapping[str, Any], found: Mapping[str, Scalar], space: Space) -> str | None:
    """Say which of the settings that are not searched is unknown, or is another one in the trial of these parameters."""
    settings = _settings(found, space) if others else {}
    for name, raw in others.items():
        keys = [name] if name in settings else _named(name, settings)
        if len(keys) > 1:
            return f"{name} may be {' or '.join(keys)}"
        key = keys[0] if keys else name
        fixed = settings.get(key, get(space.base, key, _ABSENT))
        if fixed is _ABSENT:
            near = nearest(name, [*space.parameters, *(key.split(".")[-1] for key in space.parameters)])
            return f"{name} is not in the search space" + (f"; did you mean {near}?" if near else "")
        if fixed != raw:
            return f"{key} is {raw!r} there and fixed at {fixed!r} here"
    return None


def _settings(found: Mapping[str, Scalar], space: Space) -> dict[str, Any]:
    """Return the settings of a trial, defaults included: a searched choice brings its own."""
    if not space.base:  # the names of a Python function's parameters are no settings
        return {}
    tree = space.tree(found)
    return {leaf.key: get(tree, leaf.key, leaf.default) for leaf in leaves(ExperimentConfig, tree)}


def _alone(found: Mapping[str, Scalar], space: Space) -> str | None:
    """Say which of the values is of a parameter that does not exist beside the others."""
    for key in found:
        for name, wanted in space.parameters[key].when.items():
            allowed = wanted if isinstance(wanted, list) else [wanted]
            if name in found and found[name] not in allowed:
                return f"{key} exists only with {name}: {' or '.join(map(str, allowed))}"
    return None


def _existing(space: Space, found: Mapping[str, Scalar]) -> Iterator[str]:
    """Yield the parameters that exist beside the values of those that they depend on."""
    for key, parameter in space.parameters.items():
        wanted = {k: v if isinstance(v, list) else [v] for k, v in parameter.when.items()}
        if all(k in found and found[k] in values for k, values in wanted.items()):
            yield key


def _as(parameter: Parameter, raw: Any) -> Any:
    """Return a number as the parameter has it: 64.0 in a file of numbers is the whole number 64."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return raw
    if isinstance(parameter, Categorical):
        numbers = [choice for choice in parameter.choices if not isinstance(choice, bool | str | None)]
        return next((choice for choice in numbers if choice == raw), raw)
    if isinstance(parameter, Int):
        return int(raw) if float(raw).is_integer() else raw
    return float(raw)


def _takes(parameter: Parameter, value: Any) -> bool:
    if isinstance(parameter, Categorical):
        return any(type(choice) is type(value) and choice == value for choice in parameter.choices)
    if isinstance(value, bool) or not isinstance(value, int | float) or not parameter.low <= value <= parameter.high:
        return False
    if isinstance(parameter, Int):
        return isinstance(value, int) and (value - parameter.low) % parameter.step == 0
    if isinstance(parameter, LogUniform) or parameter.step is None:
        return True
    steps = (value - parameter.low) / parameter.step
    return math.isclose(steps, round(steps), abs_tol=1e-6)


def _no_number(value: Any) -> str | None:
    """Say why a value cannot be a trial's."""
    if value is None:
        return "it has no value"
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return None
    with suppress(TypeError, ValueError):  # in a file `inf` is text
        if math.isinf(float(value)):
            return f"its value {value} is not finite"
    return f"its value {value!r} is not a number"


def _of_file(path: Path, metric: str) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            column = next((name for name in (metric, metric.partition("_")[2], *VALUES) if name in header), None)
            if column is None:
                raise StudyError(f"{path}: {_no_column(header, metric)}")
            for fields in reader:
                source = f"{path}:{reader.line_num}"
                if more := fields.pop(None, ()):
                    what = f"it has {len(header) + len(more)} fields, and the header {len(header)} columns"
                    yield Row(source, {}, None, malformed=what)
                    continue
                params = {
                    name: parse_scalar(text.strip())
                    for name, text in fields.items()
                    if name != column and not _is_about(name) and text is not None and text.strip()
                }
                raw = (fields[column] or "").strip()
                state = (fields.get("state") or "complete").strip()
                yield Row(source, params, parse_scalar(raw) if raw else None, state)
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path}: is no csv file of text: {error}") from None


def _no_column(header: Sequence[str], metric: str) -> str:
    if not any(header):
        return "is empty; its first line should name the columns"
    other = next((mark for mark in (";", "\t", "|") if len(header) == 1 and mark in header[0]), None)
    if other is not None:
        return f"its columns are separated by {other!r}; separate them by commas"
    return f"there is no column of values; call it value or {metric} (there: {', '.join(header)})"


def _is_about(name: str) -> bool:
    """Whether a column is neither a parameter nor the value: a study of several objectives has one of each."""
    if name in (*ABOUT_TRIALS, *VALUES, *RESOURCES):
        return True
    with suppress(ValueError):
        direction_of(name)
        return True
    return False


def _of_study(name: str, storage: str | None, metric: str) -> list[Row]:
    from mlframework.search.lookup import find_study, goal_of

    study, other_metric, _, folder = find_study(name, storage)
    metrics = goal_of(study, other_metric, folder).metrics
    if metric not in metrics:
        raise StudyError(f"the study {name!r} was searched for {', '.join(metrics)}, this one for {metric}")
    return [_of_trial(name, trial, metrics.index(metric)) for trial in study.get_trials(deepcopy=False)]


def _of_trial(name: str, trial: FrozenTrial, at: int) -> Row:
    state = "fail" if FAULT in trial.user_attrs else trial.state.name.lower()
    value = trial.values[at] if state == "complete" and trial.values else None
    return Row(f"study {name} trial {trial.number}", trial.params, value, state)
