"""Alternating least squares on implicit feedback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mlframework.learners.base import Learner, LearnerSpec
from mlframework.metrics import Task
from mlframework.models.base import ModelSection
from mlframework.models.recommender import Recommender, exporter

IDS_ONLY = ("data.user_features", "data.item_features")
"""What a model has no use for that knows users and items by their ids alone."""
WITHOUT_STEPS = (
    "optimizer",
    "scheduler",
    *(
        f"training.{name}"
        for name in (
            "trainer_type", "precision", "batch_size", "gradient_clipping", "accumulation_steps", "on_oom",
            "label_smoothing", "class_weights",
        )
    ),
)  # fmt: skip
"""What a model has no use for that takes no gradient steps of ours."""


class Als(ModelSection):
    """Alternating least squares (Hu, Koren and Volinsky, 2008, https://doi.org/10.1109/ICDM.2008.22), by `implicit`.

    `training.num_epochs` counts the iterations: one solves for all users, then for all items.
    """

    imports: ClassVar[tuple[str, ...]] = ("mlframework.learners.implicit", "implicit.cpu.als", "threadpoolctl")
    consumes: ClassVar[Mapping[str, tuple[Task, ...]]] = {"interactions": ("ranking",)}
    excludes: ClassVar[tuple[str, ...]] = (*WITHOUT_STEPS, *IDS_ONLY)
    short_names: ClassVar[Mapping[str, str]] = {
        "model.factors": "factors", "model.regularization": "regularization", "model.alpha": "alpha",
        "training.num_epochs": "iterations",
    }  # fmt: skip

    architecture: Literal["als"]
    """`als`."""
    factors: Annotated[int, Field(gt=0)] = 64
    """Length of a user's and an item's vector."""
    regularization: Annotated[float, Field(ge=0)] = 0.01
    """L2 penalty on the vectors."""
    alpha: Annotated[float, Field(gt=0)] = 1.0
    """Confidence of an interaction against 1 for none; it multiplies an interaction's weight."""
    solver: Literal["cg", "cholesky"] = "cg"
    """`cg`: some conjugate gradient steps, faster (https://doi.org/10.1145/2043932.2043987); `cholesky`: exact."""

    def learner(self, spec: LearnerSpec) -> Learner:
        """Return a learner of this model.

        Raises:
            MissingExtraError: `implicit` is not installed.
            TrainingError: a GPU is asked for, or a metric that this data does not have.
        """
        import numpy as np

        from mlframework.learners.blas import blas_threads
        from mlframework.learners.implicit import ImplicitLearner, require_implicit

        require_implicit(spec, "als")
        from implicit.cpu.als import AlternatingLeastSquares

        rng = np.random.default_rng(spec.seed)
        # implicit warns of BLAS threads as soon as a model is made; while it trains there is but one.
        with blas_threads(1):
            model = AlternatingLeastSquares(
                self.factors,
                self.regularization,
                self.alpha,
                use_cg=self.solver == "cg",
                iterations=1,
                calculate_training_loss=True,
                num_threads=spec.num_threads or 0,
                random_state=rng,
            )
        return ImplicitLearner(model, rng, spec, _loss, exporter("als", spec.splits.train, self.factors), lr=None)

    def predictor(self, artifacts: Path) -> Recommender:
        """Return the predictor of an exported model."""
        return Recommender.read(artifacts)


def _loss(_iteration: int, _seconds: float, loss: float) -> float:
    """Return the weighted squared error, with its penalty, that `implicit` computes."""
    return loss
