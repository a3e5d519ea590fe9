"""Workers on a real Ray cluster of this machine: one node sees the study's folder, another one has a disk of its own."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mlframework.errors import MlframeworkError, RunError
from mlframework.search.loop import SearchEnd
from mlframework.search.read import read_config
from mlframework.search.start import load, open_search
from mlframework.search.study import OpenStudy
from mlframework.search.workers.cluster import QUIET, Cluster
from mlframework.search.workers.job import Job
from mlframework.search.workers.launch import Workers, search_as
from mlframework.search.workers.relay import NODE_FOLDER, Order, Relay
from support.postgres import NewDatabase
from support.searches import Watched, run_search, tree, write_config, write_table

pytest.importorskip("ray", reason="the extra ray is not installed")

EPOCHS = 500  # so many that a trial is not over before what it says is heard: relays send it once a second
LONG = {"training.num_epochs": EPOCHS, "search.n_trials": 4}
OWN_DISK = {"search.resources.gpu": 0.5}
"""Resources that only the node with a disk of its own has."""


class Nodes:
    """A cluster; nodes are added to it, each of which says where its workers work."""

    def __init__(self) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        from ray.cluster_utils import Cluster as Machines

        self.machines = Machines()
        self.add(num_cpus=2)

    @property
    def address(self) -> str:
        return str(self.machines.address)

    def add(self, folder: Path | None = None, environment: dict[str, str] | None = None, **resources: float) -> Any:
        """Add a node."""
        environment = {**({NODE_FOLDER: str(folder)} if folder is not None else {}), **(environment or {})}
        return self.machines.add_node(
            include_dashboard=False, object_store_memory=80 * 2**20, env_vars=environment, **resources
        )


@pytest.fixture(scope="module")
def own_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("node")
    write_table(folder / "table.csv")
    return folder


@pytest.fixture(scope="module")
def nodes(own_disk: Path) -> Iterator[Nodes]:
    found = Nodes()
    found.add(own_disk, num_cpus=2, num_gpus=1)
    yield found
    found.machines.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, float | None]]:
    """What the same search finds in one process that nobody kills."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("alone"))
    try:
        return _values(run_search(LONG)[1])
    finally:
        os.chdir(before)


def _search(
    nodes: Nodes, changes: dict[str, Any], watched: Watched, proxy: bool = False, count: int = 2, resume: bool = False
) -> tuple[OpenStudy, SearchEnd]:
    """Search in the present folder with workers of the cluster."""
    workers = Workers.asked_for(count, "ray", nodes.address, proxy)
    read = read_config(str(write_config(changes)), {}, at_once=workers.at_once, threads=workers.threads)
    workers.check(read)
    study = open_search(read, resume, 0)
    watched.study = study  # type: ignore[attr-defined]
    return study, search_as(study, read, workers, load, watched)


def _process_of(watched: Watched, number: int) -> int:
    """Return the process that trains a trial: its lease says so."""
    study: OpenStudy = watched.study  # type: ignore[attr-defined]
    leases = study.leases._ledger.read()
    return int(next(lease.owner for lease in leases if lease.trial == number).split("|")[2])


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def _values(end: SearchEnd) -> list[tuple[str, float | None]]:
    """Return what the trials came to; which of two that begin at once has which number is chance."""
    return sorted((record.state, record.value) for record in end.records)


def _assert_gone_on(watched: Watched, number: int, folder: Path) -> None:
    """Assert that a trial was lost once and went on from a later epoch than the first."""
    assert watched.lost.count(number) == 1
    assert [each[0] for each in watched.started].count(number) == 2
    lines = [json.loads(line) for line in (folder / f"trial_{number:04d}" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, EPOCHS + 1))
    heard = [epoch for each, epoch, _ in watched.epochs if each == number]
    [(_, again_from)] = [(before, after) for before, after in pairwise(heard) if after <= before]
    assert max(heard) == EPOCHS and again_from > 1, f"it began again at epoch {again_from}"


def test_two_workers_share_a_study_and_the_trials_of_lost_ones_go_on(
    nodes: Nodes, here: Path, own_disk: Path, postgres: NewDatabase, undisturbed: list[Any]
) -> None:
    """One works in the study's folder, the other one on a node with a disk of its own, which is lost with it."""
    at: dict[int, int] = {}  # trials that are trained, and their epochs
    killed: list[int] = []

    def kill(number: int, epoch: int, value: float) -> None:
        at[number] = epoch
        trained = [each for each, last in at.items() if each not in watched.ended and 80 <= last <= EPOCHS - 200]
        if killed or len(trained) < 2:
            return
        killed.extend(trained)
        for pid in [_process_of(watched, each) for each in trained]:
            with_ray = os.readlink(f"/proc/{pid}/cwd") == str(own_disk)
            # Of Ray's process the worker notices that it is gone, and leaves.
            os.kill(_parent(pid) if with_ray else pid, signal.SIGKILL)
        shutil.rmtree(own_disk / "runs", ignore_errors=True)

    watched = Watched(on_epoch=kill)
    study, end = _search(nodes, {**LONG, "search.storage": postgres(), "search.resources.cpu": 2}, watched)
    assert end.why == "done"
    assert len({number for number, _, _ in watched.started}) == 4
    assert sorted(watched.lost) == sorted(killed)
    folder = study.spec.folder.path
    for number in killed:
        _assert_gone_on(watched, number, folder)
    assert {path.name for path in folder.iterdir()} >= {"best_config.yaml", "results.json", "trials.csv", "trial_0003"}
    assert not list(folder.glob(".ray-*"))
    assert "is process" in (folder / "workers" / "worker_1.log").read_text()
    assert _values(end) == undisturbed, "to the last digit"


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced(nodes: Nodes, here: Path, undisturbed: list[Any]) -> None:
    killed: list[int] = []

    def kill(number: int, epoch: int, value: float) -> None:
        if epoch == 100 and not killed:
            killed.append(number)
            os.kill(_process_of(watched, number), signal.SIGKILL)

    watched = Watched(on_epoch=kill)
    study, end = _search(nodes, {**LONG, "search.storage": "journal:///x.log"}, watched)
    _assert_gone_on(watched, killed[0], study.spec.folder.path)
    assert _values(end) == undisturbed, "to the last digit"


@pytest.mark.slow
def test_a_node_with_a_disk_of_its_own_gives_all_run_folders(
    nodes: Nodes, here: Path, own_disk: Path, undisturbed: list[Any]
) -> None:
    """Both workers are there, and reach the study's SQLite file through this process."""
    study, end = _search(nodes, {**LONG, **OWN_DISK}, Watched(), proxy=True)
    folder = study.spec.folder.path
    kept = {path.parent.parent.name for path in folder.glob("trial_*/checkpoints/best.pt")}
    best = sorted((record.value, record.number) for record in end.records if record.value is not None)
    assert kept == {f"trial_{number:04d}" for _, number in best[:3]}, "the best keep their checkpoints"
    assert len(list(folder.glob("trial_*/result.json"))) == 4
    assert not list(own_disk.glob("runs/optuna_studies/*/trial_*")), "what was sent is not kept there"
    assert _values(end) == undisturbed, "to the last digit"


@pytest.mark.slow
def test_a_node_that_dies_is_waited_for_and_its_trials_go_on(
    nodes: Nodes, here: Path, postgres: NewDatabase, tmp_path_factory: pytest.TempPathFactory, undisturbed: list[Any]
) -> None:
    killed: list[int] = []
    folder = tmp_path_factory.mktemp("mortal")
    shutil.copy("table.csv" if Path("table.csv").exists() else write_table(Path("table.csv")), folder)
    mortal = nodes.add(folder, num_cpus=4)

    def kill(number: int, epoch: int, value: float) -> None:
        if epoch == 100 and not killed:
            killed.append(number)
            nodes.machines.remove_node(mortal, allow_graceful=False)
            shutil.rmtree(folder)
            (again := tmp_path_factory.mktemp("again")).joinpath("table.csv").write_bytes(
                Path("table.csv").read_bytes()
            )
            nodes.add(again, num_cpus=4)

    watched = Watched(on_epoch=kill)
    _, end = _search(nodes, {**LONG, "search.storage": postgres(), "search.resources.cpu": 4}, watched, count=1)
    assert watched.lost == killed
    assert _values(end) == undisturbed, "to the last digit"
    heard = [epoch for number, epoch, _ in watched.epochs if number == killed[0]]
    assert len(heard) - len(set(heard)) < 20, "it went on"


def test_what_no_node_has_is_an_error_that_says_what_they_have(nodes: Nodes, here: Path) -> None:
    with pytest.raises(
        RunError, match=r"needs 64 CPUs \(search\.resources\), and no node .*2 CPUs, . GPUs.*; 2 CPUs, . GPUs"
    ):
        _search(nodes, {"search.storage": "journal:///x.log", "search.resources.cpu": 64}, Watched())


def test_a_journal_that_a_node_does_not_see_is_an_error(nodes: Nodes, here: Path) -> None:
    with pytest.raises(MlframeworkError, match=r"node .* does not see the journal file"):
        _search(nodes, {"search.storage": "journal:///x.log", **OWN_DISK}, Watched(), count=1)


@pytest.mark.slow
def test_a_node_without_mlframework_is_an_error(nodes: Nodes, here: Path) -> None:
    (here / "shadow" / "mlframework").mkdir(parents=True)
    (here / "shadow" / "mlframework" / "__init__.py").write_text("import mlframework.is_not_here")
    node = nodes.add(environment={"PYTHONPATH": str(here / "shadow")}, num_cpus=8)
    try:
        with pytest.raises(
            RunError, match=r"node [\d.]+ can't import mlframework.* in the Python that `ray start` runs with"
        ):
            _search(nodes, {"search.resources.cpu": 8}, Watched(), proxy=True, count=1)
    finally:
        nodes.machines.remove_node(node)


def test_a_cluster_that_is_not_there_is_an_error(here: Path) -> None:
    with pytest.raises(RunError, match=r"--launcher ray: 127\.0\.0\.1:1 can't be used: .*refused.*ray start --head"):
        Cluster.connect("127.0.0.1:1")


@pytest.mark.slow
def test_data_that_a_node_does_not_have_is_an_error_with_the_nodes_name(here: Path) -> None:
    """The relay by itself: it needs no Ray."""
    relay = Relay()
    relay.start(
        Order(
            job=Job(0, tree({"search.storage": "journal:///x.log"}), "config.yaml"), folder=here, study=Path("s"),
            mark="m", journal=None, environment={}, has_gpu=False, version=version("mlframework"),
        )
    )  # fmt: skip
    said: list[Any] = []
    while not said or said[-1]["event"] != "gone":
        said += relay.hear()
    error = next(each for each in said if each["event"] == "error")
    assert "table.csv" in error["message"] and "(on node " in error["message"]
    assert said[-1]["how"] == "error"
