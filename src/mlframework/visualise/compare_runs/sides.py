"""The runs that are compared: what each was set to, came to and ran on, as its folder tells it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mlframework.config import yaml
from mlframework.config.override import get
from mlframework.config.secrets import masked
from mlframework.errors import ConfigError, RunError
from mlframework.runs import RunDir, read_json
from mlframework.visualise.run_view import Best, RunView, read_epochs

if TYPE_CHECKING:
    from mlframework.training.callbacks import EpochRecord

_PART = re.compile(r"(fold|repeat)_\d+")


@dataclass(frozen=True)
class Side:
    """One of the runs.

    Attributes:
        name: what it is called beside the others: the end of its path that none of them shares.
        path: its folder.
        tree: its config as it was written.
        records: its epochs; of folds and repeats their means, up to the epoch that all have reached.
        best: the best epoch; None where none is known.
        state: why it ended, or that it has not.
        result: the content of result.json; empty for a run that has not ended.
        environment: what it ran on; empty where that was not recorded.
        n_parts: how many folds or repeats it has; 0 where it was trained once.
    """

    name: str
    path: Path
    tree: Mapping[str, Any]
    records: "Sequence[EpochRecord]"
    best: Best | None
    state: str
    result: Mapping[str, Any]
    environment: Mapping[str, Any]
    n_parts: int = 0

    @property
    def is_fold(self) -> bool:
        """Whether it is one fold of a cross-validation."""
        return self.path.name.startswith("fold_")

    @property
    def data(self) -> str | None:
        """The fingerprint of what it was trained on; None where that was not recorded."""
        data = self.environment.get("data")
        return str(data["digest"]) if isinstance(data, Mapping) and "digest" in data else None

    @property
    def metrics(self) -> Mapping[str, float]:
        """The best epoch's metrics, and those of the test split where it was opened."""
        found = dict(self.result.get("best_metrics") or {})
        if not found and self.best is not None:
            found = next((dict(record.metrics) for record in self.records if record.epoch == self.best.epoch), {})
        return {**found, **(self.result.get("test_metrics") or {})}

    @property
    def metric(self) -> str:
        """What its best epoch was chosen by."""
        named = self.result.get("metric") or (self.best.metric if self.best is not None else None)
        return str(named or self.tree.get("metric", "val_loss"))


def read_sides(paths: Sequence[Path]) -> list[Side]:
    """Read the folders of runs, trials, folds or repeats.

    Args:
        paths: at least one; no two of the same folder.

    Raises:
        RunError: with everything that is no run, or damaged.
    """
    sides, problems = [], []
    for path, name in zip(paths, names_of(paths), strict=True):
        try:
            sides.append(_read(path, name))
        except (RunError, ConfigError) as error:
            problems.append(str(error))
    if problems:
        raise RunError("\n".join(problems))
    return sides


def names_of(paths: Sequence[Path]) -> list[str]:
    """Return what to call each folder: as much of the end of its path as tells it from the others."""
    parts = [path.resolve().parts for path in paths]

    def shortest(own: tuple[str, ...]) -> str:
        for n in range(1, len(own)):
            if sum(other[-n:] == own[-n:] for other in parts) == 1:
                return "/".join(own[-n:])
        return "/".join(own)

    return [shortest(own) for own in parts]


def _read(path: Path, name: str) -> Side:
    run = RunDir(path)
    is_part = _PART.fullmatch(path.name) is not None and run.metrics.is_file()
    # A fold's config and environment stand in the folder above.
    whole = RunDir(path.resolve().parent) if is_part and not run.config.is_file() else RunDir.open(path)
    tree = yaml.read(whole.config).tree if whole.config.is_file() else {}
    environment = read_json(whole.environment) if whole.environment.is_file() else {}
    result = run.read_result() or {}
    parts = sorted(
        (each.parent for each in path.glob("*/metrics.jsonl") if _PART.fullmatch(each.parent.name)), key=_number
    )
    if not run.metrics.is_file() and parts:
        records = _means([read_epochs(part / "metrics.jsonl") for part in parts])
        best = _recorded_best(result, records)
        state = _state(path, result, None)
        return Side(name, path, tree, records, best, state, result, environment, len(parts))
    if not run.metrics.is_file() or not read_epochs(run.metrics):
        return Side(name, path, tree, (), None, _state(path, result, None), result, environment)
    view = RunView.of(path)
    ended = result if view.reason is not None else {}
    return Side(name, path, tree, view.records, view.best, _state(path, ended, view.reason), ended, environment)


def _number(part: Path) -> int:
    return int(part.name.rpartition("_")[2])


def _means(parts: "Sequence[Sequence[EpochRecord]]") -> "list[EpochRecord]":
    """Return the mean of folds, epoch by epoch, as far as all of them go."""
    from mlframework.training.callbacks import EpochRecord

    means = []
    for records in zip(*parts, strict=False):
        shared = [name for name in records[0].metrics if all(name in each.metrics for each in records)]
        metrics = {name: fmean(each.metrics[name] for each in records) for name in shared}
        seconds = sum(each.seconds for each in records)
        means.append(EpochRecord(records[0].epoch, metrics, seconds, records[0].lr))
    return means


def _recorded_best(result: Mapping[str, Any], records: "Sequence[EpochRecord]") -> Best | None:
    metric, epoch = str(result.get("metric")), result.get("best_epoch")
    values = [record.metrics[metric] for record in records if record.epoch == epoch and metric in record.metrics]
    return Best(int(epoch), metric, values[0]) if values and epoch is not None else None


def _state(path: Path, result: Mapping[str, Any], reason: str | None) -> str:
    """Return why a run ended; of a trial what its study says of it."""
    trial = re.fullmatch(r"trial_(\d+)", path.resolve().name)
    results = path.resolve().parent / "results.json"
    if trial is not None and results.is_file():
        told = [each for each in read_json(results).get("trials", []) if each.get("number") == int(trial[1])]
        if told and told[0].get("state") not in (None, "complete"):
            why = told[0].get("reason")
            return f"{told[0]['state']}: {why}" if why else str(told[0]["state"])
    return str(reason or result.get("reason") or ("ended" if result else "not ended"))


def settings_of(sides: Sequence[Side]) -> list[dict[str, str]]:
    """Return every setting of each run as text, by dotted key, defaults written out; no password is among them.

    Where one of the configs does not decode, as one of another version may not, all are taken as they were written: a
    default that is written out for some and not for others would be a difference that is none.
    """
    trees = [_decoded(side.tree) for side in sides]
    whole = [tree for tree in trees if tree is not None]
    chosen = whole if len(whole) == len(sides) else [side.tree for side in sides]
    return [
        {key: _text(value, get(side.tree, key)) for key, value in _leaves(tree)}
        for side, tree in zip(sides, chosen, strict=True)
    ]


def _decoded(tree: Mapping[str, Any]) -> Mapping[str, Any] | None:
    from mlframework.config import schema
    from mlframework.config.decode import check
    from mlframework.config.override import without
    from mlframework.config.yaml import Document
    from mlframework.experiment import ExperimentConfig

    config, _ = check(ExperimentConfig, Document(dict(tree)))
    if config is None:
        return None
    found = config.model_dump()
    return without(found, schema.excluded(ExperimentConfig, found))


def _leaves(tree: Mapping[str, Any], above: str = "") -> "list[tuple[str, Any]]":
    found: list[tuple[str, Any]] = []
    # What chooses the others comes before them.
    for name, value in sorted(tree.items(), key=lambda pair: pair[0] not in ("type", "architecture")):
        key = f"{above}{name}"
        found += _leaves(value, f"{key}.") if isinstance(value, Mapping) and value else [(key, value)]
    return found


def _text(value: Any, written: Any) -> str:
    """Write a setting as a config would have it; `${VAR}` stays as it was written."""
    if isinstance(written, str) and "${" in written:
        return masked(written)
    if isinstance(value, str):
        return masked(value) if "://" in value else value
    return json.dumps(value, default=str)
