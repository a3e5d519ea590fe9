"""The tuner of factorization machines: its space, its names, and that it trains what `ml-train` trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlframework import Tuner, fm_objective, fm_space, train
from mlframework.config import schema, yaml
from mlframework.data.samples import write_diabetes
from mlframework.errors import DataError, MlframeworkError, TrialPruned
from mlframework.experiment import ExperimentConfig
from mlframework.search.warm_start import point
from mlframework.tuner.fm import KEYS, fm_defaults
from mlframework.tuner.hyperparameters import free_space
from support.searches import write_table

pytestmark = pytest.mark.usefixtures("here")
CHEAP = {"embedding_dim": 8, "batch_size": 256, "epochs": 5}


@pytest.fixture
def config(here: Path) -> dict[str, Any]:
    """A config of a factorization machine on sixty rows of two classes."""
    write_table(Path("table.csv"))
    return {
        "seed": 3,
        "device": "cpu",
        "data": {"type": "table", "path": "table.csv", "target": "kind", "drop": ["row"]},
        "model": {"architecture": "fm", "embedding_dim": 4},
        "training": {"num_epochs": 3, "batch_size": 16, "num_threads": 1},
        "optimizer": {"type": "sgd", "lr": 0.05, "momentum": 0.9},
        "tracking": {"tensorboard": False},
    }


def test_the_space_is_the_one_that_is_advised() -> None:
    said = {name: each.parameter.describe() for name, each in fm_space().items()}
    assert said == {
        "embedding_dim": "whole numbers 8 to 512, log scale",
        "learning_rate": "1e-05 to 0.1, log scale",
        "batch_size": "whole numbers 256 to 32000, log scale",
        "weight_decay": "1e-06 to 0.01, log scale",
        "dropout_rate": "0 to 0.5",
        "optimizer": "one of adam, adamw, sgd",
        "lr_scheduler": "one of none, cosine, step, exponential",
        "gradient_clipping": "0.5 to 5",
        "label_smoothing": "0 to 0.2",
        "field_aware": "one of false, true",
        "epochs": "whole numbers 5 to 50",
    }
    assert all(each.description for each in fm_space().values())


def test_the_defaults_are_a_point_of_the_space() -> None:
    found, reason = point(fm_defaults(), free_space(fm_space()))
    assert (found, reason) == (fm_defaults(), None)


def test_every_short_name_is_a_setting_of_a_config(config: dict[str, Any]) -> None:
    known = {leaf.key for leaf in schema.leaves(ExperimentConfig, config)} | set(
        schema.discriminators(ExperimentConfig)
    )
    assert set(KEYS.values()) <= known
    assert set(KEYS) == set(fm_space()) == set(fm_defaults())


@pytest.mark.parametrize(
    ("params", "settings"),
    [
        ({**CHEAP, "learning_rate": 0.02}, {"optimizer.lr": 0.02}),
        ({**CHEAP, "optimizer": "adam", "field_aware": True}, {"optimizer.type": "adam", "model.architecture": "ffm"}),
        (
            {**CHEAP, "dropout_rate": 0.3, "gradient_clipping": 0.5, "label_smoothing": 0.1, "lr_scheduler": "step"},
            {
                "model.dropout": 0.3,
                "training.gradient_clipping": 0.5,
                "training.label_smoothing": 0.1,
                "scheduler.type": "step",
            },
        ),
        ({**CHEAP, "model.l2": 0.1, "weight_decay": 0.1}, {"model.l2": 0.1, "optimizer.weight_decay": 0.1}),
    ],
)
def test_it_returns_what_training_the_config_reaches(
    config: dict[str, Any], params: dict[str, Any], settings: dict[str, Any]
) -> None:
    cheap = {KEYS[name]: value for name, value in CHEAP.items()}
    reports: list[tuple[int, float]] = []
    value = fm_objective(config, metric="auc")(params, lambda step, each: reports.append((step, each)))
    run = train(config, metric="val_auc", **cheap, **settings)
    assert value == run.value == max(each for _, each in reports)
    assert [step for step, _ in reports] == [1, 2, 3, 4, 5]


def test_it_leaves_nothing_behind_and_passes_the_pruning_on(config: dict[str, Any], here: Path) -> None:
    def condemn(step: int, value: float) -> None:
        raise TrialPruned("behind")

    objective = fm_objective(config, metric="val_auc")
    assert objective(CHEAP) > 0.5
    with pytest.raises(TrialPruned):
        objective(CHEAP, condemn)
    assert [path.name for path in here.iterdir()] == ["table.csv"]


def test_a_file_another_data_set_and_a_regression(config: dict[str, Any]) -> None:
    write_diabetes("diabetes.csv")
    config["data"] = {"type": "table", "path": "nowhere.csv", "target": "progression"}
    Path("fm.yaml").write_text(yaml.dump({**config, "search": {"search_space": {}}}))
    objective = fm_objective("fm.yaml", data_path="diabetes.csv")
    assert set(fm_space()) - set(objective.space) == {"label_smoothing"}, "it means nothing to a regression"
    tuner = Tuner(objective, maximize=False)
    assert set(tuner.hyperparameters) == set(objective.space)
    tuner.remove_hyperparameter("epochs")
    result = tuner.optimize("RandomSampler", n_trials=2)
    assert [trial.state for trial in result.history] == ["complete"] * 2
    assert result.best_score == objective(result.best_params)


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "file": (lambda c: fm_objective("nowhere.yaml"), "nowhere.yaml: there is no such file"),
    "model": (lambda c: fm_objective({**c, "model": {"architecture": "mlp"}}), "mlp is no factorization machine"),
    "metric": (lambda c: fm_objective(c, metric="rmse"), "metric: val_rmse has no meaning in a classification"),
    "test": (lambda c: fm_objective(c, metric="test_auc"), "test_auc would select on the test split; use val_auc"),
    "name": (lambda c: fm_objective(c, metric="auc")({"dropout": 0.1}), "did you mean 'dropout_rate'"),
    "key": (lambda c: fm_objective(c, metric="auc")({"model.embeding_dim": 8}), "did you mean 'embedding_dim'"),
    "value": (
        lambda c: fm_objective(c, metric="auc")({"learning_rate": -1.0}),
        "optimizer.lr: should be greater than 0",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(config: dict[str, Any], case: str) -> None:
    action, message = WRONG[case]
    with pytest.raises(MlframeworkError, match=message):
        action(config)


def test_data_that_is_not_there_is_said_before_the_first_trial(config: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"nowhere.csv"):
        fm_objective(config, data_path="nowhere.csv", metric="val_auc")
