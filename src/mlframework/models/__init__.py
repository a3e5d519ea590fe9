"""MODELS: each architecture's config, which builds its learner and its predictor."""

from typing import Annotated, get_args

from pydantic import Field

from mlframework.config.base import Config
from mlframework.models.image_classifiers import ImageClassifier
from mlframework.models.mlp import Mlp
from mlframework.models.torchvision_names import TorchvisionClassifier

MODELS: dict[str, type[Config]] = {
    **dict.fromkeys(get_args(TorchvisionClassifier), ImageClassifier),
    "mlp": Mlp,
}
ModelConfig = Annotated[ImageClassifier | Mlp, Field(discriminator="architecture")]
