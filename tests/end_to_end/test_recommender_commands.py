"""The installed command `ml-train` on an interaction log: what is killed goes on to the bit-identical factors."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlframework.config import yaml
from mlframework.learners.arrays import ArrayCodec
from mlframework.training.callbacks import TIMES

ML_TRAIN = str(Path(sys.executable).with_name("ml-train"))
PATIENCE = 120  # seconds after which something that was waited for will not come any more
N_EPOCHS = 200
Tree = dict[str, Any]


def write_config(folder: Path, planted: dict[str, Tree], model: Tree) -> None:
    tree = {
        "name": "log", "seed": 3, "device": "cpu", "data": planted["als"]["data"], "model": model,
        "training": {"num_epochs": N_EPOCHS, "num_threads": 1}, "metric": "val_ndcg_at_10",
        "tracking": {"tensorboard": False},
    }  # fmt: skip
    folder.mkdir()
    (folder / "c.yaml").write_text(yaml.dump(tree), encoding="utf-8")


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [ML_TRAIN, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def lines(run: Path) -> list[Tree]:
    """Return metrics.jsonl without the seconds; a line that is being written is left out."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    whole = [
        json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"
    ]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in whole]


def wait_for_epochs(run: Path, n: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + PATIENCE
    while len(lines(run)) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    "model",
    [
        {"architecture": "als", "factors": 8},
        pytest.param({"architecture": "bpr", "factors": 8, "lr": 0.1}, marks=pytest.mark.slow),
    ],
    ids=lambda model: str(model["architecture"]),
)
def test_a_killed_run_ends_with_the_bit_identical_factors(
    model: Tree, planted: dict[str, Tree], tmp_path: Path
) -> None:
    for name in ("whole", "killed"):
        write_config(tmp_path / name, planted, model)
    killed, run = start(tmp_path / "killed", "--config", "c.yaml"), tmp_path / "killed/runs/log"
    wait_for_epochs(run, 5, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL
    assert not (run / "result.json").exists() and 5 <= len(lines(run)) < N_EPOCHS
    for folder, arguments in (("killed", ("--resume", "runs/log")), ("whole", ("--config", "c.yaml"))):
        process = start(tmp_path / folder, *arguments)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, "")
        assert ("going on after epoch" in out) == (folder == "killed")
    other = tmp_path / "whole/runs/log"
    assert len(lines(run)) == N_EPOCHS and lines(run) == lines(other)
    for name in ("best", "last"):
        one, two = (ArrayCodec().load(path / f"checkpoints/{name}.pt")["learner"] for path in (run, other))
        assert one["rng"] == two["rng"]
        assert all(one[key].tobytes() == two[key].tobytes() for key in ("user_factors", "item_factors"))
    for name in ("user_vecs", "item_vecs", "seen_indptr", "seen_items"):
        one, two = (np.load(path / f"artifacts/{name}.npy") for path in (run, other))
        assert one.tobytes() == two.tobytes()
    rankings = [(path / "ranking_val.json").read_text(encoding="utf-8") for path in (run, other)]
    assert rankings[0] == rankings[1]


def test_a_profile_without_torch_has_the_spans(planted: dict[str, Tree], tmp_path: Path) -> None:
    write_config(tmp_path / "log", planted, {"architecture": "als", "factors": 8})
    process = start(tmp_path / "log", "--config", "c.yaml", "--training.num_epochs", "3", "--profile")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "epoch 2: " in out and "operations" not in out
    assert "batch_size" not in out and "mixed_precision" not in out  # which ALS does not have
    (trace,) = (tmp_path / "log").glob("runs/*/profile/*.json")
    names = {event["name"] for event in json.loads(trace.read_text())["traceEvents"]}
    assert {"train (epoch 3)", "evaluate (epoch 3)"} <= names
