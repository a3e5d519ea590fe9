"""What an artifact says of itself, and the files that say what a recommender recommends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlframework.config import yaml
from mlframework.experiment import ExperimentConfig, build_learner, export, load_data, start_run, train
from mlframework.final import run_final
from mlframework.learners.base import Learner
from mlframework.runs import RunDir, read_json

MakeConfig = Callable[..., ExperimentConfig]
RECOMMENDERS = ["als", "bpr", "two_tower", "two_tower with features"]


def trained(family: str, make: MakeConfig, tree: dict[str, Any], folder: Path) -> tuple[ExperimentConfig, RunDir]:
    """Train a run and export its best epoch."""
    config, run = make(family, **{"tracking.tensorboard": False}), RunDir(folder / "run")
    splits = load_data(config)
    start_run(run, tree)
    train(config, splits.without_test(), run)
    export(config, splits, run, "best")
    return config, run


def of_state(config: ExperimentConfig, run: RunDir, splits: Any, name: str) -> Learner:
    """Return a learner with the state of a checkpoint."""
    learner = build_learner(config, splits)
    learner.load_state_dict(learner.codec.load(run.checkpoints / name)["learner"])
    return learner


@pytest.mark.parametrize("family", ["als", "two_tower", "mlp classification"])
def test_an_artifact_tells_where_it_comes_from(
    family: str, make_config: MakeConfig, planted: dict[str, Any], tmp_path: Path
) -> None:
    _, run = trained(family, make_config, planted[family], tmp_path)
    meta, result = read_json(run.artifacts / "model_meta.json"), read_json(run.result)
    assert meta["config"] == yaml.read(run.config).tree == planted[family]
    assert meta["metrics"] == result["best_metrics"] and any(name.startswith("val_") for name in meta["metrics"])
    assert not any(name.startswith("test_") for name in meta["metrics"])
    packages = read_json(run.environment)["packages"]
    assert meta["versions"] == {"python": read_json(run.environment)["python"], **packages}
    assert {"python", "mlframework", "numpy", "torch", "implicit"} <= set(meta["versions"])
    assert meta["format"] == 1


@pytest.mark.parametrize("family", RECOMMENDERS)
def test_a_recommenders_artifact_has_its_ids_in_the_order_of_the_vectors(
    family: str, make_config: MakeConfig, planted: dict[str, Any], tmp_path: Path
) -> None:
    config, run = trained(family, make_config, planted[family], tmp_path)
    meta, catalogue = read_json(run.artifacts / "model_meta.json"), load_data(config).train.catalogue
    assert (meta["users"], meta["items"]) == (list(catalogue.users), list(catalogue.items))
    assert meta["users"][:2] == ["u000", "u001"] and meta["items"][:2] == [100, 101], "of the type that the log has"
    assert (meta["family"], meta["model"], meta["n_factors"]) == ("recommender", config.model.architecture, 8)
    users, items = (np.load(run.artifacts / f"{side}_vecs.npy") for side in ("user", "item"))
    assert (len(users), len(items)) == (180, 45) and users.dtype == items.dtype == np.float32
    assert (run.artifacts / "model.safetensors").is_file() == family.startswith("two_tower")


@pytest.mark.parametrize("family", RECOMMENDERS)
def test_what_is_recommended_to_val_is_written(
    family: str, make_config: MakeConfig, planted: dict[str, Any], tmp_path: Path
) -> None:
    config, run = trained(family, make_config, planted[family], tmp_path)
    splits = load_data(config)
    report = of_state(config, run, splits, "best.pt").ranking("val")
    found = read_json(run.path / "ranking_val.json")
    assert found == {"format": 1, "split": "val", **report.to_dict()}
    assert list(found) == [
        "format", "split", "k", "n_users", "n_items", "recall_at", "precision_at", "ndcg_at", "popularity_recall_at",
        "popularity_precision_at", "popularity_ndcg_at", "users_by_hits", "recommended", "interactions",
    ]  # fmt: skip
    assert (found["k"], found["n_items"], found["n_users"]) == (10, 45, len(np.unique(splits.val.users)))
    lists = [each for each in found.values() if isinstance(each, list)]
    assert [len(each) for each in lists] == [45] * 6 + [11] + [45] * 2
    assert sum(found["users_by_hits"]) == found["n_users"]
    assert found["recall_at"][9] == pytest.approx(read_json(run.result)["best_metrics"]["val_recall_at_10"])
    assert sum(found["interactions"]) == len(splits.train)
    assert not (run.path / "ranking_test.json").exists(), "the test split is not opened"


@pytest.mark.parametrize("family", ["als", "bpr", "two_tower"])
def test_a_final_run_is_told_of_with_its_test(
    family: str, make_config: MakeConfig, planted: dict[str, Any], tmp_path: Path
) -> None:
    config, run = make_config(family, **{"tracking.tensorboard": False}), RunDir(tmp_path / "final")
    splits = load_data(config)
    start_run(run, planted[family])
    final = run_final(config, splits, run, 3, [])
    meta, result = read_json(run.artifacts / "model_meta.json"), read_json(run.result)
    assert meta["metrics"] == {**result["best_metrics"], **final.test_metrics}
    assert {"train_loss", "test_ndcg_at_10", "test_mrr"} <= set(meta["metrics"])
    found = read_json(run.path / "ranking_test.json")
    learner = of_state(config, run, splits.refit(), "last.pt")
    assert found == {"format": 1, "split": "test", **learner.ranking("test").to_dict()}
    assert found["recall_at"][9] == pytest.approx(final.test_metrics["test_recall_at_10"])
    assert sum(found["interactions"]) == len(splits.train) + len(splits.val), "it was trained on both"
    assert not (run.path / "ranking_val.json").exists(), "there is nothing left to validate on"


@pytest.mark.parametrize("family", ["mlp classification", "fm regression"])
def test_other_models_have_no_ranking(
    family: str, make_config: MakeConfig, planted: dict[str, Any], tmp_path: Path
) -> None:
    config, run = trained(family, make_config, planted[family], tmp_path)
    final = RunDir(tmp_path / "final")
    start_run(final, planted[family])
    run_final(config, load_data(config), final, 2, [])
    assert [path for folder in (run, final) for path in folder.path.rglob("ranking_*")] == []
    assert "test_loss" in read_json(final.artifacts / "model_meta.json")["metrics"]


def test_a_run_without_its_files_is_told_of_by_what_there_is(make_config: MakeConfig, tmp_path: Path) -> None:
    """Who trains from Python need not write config.yaml and environment.json."""
    config, run = make_config("als", **{"tracking.tensorboard": False}), RunDir(tmp_path / "run")
    splits = load_data(config)
    train(config, splits.without_test(), run)
    export(config, splits, run, "best")
    meta = read_json(run.artifacts / "model_meta.json")
    assert (meta["config"], meta["versions"]) == ({}, {})
    assert "val_ndcg_at_10" in meta["metrics"]
