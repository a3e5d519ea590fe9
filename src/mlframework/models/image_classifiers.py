"""torchvision's image classifiers, with a head for the classes of the data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from mlframework.errors import TrainingError
from mlframework.learners.base import Learner, LearnerSpec, Predictor
from mlframework.metrics import Task
from mlframework.models.base import ModelSection
from mlframework.models.images import Channels, image_learner, image_predictor, mean_and_std
from mlframework.models.torchvision_names import TorchvisionClassifier

if TYPE_CHECKING:
    from torch import nn

    from mlframework.data.images import ImageExamples

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
TRAINED_ON_HALF = ("efficientnet_v2_l", "googlenet", "inception_v3")
"""Whose pretrained weights expect images from -1 to 1. (torchvision gives two of them a layer that does it.)"""
WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")
"""Whose auxiliary heads are left out: they serve only to train very deep nets without batch normalisation."""
SMALL_STEM_FAMILIES = ("resnet", "resnext", "wide_resnet")


class ImageClassifier(ModelSection):
    """A torchvision classifier."""

    imports: ClassVar[tuple[str, ...]] = (
        "mlframework.learners.torch",
        "mlframework.learners.tasks",
        "torchvision.models",
    )
    consumes: ClassVar[Mapping[str, tuple[Task, ...]]] = {"image_folder": ("classification",)}

    architecture: TorchvisionClassifier
    """Name of the torchvision classifier."""
    pretrained: bool | str = False
    """true: start from torchvision's best weights (downloaded once); a path: from a file of weights; false: from scratch."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout on the head; null: as the architecture has it."""
    stem: Literal["imagenet", "small"] = "imagenet"
    """`small`: a 3x3 first convolution without max-pool, for ResNets on images of 64 pixels or less (15 times the work)."""

    channels_last: bool = False
    """true: the channels of a pixel side by side in memory. That is faster with many networks, slower with some, and changes
    the last digits: try it."""

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
        return image_learner(
            spec, lambda n_classes, _image_size: self.build(n_classes), self._normalisation, self.channels_last
        )

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

    def _normalisation(self, examples: ImageExamples) -> tuple[Channels, Channels]:
        """Return mean and deviation of each channel: those that the weights were trained with, or those of the images."""
        if not self.pretrained:
            return mean_and_std(examples)
        return (HALF, HALF) if self.architecture in TRAINED_ON_HALF else (IMAGENET_MEAN, IMAGENET_STD)

    def predictor(self, artifacts: Path) -> Predictor:
        """Return the predictor of an exported model."""
        untrained = self.model_copy(update={"pretrained": False})
        return image_predictor(artifacts, lambda n_classes, _image_size: untrained.build(n_classes), self.channels_last)


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
