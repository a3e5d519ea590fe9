"""Image classifiers on the digits as PNG files of 32x32 pixels. What is measured is the fit, validation included.

`ours` and `hand` train a resnet18, `ours_small` and `hand_small` a network of two convolutions, where reading files takes
most of the time of whoever reads them in every epoch.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from common import an_epoch, main, quick, trained

EPOCHS, BATCH, SIZE, MOMENTUM, SEED = quick(5, 2), 64, 32, 0.9, 42
LARGE, SMALL, CHANNELS = "resnet18", "small_cnn", 8
# At 0.01 the small one's loss falls so steeply that the last digit of an image makes the fourth of the loss.
LR = {LARGE: 0.01, SMALL: 0.005}


def config(architecture: str) -> dict[str, Any]:
    """Return our config."""
    return {
        "name": "images",
        "device": "cpu",
        "data": {"type": "image_folder", "path": "digits", "image_size": SIZE},
        "model": {"architecture": architecture, **({"channels": CHANNELS} if architecture == SMALL else {})},
        "training": {"num_epochs": EPOCHS, "batch_size": BATCH, "num_threads": 1},
        "optimizer": {"type": "sgd", "lr": LR[architecture], "momentum": MOMENTUM},
        "metric": "val_acc",
    }


def prepare() -> dict[str, Any]:
    """Write the images into folders of train and val, and the mean and deviation of the training images."""
    from pathlib import Path

    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    rows = np.arange(len(pixels))[: quick(len(pixels), 500)]
    parts = dict(zip(("train", "val"), train_test_split(rows, test_size=0.2, random_state=SEED), strict=True))
    for part, members in parts.items():
        for row in members:
            folder = Path("digits", part, str(digits.target[row]))
            folder.mkdir(parents=True, exist_ok=True)
            grey = Image.fromarray(pixels[row]).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            grey.convert("RGB").save(folder / f"{row:04d}.png")
    read = np.stack([np.asarray(Image.open(path)) for path in Path("digits", "train").rglob("*.png")]) / 255
    moments = {"mean": read.mean((0, 1, 2)).round(6).tolist(), "std": read.std((0, 1, 2)).round(6).tolist()}
    Path("moments.json").write_text(json.dumps(moments))
    return {}


def ours(architecture: str) -> dict[str, Any]:
    """Train by the config."""
    seconds, metrics = trained(config(architecture))
    return {"seconds": seconds, "val_acc": metrics["val_acc"], "val_loss": metrics["val_loss"]}


class Shuffled:
    """The order of the images, a new one every epoch, from a generator of its own."""

    def __init__(self, n: int) -> None:
        import torch

        self.n, self.generator = n, torch.Generator().manual_seed(SEED)

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        import torch

        return iter(torch.randperm(self.n, generator=self.generator).tolist())


def network(architecture: str) -> Any:
    """Return the network: torchvision's, or one of two convolutions as one writes it down."""
    from torch import nn
    from torchvision import models

    if architecture != SMALL:
        return models.get_model(architecture, weights=None, num_classes=10)
    return nn.Sequential(
        nn.Conv2d(3, CHANNELS, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * CHANNELS * (SIZE // 4) ** 2, 10),
    )


def loaders(architecture: str) -> tuple[Any, Any]:
    """Return what reads the files of train and val in every epoch, as the tutorials have it."""
    from pathlib import Path

    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    moments = json.loads(Path("moments.json").read_text())
    mean, std = (torch.tensor(moments[name]).view(3, 1, 1) * 255 for name in ("mean", "std"))
    scale = 1 / std

    def normalise(image: torch.Tensor) -> torch.Tensor:
        # What ToTensor and Normalize do, in the order in which ours does it: so both sides come to the same numbers.
        return image.float().sub_(mean).mul_(scale)

    usual = [transforms.ToTensor(), transforms.Normalize(moments["mean"], moments["std"])]
    # Batch normalisation makes much of another rounding, a network without it does not.
    transform = transforms.Compose(usual if architecture == SMALL else [transforms.PILToTensor(), normalise])
    train, val = (ImageFolder(f"digits/{part}", transform) for part in ("train", "val"))
    # A loader draws a number in every epoch: here not from the generator of dropout.
    aside = torch.Generator()
    sampler: Any = Shuffled(len(train))
    return DataLoader(train, BATCH, sampler=sampler, generator=aside), DataLoader(val, 4 * BATCH, generator=aside)


def hand(architecture: str) -> dict[str, Any]:
    """Train as one would by hand: ImageFolder and DataLoader, validated every epoch, the best weights kept."""
    import copy
    import time

    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    train, val = loaders(architecture)
    torch.manual_seed(SEED)
    module = network(architecture)
    optimizer = torch.optim.SGD(module.parameters(), LR[architecture], MOMENTUM)
    ends: list[float] = []
    best, loss_of_best, weights = -1.0, 0.0, None
    for _ in range(EPOCHS):
        module.train()
        total, right = torch.zeros(()), torch.zeros(())
        for images, targets in train:
            raw = module(images)
            loss = functional.cross_entropy(raw, targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach() * len(images)
            right += (raw.argmax(1) == targets).sum()
        module.eval()
        with torch.inference_mode():
            found = [(module(images), targets) for images, targets in val]
            raw, targets = (torch.cat(each) for each in zip(*found, strict=True))
            val_loss = functional.cross_entropy(raw, targets).item()
            val_acc = (raw.argmax(1) == targets).double().mean().item()
        if val_acc > best:
            best, loss_of_best, weights = val_acc, val_loss, copy.deepcopy(module.state_dict())
        ends.append(time.perf_counter())
    assert weights is not None
    return {"seconds": an_epoch(ends), "val_acc": best, "val_loss": loss_of_best}


def peer(framework: str, architecture: str) -> dict[str, Any]:
    """Train with another framework, from the same loaders."""
    import torch

    import peers

    train, val = loaders(architecture)
    torch.manual_seed(SEED)
    module = network(architecture)
    settings = {"lr": LR[architecture], "momentum": MOMENTUM}
    what = peers.Classifier(
        module, torch.optim.SGD, settings, train.dataset, val.dataset, BATCH, EPOCHS, Shuffled(len(train.dataset))
    )
    found = getattr(peers, framework)(what)
    return {"seconds": found["epoch"], "val_acc": found["val_acc"]}


def side(run: Callable[[str], dict[str, Any]], architecture: str) -> Callable[[], dict[str, Any]]:
    """Return a side that trains this architecture."""
    return partial(run, architecture)


if __name__ == "__main__":
    main(
        prepare=prepare,
        ours=side(ours, LARGE),
        hand=side(hand, LARGE),
        ours_small=side(ours, SMALL),
        hand_small=side(hand, SMALL),
        skorch=partial(peer, "skorch", LARGE),
        lightning=partial(peer, "lightning", LARGE),
        skorch_small=partial(peer, "skorch", SMALL),
        lightning_small=partial(peer, "lightning", SMALL),
    )
