"""Corners of search spaces, what they take, and what is predicted from them."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from mlframework.errors import DataError, StudyError
from mlframework.runs import read_json
from mlframework.search import probe
from mlframework.search.corners import Corner, Corners, corners, costs
from mlframework.search.dry_run import DRAWS, DryRun, dry_run, mean_seconds
from mlframework.search.keep import Keep
from mlframework.search.parameters import Categorical
from mlframework.search.probe import Measured, Prober, measure
from mlframework.search.read import ReadConfig, read_config
from mlframework.search.space import Space
from support.cases import draws
from support.searches import run_search, tree, write_config

SPACE: dict[str, Any] = {
    "optimizer.lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
    "optimizer.type": {"type": "categorical", "choices": ["sgd", "adam"]},
    "optimizer.momentum": {"type": "uniform", "low": 0.0, "high": 0.9},
    "model.hidden_size": {"type": "int", "low": 2, "high": 32},
    "training.batch_size": {"type": "categorical", "choices": [32, 8, 16]},
}


def read(changes: dict[str, Any]) -> ReadConfig:
    return read_config(str(write_config(changes)), {})


def space_of(changes: dict[str, Any]) -> Space:
    space = read(changes).space
    assert space is not None
    return space


def by_name(found: Corners) -> dict[str, dict[str, Any]]:
    return {corner.name: dict(corner.params) for corner in found.tried}


# Corners


def test_corners_are_the_middle_the_ends_and_the_costly_first(here: Path) -> None:
    found = corners(space_of({"search_space": SPACE}))
    names = by_name(found)
    assert list(names)[:4] == ["middle", "all low", "all high", "all high, smallest batches"]
    costly = {"model.hidden_size 2", "model.hidden_size 32", "training.batch_size 8", "training.batch_size 32"}
    assert set(list(names)[4:8]) == costly
    assert names["middle"] == {"optimizer.lr": pytest.approx(1e-3), "optimizer.type": "sgd", "optimizer.momentum": 0.45,
                               "model.hidden_size": 17, "training.batch_size": 16}  # fmt: skip
    assert names["all high"]["training.batch_size"] == 32 and names["all low"]["model.hidden_size"] == 2
    assert names["all high, smallest batches"] == {**names["all high"], "training.batch_size": 8}
    # With adam there is no momentum.
    assert "optimizer.momentum" not in names["optimizer.type adam"]
    assert len({str(params) for params in names.values()}) == len(names) and found.left_out == 0


def test_a_conditional_parameter_is_tried_beside_what_it_needs(here: Path) -> None:
    adam = {**SPACE, "optimizer.type": {"type": "categorical", "choices": ["adam", "sgd"]}}
    names = by_name(corners(space_of({"search_space": adam, "optimizer": {"type": "adam", "lr": 0.1}})))
    assert names["middle"]["optimizer.type"] == "adam"
    assert names["optimizer.momentum 0.9"]["optimizer.type"] == "sgd"


def test_corners_keep_the_constraints_and_are_few(here: Path) -> None:
    found = corners(space_of({"search_space": SPACE, "search.constraints": ["training.batch_size < 32"]}))
    assert {"all high", "training.batch_size 32"} <= set(found.infeasible)
    assert not set(found.infeasible) & set(by_name(found))
    few = corners(space_of({"search_space": SPACE}), 5)
    assert len(few.tried) == 5 and few.left_out == len(corners(space_of({"search_space": SPACE})).tried) - 5


def test_what_costs() -> None:
    sizes = Categorical(type="categorical", choices=[1, 2])
    assert costs("model.hidden_size", sizes) and costs("data.image_size", sizes) and costs("training.num_epochs", sizes)
    assert not costs("model.dropout", Categorical(type="categorical", choices=[0.1, 0.2])) and not costs(
        "optimizer.lr", sizes
    )


# What a corner takes


def test_a_corner_is_measured(here: Path) -> None:
    write_config()
    found = measure({key: value for key, value in tree().items() if key != "search"})
    assert found.error is None and found.num_epochs == 3 and found.gpu_bytes == 0
    assert 0 < found.epoch_seconds < found.training_seconds and found.checkpoint_bytes > 500
    assert found.peak_bytes > 50e6


@pytest.mark.parametrize("family", ["als", "bpr", "two_tower", "image classifier"])
def test_every_kind_of_learner_is_measured(planted: dict[str, Any], family: str) -> None:
    found = measure(planted[family])
    assert found.error is None and found.epoch_seconds > 0 and found.num_epochs == 4


def _die(tree: Any, sender: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_corner_that_dies_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prober = Prober(with_torch=False)
    monkeypatch.setattr(probe, "_child", _die)
    assert prober.try_out({}).error == "the process was killed, as a system does that runs out of memory"


# The prediction


def test_costs_of_draws_are_put_together_from_the_corners(here: Path) -> None:
    """An epoch takes as long as the layer is wide: the law is found again from two ends and the middle."""
    space = space_of({"search_space": {
        "model.hidden_size": {"type": "int", "low": 2, "high": 32, "log": True},
        "training.num_epochs": {"type": "categorical", "choices": [2, 4]},
    }})  # fmt: skip
    found = corners(space).tried

    def law(corner: Corner) -> Measured:
        size, epochs = corner.params["model.hidden_size"], corner.params["training.num_epochs"]
        assert isinstance(size, int) and isinstance(epochs, int)
        return Measured(epoch_seconds=100 * size / 8, num_epochs=epochs)

    predicted = mean_seconds(space, found, [law(corner) for corner in found])
    exact = [law(Corner("", params)).training_seconds for params in draws(space, DRAWS)]
    expected = mean(exact)
    assert predicted == pytest.approx(expected, rel=1e-6)
    some = [law(corner) if number else replace(law(corner), error="x") for number, corner in enumerate(found)]
    assert mean_seconds(space, found, some) == pytest.approx(expected, rel=0.25)
    assert mean_seconds(space, found, [Measured(error="x")] * len(found)) is None


def test_a_search_takes_its_start_and_its_trials() -> None:
    each = Measured(num_epochs=10, load_seconds=2, build_seconds=1, epoch_seconds=1, checkpoint_bytes=1_000_000)
    one = Corners([Corner("middle", {})], [], 0)
    found = DryRun(one, [each], 20, 5, 3.0, 60.0)
    low, high = found.trial_seconds
    assert low == high == pytest.approx(5 * each.training_seconds)
    assert found.search_seconds == (pytest.approx(3 + 2 + 20 * 60), pytest.approx(3 + 2 + 20 * high))
    # The best three keep 2 checkpoints a fold, the running one has 2 more while it saves.
    assert found.disk_bytes == (3 * 2 * 5 + 2 * 5 + 2) * 1_000_000 + 20 * 5 * 30_000
    limited = replace(found, keep=Keep(max_gb=0.004))
    assert limited.disk_bytes == 4_000_000 + (2 * 5 + 2) * 1_000_000 + 20 * 5 * 30_000


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_a_dry_run_predicts_a_real_search_and_leaves_nothing_behind(here: Path) -> None:
    """The disk's prediction is a bound that a real search keeps, and not by more than the three checkpoints' worth."""
    space = {"model.hidden_size": {"type": "categorical", "choices": [4, 64]}}
    changes = {"search_space": space, "tracking.tensorboard": True}
    seen: list[int] = []
    found = dry_run(read(changes), lambda done, all_of_them: seen.append(done))
    assert sorted(path.name for path in here.iterdir()) == ["config.yaml", "table.csv"]
    assert [each.error for each in found.measured] == [None, None] and seen == [0, 1, 2]
    assert found.n_trials == 2, "there are two combinations"
    small, large = found.measured
    assert max(small.checkpoint_bytes, large.checkpoint_bytes) > min(small.checkpoint_bytes, large.checkpoint_bytes)

    study, _ = run_search(changes)
    written = sum(path.stat().st_size for path in study.spec.folder.path.rglob("*") if path.is_file())
    assert written <= found.disk_bytes
    trial = study.spec.folder.trial(0)
    assert read_json(trial.result)["seconds"] > 0


def test_what_cannot_be_tried(here: Path) -> None:
    gone = read({})
    Path("table.csv").unlink()
    with pytest.raises(DataError, match=r"table\.csv: there is no such file"):
        dry_run(gone, lambda *_: None)
    idle = read({"search_space": {"optimizer.momentum": {**SPACE["optimizer.momentum"], "when": {"optimizer.type": "sgd"}}},
                 "optimizer": {"type": "rmsprop", "lr": 0.1}})  # fmt: skip
    with pytest.raises(StudyError, match="no parameter exists"):
        dry_run(idle, lambda *_: None)
