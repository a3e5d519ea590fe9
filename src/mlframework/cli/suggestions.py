"""What suits the data: the choices and sizes that `ml-init-config` writes, unless the user says otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mlframework.data.inspect import ImageFolderFacts, TableFacts

Facts: TypeAlias = ImageFolderFacts | TableFacts

SMALL_IMAGE = 64
"""Pixels of the longer side up to which an image is small: a symbol or a thumbnail more often than a photo."""
CACHE_LIMIT = 4e9
"""Bytes of decoded images that are kept in memory without asking."""
_IMAGE_SIZES = ((40, 32), (64, 64), (128, 128))
_LARGEST_IMAGE_SIZE = 224
_TABLE_EPOCHS = 30


@dataclass(frozen=True)
class Choices:
    """What `ml-init-config` asks about; everything else follows from the data."""

    name: str
    architecture: str
    num_epochs: int
    metric: str


def suggest(facts: Facts, name: str) -> Choices:
    """Return the choices that suit the data."""
    if isinstance(facts, ImageFolderFacts):
        return Choices(name, "resnet18", _image_epochs(facts), "val_acc")
    return Choices(name, "mlp", _TABLE_EPOCHS, _table_metric(facts))


def image_size(facts: ImageFolderFacts) -> int:
    """Return the size to train at: about that of the images, but no more than what most models are made for."""
    side = max(facts.width, facts.height)
    return next((size for largest, size in _IMAGE_SIZES if side <= largest), _LARGEST_IMAGE_SIZE)


def cache_bytes(facts: ImageFolderFacts) -> int:
    """Return the memory that all images take once they are decoded."""
    return int(facts.n_images * 3 * image_size(facts) ** 2)


def batch_size(facts: Facts) -> int:
    """Return the batch size: small where there are few examples, so that an epoch has some steps."""
    if isinstance(facts, ImageFolderFacts):
        return _by_count(facts.n_images, ((200, 16), (1_000, 32)), 64)
    return _by_count(facts.n_rows, ((1_000, 32), (10_000, 64), (50_000, 128)), 256)


def hidden_sizes(facts: TableFacts) -> tuple[int, int, int]:
    """Return the widths of an mlp to search; the middle one is the one to begin with."""
    return (32, 64, 128) if facts.n_rows < 10_000 else (64, 128, 256)


def _image_epochs(facts: ImageFolderFacts) -> int:
    """Return more epochs for few images, as what counts is the number of steps, and for large folders of photos."""
    return _by_count(facts.n_images, ((500, 30), (1_500, 15), (5_001, 8)), 10)


def _table_metric(facts: TableFacts) -> str:
    if facts.task == "regression":
        return "val_rmse"
    return "val_auc" if len(facts.class_counts) == 2 else "val_acc"


def _by_count(count: int, table: Sequence[tuple[int, int]], otherwise: int) -> int:
    """Return the value beside the first bound that `count` lies below."""
    return next((value for below, value in table if count < below), otherwise)
