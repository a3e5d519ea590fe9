"""The files of a torch model's artifact, and what a classifier makes of a row of probabilities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlframework.learners.base import Prediction
from mlframework.runs import write_json

if TYPE_CHECKING:
    from torch import nn


def export_module(module: nn.Module, folder: Path, meta: dict[str, Any]) -> None:
    """Write a module's weights and its `model_meta.json`: what every torch family's artifact is made of."""
    write_weights(module, folder)
    write_json(folder / "model_meta.json", json.loads(json.dumps(meta)))


def write_weights(module: nn.Module, folder: Path) -> None:
    """Write a module's weights as `model.safetensors`."""
    from safetensors.torch import save

    from mlframework.runs import replacing

    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    with replacing(folder / "model.safetensors") as temporary:
        temporary.write_bytes(save(weights))


def classified(class_names: Sequence[str], probabilities: np.ndarray[Any, Any]) -> Prediction:
    """Return the prediction that a row of probabilities (n_classes,) makes."""
    by_name = {name: float(value) for name, value in zip(class_names, probabilities, strict=True)}
    return Prediction(class_names[int(probabilities.argmax())], by_name)
