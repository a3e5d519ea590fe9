"""How images get to a model: kept as bytes, once for all trials, and never one by one."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

from mlframework.data.batches import FetchTensors
from mlframework.experiment import ExperimentConfig, build_learner, load_data

MakeConfig = Callable[..., ExperimentConfig]


def calls_of(work: Callable[[], object]) -> int:
    """Return how many Python functions are called while something is done."""
    n = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal n
        n += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return n


@pytest.mark.parametrize("augment", ["none", "light"])
def test_an_epoch_calls_no_function_for_each_image(augment: str, make_config: MakeConfig) -> None:
    """Twice the images in batches of twice the size: as many calls."""
    found = []
    for fraction, batch_size in ((0.5, 6), (1.0, 12)):
        changes = {"data.fraction": fraction, "data.augment": augment, "training.batch_size": batch_size}
        config = make_config("small cnn", **changes)
        splits = load_data(config)
        learner = build_learner(config, splits)
        learner.train_epoch()  # the first one asks the schedule for nothing, and it and the next do what is done once
        calls = min(calls_of(learner.train_epoch) for _ in range(2))
        found.append((len(splits.train), learner.steps_per_epoch, calls))  # type: ignore[attr-defined]
    (few, steps, calls_of_few), (many, steps_of_many, calls_of_many) = found
    assert many > 1.9 * few and steps == steps_of_many
    assert calls_of_few == calls_of_many > 0


def test_all_trials_train_on_the_same_bytes(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels are uint8 and lie in memory once, whatever a trial changes of the model, its training or the augmentation."""
    places: list[int] = []
    fetch = FetchTensors.__call__

    def noted(self: FetchTensors, rows: Any) -> Any:
        places.append(fetch(self, slice(0, 1))[0].data_ptr())
        return fetch(self, rows)

    monkeypatch.setattr(FetchTensors, "__call__", noted)
    seen = []
    for changes in (
        {},
        {"optimizer.lr": 0.1, "data.augment": "light"},
        {"model.channels": 8, "training.batch_size": 4},
    ):
        config = make_config("small cnn", **changes)
        splits = load_data(config)
        learner = build_learner(config, splits)
        learner.train_epoch()
        learner.evaluate("val")
        parts = (splits.train.pixels, splits.val.pixels)
        assert all(part.dtype == np.uint8 for part in parts)
        assert set(places) == {part.ctypes.data for part in parts}
        seen.append(set(places))
        places.clear()
    assert seen[0] == seen[1] == seen[2]


def test_trials_on_a_fraction_share_it_too(make_config: MakeConfig) -> None:
    half, again = (load_data(make_config("small cnn", **{"data.fraction": 0.5, "model.channels": n})) for n in (2, 3))
    assert half.train.pixels is again.train.pixels
    whole = load_data(make_config("small cnn"))
    assert len(whole.train) > len(half.train)
    assert len(load_data(make_config("small cnn", **{"data.fraction": 0.25})).train) < len(half.train)
