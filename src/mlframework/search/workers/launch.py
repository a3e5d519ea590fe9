"""From `--workers` and `--launcher` to a search: in this process, or with workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mlframework.config.wording import COMMAND_LINE, Wording
from mlframework.errors import ConfigError, Problem
from mlframework.registry import unknown

if TYPE_CHECKING:
    from mlframework.search.loop import SearchEnd
    from mlframework.search.objective import Watcher
    from mlframework.search.read import ReadConfig
    from mlframework.search.resources import Resources
    from mlframework.search.study import OpenStudy
    from mlframework.search.training_run import LoadSplits
    from mlframework.search.workers.forked import Nursery
    from mlframework.search.workers.job import Launcher

_WITH_RAY = 2  # workers where nobody says how many: a cluster that others use as well is not taken whole


@dataclass(frozen=True)
class Workers:
    """With which workers a study is searched.

    Attributes:
        count: how many; 1 on this machine is this process itself.
        launcher: what starts them, a key of `LAUNCHERS`.
        ray_address: of a Ray cluster; None: `RAY_ADDRESS`, or a Ray of its own on this machine.
        storage_proxy: whether they reach the study's database through this process.
        nursery: of which they are forked, where that is so.
    """

    count: int = 1
    launcher: str = "local"
    ray_address: str | None = None
    storage_proxy: bool = False
    nursery: Nursery | None = field(default=None, compare=False)

    @classmethod
    def asked_for(
        cls, count: int | None, launcher: str, ray_address: str | None, storage_proxy: bool,
        wording: Wording = COMMAND_LINE,
    ) -> Workers:  # fmt: skip
        """Return what the options ask for.

        Raises:
            ConfigError: an option that has no effect beside the others.
        """
        if launcher not in LAUNCHERS:
            raise ConfigError([Problem("search", "launcher", unknown(launcher, LAUNCHERS, "launcher"))])
        idle = {"ray_address": ray_address is not None, "storage_proxy": storage_proxy} if launcher != "ray" else {}
        with_ray = 'launcher="ray"' if wording.is_python else "--launcher ray"
        what = f"has an effect with {with_ray} only; add that, or leave this out"
        command = "search" if wording.is_python else "ml-search"
        options = [
            name if wording.is_python else f"--{name.replace('_', '-')}" for name, given in idle.items() if given
        ]
        problems = [Problem(command, option, what) for option in options]
        if problems:
            raise ConfigError(problems)
        return cls(count or (_WITH_RAY if launcher == "ray" else 1), launcher, ray_address, storage_proxy)

    @property
    def is_this_process(self) -> bool:
        """Whether there is no need to start any."""
        return self.count == 1 and self.launcher == "local"

    @contextmanager
    def prepared(self) -> Iterator[Workers]:
        """Let what this machine's workers import be imported from now on, while this process reads config and data."""
        if self.is_this_process or self.launcher != "local":
            yield self
            return
        from mlframework.search.workers.forked import Nursery

        nursery = Nursery.where_possible()
        try:
            yield replace(self, nursery=nursery)
        finally:
            if nursery is not None:
                nursery.close()

    def prepare_for(self, read: ReadConfig) -> None:
        """Let that be imported as well which the trainings of a config need."""
        if self.nursery is not None:
            self.nursery.prepare(read.config.model.imports)

    @property
    def at_once(self) -> int:
        """How many trainings share the threads of this machine."""
        return self.count if self.launcher == "local" else 1

    @property
    def threads(self) -> int | None:
        """Threads of a training where the config does not say; None: this machine's are shared out."""
        from mlframework.search.resources import Resources

        return None if self.launcher == "local" else Resources().cpu

    def check(self, read: ReadConfig) -> None:
        """Refuse what these workers can't search, before a study is made of it.

        Raises:
            ConfigError: with the reason.
            MissingExtraError: Ray is not installed.
            RunError: there is no cluster at the address.
        """
        problems = _problems_with_ray(read, self.storage_proxy) if self.launcher == "ray" else _problems_here(read)
        if not self.is_this_process:
            problems += _problems_with_ranks(read)
        if problems:
            raise ConfigError(problems)
        if self.launcher == "ray":
            from mlframework.search.workers.cluster import check_address

            check_address(self.ray_address)

    def describe(self, study: OpenStudy, read: ReadConfig) -> str:
        """Say how many search, with how many threads each, and how they share a file."""
        threads = study.spec.space.base["training"]["num_threads"]
        if self.launcher == "ray":
            has = resources_of(read).in_words()
            proxy = "; they reach the storage through this process" if self.storage_proxy else ""
            return f"{self.count} workers on Ray, {has} each, threads a training: {threads}{proxy}"
        how = {
            "sqlite": "SQLite in write-ahead mode: its file has to be on a disk of this machine",
            "journal": "a journal file",
        }
        shared = how.get(study.spec.storage.partition(":")[0])
        return f"{self.count} workers, threads a training: {threads}" + (f"; {shared}" if shared else "")


def resources_of(read: ReadConfig) -> Resources:
    """Return what each worker reserves."""
    assert read.config.search is not None
    from mlframework.search.resources import Resources

    return read.config.search.resources or Resources()


def _problems_here(read: ReadConfig) -> list[Problem]:
    resources = resources_of(read)
    what = "is reserved by --launcher ray only; add that, or leave this out"
    given = {"gpu": resources.gpu, "memory_gb": resources.memory_gb}
    return [
        read.document.problem(("search", "resources", key), what)
        for key, value in given.items()
        if value is not None and value > 0
    ]


def _problems_with_ranks(read: ReadConfig) -> list[Problem]:
    """Refuse trials that are trained in several processes each: a worker is one process."""
    if read.config.training.trainer_type != "distributed":
        return []
    again = " --trainer_type distributed" if "training.trainer_type" in read.overrides else ""
    what = (
        "a worker trains its trials in one process each: set it to standard, which trains the same; or leave the workers out, "
        "and let torchrun start the processes that train one trial after the other together: torchrun --standalone "
        f"--nproc-per-node 2 --no-python ml-search --config {read.document.name}{again}"
    )
    return [read.document.problem(("training", "trainer_type"), what)]


def _problems_with_ray(read: ReadConfig, storage_proxy: bool) -> list[Problem]:
    search = read.config.search
    assert search is not None
    problems = []
    kind = search.storage.partition(":")[0]
    if kind == "sqlite" and not storage_proxy:
        what = (
            "SQLite is a file of one machine's disk, and the workers of --launcher ray may run on any; name a server, "
            "postgresql://user:${DB_PASSWORD}@host/db, or add --storage-proxy, so that this process alone opens the file"
        )
        problems.append(read.document.problem(("search", "storage"), what))
    if kind == "journal" and storage_proxy:
        what = "Optuna's proxy can't stand in front of a journal file; name a database, or leave out --storage-proxy"
        problems.append(read.document.problem(("search", "storage"), what))
    device, gpu = read.config.device, resources_of(read).gpu
    if device.startswith("cuda") and not gpu:
        what = f"{device} needs a GPU, and the workers reserve none; set search.resources.gpu"
        problems.append(read.document.problem(("device",), what))
    elif device.startswith("cuda:"):
        what = f"{device}: Ray chooses which GPU a worker has; write cuda, or auto"
        problems.append(read.document.problem(("device",), what))
    return problems


def _local(study: OpenStudy, read: ReadConfig, workers: Workers) -> Launcher:
    from mlframework.search.workers.local import LocalLauncher, visible_gpus

    return LocalLauncher(study.spec.folder, visible_gpus(read.config.device), workers.nursery)


def _ray(study: OpenStudy, read: ReadConfig, workers: Workers) -> Launcher:
    from mlframework.search.workers.ray import ray_launcher

    return ray_launcher(study, read, workers)


LAUNCHERS: Mapping[str, Callable[[OpenStudy, ReadConfig, Workers], Launcher]] = {
    "local": _local,
    "ray": _ray,
}


def search_as(study: OpenStudy, read: ReadConfig, workers: Workers, load: LoadSplits, watcher: Watcher) -> SearchEnd:
    """Search a study in this process, which then gets its data by `load`, or with workers.

    Raises:
        MlframeworkError: the search can't go on.
        Terminated, KeyboardInterrupt: told to stop; everything finished is saved.
    """
    if workers.is_this_process:
        from mlframework.search.loop import search

        return search(study, load, watcher)
    from mlframework.search.workers.crew import job_of, search_with_workers

    launcher = LAUNCHERS[workers.launcher](study, read, workers)
    try:
        return search_with_workers(study, job_of(study, read), launcher, workers.count, watcher)
    finally:
        launcher.close()
