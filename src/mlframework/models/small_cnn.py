"""A convolutional network of two convolutions for small images: what a first script on images has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mlframework.learners.base import Learner, LearnerSpec, Predictor
from mlframework.metrics import Task
from mlframework.models.base import ModelSection
from mlframework.models.images import image_learner, image_predictor, mean_and_std

if TYPE_CHECKING:
    from torch import nn


class SmallCnn(ModelSection):
    """Two 3x3 convolutions, each with 2x2 max-pool and ReLU, and a linear layer; for small images, trained from scratch."""

    consumes: ClassVar[Mapping[str, tuple[Task, ...]]] = {"image_folder": ("classification",)}

    architecture: Literal["small_cnn"]
    """`small_cnn`."""
    channels: Annotated[int, Field(gt=0)] = 32
    """Channels of the first convolution; the second has twice as many."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the linear layer."""

    def learner(self, spec: LearnerSpec) -> Learner:
        """Return a learner of this model.

        Raises:
            TrainingError: a model that does not fit into memory.
        """
        # Max-pool is most of the work, and takes torch three times as long where the channels are not last.
        return image_learner(spec, self.build, mean_and_std, channels_last=True)

    def build(self, n_classes: int, image_size: int) -> nn.Module:
        """Return the module: float (b, 3, image_size, image_size) to raw outputs (b, n_classes).

        Raises:
            TrainingError: it does not fit into memory.
        """
        from mlframework.learners.size import sized

        return sized(lambda: self._network(n_classes, image_size), "model.channels or data.image_size")

    def _network(self, n_classes: int, image_size: int) -> nn.Module:
        from torch import nn

        wide = 2 * self.channels
        # Max-pool before ReLU is the same to the bit, as the largest stays the largest, and ReLU has a quarter of the work.
        return nn.Sequential(
            nn.Conv2d(3, self.channels, kernel_size=3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(self.channels, wide, kernel_size=3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(self.dropout),
            # Each max-pool halves the side, and leaves out a last odd row.
            nn.Linear(wide * (image_size // 4) ** 2, n_classes),
        )

    def predictor(self, artifacts: Path) -> Predictor:
        """Return the predictor of an exported model."""
        return image_predictor(artifacts, self.build, channels_last=True)
