"""The process of which workers are forked: what it has imported, and what becomes of the workers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from mlframework.models import MODELS
from mlframework.search.folder import StudyFolder
from mlframework.search.workers.forked import Forked, Nursery
from mlframework.search.workers.job import Job
from mlframework.search.workers.local import LocalLauncher, LocalWorker
from mlframework.search.workers.nursery import is_possible

pytestmark = pytest.mark.skipif(not is_possible(), reason="workers are forked on Linux alone")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    made.prepare(MODELS["als"].imports)
    yield made
    made.close()


@pytest.fixture
def idle(nursery: Nursery, tmp_path: Path) -> Iterator[Forked]:
    """Fork a worker that waits for its job."""
    with (tmp_path / "worker.log").open("wb") as log:
        worker = nursery.start(log, {**os.environ, "MLF_MARK": "here"})
    assert worker is not None
    yield worker
    worker.kill()
    worker.wait()


def says(launcher: LocalLauncher, job: Job) -> tuple[LocalWorker, Queue[tuple[int, Any]]]:
    heard: Queue[tuple[int, Any]] = Queue()
    return launcher.start(job, lambda number, event: heard.put((number, event))), heard


def eventually(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def files_of(worker: Forked) -> list[str]:
    return [os.readlink(each) for each in Path(f"/proc/{worker.pid}/fd").iterdir()]


EARLY = """
import sys
import mlframework
from mlframework.search.workers.forked import Nursery
def start():
    print(sorted({"pydantic", "optuna", "mlframework.search.read"} & set(sys.modules)))
    raise SystemExit
Nursery.where_possible = start
mlframework.search("none.yaml", workers=2)
"""


def test_it_starts_before_the_search_imports_what_it_needs_itself() -> None:
    ended = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True)
    assert ended.stdout == "[]\n", ended.stderr


def test_it_has_imported_what_workers_need_and_runs_no_thread(nursery: Nursery, idle: Forked) -> None:
    maps = Path(f"/proc/{idle.pid}/maps").read_text()
    assert all(name in maps for name in ("sqlalchemy", "implicit/cpu/_als", "scipy/sparse"))
    assert not any(name in maps for name in ("libtorch", "polars", "sklearn", "matplotlib", "torchvision"))
    names = [(task / "comm").read_text() for task in Path(f"/proc/{nursery.pid}/task").iterdir()]
    assert len(names) == 1, "a fork copies one thread: what others held stays locked"


def test_a_worker_is_a_process_like_one_started_anew(nursery: Nursery, idle: Forked, tmp_path: Path) -> None:
    parent = int(Path(f"/proc/{idle.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent == nursery.pid
    eventually(lambda: not any(name.startswith("socket") for name in files_of(idle)), "it can't hear the orders")
    assert os.getsid(idle.pid) == idle.pid != os.getsid(nursery.pid)
    assert os.readlink(f"/proc/{idle.pid}/cwd") == str(Path.cwd())
    assert str(tmp_path / "worker.log") in files_of(idle)


def test_what_a_worker_says_and_how_it_ended_is_told(
    nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLF_TABLE", str(tmp_path / "nowhere.csv"))
    tree = {
        "data": {"type": "interactions", "path": "${MLF_TABLE}"},
        "model": {"architecture": "als"},
        "metric": "val_ndcg_at_10",
        "search": {"search_space": {"model.factors": {"type": "int", "low": 2, "high": 4}}},
    }
    launcher = LocalLauncher(StudyFolder(tmp_path / "study"), nursery=nursery)
    worker, heard = says(launcher, Job(3, tree, "c.yaml"))
    number, event = heard.get(timeout=60)
    assert (number, event["event"]) == (3, "error"), event
    assert str(tmp_path / "nowhere.csv") in event["message"], "it has its environment of the job"
    assert heard.get(timeout=60)[1] == {"event": "gone", "how": "error", "why": "exit 2"}
    assert not Path(f"/proc/{worker.pid}").exists(), "it was waited for"
    assert "nowhere.csv" in launcher.folder.worker_log(3).read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_can_be_told_to_leave_and_be_killed(idle: Forked, number: signal.Signals) -> None:
    assert idle.pid
    idle.terminate() if number == signal.SIGTERM else idle.kill()
    assert idle.wait() == (143 if number == signal.SIGTERM else -9)
    idle.kill()  # whoever has its number now is not hit


def test_a_worker_leaves_with_its_parent(idle: Forked) -> None:
    assert idle.pid and idle.stdin is not None
    idle.stdin.close()
    assert idle.wait() is not None


def test_a_nursery_that_was_killed_leaves_its_workers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Nursery()
    launcher = LocalLauncher(StudyFolder(tmp_path / "study"), nursery=made)
    worker, heard = says(launcher, Job(0, {}, "c.yaml"))
    os.kill(worker.pid, signal.SIGSTOP)
    os.kill(made.pid, signal.SIGKILL)
    made._process.wait()
    worker.stop()
    os.kill(worker.pid, signal.SIGCONT)
    assert heard.get(timeout=60)[1]["event"] in ("gone", "error")
    with (tmp_path / "log").open("wb") as log:
        assert made.start(log, {}) is None, "the next one is started anew"
    made.close()


def test_where_a_fork_is_not_safe_workers_are_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert Nursery.where_possible() is None
