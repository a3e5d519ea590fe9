"""Runs with given outputs: what the plots of a run's model are tested on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlframework.data.tables import TableConfig
from mlframework.learners.base import Outputs
from mlframework.outputs import write_outputs
from mlframework.runs import RunDir
from mlframework.visualise.run_view import RunView

TABLE = TableConfig(type="table", path="data.csv", target="y")


@dataclass(frozen=True)
class Rows:
    """Examples of a table, as far as their outputs need them."""

    rows: NDArray[np.int64]


def said_of(
    folder: Path, targets: Any, values: Any, class_names: Sequence[str] | None, split: str = "val", epoch: int = 3,
    config: str = "data: {type: table, path: data.csv, target: y}\nmodel: {architecture: mlp}\n",
) -> RunView:  # fmt: skip
    """Write a run whose model said these values of these examples, and read it as the plots do."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(config)
    metric = "val_rmse" if class_names is None else "val_acc"
    (folder / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "train_loss": 1.0, metric: 0.5}) + "\n")
    values = np.asarray(values, dtype=np.float32)
    targets = np.asarray(targets, dtype=np.float32 if class_names is None else np.int64)
    outputs = Outputs("regression" if class_names is None else "classification", targets, values, class_names)
    write_outputs(RunDir(folder), split, epoch, outputs, Rows(np.arange(len(targets))), TABLE)
    return RunView.of(folder)


def probabilities(rng: np.random.Generator, targets: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Draw the probabilities of a classifier that is often right."""
    scores = rng.normal(size=(len(targets), n_classes))
    scores[np.arange(len(targets)), targets] += 1.5
    shares = np.exp(scores)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
