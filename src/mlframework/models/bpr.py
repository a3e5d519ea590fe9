"""Bayesian personalized ranking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mlframework.learners.base import Learner, LearnerSpec
from mlframework.metrics import Task
from mlframework.models.als import IDS_ONLY, WITHOUT_STEPS
from mlframework.models.base import ModelSection
from mlframework.models.recommender import Recommender, exporter


class Bpr(ModelSection):
    """Bayesian personalized ranking (Rendle et al., 2009, https://arxiv.org/abs/1205.2618), by `implicit`.

    `training.num_epochs` counts the iterations: one draws as many pairs of an item that a user has and one that the user
    has not as there are interactions, each once whatever its weight. It runs on one thread: with several, the same seed
    gives other numbers each time.
    """

    imports: ClassVar[tuple[str, ...]] = ("mlframework.learners.implicit", "implicit.cpu.bpr", "threadpoolctl")
    consumes: ClassVar[Mapping[str, tuple[Task, ...]]] = {"interactions": ("ranking",)}
    excludes: ClassVar[tuple[str, ...]] = (*WITHOUT_STEPS, *IDS_ONLY)
    short_names: ClassVar[Mapping[str, str]] = {
        "model.factors": "factors", "model.lr": "learning_rate", "model.regularization": "regularization",
        "training.num_epochs": "iterations",
    }  # fmt: skip

    architecture: Literal["bpr"]
    """`bpr`."""
    factors: Annotated[int, Field(gt=0)] = 64
    """Length of a user's and an item's vector, the item's bias not counted."""
    lr: Annotated[float, Field(gt=0)] = 0.01
    """Learning rate."""
    regularization: Annotated[float, Field(ge=0)] = 0.01
    """L2 penalty on the vectors."""
    verify_negative: bool = True
    """Draw no item as one that a user has not which the user has."""

    def learner(self, spec: LearnerSpec) -> Learner:
        """Return a learner of this model.

        Raises:
            MissingExtraError: `implicit` is not installed.
            TrainingError: a GPU is asked for, or a metric that this data does not have.
        """
        import numpy as np

        from mlframework.learners.implicit import ImplicitLearner, require_implicit

        require_implicit(spec, "bpr")
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        rng = np.random.default_rng(spec.seed)
        model = BayesianPersonalizedRanking(
            self.factors,
            self.lr,
            self.regularization,
            iterations=1,
            num_threads=1,
            verify_negative_samples=self.verify_negative,
            random_state=rng,
        )
        n_pairs = len(spec.splits.train)

        def loss(_iteration: int, _seconds: float, correct: int, skipped: int) -> float:
            """Return the share of the drawn pairs that were ranked wrongly: the loss whose smooth bound BPR minimises."""
            return 1.0 - correct / max(1, n_pairs - skipped)

        return ImplicitLearner(model, rng, spec, loss, exporter("bpr", spec.splits.train, self.factors), lr=self.lr)

    def predictor(self, artifacts: Path) -> Recommender:
        """Return the predictor of an exported model."""
        return Recommender.read(artifacts)
