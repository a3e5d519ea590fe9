"""What it ran on: versions and machine, settings, and where the files lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlframework.config.override import get
from mlframework.search.storage import masked
from mlframework.visualise.page.words import short
from mlframework.visualise.report.source import Source

_RESULTS = (
    "every trial with its values, parameters, times and reason, the best one, and the data; not what this page works out from "
    "them, such as importances, correlations and what pruning saved"
)


@dataclass(frozen=True)
class EnvironmentData:
    """What the section shows: facts of the machine, packages with their versions, settings of the search, and files."""

    machine: Sequence[tuple[str, str]]
    packages: Sequence[tuple[str, str]]
    settings: Sequence[tuple[str, str]]
    files: Sequence[tuple[str, str]]


def compute(source: Source) -> EnvironmentData:
    """Collect it."""
    recorded: Mapping[str, Any] = source.record.environment if source.record is not None else {}
    machine = [
        (name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name in ("python", "platform", "processor", "gpus")
        if (value := recorded.get(name))
    ]
    machine += [(name, str(value)) for name, value in (recorded.get("variables") or {}).items()]
    threads = get(source.began.get("config", {}), "training.num_threads")
    machine += [("threads a training", str(threads))] if threads is not None else []
    packages = [(str(name), str(version)) for name, version in (recorded.get("packages") or {}).items()]
    return EnvironmentData(machine, packages, _settings(source), _files(source))


def _settings(source: Source) -> list[tuple[str, str]]:
    settings = source.record.settings if source.record is not None else {}
    return list(_flat(settings, ""))


def _flat(value: Any, key: str) -> Sequence[tuple[str, str]]:
    """Return settings by dotted key, in words."""
    if isinstance(value, Mapping) and value:
        return [row for name, inner in value.items() for row in _flat(inner, f"{key}.{name}".strip("."))]
    shown = "null" if value is None else ", ".join(map(short, value)) if isinstance(value, list) else short(value)
    return [(key, shown)]


def _files(source: Source) -> list[tuple[str, str]]:
    folder = source.folder
    found = [
        (folder.best_config, "the best configuration"),
        (folder.best_hyperparameters, "its parameters alone"),
        (folder.results, _RESULTS),
        (folder.trials, "a row a trial"),
        (folder.path / "confirm.json", "the best trials with further seeds"),
        (folder.path / "diagnosis.json", "what ml-search --diagnose found"),
        (folder.plots, "charts as files"),
    ]
    rows = [(str(path), about) for path, about in found if path.exists()]
    storage = source.written.get("storage")
    return [*rows, (masked(storage), "the study's storage")] if isinstance(storage, str) else rows
