"""What a parent makes of its workers' ends. The workers here are scripts of events; tests/faults has real processes."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlframework.errors import MlframeworkError, RunError, StorageError, Terminated, TrainingError
from mlframework.search.read import read_config
from mlframework.search.workers.crew import job_of, search_with_workers
from mlframework.search.workers.job import Event, Job, Post
from mlframework.search.workers.launch import LAUNCHERS, Workers
from mlframework.search.workers.local import LocalLauncher, visible_gpus
from support.searches import Watched, open_search, write_config

pytestmark = pytest.mark.usefixtures("here")
DONE: list[Event] = [{"event": "end", "why": "done"}, {"event": "gone", "how": "done", "why": "exit 0"}]
KILLED: list[Event] = [{"event": "gone", "how": "killed", "why": "killed by SIGKILL"}]
STARTED: Event = {"event": "trial_started", "number": 0, "params": {"optimizer.lr": 0.1}, "num_epochs": 3}
EPOCH: Event = {"event": "epoch_ended", "number": 0, "epoch": 1, "value": 0.5}


@dataclass
class Scripted:
    """A launcher whose workers say what the next script has; one without an end waits to be stopped."""

    scripts: list[Sequence[Event]]
    jobs: list[Job] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)

    def start(self, job: Job, post: Post) -> "ScriptedWorker":
        """Start the next one."""
        self.jobs.append(job)
        script = self.scripts.pop(0)
        threading.Thread(target=lambda: [post(job.number, event) for event in script], daemon=True).start()
        return ScriptedWorker(self, job.number, lambda event: post(job.number, event))


@dataclass
class ScriptedWorker:
    """A worker that leaves when it is told to."""

    launcher: Scripted
    number: int
    post: Callable[[Event], None]

    def stop(self) -> None:
        """Leave."""
        self.launcher.stopped.append(self.number)
        self.post({"event": "gone", "how": "left", "why": "exit 143"})

    def kill(self) -> None:
        """Remember."""
        self.launcher.killed.append(self.number)


def crew(*scripts: Sequence[Event], n_workers: int = 1, **changes: Any) -> tuple[Scripted, Watched, Callable[[], Any]]:
    """Return a launcher, a watcher, and what runs the crew."""
    study = open_search(changes)
    launcher, watcher = Scripted(list(scripts)), Watched()
    job = job_of(study, read_config("config.yaml", {}))
    return launcher, watcher, lambda: search_with_workers(study, job, launcher, n_workers, watcher)


def test_what_workers_say_is_passed_on() -> None:
    launcher, watcher, run = crew([STARTED, EPOCH, {"event": "trial_ended", "number": 0}, *DONE], DONE, n_workers=2)
    assert run().why == "done"
    assert watcher.started == [(0, {"optimizer.lr": 0.1}, 3)]
    assert (watcher.epochs, watcher.ended) == ([(0, 1, 0.5)], [0])
    assert [job.number for job in launcher.jobs] == [0, 1]
    assert (launcher.stopped, launcher.killed) == ([], [])


def test_a_job_has_all_that_workers_could_decide_differently() -> None:
    launcher, _, run = crew(DONE, **{"search.n_trials": 7, "training.num_threads": None})
    run()
    tree = launcher.jobs[0].tree
    assert tree["search"]["n_trials"] == 7
    assert tree["training"]["num_threads"] >= 1
    assert Job.from_json(launcher.jobs[0].to_json()) == launcher.jobs[0]


def test_a_password_stays_a_variable_in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    study = open_search()
    write_config({"search.storage": "postgresql://me:${DB_PASSWORD}@host/db"})
    job = job_of(study, read_config("config.yaml", {})).to_json()
    assert "${DB_PASSWORD}" in job and "hunter2" not in job


def test_a_killed_worker_is_replaced() -> None:
    launcher, watcher, run = crew([STARTED, EPOCH, *KILLED], DONE)
    assert run().why == "done"
    assert [job.number for job in launcher.jobs] == [0, 0]
    assert watcher.lost == [0], "its trial is another one's now"
    idle, heard, run = crew(KILLED, DONE, **{"search.study_name": "other"})
    run()
    assert len(idle.jobs) == 2
    assert heard.heard == ["worker 0 was killed by SIGKILL; another one takes its place"]


def test_workers_that_die_without_training_anything_end_the_search() -> None:
    launcher, _, run = crew(*[KILLED] * 20)
    with pytest.raises(TrainingError, match=r"workers end again and again .* killed by SIGKILL; their logs"):
        run()
    assert len(launcher.jobs) == 4
    # Epochs in between show that it can work.
    _, _, run = crew(*[[STARTED, EPOCH, *KILLED]] * 10, DONE, **{"search.study_name": "other"})
    assert run().why == "done"


@pytest.mark.parametrize(
    ("kind", "raised"), [("StorageError", StorageError), ("RunError", RunError), ("ConfigError", MlframeworkError)]
)
def test_the_error_of_one_ends_all(kind: str, raised: type[MlframeworkError]) -> None:
    error: list[Event] = [
        {"event": "error", "kind": kind, "message": "the disk is full"},
        {"event": "gone", "how": "error", "why": "exit 2"},
    ]
    launcher, _, run = crew(error, [], n_workers=2)
    with pytest.raises(raised, match=r"^the disk is full$"):
        run()
    assert launcher.stopped == [1]


def test_a_defect_of_one_is_one() -> None:
    launcher, _, run = crew([{"event": "gone", "how": "defect", "why": "exit 1"}], [], n_workers=2)
    with pytest.raises(RuntimeError, match=r"worker 0 ended by a defect \(exit 1\)"):
        run()
    assert launcher.stopped == [1]


def test_workers_that_were_told_to_leave_are_not_replaced() -> None:
    left: list[Event] = [{"event": "gone", "how": "left", "why": "exit 143"}]
    launcher, _, run = crew(left, left, n_workers=2)
    with pytest.raises(Terminated):
        run()
    assert len(launcher.jobs) == 2


def test_what_all_workers_see_is_said_once() -> None:
    news: Event = {"event": "news", "text": "the storage does not answer"}
    _, watcher, run = crew([news, *DONE], [news, *DONE], n_workers=2)
    run()
    assert watcher.heard == ["the storage does not answer"]


def test_the_timeout_is_the_studys_and_not_each_workers() -> None:
    launcher, _, run = crew(
        [STARTED, EPOCH, *KILLED], [{"event": "end", "why": "timeout"}, DONE[1]], **{"search.timeout": 50}
    )
    assert run().why == "timeout"
    first, second = (job.tree["search"]["timeout"] for job in launcher.jobs)
    assert 0 < second < first <= 50


def test_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = LocalLauncher(open_search().spec.folder, ["2", "5"])
    assert [launcher._gpu(number)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == ["2", "5", "2"]
    assert LocalLauncher(launcher.folder)._gpu(1) == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 1")
    assert (visible_gpus("auto"), visible_gpus("cuda"), visible_gpus("cuda:1"), visible_gpus("cpu")) == (
        ["3", "1"], ["3", "1"], [], [],
    )  # fmt: skip


def test_one_worker_of_this_machine_is_this_process() -> None:
    assert Workers().is_this_process
    assert not Workers(2).is_this_process
    assert set(LAUNCHERS) >= {"local"}


def test_threads_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    write_config({"training.num_threads": None})
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    found = [read_config("config.yaml", {}, at_once=count).space for count in (1, 3, 20)]
    assert [space.base["training"]["num_threads"] for space in found if space is not None] == [8, 2, 1]
    own = read_config("config.yaml", {"training.num_threads": "5"}, at_once=2).space
    assert own is not None and own.base["training"]["num_threads"] == 5


def test_the_log_of_a_worker_is_in_the_studys_folder() -> None:
    study = open_search()
    assert study.spec.folder.worker_log(3) == Path("runs/optuna_studies/tiny_optimization/workers/worker_3.log")
