"""MODELS: each architecture's config, which builds its learner and its predictor."""

from typing import Annotated, get_args

from pydantic import Field

from mlframework.models.als import Als
from mlframework.models.base import ModelSection
from mlframework.models.bpr import Bpr
from mlframework.models.fm import Ffm, Fm
from mlframework.models.image_classifiers import ImageClassifier
from mlframework.models.mlp import Mlp
from mlframework.models.small_cnn import SmallCnn
from mlframework.models.torchvision_names import TorchvisionClassifier
from mlframework.models.two_tower import TwoTower

MODELS: dict[str, type[ModelSection]] = {
    **dict.fromkeys(get_args(TorchvisionClassifier), ImageClassifier),
    "small_cnn": SmallCnn,
    "mlp": Mlp,
    "fm": Fm,
    "ffm": Ffm,
    "als": Als,
    "bpr": Bpr,
    "two_tower": TwoTower,
}
ModelConfig = Annotated[
    ImageClassifier | SmallCnn | Mlp | Fm | Ffm | Als | Bpr | TwoTower, Field(discriminator="architecture")
]
