"""What all image classifiers share, whatever network they are: the learner, the artifact, and the predictor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mlframework.errors import DataError
from mlframework.learners.base import Learner, LearnerSpec, Prediction
from mlframework.models.artifacts import classified, export_module
from mlframework.runs import FORMAT, read_json

if TYPE_CHECKING:
    from torch import nn

    from mlframework.data.images import ImageExamples, ImageFolderConfig

Channels = tuple[float, ...]
"""A number of each channel, in units of 0..1."""
BuildModule = Callable[[int, int], "nn.Module"]
"""Takes the number of classes and the side of the images in pixels, and makes a module."""
_SAMPLE = 2000  # images that the mean and deviation are taken from: enough for three digits
_AT_ONCE = 32  # of them: all at once would be gigabytes of floats


def image_learner(
    spec: LearnerSpec,
    build: BuildModule,
    normalisation: Callable[[ImageExamples], tuple[Channels, Channels]],
    channels_last: bool,
) -> Learner:
    """Return a learner of images, whatever network it is.

    Args:
        spec: the settings, the data and the seed.
        build: makes the module.
        normalisation: gives the mean and the deviation of each channel, in units of 0..1, of the training images.
        channels_last: whether batches have the channels last in memory.

    Raises:
        TrainingError: a model that cannot take images of this size.
    """
    from mlframework.data.augment import augmentation
    from mlframework.data.batches import Fetch, Normalise, Transformed, with_channels_last
    from mlframework.learners.tasks import classification
    from mlframework.learners.torch import build_learner, on_device

    spec = on_device(spec)
    data, splits = cast("ImageFolderConfig", spec.data), spec.splits
    examples: ImageExamples = splits.train
    mean, std = normalisation(examples)
    fetches: dict[str, Fetch] = {}
    for name, part in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        if part is not None:
            augment = augmentation(data.augment, data.image_size) if name == "train" else None
            changes = [augment, Normalise(mean, std, spec.device), with_channels_last if channels_last else None]
            fetches[name] = Transformed(_pixels(part, spec.device), *changes)
    class_names = examples.class_names
    task = classification(class_names, examples.targets, spec.settings, spec.device)
    meta = {"class_names": list(class_names), "image_size": data.image_size, "mean": mean, "std": std}
    return build_learner(spec, lambda: build(len(class_names), data.image_size), task, fetches, _exporter(meta))


def image_predictor(artifacts: Path, build: BuildModule, channels_last: bool) -> ImagePredictor:
    """Return the predictor of an exported image model, whose module `build` makes; `channels_last` as of its learner."""
    from safetensors.torch import load_file

    meta = read_json(artifacts / "model_meta.json")
    module = build(len(meta["class_names"]), meta["image_size"])
    module.load_state_dict(load_file(artifacts / "model.safetensors"))
    return ImagePredictor(module.eval(), meta, channels_last)


class ImagePredictor:
    """Classifies image files."""

    def __init__(self, module: nn.Module, meta: dict[str, Any], channels_last: bool) -> None:
        self._module, self._meta, self._channels_last = module, meta, channels_last
        self.class_names: list[str] = meta["class_names"]

    def predict(self, source: str | Path | Sequence[str | Path]) -> list[Prediction]:
        """Classify image files.

        Args:
            source: the path of one image, of a folder of images, or a list of paths.

        Raises:
            DataError: a file is missing or cannot be read.
        """
        import torch

        from mlframework.data.batches import Normalise, with_channels_last
        from mlframework.data.image_files import decode_image

        paths = _image_paths(source)
        normalise = Normalise(tuple(self._meta["mean"]), tuple(self._meta["std"]), "cpu")
        found: list[Prediction] = []
        for start in range(0, len(paths), 64):
            pixels = np.stack([decode_image(path, self._meta["image_size"]) for path in paths[start : start + 64]])
            images = normalise(torch.from_numpy(pixels))
            with torch.inference_mode():
                raw = self._module(with_channels_last(images) if self._channels_last else images)
            probabilities = raw.softmax(dim=1).numpy()
            found += [classified(self.class_names, row) for row in probabilities]
        return found


def _image_paths(source: str | Path | Sequence[str | Path]) -> list[Path]:
    from mlframework.data.image_files import SUFFIXES

    if not isinstance(source, str | Path | Sequence):
        raise DataError(f"predict takes an image's path, a folder's, or a list of paths, got {type(source).__name__}")
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise DataError(f"{folder}: there is no image in it")
    return paths


def _exporter(meta: dict[str, Any]) -> Callable[[nn.Module, Path], None]:
    def export(module: nn.Module, folder: Path) -> None:
        export_module(module, folder, {"format": FORMAT, "family": "image_classifier", **meta})

    return export


def _pixels(examples: ImageExamples, device: str) -> Any:
    from mlframework.data.batches import FetchPixels, FetchTensors

    if isinstance(examples.pixels, np.ndarray):
        return FetchTensors(examples.pixels, device=device)
    return FetchPixels(examples.pixels, device)


def mean_and_std(examples: ImageExamples) -> tuple[Channels, Channels]:
    """Return mean and deviation of each channel of the training images, in units of 0..1."""
    rows = np.linspace(0, len(examples) - 1, min(len(examples), _SAMPLE)).astype(np.int64)
    total, squares, n = np.zeros(3), np.zeros(3), 0
    for few in np.array_split(rows, -(-len(rows) // _AT_ONCE)):
        pixels = examples.pixels[few].transpose(1, 0, 2, 3).reshape(3, -1) / 255
        total, squares, n = total + pixels.sum(axis=1), squares + np.square(pixels).sum(axis=1), n + pixels.shape[1]
    mean = total / n
    std = np.maximum(np.sqrt(np.maximum(squares / n - np.square(mean), 0)), 1e-3)
    return tuple(float(round(value, 6)) for value in mean), tuple(float(round(value, 6)) for value in std)
