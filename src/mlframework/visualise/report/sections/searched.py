"""What was searched, and with what budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlframework.config.override import get
from mlframework.search.recorded import Record
from mlframework.visualise.page.words import duration, short
from mlframework.visualise.report.source import Source

_SHOWN = 12  # settings of the pruner or sampler


@dataclass(frozen=True)
class Searched:
    """One parameter: its key, its range or choices in words, and when it exists."""

    key: str
    range: str
    when: str


@dataclass(frozen=True)
class Data:
    """One file or folder that was trained on: path, counts and digest; since which trial."""

    path: str
    counts: str
    digest: str
    since: int


@dataclass(frozen=True)
class SearchedData:
    """What the section shows.

    Attributes:
        facts: name and value: goal, data, model, sampler, pruner, budget.
        data: what was trained on.
        space: what was searched.
        constraints: that were to be kept.
    """

    facts: Sequence[tuple[str, str]]
    data: Sequence[Data]
    space: Sequence[Searched]
    constraints: Sequence[str]


def compute(source: Source) -> SearchedData:
    """Collect it: from what the study was started with, else from the trials themselves."""
    began = source.began
    return SearchedData(
        facts=[(name, value) for name, value in _facts(source) if value],
        data=_data(source.record),
        space=_space(source),
        constraints=[str(text) for text in began.get("constraints", [])],
    )


def _facts(source: Source) -> list[tuple[str, str]]:
    config, search = source.began.get("config", {}), source.written.get("search", {})
    folds, goal = source.began.get("cross_validation") or {}, source.view.goal
    judged = f"{folds.get('n_folds')} folds a trial, {folds.get('aggregation', 'mean')}" if folds.get("enabled") else ""
    if source.began.get("repeats", 1) > 1:
        judged = f"{source.began['repeats']} repeats a trial"
    timeout = source.record.settings.get("search", {}).get("timeout") if source.record is not None else None
    return [
        ("goal", goal.describe() + ("" if goal.is_single else f"; the pick is the {goal.rule}")),
        ("judged by", judged),
        ("data", _of_data(config)),
        ("model", _model(source, config)),
        ("sampler", _engine(search.get("sampler"))),
        ("pruner", _engine(search.get("pruner"))),
        ("trials", f"{search['n_trials']} asked for, {len(source.own)} there" if "n_trials" in search else ""),
        ("epochs", f"up to {source.last_epoch} a trial" if source.last_epoch is not None else ""),
        ("time", f"at most {duration(timeout)}" if isinstance(timeout, int | float) else "no limit"),
        ("workers", _workers(source)),
    ]


def _of_data(config: Mapping[str, Any]) -> str:
    data = get(config, "data") or {}
    named = [f"{key} {data[key]}" for key in ("target", "image_size", "user_column", "item_column") if data.get(key)]
    return ", ".join([f"{data.get('type', '')} {data.get('path', '')}".strip(), *named])


def _model(source: Source, config: Mapping[str, Any]) -> str:
    tried = {trial.params["model.architecture"] for trial in source.view.trials if "model.architecture" in trial.params}
    return ", ".join(sorted(map(str, tried))) or str(get(config, "model.architecture") or "")


def _engine(settings: Any) -> str:
    """Return a sampler or a pruner in words: its type, and the settings that it has."""
    if not isinstance(settings, Mapping):
        return ""
    told = [f"{key} {short(value)}" for key, value in settings.items() if key != "type" and value is not None]
    return str(settings.get("type", "")) + (f" ({', '.join(told[:_SHOWN])})" if told else "")


def _workers(source: Source) -> str:
    """Say how many trials were trained at the same time at most, which is how many workers there were."""
    ends: list[tuple[float, int]] = []
    for record in source.trained:
        trial = source.by_number[record.number]
        if trial.datetime_start is not None and trial.datetime_complete is not None:
            ends += [(trial.datetime_start.timestamp(), 1), (trial.datetime_complete.timestamp(), -1)]
    most = now = 0
    for _, change in sorted(ends):
        now += change
        most = max(most, now)
    return f"{most} at the same time" if most > 1 else "one"


def _data(record: Record | None) -> list[Data]:
    if record is None:
        return []
    return [
        Data(each.path, each.described(), f"{each.digest[:12]}… ({each.covers})", since)
        for since, found in record.data
        for each in found.sources
    ]


def _space(source: Source) -> list[Searched]:
    began = source.began.get("search_space")
    if isinstance(began, Mapping) and began:
        return [_parameter(key, raw) for key, raw in began.items()]
    found: dict[str, Any] = {}
    for trial in source.view.trials:
        found.update(trial.distributions)
    return [Searched(key, _distribution(each), "") for key, each in found.items()]


def _parameter(key: str, raw: Mapping[str, Any]) -> Searched:
    from pydantic import TypeAdapter, ValidationError

    from mlframework.search.parameters import Parameter

    try:
        parameter = TypeAdapter[Parameter](Parameter).validate_python(raw)
    except ValidationError:  # of another version
        return Searched(key, ", ".join(f"{name} {value}" for name, value in raw.items()), "")
    when = "; ".join(f"{name} is {_few(wanted)}" for name, wanted in parameter.when.items())
    return Searched(key, parameter.describe(), when)


def _few(wanted: object) -> str:
    return " or ".join(map(short, wanted)) if isinstance(wanted, list) else short(wanted)


def _distribution(made: Any) -> str:
    if hasattr(made, "choices"):
        return "one of " + ", ".join(map(short, made.choices))
    return f"{made.low:g} to {made.high:g}" + (", log scale" if getattr(made, "log", False) else "")
