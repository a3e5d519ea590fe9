"""Every recommender learns the shipped sample, in which taste is planted: it beats a baseline that knows no user.

The sample's ratings follow from six factors of each user and item, and from an item's popularity. An oracle that knows
them has an NDCG@10 of 3.2 to 3.7 times that of popularity. With three seeds ALS reached 2.7 to 3.0 times, BPR 2.4 to 2.5,
the two-tower 2.2 to 2.5: the margins below are under that, and well over what popularity alone would reach, which is 1.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mlframework.config.decode import decode
from mlframework.config.yaml import Document
from mlframework.data.samples import write_ratings
from mlframework.experiment import ExperimentConfig, build_learner, load_data
from mlframework.learners.ranking import Ranker, Vectors


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ratings(tmp_path_factory.mktemp("ratings") / "ratings.csv")


def trained(path: Path, model: dict[str, Any], training: dict[str, Any], data: dict[str, Any], **more: Any) -> Any:
    """Return the splits and the learner after its epochs."""
    split = {"val_fraction": 0.1, "test_fraction": 0.1}
    of_data = {"type": "interactions", "path": str(path), "rating_column": "rating", "min_user_interactions": 3}
    tree = {
        "seed": 1,
        "device": "cpu",
        "data": {**of_data, "split": split, **data},
        "model": model,
        "training": {"num_threads": 1, **training},
        **more,
    }
    config = decode(ExperimentConfig, Document(tree))
    splits = load_data(config)
    learner = build_learner(config, splits)
    for _ in range(config.training.num_epochs):
        learner.train_epoch()
    return splits, learner


@pytest.mark.parametrize(
    ("model", "training", "more", "margin"),
    [
        ({"architecture": "als", "factors": 32, "regularization": 10.0}, {"num_epochs": 15}, {}, 2.0),
        ({"architecture": "bpr", "factors": 32, "lr": 0.02}, {"num_epochs": 60}, {}, 1.8),
        (
            {"architecture": "two_tower", "embedding_dim": 32},
            {"num_epochs": 8, "batch_size": 256},
            {"optimizer": {"type": "adam", "lr": 0.003}},
            2.0,
        ),
    ],
    ids=lambda value: value.get("architecture", "") if isinstance(value, dict) else "",
)
def test_a_recommender_beats_popularity(
    ratings: Path, model: dict[str, Any], training: dict[str, Any], more: dict[str, Any], margin: float
) -> None:
    splits, learner = trained(ratings, model, training, {"min_rating": 4}, metric="val_ndcg_at_10", **more)
    counts = np.bincount(splits.train.items, minlength=len(splits.train.catalogue.items)).astype(np.float32)
    everybody = Vectors(np.ones((len(splits.train.catalogue.users), 1), np.float32), counts[:, None])
    popularity = Ranker(splits, ["val_ndcg_at_10"]).measure("test", everybody)
    assert learner.evaluate("test")["ndcg_at_10"] >= margin * popularity["ndcg_at_10"]


@pytest.mark.parametrize("architecture", ["fm", "ffm"])
def test_a_machine_tells_likes_better_than_what_everybody_thinks_of_the_item(ratings: Path, architecture: str) -> None:
    # The baseline is an item's mean rating by others: all that can be known without knowing the user.
    data = {"task": "classification", "min_rating": 4}
    adam = {"type": "adam", "lr": 0.01}
    splits, learner = trained(
        ratings,
        {"architecture": architecture},
        {"num_epochs": 12, "batch_size": 1024},
        data,
        metric="val_auc",
        optimizer=adam,
    )
    train, test = splits.train, splits.test
    n_items = len(train.catalogue.items)
    rated = np.bincount(train.items, minlength=n_items)
    mean = np.bincount(train.items, train.targets, n_items) / np.maximum(rated, 1)
    outputs = learner.outputs("test")
    found, baseline = (roc_auc_score(test.targets, scores) for scores in (outputs.values[:, 1], mean[test.items]))
    assert found >= baseline + 0.1


@pytest.mark.parametrize("architecture", ["fm", "ffm"])
def test_a_machine_predicts_ratings_better_than_the_means(ratings: Path, architecture: str) -> None:
    # The baseline is the mean of all, plus how the user and the item differ from it: no interaction of the two.
    splits, learner = trained(
        ratings,
        {"architecture": architecture},
        {"num_epochs": 5, "batch_size": 1024},
        {"task": "regression"},
        metric="val_rmse",
        optimizer={"type": "adam", "lr": 0.01},
    )
    train, test = splits.train, splits.test
    mean = train.targets.mean()
    of_users, of_items = (
        np.bincount(codes, train.targets - mean, n) / np.maximum(np.bincount(codes, minlength=n), 1)
        for codes, n in ((train.users, len(train.catalogue.users)), (train.items, len(train.catalogue.items)))
    )
    baseline = np.sqrt(np.mean((test.targets - mean - of_users[test.users] - of_items[test.items]) ** 2))
    assert learner.evaluate("test")["rmse"] <= 0.93 * baseline
