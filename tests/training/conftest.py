"""A learner without torch, whose epochs are written down beforehand."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlframework.learners.archives import damaged
from mlframework.learners.base import GradientNorm, Outputs, ignore_batches

sys.path.append(str(Path(__file__).parents[1]))


class JsonCodec:
    def encode(self, state: Mapping[str, Any]) -> memoryview:
        return memoryview(json.dumps(state).encode())

    def load(self, path: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(path.read_text()))
        except ValueError as error:
            raise damaged(path, error) from None


class Scripted:
    """Says one value an epoch; its state is the number of epochs that it was trained."""

    n_parameters, n_examples = 1, 1000

    def __init__(self, values: Sequence[float], train_losses: Sequence[float] = ()) -> None:
        self.codec, self.on_batch = JsonCodec(), ignore_batches
        self.values, self.train_losses, self.trained = values, train_losses, 0
        self.has_gradients = False

    def train_epoch(self) -> dict[str, float]:
        self.trained += 1
        return {"loss": self.train_losses[self.trained - 1] if self.train_losses else 1.0}

    def evaluate(self, split: str) -> dict[str, float]:
        assert split == "val"
        return {"acc": self.values[self.trained - 1], "loss": 1.0}

    def outputs(self, split: str) -> Outputs:
        raise NotImplementedError

    def learning_rate(self) -> float | None:
        return None

    def gradient_norm(self) -> GradientNorm | None:
        return GradientNorm(0.5 * self.trained, 1.5 * self.trained) if self.has_gradients else None

    def data_seconds(self) -> float:
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"trained": self.trained}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.trained = state["trained"]

    def export(self, folder: Path) -> None:
        raise NotImplementedError


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted
