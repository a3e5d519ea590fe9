"""The multi-layer perceptron: its settings reach the module, and it serves what a user has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import torch
from torch import nn

import mlframework
from mlframework.data.table_encoder import TableEncoder
from mlframework.errors import DataError
from mlframework.experiment import ExperimentConfig, build_learner, load_data, start_run
from mlframework.models.mlp import ACTIVATIONS, Mlp
from mlframework.runs import RunDir

MakeConfig = Callable[..., ExperimentConfig]

# Two numeric columns, one of them with missing values, and a categorical one with three categories.
ENCODER = TableEncoder(median=(0.0, 0.0), mean=(0.0, 0.0), std=(1.0, 1.0), flagged=(1,), codes=((1, 2, 3),))


def module_of(**settings: Any) -> nn.Module:
    return Mlp(architecture="mlp", **settings).build(ENCODER, 3)


def kinds(module: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in module.network]  # type: ignore[union-attr]


def test_layers_and_widths() -> None:
    module = module_of(hidden_layers=3, hidden_size=10)
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    # 2 numeric columns, 1 for what is missing, 2 for the embedding of 4 codes.
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(5, 10), (10, 10), (10, 10), (10, 3)]
    assert [(e.num_embeddings, e.embedding_dim) for e in module.modules() if isinstance(e, nn.Embedding)] == [(4, 2)]
    assert module(torch.zeros(6, 3), torch.zeros(6, 1, dtype=torch.int64)).shape == (6, 3)


def test_no_hidden_layer_is_a_linear_model() -> None:
    assert kinds(module_of(hidden_layers=0)) == ["Linear"]


@pytest.mark.parametrize(("name", "layer"), ACTIVATIONS.items())
def test_activation(name: str, layer: str) -> None:
    assert kinds(module_of(hidden_layers=2, activation=name)) == ["Linear", layer, "Linear", layer, "Linear"]


def test_batch_norm_and_dropout_stand_around_the_activation() -> None:
    module = module_of(hidden_layers=1, batch_norm=True, dropout=0.25)
    assert kinds(module) == ["Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]
    assert [layer.p for layer in module.modules() if isinstance(layer, nn.Dropout)] == [0.25]


@pytest.mark.parametrize("settings", [{"hidden_size": 0}, {"hidden_layers": -1}, {"dropout": 1.0}, {"activation": "x"}])
def test_settings_that_make_no_network_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Mlp(architecture="mlp", **settings)


def test_a_setting_of_the_config_reaches_the_learner(make_config: MakeConfig) -> None:
    config = make_config("mlp classification", **{"model.hidden_layers": 3, "model.hidden_size": 11})
    shapes = [tuple(t.shape) for t in build_learner(config, load_data(config)).state_dict()["module"].values()]
    assert shapes.count((11, 11)) == 2 and shapes[-1] == (2,)


def test_the_encoder_knows_the_training_rows_alone(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config("mlp regression")
    splits = load_data(config)
    build_learner(config, splits).export(tmp_path)
    meta = mlframework.runs.read_json(tmp_path / "model_meta.json")  # type: ignore[attr-defined]
    assert meta["encoder"]["mean"] == pytest.approx(splits.train.numeric.astype(np.float64).mean(axis=0))
    assert meta["unit"]["mean"] == pytest.approx(splits.train.targets.mean())


class TestPredictor:
    @pytest.fixture
    def predictor(self, make_config: MakeConfig, planted: dict[str, Any], tmp_path: Path) -> Any:
        run = RunDir(tmp_path / "run")
        start_run(run, planted["mlp classification"])
        config = make_config("mlp classification")
        build_learner(config, load_data(config)).export(run.artifacts)
        return mlframework.load(run.path)

    ROWS = {"x0": [0.5, -1.0, None], "x1": [0.1, None, 2.0], "colour": ["red", "green", None]}

    def test_it_takes_a_file_a_frame_and_a_dict_of_columns(self, predictor: Any, tmp_path: Path) -> None:
        frame = polars.DataFrame(self.ROWS)
        frame.write_csv(tmp_path / "rows.csv")
        expected = predictor.predict(frame)
        assert len(expected) == 3 and {p.value for p in expected} <= {"high", "low"}
        assert predictor.predict(self.ROWS) == expected
        assert predictor.predict(tmp_path / "rows.csv") == expected
        assert predictor.predict(str(tmp_path / "rows.csv")) == expected

    def test_the_order_of_the_columns_is_no_matter_and_others_are_passed_over(self, predictor: Any) -> None:
        turned = {"other": [1, 2, 3], **dict(reversed(self.ROWS.items()))}
        assert predictor.predict(turned) == predictor.predict(self.ROWS)

    def test_a_missing_column_is_named(self, predictor: Any) -> None:
        with pytest.raises(DataError, match="no column 'colour'"):
            predictor.predict({"x0": [1.0], "x1": [2.0]})

    def test_probabilities_are_those_of_the_classes(self, predictor: Any) -> None:
        for prediction in predictor.predict(self.ROWS):
            assert list(prediction.probabilities) == ["high", "low"]
            assert sum(prediction.probabilities.values()) == pytest.approx(1)
            assert prediction.value == max(prediction.probabilities, key=prediction.probabilities.__getitem__)
