"""Searches that die: in processes of their own, by kill -9, at a place of the test's choosing."""

import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlframework.search import cgroup
from mlframework.search.start import load as _load
from support.searches import Watched, run_search

PATIENCE = 120
# Not of the test's own process: its threads, such as those of polars, would not survive the fork.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["mlframework.search.loop", "mlframework.search.setup", "mlframework.learners.torch", "mlframework.learners.tasks",
     "mlframework.models.layers", "sklearn.metrics", "sklearn.model_selection", "scipy.stats", "optuna", "sqlalchemy"]
)  # fmt: skip


@dataclass(frozen=True)
class Death:
    """Where a search dies.

    Attributes:
        trial: in which trial.
        epoch: after which of its epochs; None: before its first step.
        kills: what the control group's count of kills is set to just before.
        during: another search, which joins this one and dies before it.
    """

    trial: int = 0
    epoch: int | None = None
    kills: int | None = None
    during: "Death | None" = None


def count(events: Path, kills: int) -> None:
    """Write how many processes of a control group were killed for want of memory, as the system does."""
    events.write_text(f"low 0\nhigh 0\nmax 12\noom {kills + 3}\noom_kill {kills}\noom_group_kill 0\n")


def die_in(folder: Path, changes: dict[str, Any], death: Death) -> None:
    """Search in a folder until death; the folder may hold `proc` and `cgroup`, which then are the system's.

    Raises:
        AssertionError: the search came to its end, or raised something.
    """
    process = _CONTEXT.Process(target=_search, args=(folder, changes, death))
    process.start()
    process.join(PATIENCE)
    code = process.exitcode
    process.kill()
    process.join()
    assert code == -signal.SIGKILL, code


def _search(folder: Path, changes: dict[str, Any], death: Death) -> None:
    os.chdir(folder)
    if (folder / "proc").is_dir():
        cgroup._PROC, cgroup._ROOT = folder / "proc", folder / "cgroup"
    present = []

    def die() -> None:
        if death.during is not None:
            die_in(folder, changes, death.during)
        if death.kills is not None:
            count(folder / "cgroup/jobs/7/memory.events", death.kills)
        os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (death.trial, death.epoch):
            die()

    def load(config: Any) -> Any:
        if death.epoch is None and present[-1] == death.trial:
            die()
        return _load(config)

    watcher = Watched(on_epoch)
    watcher.trial_started = lambda number, *_: present.append(number)  # type: ignore[method-assign]
    run_search(changes, resume=True, watcher=watcher, load=load)
