"""Factorization machines for tables and interactions: Fm, and the field-aware Ffm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mlframework.data.table_schema import TableExamples, TableSchema
from mlframework.learners.base import Learner, LearnerSpec, Predictor
from mlframework.metrics import Task as TaskName
from mlframework.models.artifacts import export_module, write_weights
from mlframework.models.base import ModelSection
from mlframework.models.mlp import TablePredictor
from mlframework.models.recommender import Link, Recommender, exporter
from mlframework.runs import FORMAT, read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mlframework.data.interaction_examples import Catalogue, InteractionExamples
    from mlframework.data.table_encoder import TableEncoder
    from mlframework.learners.tasks import Penalty
    from mlframework.models.factorization import FactorizationMachine, FieldAwareFactorizationMachine

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Strength = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

_OWN_SCORES = 2
"""How many of a vector's last columns are no factors: the score of the user alone, and that of the item."""


class Tabular(Protocol):
    """Examples that can be seen as rows of a table."""

    def as_table(self) -> TableExamples:
        """Return the rows, in the same order."""


def as_table(examples: TableExamples | Tabular) -> TableExamples:
    """Return examples as rows of a table; those of a table are returned as they are."""
    return examples if isinstance(examples, TableExamples) else examples.as_table()


class _Factorization(ModelSection, ABC):
    imports: ClassVar[tuple[str, ...]] = (
        "mlframework.learners.torch",
        "mlframework.learners.tasks",
        "mlframework.models.factorization",
    )
    consumes: ClassVar[Mapping[str, tuple[TaskName, ...]]] = {
        "table": ("classification", "regression"),
        "interactions": ("classification", "regression"),
    }

    architecture: str
    """`fm` or `ffm`."""
    embedding_dim: PositiveInt
    """Number of factors."""
    dropout: Fraction = 0.0
    """Dropout on the interactions."""
    l1: Strength = 0.0
    """Strength of the L1 penalty: l1 times the sum of |w| over linear weights and factors joins the loss of each step."""
    l2: Strength = 0.0
    """Strength of the L2 penalty: l2 times the sum of w^2 over linear weights and factors joins the loss of each step."""
    init_std: PositiveFloat = 0.01
    """Standard deviation of the first factors; linear weights begin with 0."""

    def learner(self, spec: LearnerSpec) -> Learner:
        """Return a learner of this model; what encodes the columns is learnt from the training split alone."""
        from mlframework.data.batches import Fetch, FetchTensors
        from mlframework.data.table_encoder import TableEncoder
        from mlframework.learners.size import sized
        from mlframework.learners.tasks import Task, classification, regression
        from mlframework.learners.torch import build_learner, on_device

        spec = on_device(spec)
        splits = {"train": spec.splits.train, "val": spec.splits.val, "test": spec.splits.test}
        parts = {name: as_table(part) for name, part in splits.items() if part is not None}
        train = parts["train"]
        encoder = TableEncoder.fit(train)
        fetches: dict[str, Fetch] = {
            name: FetchTensors(*encoder.transform(part), device=spec.device) for name, part in parts.items()
        }
        class_names = train.schema.class_names
        task: Task = (
            regression(train.targets, spec.settings)
            if class_names is None
            else classification(class_names, train.targets, spec.settings, spec.device)
        )
        n_outputs = 1 if class_names is None else len(class_names)

        def export(module: nn.Module, folder: Path) -> None:
            # A regression's module speaks of the standardised target; serving needs the unit back.
            unit = {"mean": float(train.targets.mean()), "scale": float(train.targets.std()) or 1.0}
            if not isinstance(spec.splits.train, TableExamples):
                _export_recommender(self.architecture, module, folder, encoder, spec.splits.train, unit)
                return
            meta = {"schema": train.schema.to_dict(), "encoder": encoder.to_dict(), "n_outputs": n_outputs}
            extra = {"unit": unit} if class_names is None else {}
            export_module(module, folder, {"format": FORMAT, "family": self.architecture, **meta, **extra})

        examples = spec.splits.train
        items = None if isinstance(examples, TableExamples) else partial(_item_vectors, encoder=encoder, train=examples)
        module = partial(sized, lambda: self.build(encoder, n_outputs), "model.embedding_dim")
        return build_learner(spec, module, task, fetches, export, self._penalty(), items)

    def predictor(self, artifacts: Path) -> Predictor:
        """Return the predictor of an exported model: of rows of a table, or of users and items."""
        meta = read_json(artifacts / "model_meta.json")
        if meta["family"] == "recommender":
            return Recommender.read(artifacts)
        from safetensors.torch import load_file

        from mlframework.data.table_encoder import TableEncoder
        from mlframework.learners.size import sized

        encoder = TableEncoder.from_dict(meta["encoder"])
        module = sized(lambda: self.build(encoder, meta["n_outputs"]), "model.embedding_dim")
        module.load_state_dict(load_file(artifacts / "model.safetensors"))
        return TablePredictor(module.eval(), TableSchema.from_dict(meta["schema"]), encoder, meta.get("unit"))

    def _penalty(self) -> Penalty | None:
        if not (self.l1 or self.l2):
            return None  # a sum over all weights for nothing takes time

        def penalty(module: nn.Module) -> Tensor:
            found: Tensor = module.weights.penalty(self.l1, self.l2)  # type: ignore[operator, union-attr]
            return found

        return penalty

    @abstractmethod
    def build(self, encoder: TableEncoder, n_outputs: int) -> nn.Module:
        """Return the module: numeric (b, p) and codes (b, q) to raw outputs (b, n_outputs); its weights in `weights`."""


def _export_recommender(
    name: str,
    module: Any,
    folder: Path,
    encoder: TableEncoder,
    train: InteractionExamples,
    unit: Mapping[str, float],
) -> None:
    """Write the artifact of a machine of users and items: its score is a product of their vectors."""
    from mlframework.learners.ranking import Vectors

    users, items = _vectors(module, encoder, train, True), _vectors(module, encoder, train, False)
    names = train.catalogue.class_names
    write_weights(module, folder)
    link = Link(mean=unit["mean"], scale=unit["scale"]) if names is None else Link(names)
    write = exporter(name, train, items.shape[1] - _OWN_SCORES, link)
    write(folder, Vectors(users, items))


def _vectors(module: Any, encoder: TableEncoder, train: InteractionExamples, of_users: bool) -> NDArray[np.float32]:
    """Return the vectors of all users, or of all items: the last columns are the two sides' own scores."""
    import torch

    device = next(module.parameters()).device
    n_rows = len(train.catalogue.users if of_users else train.catalogue.items)
    rows, other = np.arange(n_rows, dtype=np.int32), np.zeros(n_rows, dtype=np.int32)
    users, items = (rows, other) if of_users else (other, rows)
    table = replace(train, users=users, items=items, values=np.zeros(n_rows, dtype=np.float32)).as_table()
    inputs = [torch.from_numpy(each).to(device) for each in encoder.transform(table)]
    of_user = torch.from_numpy(_of_user(train.catalogue, encoder)).to(device)
    module.eval()
    with torch.inference_mode():
        compute = module.user_vectors if of_users else module.item_vectors
        found: NDArray[np.float32] = compute(*inputs, of_user).float().cpu().numpy()
    return found


def _item_vectors(module: nn.Module, encoder: TableEncoder, train: InteractionExamples) -> NDArray[np.float32]:
    return _vectors(module, encoder, train, False)[:, :-_OWN_SCORES]


def _of_user(catalogue: Catalogue, encoder: TableEncoder) -> NDArray[np.bool_]:
    """Return which of the machine's fields, numeric ones first, are of the user: (p + q,)."""
    schema = None if catalogue.user_features is None else catalogue.user_features.schema
    n_numeric = 0 if schema is None else len(schema.numeric)
    n_categorical = 0 if schema is None else len(schema.categorical)
    numeric = np.arange(len(encoder.median)) < n_numeric
    # Behind the numeric columns stand those that say where one of them is missing.
    flags = np.array(encoder.flagged, dtype=np.int64) < n_numeric
    of_features = np.arange(len(encoder.codes) - 2) < n_categorical
    return np.concatenate([numeric, flags, [True, False], of_features])


class Fm(_Factorization):
    """A factorization machine: each value has factors, and each pair of values interacts by their product.

    Rendle, "Factorization Machines", ICDM 2010. On users and items it is matrix factorization with biases.
    """

    architecture: Literal["fm"]
    """`fm`."""
    embedding_dim: PositiveInt = 16
    """Number of factors of each value."""
    dropout: Fraction = 0.0
    """Dropout on the pooled interactions, one number a factor (https://arxiv.org/abs/1708.05027)."""

    def build(self, encoder: TableEncoder, n_outputs: int) -> FactorizationMachine:
        """Return the module: numeric (b, p) and codes (b, q) to raw outputs (b, n_outputs)."""
        from mlframework.models.factorization import FactorizationMachine

        return FactorizationMachine(
            encoder.numeric_width, encoder.cardinalities, n_outputs, self.embedding_dim, self.dropout, self.init_std
        )


class Ffm(_Factorization):
    """A field-aware factorization machine: each value has other factors for each other column that it meets.

    Juan et al., "Field-aware Factorization Machines for CTR Prediction", RecSys 2016. Its weights grow with the number
    of columns, its time with the square of it. It multiplies no matrices, so mixed precision makes it no faster.
    """

    architecture: Literal["ffm"]
    """`ffm`."""
    embedding_dim: PositiveInt = 4
    """Number of factors that each value has for each other column."""
    dropout: Fraction = 0.0
    """Dropout on the pairs of columns."""

    def build(self, encoder: TableEncoder, n_outputs: int) -> FieldAwareFactorizationMachine:
        """Return the module: numeric (b, p) and codes (b, q) to raw outputs (b, n_outputs)."""
        from mlframework.models.factorization import FieldAwareFactorizationMachine

        return FieldAwareFactorizationMachine(
            encoder.numeric_width, encoder.cardinalities, n_outputs, self.embedding_dim, self.dropout, self.init_std
        )
