"""The commands under torchrun: what a user types, and a rank that is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mlframework.cli import train as command
from mlframework.config import yaml
from mlframework.data.samples import write_breast_cancer, write_digits
from mlframework.training.callbacks import TIMES

BIN = Path(sys.executable).parent
TABLE = {
    "name": "cells",
    "device": "cpu",
    "data": {"type": "table", "path": "cells.csv", "target": "diagnosis"},
    "model": {"architecture": "mlp", "hidden_size": 32},
    "training": {"num_epochs": 5, "batch_size": 64},
    "optimizer": {"type": "sgd", "lr": 0.05},
    "tracking": {"tensorboard": False},
}
SEARCH = {
    "n_trials": 5,
    "sampler": {"type": "RandomSampler"},
    "pruner": {"type": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 1},
    "search_space": {"optimizer.lr": {"type": "loguniform", "low": 1e-4, "high": 0.3}},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # What the tests' own process was told of threads is nothing that a user has set.
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    write_breast_cancer(tmp_path / "cells.csv")
    return tmp_path


@contextmanager
def torchrun(*words: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a command in two processes, and leave none behind."""
    line = [
        str(BIN / "torchrun"),
        "--standalone",
        "--nproc-per-node",
        "2",
        "--no-python",
        str(BIN / words[0]),
        *words[1:],
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(line, text=True, start_new_session=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            for pid in ranks_of(process.pid).values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def ended(*words: str) -> str:
    """Run a command in two processes to its end, and return what was said."""
    with torchrun(*words) as process:
        out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    return str(out)


def ranks_of(parent: int) -> dict[int, int]:
    """Return the process of each rank that torchrun has started."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, KeyError, IndexError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                variables = (entry / "environ").read_text().split("\0")
                found[int(dict(line.split("=", 1) for line in variables if "=" in line)["RANK"])] = int(entry.name)
    return found


def metrics(run: str) -> list[dict[str, float]]:
    path = Path(run) / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def wait_for(what: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def train(*words: str) -> None:
    subprocess.run([BIN / "ml-train", *words], check=True, stdout=subprocess.DEVNULL)


def write(tree: dict[str, object]) -> None:
    Path("c.yaml").write_text(yaml.dump(tree))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the ranks are found in /proc")
def test_a_killed_rank_ends_the_command_and_one_process_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(TABLE | {"training": {"num_epochs": 150, "batch_size": 64, "num_threads": 1}})
    run = "runs/cells_trainer_type-distributed"
    with torchrun("ml-train", "--config", "c.yaml", "--trainer_type", "distributed") as process:
        wait_for(lambda: len(metrics(run)) >= 3, process)
        os.kill(ranks_of(process.pid)[1], signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    # The leader says how to go on, whoever is first to notice; torchrun says which rank was killed.
    assert f"--resume {run}" in out or "go on with --resume" in out, out
    assert "SIGKILL" in out and "defect of mlframework" not in out
    before = metrics(run)
    assert 3 <= len(before) < 150
    monkeypatch.setattr(sys, "argv", ["ml-train", "--resume", run, "--trainer_type", "standard"])
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        command.main()
    signal.signal(signal.SIGTERM, handler)
    assert end.value.code == 0
    after = metrics(run)
    assert after[: len(before)] == before and [record["epoch"] for record in after] == [*range(1, 151)]


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_only_one_speaks(here: Path) -> None:
    write(TABLE)
    out = ended("ml-train", "--config", "c.yaml", "--trainer_type", "distributed", "--mode", "final")
    assert out.count("all epochs done") == 1 and out.count("opened the test split") == 1
    train("--config", "c.yaml", "--mode", "final")
    for ours, theirs in (("cells", "cells"), ("cells-final", "cells-final")):
        distributed = metrics(ours.replace("cells", "runs/cells_trainer_type-distributed"))
        assert len(distributed) >= 1
        for one, other in zip(distributed, metrics(f"runs/{theirs}"), strict=True):
            assert one == pytest.approx(other, rel=1e-5)
    tests = [json.loads(Path(f"runs/{name}/result.json").read_text())["test_metrics"] for name in
             ("cells-final", "cells_trainer_type-distributed-final")]  # fmt: skip
    assert tests[0] == pytest.approx(tests[1], rel=1e-5)


@pytest.mark.slow
def test_a_search_whose_rank_is_killed_goes_on(here: Path) -> None:
    write(TABLE | {"search": SEARCH | {"n_trials": 30, "storage": "sqlite:///studies.db"}})
    words = ["ml-search", "--config", "c.yaml", "--trainer_type", "distributed"]
    folder = Path("runs/optuna_studies/cells_optimization")
    with torchrun(*words) as process:
        wait_for(lambda: (folder / "trial_0003").exists(), process)
        os.kill(ranks_of(process.pid)[1], signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and "SIGKILL" in out
    out = ended(*words, "--resume", "--n-trials", "8")
    assert out.count("best trial:") == 1
    results = json.loads((folder / "results.json").read_text())
    assert [trial["state"] for trial in results["trials"]].count("failed") == 0
    write(TABLE | {"search": SEARCH | {"n_trials": 8, "study_name": "alone", "storage": "sqlite:///studies.db"}})
    subprocess.run([BIN / "ml-search", "--config", "c.yaml"], check=True, stdout=subprocess.DEVNULL)
    alone = json.loads(Path("runs/optuna_studies/alone/results.json").read_text())
    assert len(alone["trials"]) == len(results["trials"]) == 8
    for one, other in zip(results["trials"], alone["trials"], strict=True):
        assert one["params"] == other["params"] and one["state"] == other["state"]
        assert one["value"] == pytest.approx(other["value"], rel=1e-4)


@pytest.mark.slow
def test_folds_and_the_learning_rate_finder_work_with_two_processes(here: Path) -> None:
    write(TABLE)
    words = ["--config", "c.yaml", "--trainer_type", "distributed"]
    assert "suggested lr:" in ended("ml-train", *words, "--find-lr", "--find-lr-steps", "40")
    assert "over 3 folds" in ended("ml-train", *words, "--cross-validate", "3")


@pytest.mark.slow
def test_sigterm_saves_and_every_process_ends(here: Path) -> None:
    write(TABLE | {"training": {"num_epochs": 3000, "batch_size": 64}})
    run = "runs/cells_trainer_type-distributed"
    with torchrun("ml-train", "--config", "c.yaml", "--trainer_type", "distributed") as process:
        wait_for(lambda: len(metrics(run)) >= 3, process)
        pids = ranks_of(process.pid)
        process.terminate()
        out, _ = process.communicate(timeout=60)
    assert "terminated" in out and f"ml-train --resume {run}" in out
    assert not [pid for pid in pids.values() if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_what_the_user_can_mend_is_said_once(here: Path) -> None:
    write(TABLE)
    for words, said in (
        (["ml-train", "--config", "c.yaml"], "standard trains in one process, and torchrun has started 2"),
        (["ml-train", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (
            ["ml-train", "--config", "c.yaml", "--trainer_type", "distributed", "--device", "cuda:1"],
            "one for all processes",
        ),
    ):
        with torchrun(*words) as process:
            out, _ = process.communicate(timeout=120)
        assert process.returncode != 0 and out.count(said) == 1, out
        assert "defect of mlframework" not in out
    assert not list(Path("runs").glob("*"))


@pytest.mark.slow
def test_two_processes_reach_the_accuracy_of_one_on_digits(here: Path) -> None:
    """To within half a percent: in float32 a resnet's trainings part ways with the last digit of a sum."""
    write_digits(here / "digits")
    write({
        "name": "digits",
        "device": "cpu",
        "data": {"type": "image_folder", "path": "digits", "image_size": 32},
        "model": {"architecture": "resnet18"},
        "training": {"num_epochs": 10, "batch_size": 64},
        "optimizer": {"type": "sgd", "lr": 0.02},
        "scheduler": {"type": "cosine"},
        "metric": "val_acc",
        "tracking": {"tensorboard": False},
    })  # fmt: skip
    train("--config", "c.yaml")
    ended("ml-train", "--config", "c.yaml", "--trainer_type", "distributed")
    one, two = (
        max(each["val_acc"] for each in metrics(f"runs/digits{name}")) for name in ("", "_trainer_type-distributed")
    )
    assert one > 0.97 and abs(one - two) <= 0.005
