"""A multi-layer perceptron for tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from mlframework.learners.base import Learner, LearnerSpec, Prediction, Predictor
from mlframework.metrics import Task as TaskName
from mlframework.models.artifacts import classified, export_module
from mlframework.models.base import ModelSection
from mlframework.runs import FORMAT, read_json

if TYPE_CHECKING:
    from torch import nn

    from mlframework.data.table_encoder import TableEncoder
    from mlframework.data.table_schema import TableExamples, TableSchema

ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "tanh": "Tanh"}


class Mlp(ModelSection):
    """Fully connected layers over the numeric columns and the embedded categorical ones."""

    imports: ClassVar[tuple[str, ...]] = (
        "mlframework.learners.torch",
        "mlframework.learners.tasks",
        "mlframework.models.layers",
    )
    consumes: ClassVar[Mapping[str, tuple[TaskName, ...]]] = {"table": ("classification", "regression")}

    architecture: Literal["mlp"]
    """`mlp`."""
    hidden_layers: Annotated[int, Field(ge=0, le=64)] = 2
    """Number of hidden layers; 0 is a linear model."""
    hidden_size: Annotated[int, Field(gt=0)] = 128
    """Width of each hidden layer."""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """Activation after each hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout after each hidden layer."""
    batch_norm: bool = False
    """Batch normalisation before each activation."""

    def learner(self, spec: LearnerSpec) -> Learner:
        """Return a learner of this model; what encodes the columns is learnt from the training split alone."""
        from mlframework.data.batches import Fetch, FetchTensors
        from mlframework.data.table_encoder import TableEncoder
        from mlframework.learners.size import sized
        from mlframework.learners.tasks import Task, classification, regression
        from mlframework.learners.torch import build_learner, on_device

        spec = on_device(spec)
        splits = spec.splits
        train: TableExamples = splits.train
        encoder = TableEncoder.fit(train)
        parts = {"train": splits.train, "val": splits.val, "test": splits.test}
        fetches: dict[str, Fetch] = {
            name: FetchTensors(*encoder.transform(part), device=spec.device)
            for name, part in parts.items()
            if part is not None
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
            meta = {"schema": train.schema.to_dict(), "encoder": encoder.to_dict(), "n_outputs": n_outputs}
            extra = {"unit": unit} if class_names is None else {}
            export_module(module, folder, {"format": FORMAT, "family": "mlp", **meta, **extra})

        module = partial(sized, lambda: self.build(encoder, n_outputs), "model.hidden_size")
        return build_learner(spec, module, task, fetches, export)

    def build(self, encoder: TableEncoder, n_outputs: int) -> nn.Module:
        """Return the module: numeric (b, p) and codes (b, q) to raw outputs (b, n_outputs)."""
        from torch import nn

        from mlframework.models.layers import OnTable, TabularInput

        table = TabularInput(encoder.numeric_width, encoder.cardinalities)
        layers: list[nn.Module] = []
        width = table.width
        for _ in range(self.hidden_layers):
            layers.append(nn.Linear(width, self.hidden_size))
            if self.batch_norm:
                layers.append(nn.BatchNorm1d(self.hidden_size))
            layers.append(getattr(nn, ACTIVATIONS[self.activation])())
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = self.hidden_size
        return OnTable(table, nn.Sequential(*layers, nn.Linear(width, n_outputs)))

    def predictor(self, artifacts: Path) -> Predictor:
        """Return the predictor of an exported model."""
        from safetensors.torch import load_file

        from mlframework.data.table_encoder import TableEncoder
        from mlframework.data.table_schema import TableSchema
        from mlframework.learners.size import sized

        meta = read_json(artifacts / "model_meta.json")
        encoder = TableEncoder.from_dict(meta["encoder"])
        module = sized(lambda: self.build(encoder, meta["n_outputs"]), "model.hidden_size")
        module.load_state_dict(load_file(artifacts / "model.safetensors"))
        return TablePredictor(module.eval(), TableSchema.from_dict(meta["schema"]), encoder, meta.get("unit"))


class TablePredictor:
    """Predicts rows of a table."""

    def __init__(
        self, module: nn.Module, schema: TableSchema, encoder: TableEncoder, unit: dict[str, float] | None
    ) -> None:
        self._module, self._schema, self._encoder, self._unit = module, schema, encoder, unit

    def predict(self, source: Any) -> list[Prediction]:
        """Predict each row of a table.

        Args:
            source: a path (CSV, TSV, Parquet), a polars or pandas data frame, or a dict of columns.

        Raises:
            DataError: a column that the model was trained with is missing.
        """
        import torch

        from mlframework.data.sources import as_frame
        from mlframework.data.table_schema import encode_frame

        numeric, categorical = self._encoder.transform(encode_frame(as_frame(source), self._schema, trained=True))
        with torch.inference_mode():
            raw = self._module(torch.from_numpy(numeric), torch.from_numpy(categorical))
        if self._schema.class_names is not None:
            return [classified(self._schema.class_names, row) for row in raw.softmax(dim=1).numpy()]
        unit = self._unit or {"mean": 0.0, "scale": 1.0}
        values: np.ndarray[Any, Any] = raw.squeeze(1).numpy() * unit["scale"] + unit["mean"]
        return [Prediction(float(value), {}) for value in values]
