"""Fold trainings saved by matched pruning: the same cross-validated search of breast_cancer with and without a pruner.

Run it with `python benchmarks/fold_pruning.py`. For each seed it searches twice, counts the fold trainings that were run to
their end, and says by how many standard errors of its folds the unpruned search's best is better. It ends with exit 1
where less than 30 % are saved on the whole, or the pruned search ends more than one standard error behind.
"""

import os
import sys
import tempfile
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from rich.console import Console

from mlframework.config import yaml
from mlframework.data.samples import write_breast_cancer
from mlframework.experiment import load_data
from mlframework.search.lines import Silent
from mlframework.search.loop import search
from mlframework.search.quiet import require_optuna
from mlframework.search.read import read_config
from mlframework.search.results import TrialRecord
from mlframework.search.setup import build_spec
from mlframework.search.storage import open_storage
from mlframework.search.study import open_study

N_TRIALS, N_FOLDS, SEEDS = 40, 5, (1, 2, 3)
PRUNERS = {"unpruned": {"type": "none"}, "pruned": {"type": "MedianPruner", "n_warmup_steps": 5}}
CONFIG = {
    "name": "folds",
    "device": "cpu",
    "data": {"type": "table", "path": "breast_cancer.csv", "target": "diagnosis"},
    "model": {"architecture": "mlp"},
    "training": {"num_epochs": 15, "batch_size": 32, "num_threads": 1},
    "optimizer": {"type": "adam"},
    "metric": "val_loss",
    "tracking": {"tensorboard": False},
}
SPACE = {
    "optimizer.lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
    "model.hidden_size": {"type": "int", "low": 4, "high": 64, "log": True},
    "model.dropout": {"type": "uniform", "low": 0.0, "high": 0.5},
    "training.batch_size": {"type": "categorical", "choices": [16, 32, 64]},
}


def searched(name: str, seed: int) -> list[TrialRecord]:
    """Return the trials of one search."""
    section = {
        "study_name": f"{name}_{seed}",
        "storage": f"journal:///{name}_{seed}.log",
        "n_trials": N_TRIALS,
        "pruner": PRUNERS[name],
        "cross_validation": {"enabled": True, "n_folds": N_FOLDS},
        "search_space": SPACE,
    }
    config = Path(f"{name}_{seed}.yaml")
    config.write_text(yaml.dump({**CONFIG, "seed": seed, "search": section}))
    storage = open_storage(str(section["storage"]))
    study = open_study(build_spec(read_config(str(config), {}), storage, 0), storage, resume=False)
    return search(study, lambda each: load_data(each).without_test(), Silent()).records


def finished_folds(record: TrialRecord) -> int:
    """Return how many folds a trial has trained to their end."""
    if record.parts:
        return len(record.parts)
    return int(record.epochs >= CONFIG["training"]["num_epochs"])  # type: ignore[index]


def best_of(records: list[TrialRecord]) -> TrialRecord | None:
    """Return the complete trial of the smallest val_loss."""
    complete = [record for record in records if record.state == "complete" and record.value is not None]
    return min(complete, key=lambda record: record.value or 0.0, default=None)


def main() -> int:
    """Search, and print a table."""
    require_optuna()
    console, saved, lags = Console(soft_wrap=True), [], []
    os.chdir(tempfile.mkdtemp())
    write_breast_cancer("breast_cancer.csv")
    for seed in SEEDS:
        found = {name: searched(name, seed) for name in PRUNERS}
        folds = {name: sum(map(finished_folds, records)) for name, records in found.items()}
        best = {name: best_of(records) for name, records in found.items()}
        full, short = best["unpruned"], best["pruned"]
        assert full is not None and short is not None and full.value is not None and short.value is not None
        error = stdev(full.parts) / sqrt(len(full.parts))
        saved.append(1 - folds["pruned"] / folds["unpruned"])
        lags.append((short.value - full.value) / error)
        console.print(
            f"seed {seed}: {folds['unpruned']} fold trainings unpruned, {folds['pruned']} pruned ({saved[-1]:.0%} saved); "
            f"best val_loss {full.value:.5f} (standard error {error:.5f}) and {short.value:.5f}: {lags[-1]:+.2f} standard errors"
        )
    console.print(f"saved: {mean(saved):.0%}; behind by {max(lags):+.2f} standard errors at most")
    return int(mean(saved) < 0.3 or max(lags) > 1)


if __name__ == "__main__":
    sys.exit(main())
