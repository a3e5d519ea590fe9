"""Real searches that take milliseconds a trial: a table of sixty rows and a tiny network."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlframework.config import yaml
from mlframework.config.override import override
from mlframework.search.loop import SearchEnd, search
from mlframework.search.quiet import require_optuna
from mlframework.search.read import read_config
from mlframework.search.setup import build_spec
from mlframework.search.start import load as _load
from mlframework.search.storage import open_storage
from mlframework.search.study import OpenStudy, open_study
from mlframework.search.training_run import LoadSplits

LR = {"type": "loguniform", "low": 1e-3, "high": 1e-1}


def write_table(path: Path, n_rows: int = 60) -> Path:
    """Write a table whose two classes overlap a little; `row` tells each row from all others."""
    rng = np.random.default_rng(7)
    target = np.arange(n_rows) % 2
    features = rng.normal(size=(n_rows, 3)) + target[:, None]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "a", "b", "c", "kind"])
        for number, (values, label) in enumerate(zip(features.tolist(), target.tolist(), strict=True)):
            writer.writerow([1000 + number + 0.5, *values, ("no", "yes")[label]])
    return path


def tree(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a config tree of a search over the learning rate, with changes by dotted key."""
    base: dict[str, Any] = {
        "name": "tiny",
        "seed": 3,
        "device": "cpu",
        "data": {"type": "table", "path": "table.csv", "target": "kind", "drop": ["row"]},
        "model": {"architecture": "mlp", "hidden_layers": 1, "hidden_size": 4},
        "training": {"num_epochs": 3, "batch_size": 16, "num_threads": 1},
        "optimizer": {"type": "sgd", "lr": 0.05, "momentum": 0.9},
        "metric": "val_loss",
        "tracking": {"tensorboard": False},
        "search": {
            "storage": "sqlite:///studies.db",
            "n_trials": 3,
            "sampler": {"type": "RandomSampler"},
            "pruner": {"type": "none"},
            "search_space": {"optimizer.lr": LR},
        },
    }
    changes = dict(changes or {})
    space = changes.pop("search_space", None)  # replaced as a whole: its keys have dots in them
    changed = override(base, changes)
    if space is not None:
        changed["search"] = {**changed["search"], "search_space": space}
    return changed


def write_config(changes: Mapping[str, Any] | None = None, path: Path = Path("config.yaml")) -> Path:
    """Write a config into the present folder, and its table."""
    if not Path("table.csv").exists():
        write_table(Path("table.csv"))
    path.write_text(yaml.dump(tree(changes)))
    return path


@dataclass
class Watched:
    """A watcher that remembers.

    Attributes:
        on_epoch: called with the trial, its epoch and its value.
        on_wait: called with the number of trials of other processes that are waited for.
    """

    on_epoch: Callable[[int, int, float], None] = lambda *_: None
    on_wait: Callable[[int], None] = lambda *_: None
    started: list[tuple[int, dict[str, Any], int]] = field(default_factory=list)
    epochs: list[tuple[int, int, float]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    waited: list[int] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def trial_started(self, number: int, params: Mapping[str, Any], num_epochs: int) -> None:
        """Remember."""
        self.started.append((number, dict(params), num_epochs))

    def epoch_ended(self, number: int, epoch: int, value: float) -> None:
        """Remember, and do what the test wants done."""
        self.epochs.append((number, epoch, value))
        self.on_epoch(number, epoch, value)

    def trial_ended(self, number: int) -> None:
        """Remember."""
        self.ended.append(number)

    def trial_lost(self, number: int, why: str) -> None:
        """Remember."""
        self.lost.append(number)

    def waiting(self, n_trials: int) -> None:
        """Remember, and do what the test wants done."""
        self.waited.append(n_trials)
        self.on_wait(n_trials)

    def news(self, text: str) -> None:
        """Remember."""
        self.heard.append(text)


def open_search(
    changes: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    add_trials: int = 0,
    accept_data_change: bool = False,
) -> OpenStudy:
    """Make a study in the present folder, or go on with it, as the command does."""
    require_optuna()
    read = read_config(str(write_config(changes)), {})
    assert read.config.search is not None
    storage = open_storage(read.config.search.storage)
    return open_study(build_spec(read, storage, add_trials), storage, resume, accept_data_change)


def run_search(
    changes: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    add_trials: int = 0,
    accept_data_change: bool = False,
    watcher: Watched | None = None,
    load: LoadSplits = _load,
) -> tuple[OpenStudy, SearchEnd]:
    """Search in the present folder, as the command does."""
    study = open_search(changes, resume=resume, add_trials=add_trials, accept_data_change=accept_data_change)
    return study, search(study, load, watcher or Watched())
