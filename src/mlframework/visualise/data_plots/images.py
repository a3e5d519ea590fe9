"""A few images beside what augmentation makes of them, and the sizes of the files."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlframework.data import ImageExamples, ImageFolderConfig
from mlframework.visualise import style
from mlframework.visualise.wording import count_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

DRAWS = 6
SIZES_OF = 3000  # files that are opened for their size
_SHOWN = 96  # pixels, at least
_LARGEST = 160

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """One training image.

    Attributes:
        name: its file, from the data's folder on.
        target: its class.
        original: uint8 (3, h, w), as it is before augmentation.
        augmented: uint8 (n, 3, h, w): what training may see of it; none where nothing is augmented.
    """

    name: str
    target: str
    original: Pixels
    augmented: Pixels


@dataclass(frozen=True)
class Sizes:
    """Sizes of image files in pixels.

    Attributes:
        counts: (width, height) to how many files.
        n_files: how many were looked at.
        of: how many there are.
    """

    counts: dict[tuple[int, int], int]
    n_files: int
    of: int


def samples(train: ImageExamples, config: ImageFolderConfig, seed: int, number: int) -> list[Sample]:
    """Return training images of different classes, with augmented draws of each, as the training makes them.

    Args:
        train: the training split.
        config: of the data.
        seed: of the draws.
        number: how many images.
    """
    import torch

    from mlframework.data.augment import augmentation

    rows = _rows(train, seed, number)
    originals = np.asarray(train.pixels[rows])
    change = augmentation(config.augment, config.image_size)
    drawn = np.empty((len(rows), 0, *originals.shape[1:]), dtype=np.uint8)
    if change is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            batch = torch.from_numpy(np.ascontiguousarray(originals))
            drawn = torch.stack([change(batch) for _ in range(DRAWS)], dim=1).numpy()
    root = Path(config.path)
    return [
        Sample(
            str(Path(train.paths[row]).relative_to(root)),
            train.class_names[train.targets[row]],
            originals[at],
            drawn[at],
        )
        for at, row in enumerate(rows)
    ]


def _rows(train: ImageExamples, seed: int, number: int) -> NDArray[np.int64]:
    """Draw images of one class after the other, so that few images show many classes; in the order of the classes."""
    order = np.random.RandomState(seed).permutation(len(train))
    turn = np.empty(len(train), dtype=np.int64)
    for label in np.unique(train.targets):
        own = order[train.targets[order] == label]
        turn[own] = np.arange(len(own))
    taken = order[np.argsort(turn[order], kind="stable")][:number]
    return np.sort(taken[np.argsort(train.targets[taken], kind="stable")])


def sizes(paths: tuple[str, ...]) -> Sizes:
    """Read the sizes of image files, of very many those of some, evenly chosen."""
    from PIL import Image

    from mlframework.data.image_files import FORMATS

    chosen = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), SIZES_OF)).astype(np.int64))
    counts: dict[tuple[int, int], int] = {}
    for row in chosen:
        with Image.open(paths[row], formats=FORMATS) as image:  # reads the file's head only
            counts[image.size] = counts.get(image.size, 0) + 1
    return Sizes(counts, len(chosen), len(paths))


def draw_sizes(data: Sizes, image_size: int) -> "go.Figure":
    """Draw width against height, larger dots for more files, and the square that all are stretched to."""
    go = style.plotly()
    places = sorted(data.counts)
    most = max(data.counts.values())
    figure = go.Figure(
        go.Scatter(
            x=[width for width, _ in places], y=[height for _, height in places], mode="markers", showlegend=False,
            marker={
                "size": [7 + 28 * (data.counts[place] / most) ** 0.5 for place in places], "color": style.BLUE, "opacity": 0.55,
            },
            hovertext=[f"{width} x {height}: {count_of(data.counts[width, height], 'file')}" for width, height in places],
            hoverinfo="text",
        )
    )  # fmt: skip
    figure.add_scatter(
        x=[image_size], y=[image_size], mode="markers", marker={"symbol": "square-open", "size": 16, "color": style.VERMILLION,
        "line": {"width": 2.5}}, name=f"data.image_size: {image_size}", hoverinfo="name",
    )  # fmt: skip
    of = f"{data.n_files:,} of {data.of:,} files" if data.n_files < data.of else count_of(data.n_files, "file")
    style.styled(
        figure, style.Heading("Sizes of the images", f"{of} of train and val, {count_of(len(places), 'size')}"), 480
    )
    figure.update_xaxes(title_text="width in pixels", rangemode="tozero")
    figure.update_yaxes(title_text="height in pixels", rangemode="tozero")
    return figure


def as_png(pixels: Pixels) -> tuple[bytes, int, int]:
    """Return an image (3, h, w) as PNG, and the width and height in pixels to show it at."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    if max(image.size) > 2 * _LARGEST:
        image.thumbnail((2 * _LARGEST, 2 * _LARGEST))
    scale = max(1, round(_SHOWN / max(image.size))) if max(image.size) < _SHOWN else _LARGEST / max(image.size)
    scale = min(scale, 1.0) if max(image.size) >= _SHOWN else scale
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue(), max(1, round(image.width * scale)), max(1, round(image.height * scale))


def grid(shown: list[Sample]) -> bytes:
    """Return all samples as one PNG: a row each, the original first; without augmentation as many in a row as fit."""
    from PIL import Image

    from mlframework.training.tracking.pictures import image_grid

    n_draws = shown[0].augmented.shape[0]
    images = np.concatenate([np.concatenate([each.original[None], each.augmented]) for each in shown])
    labels = [label for each in shown for label in (each.target, *(["augmented"] * n_draws))]
    buffer = io.BytesIO()
    Image.fromarray(image_grid(images, labels, columns=n_draws + 1 if n_draws else 8)).save(buffer, "PNG")
    return buffer.getvalue()
