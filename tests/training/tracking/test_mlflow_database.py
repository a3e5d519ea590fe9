"""A database file that MLflow has not yet: it is there with all its tables, or not at all."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlframework.training.tracking.mlflow.database import file_of, make_file
from mlframework.training.tracking.mlflow.tracker import require_mlflow
from support.mlflow_runs import Recorded, state_of
from support.searches import write_config

PATIENCE = 240  # seconds


def n_tables(path: Path) -> int:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0])


def test_a_file_is_there_once_all_its_tables_are(tmp_path: Path) -> None:
    """Two threads want it: the second one waits, and takes what the first one has made."""
    require_mlflow()
    path = tmp_path / "below" / "mlflow.db"
    makers = [threading.Thread(target=make_file, args=(path,)) for _ in range(2)]
    for maker in makers:
        maker.start()
    while not path.exists() and any(maker.is_alive() for maker in makers):
        time.sleep(0.001)
    found = n_tables(path)
    identity = path.stat().st_ino
    for maker in makers:
        maker.join()
    assert (found, path.stat().st_ino) == (n_tables(path), identity) and found > 20
    assert [each.name for each in path.parent.iterdir()] == ["mlflow.db"]
    assert Recorded(f"sqlite:///{path}").runs("Default") == []


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///mlflow.db", Path("mlflow.db")),
        ("sqlite:////data/a.db", Path("/data/a.db")),
        ("sqlite+pysqlite:///a.db?timeout=5", Path("a.db")),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("http://127.0.0.1:5000/mlflow.db", None),
        ("postgresql://me:x@host/mlflow", None),
    ],
)
def test_which_address_is_a_file(uri: str, path: Path | None) -> None:
    assert file_of(uri) == path


@pytest.mark.slow
def test_a_command_that_is_killed_while_the_file_is_made_leaves_no_half_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config({})
    program = str(Path(sys.executable).parent / "ml-train")
    words = [program, "--config", "config.yaml", "--mlflow-tracking", "--experiment-name", "e"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE
    while not any(path.stat().st_size > 100_000 for path in tmp_path.glob(".mlflow.db-*/*.db")):
        assert process.poll() is None and time.monotonic() < end, "it was never seen being made"
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not Path("mlflow.db").exists()
    subprocess.run([program, "--resume", "runs/tiny"], check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
    found = Recorded("sqlite:///mlflow.db")
    assert state_of(found.run("e", "tiny")) == ("FINISHED", "complete")
    assert found.has_the_curves_of(found.run("e", "tiny"), Path("runs/tiny/metrics.jsonl"))
