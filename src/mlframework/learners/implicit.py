"""A matrix factorization of the library `implicit` as a Learner."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlframework.errors import CheckpointError, MissingExtraError, TrainingError
from mlframework.learners.arrays import ArrayCodec
from mlframework.learners.base import LearnerSpec, RankingReport, ignore_batches, n_threads
from mlframework.learners.blas import blas_threads
from mlframework.learners.ranking import Ranker, Vectors
from mlframework.machine import require_memory

Export = Callable[[Path, Vectors], None]
"""Writes a recommender's vectors, and what a predictor needs beside them, into a folder."""
LossOf = Callable[..., float]
"""The training loss, of what `implicit` tells its callback after an iteration: the number of it, the seconds, and more."""


class ImplicitLearner:
    """Trains a model of `implicit`, an iteration an epoch.

    `fit` goes on from the factors that are there. Of ALS ten fits of one iteration are one fit of ten, bit for bit. BPR
    takes one number from the random generator in each fit, which seeds its samples: with the same generator in all of
    them ten fits draw other samples than one fit of ten does, with an integer seed each would draw the same ones again.

    Args:
        model: with `iterations=1`, `use_gpu=False` and `rng` as its `random_state`.
        rng: the generator that the factors, and BPR's samples, are drawn from.
        spec: the settings and the data.
        loss_of: gives the training loss.
        export: writes the serving artifact.
        lr: BPR's learning rate; None for ALS.
    """

    def __init__(
        self, model: Any, rng: np.random.Generator, spec: LearnerSpec, loss_of: LossOf, export: Export, lr: float | None
    ) -> None:
        self.codec = ArrayCodec()
        self.on_batch: Callable[[int, int], None] = ignore_batches
        self._model, self._rng, self._loss_of, self._export, self._lr = model, rng, loss_of, export, lr
        self._ranker = Ranker(spec.splits, spec.metrics)
        self._num_threads = spec.num_threads or n_threads()
        self._width = int(model.factors) + (lr is not None)
        # Each vector, and what an iteration of ALS computes anew; its products of all pairs of factors.
        n_numbers = 2 * self.n_parameters + (int(model.factors) ** 2 if lr is None else 0)
        require_memory(4 * n_numbers, f"a model of {self.n_parameters:,} numbers", "make model.factors smaller")

    @property
    def n_parameters(self) -> int:
        """How many numbers it learns: the factors, and BPR's bias of each item."""
        n_users, n_items = self._ranker.train.shape
        return int(self._model.factors * (n_users + n_items) + (n_items if self._lr is not None else 0))

    @property
    def n_examples(self) -> int:
        """How many interactions it trains on."""
        return int(self._ranker.train.nnz)

    def train_epoch(self) -> dict[str, float]:
        """Train for one iteration.

        Raises:
            TrainingError: the factors are no numbers any more.
        """
        from implicit.recommender_base import ModelFitError

        told: list[tuple[Any, ...]] = []
        try:
            # implicit has threads of its own; BLAS threads beside them only fight for the cores.
            with blas_threads(1):
                self._model.fit(self._ranker.train, show_progress=False, callback=lambda *report: told.append(report))
        except ModelFitError:
            remedy = "a larger model.regularization" + (" or a smaller model.lr" if self._lr is not None else "")
            raise TrainingError(f"the factors are no numbers any more; {remedy} may help") from None
        self.on_batch(1, 1)
        return {"loss": float(self._loss_of(*told[-1]))}

    def evaluate(self, split: str) -> dict[str, float]:
        """Return the ranking metrics of a split."""
        with blas_threads(self._num_threads):
            return self._ranker.measure(split, self.vectors)

    def outputs(self, split: str) -> None:
        """Return None: there is no class or value for an example."""

    def ranking(self, split: str) -> RankingReport:
        """Return what is recommended to the users of a split."""
        return self._ranker.report(split, self.vectors)

    @property
    def vectors(self) -> Vectors:
        """The factors; BPR's have one more column, with which the product includes the item's bias."""
        return Vectors(self._model.user_factors, self._model.item_factors)

    def item_vectors(self) -> NDArray[np.float32]:
        """Return the factors of the items, without BPR's bias."""
        found: NDArray[np.float32] = self._model.item_factors[:, : self._model.factors]
        return found

    def learning_rate(self) -> float | None:
        """Return BPR's learning rate; None for ALS, which has none."""
        return self._lr

    def gradient_norm(self) -> None:
        """Return None: `implicit` says nothing of gradients."""

    def data_seconds(self) -> float:
        """Return 0: the matrix is in memory."""
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the factors and the state of the random generator."""
        return {
            "user_factors": self._model.user_factors,
            "item_factors": self._model.item_factors,
            "rng": dict(self._rng.bit_generator.state),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state back.

        Raises:
            CheckpointError: it is the state of another model.
        """
        n_users, n_items = self._ranker.train.shape
        shapes = {"user_factors": (n_users, self._width), "item_factors": (n_items, self._width)}
        for name, shape in shapes.items():
            found = state.get(name)
            if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype != np.float32:
                what = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
                raise CheckpointError(f"the checkpoint is of another model: its {name} are {what}, not float32 {shape}")
        try:
            self._rng.bit_generator.state = state["rng"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = str(error) or type(error).__name__
            raise CheckpointError(
                f"the checkpoint is of another model: its random state cannot be used: {reason}"
            ) from None
        # implicit writes into its factors, so they must be no one else's.
        self._model.user_factors = np.array(state["user_factors"])
        self._model.item_factors = np.array(state["item_factors"])

    def export(self, folder: Path) -> None:
        """Write the serving artifact."""
        self._export(folder, self.vectors)


def require_implicit(spec: LearnerSpec, name: str) -> None:
    """Check that a model of `implicit` can be trained here.

    Raises:
        MissingExtraError: it is not installed.
        TrainingError: a GPU is asked for.
    """
    try:
        import implicit  # noqa: F401
    except ImportError:
        raise MissingExtraError("implicit", "recommenders", f"model.architecture: {name}") from None
    if spec.device not in ("auto", "cpu"):
        raise TrainingError(f"device: {spec.device}: {name} is trained on the CPU; use auto or cpu")
