"""Two-tower retrieval: a network for users, a network for items, and a product between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mlframework.learners.base import Learner, LearnerSpec
from mlframework.metrics import Task
from mlframework.models.base import ModelSection
from mlframework.models.recommender import Recommender, exporter

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mlframework.data.batches import Batches, Cut
    from mlframework.data.interaction_examples import InteractionExamples
    from mlframework.data.table_schema import TableExamples
    from mlframework.learners.ranking import Vectors
    from mlframework.models.towers import Features, Tower, TwoTowerModule

_AT_ONCE = 8192
"""Users or items whose vectors are computed at once."""


class TwoTower(ModelSection):
    """Two towers: an embedding, features where the data has them, and layers where asked for.

    Covington et al., 2016 (https://doi.org/10.1145/2959100.2959190), Yi et al., 2019 (https://doi.org/10.1145/3298689.3346996).

    Each interaction counts once, whatever its weight.
    """

    imports: ClassVar[tuple[str, ...]] = (
        "mlframework.learners.torch",
        "mlframework.learners.tasks",
        "mlframework.models.towers",
    )
    consumes: ClassVar[Mapping[str, tuple[Task, ...]]] = {"interactions": ("ranking",)}
    excludes: ClassVar[tuple[str, ...]] = ("training.label_smoothing", "training.class_weights")

    architecture: Literal["two_tower"]
    """`two_tower`."""
    embedding_dim: Annotated[int, Field(gt=0)] = 64
    """Length of the embeddings, and of the vectors that the towers end in."""
    hidden_layers: Annotated[int, Field(ge=0, le=16)] = 0
    """Hidden layers of each tower; with 0 and no features a vector is its embedding."""
    hidden_size: Annotated[int, Field(gt=0)] = 128
    """Width of each hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout of the towers' input, and after each hidden layer."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """What a score is: `cosine` normalises the vectors, `dot` does not."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """What scores are divided by in the loss; null: 0.2 for the cosine, 1 for the dot product."""
    loss: Literal["in_batch_softmax", "sampled_softmax", "bpr"] = "in_batch_softmax"
    """Against what a positive item is held: the other items of the batch, `n_negatives` drawn ones, or those in pairs."""
    log_q_correction: bool | None = None
    """Take off the score how often an item is in a batch; null: yes. Only with `in_batch_softmax`."""
    n_negatives: Annotated[int, Field(gt=0)] | None = None
    """Items drawn for each interaction; null: 1 for `bpr`, 16 for `sampled_softmax`. Not with `in_batch_softmax`."""

    @model_validator(mode="after")
    def _fits(self) -> TwoTower:
        if self.loss == "in_batch_softmax" and self.n_negatives is not None:
            raise ValueError(
                "n_negatives: has no effect with loss: in_batch_softmax; use sampled_softmax or bpr, or null"
            )
        if self.loss != "in_batch_softmax" and self.log_q_correction is not None:
            raise ValueError(f"log_q_correction: has no effect with loss: {self.loss}; use in_batch_softmax, or null")
        return self

    def learner(self, spec: LearnerSpec) -> Learner:
        """Return a learner of this model.

        Raises:
            TrainingError: the device is not there, or a metric that this data does not have.
        """
        import torch

        from mlframework.learners.distribution import build_distribution
        from mlframework.learners.judges import RankingJudge
        from mlframework.learners.ranking import Ranker
        from mlframework.learners.size import sized
        from mlframework.learners.torch import TorchLearner, build_stepping, on_device

        spec = on_device(spec)
        train: InteractionExamples = spec.splits.train
        torch.manual_seed(spec.seed)
        distribution = build_distribution(spec.settings, spec.device)
        built = sized(lambda: self.build(train), "model.embedding_dim or model.hidden_size")
        module = distribution.prepare(built).to(spec.device)
        # Each user is held against all items of the batch, also those of other processes.
        in_batch = self.loss == "in_batch_softmax"
        batches = self._batches(train, spec, distribution.cut_pairs if in_batch else distribution.cut)
        differs = ("each item is held against the other items of its part only",) if in_batch else ()
        stepping = build_stepping(spec, module, len(batches), distribution, differs)
        vectors, items = vectors_of(train, spec.device), item_vectors_of(train, spec.device)
        judge = RankingJudge(Ranker(spec.splits, spec.metrics), vectors, items, distribution)
        export = self._exporter(train, spec.device)
        return TorchLearner(module, self._loss(train, spec.device), len, batches, stepping, judge, export)

    def build(self, train: InteractionExamples) -> TwoTowerModule:
        """Return the module: users (b,) and items (b,) or (b, m) to scores."""
        from mlframework.models.towers import Tower, TwoTowerModule

        catalogue = train.catalogue
        hidden = (self.hidden_size,) * self.hidden_layers

        def tower(n_rows: int, rows: np.ndarray[Any, Any], table: TableExamples | None) -> Tower:
            return Tower(n_rows, self.embedding_dim, hidden, self.dropout, _features(table, rows))

        temperature = self.temperature or {"cosine": 0.2, "dot": 1.0}[self.similarity]
        return TwoTowerModule(
            tower(len(catalogue.users), np.unique(train.users), catalogue.user_features),
            tower(len(catalogue.items), np.unique(train.items), catalogue.item_features),
            self.similarity == "cosine",
            temperature,
        )

    def _loss(self, train: InteractionExamples, device: str) -> Callable[[Tensor, Tensor], Tensor]:
        import torch

        from mlframework.models import towers

        if self.loss != "in_batch_softmax":
            return {"sampled_softmax": towers.sampled_softmax, "bpr": towers.bpr}[self.loss]
        if self.log_q_correction is False:
            return towers.in_batch_softmax(None)
        counts = np.bincount(train.items, minlength=len(train.catalogue.items))
        # An item that is never in a batch has no correction that would be used.
        shares = np.maximum(counts, 1) / len(train)
        return towers.in_batch_softmax(torch.from_numpy(np.log(shares).astype(np.float32)).to(device))

    def _batches(self, train: InteractionExamples, spec: LearnerSpec, cut: Cut) -> Batches:
        import torch

        from mlframework.data.batches import Batches, Fetch, FetchTensors
        from mlframework.models.towers import WithNegatives

        users, items = train.users.astype(np.int64), train.items.astype(np.int64)
        fetch: Fetch = FetchTensors(users, items, device=spec.device)
        if self.loss != "in_batch_softmax":
            n_items = len(train.catalogue.items)
            n_negatives = self.n_negatives or {"bpr": 1, "sampled_softmax": 16}[self.loss]
            fetch = WithNegatives(fetch, users * n_items + items, n_items, n_negatives, spec.device)
        order = torch.Generator().manual_seed(spec.seed)
        return Batches(fetch, items, spec.settings.batch_size, spec.device, order, cut)

    def _exporter(self, train: InteractionExamples, device: str) -> Callable[[nn.Module, Path], None]:
        from mlframework.models.artifacts import write_weights

        vectors, write = vectors_of(train, device), exporter("two_tower", train, self.embedding_dim)

        def export(module: nn.Module, folder: Path) -> None:
            write_weights(module, folder)
            write(folder, vectors(module))

        return export

    def predictor(self, artifacts: Path) -> Recommender:
        """Return the predictor of an exported model: it needs the vectors only, and no torch."""
        return Recommender.read(artifacts)


def vectors_of(train: InteractionExamples, device: str) -> Callable[[Any], Vectors]:
    """Return what computes the vectors of all users and items of a module, without dropout."""
    from mlframework.learners.ranking import Vectors

    n_users, items = len(train.catalogue.users), item_vectors_of(train, device)
    return lambda module: Vectors(_computed(module, module.user_vectors, n_users, device), items(module))


def item_vectors_of(train: InteractionExamples, device: str) -> Callable[[Any], NDArray[np.float32]]:
    """Return what computes the vectors of all items of a module, without dropout."""
    n_items = len(train.catalogue.items)
    return lambda module: _computed(module, module.item_vectors, n_items, device)


def _computed(module: Any, vectors: Callable[[Tensor], Tensor], n_rows: int, device: str) -> NDArray[np.float32]:
    import torch

    module.eval()
    with torch.inference_mode():
        parts = torch.split(torch.arange(n_rows, device=device), _AT_ONCE)
        found: NDArray[np.float32] = torch.cat([vectors(rows) for rows in parts]).float().cpu().numpy()
    return found


def _features(table: TableExamples | None, trained: np.ndarray[Any, Any]) -> Features | None:
    """Return the features of all rows, encoded by what the rows in training say."""
    from mlframework.data.table_encoder import TableEncoder
    from mlframework.models.towers import Features

    if table is None:
        return None
    encoder = TableEncoder.fit(table.take(trained.astype(np.int64)))
    return Features(*encoder.transform(table), encoder.cardinalities)
