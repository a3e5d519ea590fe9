"""From `--workers` and `--launcher` to a search: in this process, or with workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlframework.registry import lookup
from mlframework.search.loop import SearchEnd, search
from mlframework.search.objective import Watcher
from mlframework.search.read import ReadConfig
from mlframework.search.study import OpenStudy
from mlframework.search.training_run import LoadSplits

if TYPE_CHECKING:
    from mlframework.search.workers.job import Launcher


@dataclass(frozen=True)
class Workers:
    """With which workers a study is searched.

    Attributes:
        count: how many; 1 on this machine is this process itself.
        launcher: what starts them, a key of `LAUNCHERS`.
    """

    count: int = 1
    launcher: str = "local"

    @property
    def is_this_process(self) -> bool:
        """Whether there is no need to start any."""
        return self.count == 1 and self.launcher == "local"

    def describe(self, study: OpenStudy) -> str:
        """Say how many search, with how many threads each, and how they share a file."""
        threads = study.spec.space.base["training"]["num_threads"]
        how = {
            "sqlite": "SQLite in write-ahead mode: its file has to be on a disk of this machine",
            "journal": "a journal file",
        }
        shared = how.get(study.spec.storage.partition(":")[0])
        return f"{self.count} workers, threads a training: {threads}" + (f"; {shared}" if shared else "")


def _local(study: OpenStudy, read: ReadConfig) -> Launcher:
    from mlframework.search.workers.local import LocalLauncher, visible_gpus

    return LocalLauncher(study.spec.folder, visible_gpus(read.config.device))


LAUNCHERS: Mapping[str, Callable[[OpenStudy, ReadConfig], Launcher]] = {
    "local": _local,
}


def search_as(study: OpenStudy, read: ReadConfig, workers: Workers, load: LoadSplits, watcher: Watcher) -> SearchEnd:
    """Search a study in this process, which then gets its data by `load`, or with workers.

    Raises:
        MlframeworkError: the search can't go on.
        Terminated, KeyboardInterrupt: told to stop; everything finished is saved.
    """
    if workers.is_this_process:
        return search(study, load, watcher)
    from mlframework.search.workers.crew import job_of, search_with_workers

    launcher = lookup(LAUNCHERS, workers.launcher, "launcher")(study, read)
    return search_with_workers(study, job_of(study, read), launcher, workers.count, watcher)
