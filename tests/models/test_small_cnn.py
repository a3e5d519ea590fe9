"""The network of two convolutions: what it computes, at every size of image, and in which layout."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from mlframework.errors import TrainingError
from mlframework.experiment import ExperimentConfig, build_learner, load_data
from mlframework.models.small_cnn import SmallCnn

MakeConfig = Callable[..., ExperimentConfig]


def textbook(channels: int, n_classes: int, size: int) -> nn.Module:
    """The network as one writes it down."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(2 * channels * (size // 4) ** 2, n_classes),
    )  # fmt: skip


def passed(module: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
    """Return its raw outputs, and the gradients of its weights."""
    raw = module(images)
    functional.cross_entropy(raw, targets).backward()  # type: ignore[no-untyped-call]
    return [raw.detach(), *(each.grad for each in module.parameters() if each.grad is not None)]


@pytest.mark.parametrize("size", [8, 9, 15, 32, 101])
def test_it_is_the_network_of_the_textbooks_to_the_bit(size: int) -> None:
    """First weights, outputs and gradients: ReLU after the max-pool instead of before changes nothing."""
    torch.manual_seed(3)
    ours = SmallCnn(architecture="small_cnn", channels=6).build(4, size)
    torch.manual_seed(3)
    theirs = textbook(6, 4, size)
    # Flat parts of a picture, where several are the largest, and some of them exactly nothing.
    images = torch.randint(-2, 3, (5, 3, size, size)).float().relu()
    targets = torch.arange(5) % 4
    found, expected = passed(ours, images, targets), passed(theirs, images, targets)
    assert found[0].shape == (5, 4)
    assert len(found) == len(expected) == 7
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_dropout_is_before_the_linear_layer_and_only_in_training() -> None:
    module = SmallCnn(architecture="small_cnn", dropout=0.5, channels=2).build(3, 8)
    *_, dropout, linear = module.children()
    assert isinstance(dropout, nn.Dropout) and dropout.p == 0.5 and isinstance(linear, nn.Linear)
    images = torch.rand(2, 3, 8, 8)
    assert not torch.equal(module(images), module(images))
    module.eval()
    assert torch.equal(module(images), module(images))


def test_one_that_is_too_large_for_the_memory_is_refused_by_its_settings() -> None:
    with pytest.raises(TrainingError, match=r"make model\.channels or data\.image_size smaller"):
        SmallCnn(architecture="small_cnn", channels=100_000).build(10, 2048)


@pytest.mark.parametrize(
    ("model", "last"),
    [
        ({"architecture": "small_cnn", "channels": 2}, True),
        ({"architecture": "shufflenet_v2_x0_5", "channels_last": True}, True),
        ({"architecture": "shufflenet_v2_x0_5"}, False),
    ],
    ids=["small_cnn", "asked for", "not asked for"],
)
def test_batches_come_in_the_layout_that_the_model_asks_for(
    model: dict[str, Any], last: bool, make_config: MakeConfig
) -> None:
    """In training and in evaluations; what a convolution makes of them has the layout, too."""
    config = make_config("image classifier", model=model)
    learner = build_learner(config, load_data(config))
    seen: list[bool] = []

    def note(_module: nn.Module, taken: tuple[torch.Tensor, ...], given: torch.Tensor) -> None:
        seen.extend(each.is_contiguous(memory_format=torch.channels_last) for each in (*taken, given))

    first = next(each for each in learner.module.modules() if isinstance(each, nn.Conv2d))  # type: ignore[attr-defined]
    first.register_forward_hook(note)
    learner.train_epoch()
    learner.evaluate("val")
    assert len(seen) > 6 and set(seen) == {last}


def test_it_needs_no_torchvision(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes longer to import than torch; `augment: light` needs none either."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    config = make_config("small cnn", **{"data.augment": "light"})
    learner = build_learner(config, load_data(config))
    assert learner.train_epoch()["loss"] > 0 and learner.evaluate("val")
