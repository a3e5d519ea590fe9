"""torchvision's image classifiers, with a head for the classes of the data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

import numpy as np
from pydantic import Field, model_validator

from mlframework.errors import DataError, TrainingError
from mlframework.learners.base import Learner, LearnerSpec, Prediction, Predictor
from mlframework.metrics import Task
from mlframework.models.base import ModelSection
from mlframework.models.torchvision_names import TorchvisionClassifier
from mlframework.runs import FORMAT, read_json, write_json

if TYPE_CHECKING:
    from torch import nn

    from mlframework.data.images import ImageExamples, ImageFolderConfig

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
TRAINED_ON_HALF = ("efficientnet_v2_l", "googlenet", "inception_v3")
"""Whose pretrained weights expect images from -1 to 1. (torchvision gives two of them a layer that does it.)"""
WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")
"""Whose auxiliary heads are left out: they serve only to train very deep nets without batch normalisation."""
SMALL_STEM_FAMILIES = ("resnet", "resnext", "wide_resnet")
_SAMPLE = 2000  # images that the mean and deviation are taken from: enough for three digits
_AT_ONCE = 32  # of them: all at once would be gigabytes of floats


class ImageClassifier(ModelSection):
    """A torchvision classifier."""

    consumes: ClassVar[Mapping[str, tuple[Task, ...]]] = {"image_folder": ("classification",)}

    architecture: TorchvisionClassifier
    """Name of the torchvision classifier."""
    pretrained: bool | str = False
    """true: start from torchvision's best weights (downloaded once); a path: from a file of weights; false: from scratch."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout on the head; null: as the architecture has it."""
    stem: Literal["imagenet", "small"] = "imagenet"
    """`small`: a 3x3 first convolution without max-pool, for ResNets on images of 64 pixels or less (15 times the work)."""

    @model_validator(mode="after")
    def _fits(self) -> ImageClassifier:
        if self.stem == "small" and not self.architecture.startswith(SMALL_STEM_FAMILIES):
            raise ValueError(f"stem: small is for ResNets, not for {self.architecture}; use stem: imagenet")
        if self.stem == "small" and self.pretrained:
            raise ValueError("stem: small has no pretrained weights; use stem: imagenet, or pretrained: false")
        return self

    def learner(self, spec: LearnerSpec) -> Learner:
        """Return a learner of this model.

        Raises:
            TrainingError: weights that cannot be loaded, or a model that cannot take images of this size.
        """
        from mlframework.data.augment import augmentation
        from mlframework.data.batches import Fetch, Normalise, Transformed
        from mlframework.learners.tasks import classification
        from mlframework.learners.torch import build_learner, on_device

        spec = on_device(spec)
        data, splits = cast("ImageFolderConfig", spec.data), spec.splits
        examples: ImageExamples = splits.train
        mean, std = self._normalisation(examples)
        fetches: dict[str, Fetch] = {}
        for name, part in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
            if part is not None:
                augment = augmentation(data.augment, data.image_size) if name == "train" else None
                fetches[name] = Transformed(_pixels(part, spec.device), augment, Normalise(mean, std, spec.device))
        task = classification(examples.class_names, examples.targets, spec.settings, spec.device)
        meta = {"class_names": list(examples.class_names), "image_size": data.image_size, "mean": mean, "std": std}
        return build_learner(spec, lambda: self.build(len(examples.class_names)), task, fetches, _exporter(meta))

    def build(self, n_classes: int) -> nn.Module:
        """Return the module: float (b, 3, h, w) to raw outputs (b, n_classes)."""
        from torchvision import models

        options: dict[str, Any] = {}
        if self.architecture in WITH_AUXILIARY_HEADS:
            options = {"aux_logits": False, "init_weights": not self.pretrained}
        if self.pretrained is True:
            module = _downloaded(self.architecture)
        else:
            module = models.get_model(
                self.architecture, weights=None, num_classes=_n_outputs(self, n_classes), **options
            )
        if isinstance(self.pretrained, str):
            _load_weights(module, Path(self.pretrained))
        if self.stem == "small":
            _make_small_stem(module)
        _set_head(module, n_classes, self.dropout)
        return module

    def _normalisation(self, examples: ImageExamples) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and deviation of each channel: those that the weights were trained with, or those of the images."""
        if not self.pretrained:
            return _mean_and_std(examples)
        return (HALF, HALF) if self.architecture in TRAINED_ON_HALF else (IMAGENET_MEAN, IMAGENET_STD)

    def predictor(self, artifacts: Path) -> Predictor:
        """Return the predictor of an exported model."""
        from safetensors.torch import load_file

        meta = read_json(artifacts / "model_meta.json")
        module = self.model_copy(update={"pretrained": False}).build(len(meta["class_names"]))
        module.load_state_dict(load_file(artifacts / "model.safetensors"))
        return ImagePredictor(module.eval(), meta)


class ImagePredictor:
    """Classifies image files."""

    def __init__(self, module: nn.Module, meta: dict[str, Any]) -> None:
        self._module, self._meta = module, meta
        self.class_names: list[str] = meta["class_names"]

    def predict(self, source: str | Path | Sequence[str | Path]) -> list[Prediction]:
        """Classify image files.

        Args:
            source: the path of one image, of a folder of images, or a list of paths.

        Raises:
            DataError: a file is missing or cannot be read.
        """
        import torch

        from mlframework.data.batches import Normalise
        from mlframework.data.image_files import decode_image

        paths = _image_paths(source)
        normalise = Normalise(tuple(self._meta["mean"]), tuple(self._meta["std"]), "cpu")
        found: list[Prediction] = []
        for start in range(0, len(paths), 64):
            pixels = np.stack([decode_image(path, self._meta["image_size"]) for path in paths[start : start + 64]])
            with torch.inference_mode():
                probabilities = self._module(normalise(torch.from_numpy(pixels))).softmax(dim=1).numpy()
            found += [classified(self.class_names, row) for row in probabilities]
        return found


def classified(class_names: Sequence[str], probabilities: np.ndarray[Any, Any]) -> Prediction:
    """Return the prediction that a row of probabilities (n_classes,) makes."""
    by_name = {name: float(value) for name, value in zip(class_names, probabilities, strict=True)}
    return Prediction(class_names[int(probabilities.argmax())], by_name)


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


def export_module(module: nn.Module, folder: Path, meta: dict[str, Any]) -> None:
    """Write a module's weights and its `model_meta.json`: what every torch family's artifact is made of."""
    write_weights(module, folder)
    write_json(folder / "model_meta.json", json.loads(json.dumps(meta)))


def write_weights(module: nn.Module, folder: Path) -> None:
    """Write a module's weights as `model.safetensors`."""
    from safetensors.torch import save

    from mlframework.runs import replacing

    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    with replacing(folder / "model.safetensors") as temporary:
        temporary.write_bytes(save(weights))


def _pixels(examples: ImageExamples, device: str) -> Any:
    from mlframework.data.batches import FetchPixels, FetchTensors

    if isinstance(examples.pixels, np.ndarray):
        return FetchTensors(examples.pixels, device=device)
    return FetchPixels(examples.pixels, device)


def _mean_and_std(examples: ImageExamples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each channel of the training images, in units of 0..1."""
    rows = np.linspace(0, len(examples) - 1, min(len(examples), _SAMPLE)).astype(np.int64)
    total, squares, n = np.zeros(3), np.zeros(3), 0
    for few in np.array_split(rows, -(-len(rows) // _AT_ONCE)):
        pixels = examples.pixels[few].transpose(1, 0, 2, 3).reshape(3, -1) / 255
        total, squares, n = total + pixels.sum(axis=1), squares + np.square(pixels).sum(axis=1), n + pixels.shape[1]
    mean = total / n
    std = np.maximum(np.sqrt(np.maximum(squares / n - np.square(mean), 0)), 1e-3)
    return tuple(float(round(value, 6)) for value in mean), tuple(float(round(value, 6)) for value in std)


def _n_outputs(config: ImageClassifier, n_classes: int) -> int:
    """Return the width of the head before it is replaced: a weight file brings the one it was trained with."""
    if not isinstance(config.pretrained, str):
        return n_classes
    head = [tensor for name, tensor in _read_weights(Path(config.pretrained)).items() if name.endswith("weight")]
    if not head:
        raise TrainingError(f"model.pretrained: {config.pretrained}: there are no weights in it")
    return int(head[-1].shape[0])


def _downloaded(architecture: str) -> nn.Module:
    from urllib.error import URLError

    import torch
    from torchvision import models

    try:
        if architecture not in WITH_AUXILIARY_HEADS:
            return models.get_model(architecture, weights="DEFAULT")  # type: ignore[no-any-return]
        module: Any = models.get_model(architecture, weights="DEFAULT", transform_input=False)
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise TrainingError(
            f"model.pretrained: the weights of {architecture} cannot be downloaded ({error}); put their file into "
            f"{folder}, name a file with pretrained: path/to/weights.pth, or set pretrained: false"
        ) from None
    # With weights torchvision builds the auxiliary heads whatever it is told.
    module.aux_logits, module.aux1, module.aux2, module.AuxLogits = False, None, None, None
    return module  # type: ignore[no-any-return]


def _read_weights(path: Path) -> dict[str, Any]:
    import torch

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f"model.pretrained: {path}: there is no such file of weights") from None
    except Exception as error:  # noqa: BLE001 - the unpickler raises whatever the bytes lead it to
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise TrainingError(f"model.pretrained: {path}: is not a file of weights ({reason})") from None
    if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise TrainingError(f"model.pretrained: {path}: should hold a state_dict of tensors")
    return weights


def _load_weights(module: nn.Module, path: Path) -> None:
    try:
        # The auxiliary heads of googlenet and inception are not built, so their weights are left out.
        weights = {name: tensor for name, tensor in _read_weights(path).items() if not name.lower().startswith("aux")}
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(f"model.pretrained: {path}: weights of another architecture ({reason})") from None


def _make_small_stem(module: Any) -> None:
    from torch import nn

    module.conv1 = nn.Conv2d(3, module.conv1.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(module.conv1.weight, mode="fan_out", nonlinearity="relu")
    module.maxpool = nn.Identity()


def _set_head(module: nn.Module, n_classes: int, dropout: float | None) -> None:
    """Give the last layer `n_classes` outputs where it has others, and the head its dropout."""
    from torch import nn

    name, last = [(n, m) for n, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    parent_name, _, attribute = name.rpartition(".")
    parent = module.get_submodule(parent_name)
    if isinstance(last, nn.Linear) and last.out_features != n_classes:
        last = nn.Linear(last.in_features, n_classes, bias=last.bias is not None)
    elif isinstance(last, nn.Conv2d) and last.out_channels != n_classes:
        last = nn.Conv2d(last.in_channels, n_classes, kernel_size=1)
    if dropout is not None:
        in_head = [m for m in parent.children() if isinstance(m, nn.Dropout)]
        for layer in in_head:
            layer.p = dropout
        if not in_head:
            setattr(parent, attribute, nn.Sequential(nn.Dropout(dropout), last))
            return
    setattr(parent, attribute, last)
