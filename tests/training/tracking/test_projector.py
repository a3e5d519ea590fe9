"""What the projector is given, read as TensorBoard's own projector reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from mlframework.data.interaction_examples import InteractionExamples
from mlframework.experiment import ExperimentConfig, build_learner, load_data, train
from mlframework.runs import RunDir, read_json
from mlframework.training.tracking import projector
from mlframework.training.tracking.projector import Items, Projector

MakeConfig = Callable[..., ExperimentConfig]


def shown(folder: Path) -> tuple[np.ndarray, list[list[str]]]:
    """Return vectors, and the lines of texts about them."""
    config = ProjectorConfig()
    text_format.Parse((folder / "projector_config.pbtxt").read_text(), config)
    [embedding] = config.embeddings
    vectors = np.fromfile(folder / embedding.tensor_path, dtype="<f4").reshape(embedding.tensor_shape)
    lines = (folder / embedding.metadata_path).read_text(encoding="utf-8").splitlines()
    return vectors, [line.split("\t") for line in lines]


def named(examples: InteractionExamples, names: list[str]) -> InteractionExamples:
    object.__setattr__(examples.catalogue, "item_names", tuple(names))
    return examples


def test_a_row_an_item_with_its_name(tmp_path: Path, make_examples: Any) -> None:
    examples = named(
        make_examples([[1, 0, 1], [1, 1, 0], [1, 0, 0]], items=("x", "y", "z")), ["Alien", "Up\t\nUp", " "]
    )
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    Projector(tmp_path, Items.of(examples)).write(vectors)
    found, lines = shown(tmp_path)
    assert np.array_equal(found, vectors)
    assert lines == [["name", "item_id", "interactions"], ["Alien", "x", "3"], ["Up Up", "y", "1"], ["-", "z", "1"]]


def test_without_names_ids_stand_for_them(tmp_path: Path, make_examples: Any) -> None:
    Projector(tmp_path, Items.of(make_examples([[1, 1]], items=(7, 8)))).write(np.eye(2, dtype=np.float32))
    assert shown(tmp_path)[1] == [["item_id", "interactions"], ["7", "1"], ["8", "1"]]


def test_of_many_items_those_with_the_most_interactions_are_shown(make_examples: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(projector, "MOST_ITEMS", 2)
    items = Items.of(make_examples([[1, 0, 1, 1], [0, 0, 1, 1], [0, 1, 1, 0]]))
    assert items.rows.tolist() == [2, 3] and items.columns["item_id"] == ["2", "3"]


def test_a_later_epoch_takes_the_place_of_an_earlier_one(tmp_path: Path, make_examples: Any) -> None:
    board = Projector(tmp_path, Items.of(make_examples([[1, 1]])))
    for number in (1, 2):
        board.write(np.full((2, 3), number, dtype=np.float32))
    assert np.array_equal(shown(tmp_path)[0], np.full((2, 3), 2))
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "items.bytes", "items.tsv", "projector_config.pbtxt"]  # fmt: skip


@pytest.mark.parametrize("family", ["als", "bpr", "two_tower with features", "fm regression"])
def test_a_run_shows_the_vectors_of_its_best_epoch(family: str, make_config: MakeConfig, tmp_path: Path) -> None:
    metric = "val_loss" if family == "fm regression" else "val_ndcg_at_10"
    # So fast that later epochs are worse, where that can be had.
    changes = {} if family == "als" else {"optimizer.lr": 1.0} if family != "bpr" else {"model.lr": 1.0}
    config, run = make_config(family, metric=metric, **changes), RunDir(tmp_path)
    splits = load_data(config)
    train(config, splits, run)
    vectors, lines = shown(run.path)
    learner = build_learner(config, splits.without_test())
    learner.load_state_dict(learner.codec.load(run.checkpoints / "best.pt")["learner"])
    expected = learner.item_vectors()
    assert expected is not None and np.array_equal(vectors, expected)
    assert len(lines) == len(vectors) + 1
    if family == "two_tower with features":
        assert len(lines[0]) > 2  # categories of the items, to colour them by


def test_what_has_no_items_has_no_projector(make_config: MakeConfig, tmp_path: Path) -> None:
    config, run = make_config("mlp regression"), RunDir(tmp_path)
    train(config, load_data(config), run)
    assert read_json(run.result)["best_epoch"] >= 1
    assert not (run.path / "projector_config.pbtxt").exists() and not (run.path / "projector").exists()
