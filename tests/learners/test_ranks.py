"""What a process knows of its place among others, before there is any torch."""

import io
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from mlframework.cli.ranks import led, require_one_process, with_processes
from mlframework.config.yaml import Document
from mlframework.data.batches import FetchTensors
from mlframework.errors import ConfigError, OutOfMemoryError, TrainingError
from mlframework.learners import distribution
from mlframework.learners.base import n_threads
from mlframework.learners.distribution import Alone, Ranks, build_distribution, device_of_rank
from mlframework.learners.follower import _report
from mlframework.learners.rank_norm import Counting, RankBatchNorm, with_rank_norms
from mlframework.learners.ranks import Place, comparable, place, require_place
from mlframework.learners.sending import _Pickler, _Unpickler
from mlframework.learners.settings import StepSettings
from mlframework.learners.team import _as_error

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.fixture
def torchrun() -> Iterator[None]:
    with mock.patch.dict(os.environ, TORCHRUN):
        yield


def test_a_process_without_torchrun_has_no_place() -> None:
    assert place() is None
    with pytest.raises(TrainingError, match="torchrun --standalone --nproc-per-node 2 --no-python ml-"):
        require_place("distributed")
    require_place("standard")
    require_place("mixed_precision")


def test_the_hint_has_the_command_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/ml-search", "--config", "my file.yaml"])
    with pytest.raises(TrainingError, match=r"--no-python ml-search --config 'my file.yaml'; use"):
        require_place("distributed")


@pytest.mark.parametrize("trainer_type", ["standard", "mixed_precision"])
def test_one_of_several_processes_does_not_train_by_itself(torchrun: None, trainer_type: str) -> None:
    assert place() == Place(1, 2, 1)
    with pytest.raises(TrainingError, match=f"{trainer_type} trains in one process, and torchrun has started 2"):
        require_place(trainer_type)
    with mock.patch.dict(os.environ, {"WORLD_SIZE": "1", "RANK": "0"}):
        require_place(trainer_type)


def test_commands_are_run_by_the_first_process_alone(torchrun: None) -> None:
    def command() -> None: ...

    assert led(command) is not command
    with mock.patch.dict(os.environ, {"WORLD_SIZE": "1"}):
        assert led(command) is command
    with pytest.raises(ConfigError, match="--workers: starts processes of its own"):
        require_one_process("--workers")


def test_one_process_and_several_train_the_same() -> None:
    assert comparable({}) == comparable({"trainer_type": "standard"}) == comparable({"trainer_type": "distributed"})
    assert comparable({"trainer_type": "mixed_precision", "x": 1}) == {"trainer_type": "mixed_precision", "x": 1}


def test_a_resume_may_ask_for_several_processes_and_nothing_else() -> None:
    document = Document({"training": {"batch_size": 8}})
    assert with_processes(document, {}) is document
    found = with_processes(document, {"trainer_type": "distributed"})
    assert found.tree == {"training": {"batch_size": 8, "trainer_type": "distributed"}}
    assert with_processes(found, {"training.trainer_type": "standard"}).tree["training"]["trainer_type"] == "standard"
    with pytest.raises(ConfigError, match="of trainer_type: standard cannot go on with mixed_precision"):
        with_processes(document, {"trainer_type": "mixed_precision"})


def test_processes_on_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert n_threads() == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # torchrun sets OMP_NUM_THREADS to 1, too
    assert n_threads() == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert n_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert n_threads() == 3


def test_each_rank_has_a_gpu_or_all_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert device_of_rank("auto") == device_of_rank("cpu") == "cpu"
    with pytest.raises(TrainingError, match="2 processes and 0 GPUs on this machine"):
        device_of_rank("cuda")
    with pytest.raises(TrainingError, match="cuda:1 is one for all processes"):
        device_of_rank("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TrainingError, match="2 processes and 1 GPUs"):
        device_of_rank("auto")


def test_without_a_group_there_is_no_distribution() -> None:
    assert isinstance(build_distribution(StepSettings(), "cpu"), Alone)
    with pytest.raises(TrainingError, match="works in ml-train and ml-search"):
        build_distribution(StepSettings(trainer_type="distributed"), "cpu")


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 7, 10])
def test_the_parts_of_a_batch_are_the_batch(world: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution.distributed, "get_world_size", lambda: world)
    users, items = np.arange(n) + 100, np.arange(n) + 200
    fetch, rows, targets = FetchTensors(users, items, device="cpu"), torch.arange(n), torch.from_numpy(items)
    seen: list[int] = []
    for rank in range(world):
        monkeypatch.setattr(distribution.distributed, "get_rank", lambda rank=rank: rank)
        ranks = Ranks("cpu")
        batch, pairs = ranks.cut(fetch, rows, targets), ranks.cut_pairs(fetch, rows, targets)
        seen += batch.own.tolist()
        assert len(batch.inputs[0]) == max(1, len(batch.own)) and torch.equal(batch.whole, targets)
        assert torch.equal(pairs.own, batch.own) and torch.equal(pairs.inputs[0], batch.inputs[0])
        # All items of the batch, each user's own one in its row.
        assert sorted(pairs.inputs[1].tolist()) == items.tolist() and torch.equal(pairs.inputs[1], pairs.targets)
        assert (pairs.inputs[1][: len(pairs.own)] - pairs.inputs[0][: len(pairs.own)] == 100).all()
    assert seen == items.tolist()


def test_batch_normalisations_keep_their_names_and_say_the_same_after_training() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm1d(4, affine=False)))
    names, inputs = list(module.state_dict()), torch.randn(5, 3)
    expected = module.eval()(inputs)
    replaced = with_rank_norms(module, Counting()).eval()
    assert list(replaced.state_dict()) == names and torch.equal(replaced(inputs), expected)
    assert sum(isinstance(each, RankBatchNorm) for each in replaced.modules()) == 2


class Crafted:
    """Pickled, it would run a command where it is read."""

    def __init__(self, touched: Path) -> None:
        self._touched = touched

    def __reduce__(self) -> object:
        return os.system, (f"touch {self._touched}",)


def test_a_crafted_object_runs_nothing_on_another_rank(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for content in (pickle.dumps(Crafted(touched)), b"cmlframework.cli.console\nrun\n(tR."):
        with pytest.raises(pickle.UnpicklingError, match="is nothing that a rank sends to another one"):
            _Unpickler(io.BytesIO(content), {}).load()
    assert not touched.exists()


def test_arrays_go_beside_an_object_and_keep_their_keys() -> None:
    array = np.arange(6).reshape(2, 3).T  # not contiguous
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, {}, 0)
    pickler.dump({"one": array, "same": array, "text": np.array(["a", None], dtype=object)})
    assert [key for key, _ in pickler.used.values()] == [0]
    found = _Unpickler(io.BytesIO(buffer.getvalue()), {0: array}).load()
    assert found["one"] is found["same"] is array and found["text"].tolist() == ["a", None]


@pytest.mark.parametrize(
    ("error", "kind", "raised"),
    [
        (MemoryError("no room"), "memory", MemoryError),
        (OutOfMemoryError("no room"), "memory", MemoryError),
        (TrainingError("settings"), "user", TrainingError),
        (ZeroDivisionError("ours"), "defect", RuntimeError),
    ],
)
def test_what_a_rank_raised_is_raised_by_the_leader(error: Exception, kind: str, raised: type[Exception]) -> None:
    report = json.loads(_report(error))
    assert report["kind"] == kind
    found = _as_error(3, report)
    assert type(found) is raised and str(found).startswith(f"rank 3: {error}")
