"""BPR: its settings, and that its vectors hold the items' biases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from implicit.cpu.bpr import BayesianPersonalizedRanking
from pydantic import ValidationError

from mlframework.experiment import ExperimentConfig, build_learner, load_data
from mlframework.learners.base import Learner
from mlframework.models.bpr import Bpr

MakeConfig = Callable[..., ExperimentConfig]


def trained(config: ExperimentConfig, n_epochs: int = 3) -> Learner:
    learner = build_learner(config, load_data(config))
    for _ in range(n_epochs):
        learner.train_epoch()
    return learner


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"factors": 0}, "greater than 0"),
        ({"lr": 0.0}, "greater than 0"),
        ({"regularization": -0.1}, "greater than or equal to 0"),
        ({"verify_negative": "yes"}, "valid boolean"),
        ({"alpha": 2.0}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Bpr(architecture="bpr", **settings)


@pytest.mark.parametrize(
    ("key", "value"), [("factors", 5), ("lr", 0.2), ("regularization", 0.5), ("verify_negative", False)]
)
def test_each_setting_reaches_the_factors(key: str, value: Any, make_config: MakeConfig) -> None:
    usual, other = trained(make_config("bpr")), trained(make_config("bpr", **{f"model.{key}": value}))
    one, two = usual.state_dict()["item_factors"], other.state_dict()["item_factors"]
    assert one.shape != two.shape if key == "factors" else not np.array_equal(one, two)
    assert two.shape == (45, 1 + (value if key == "factors" else 8))


def test_it_is_the_same_with_more_threads(make_config: MakeConfig) -> None:
    """Threads that write into the same factors would give other numbers each time: it keeps to one."""
    one, two = (trained(make_config("bpr", **{"training.num_threads": n})).state_dict() for n in (1, 2))
    assert np.array_equal(one["user_factors"], two["user_factors"])
    assert np.array_equal(one["item_factors"], two["item_factors"])


def test_its_learning_rate_is_told(make_config: MakeConfig) -> None:
    assert trained(make_config("bpr", **{"model.lr": 0.025})).learning_rate() == 0.025


def test_it_recommends_what_implicit_recommends(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config("bpr")
    train = load_data(config).train
    model = BayesianPersonalizedRanking(
        factors=8, learning_rate=0.3, regularization=0.01, iterations=1, num_threads=1,
        verify_negative_samples=True, random_state=np.random.default_rng(7),
    )  # fmt: skip
    for _ in range(3):
        model.fit(train.matrix(), show_progress=False)
    items, scores = model.recommend(np.arange(180), train.matrix(), N=7, filter_already_liked_items=True)
    trained(config).export(tmp_path)
    recommender = config.model.predictor(tmp_path)
    found = recommender.recommend(recommender.users, 7)
    assert np.allclose([[each.score for each in row] for row in found], scores, rtol=1e-5, atol=1e-6)
    ours = np.array([[recommender.items.index(each.item) for each in row] for row in found])
    assert np.mean(ours == items) > 0.99, "all but what ties to the last digit"


def test_items_are_alike_by_their_factors_and_not_by_their_bias(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config("bpr")
    trained(config, 6).export(tmp_path)
    users, items = (np.load(tmp_path / f"{side}_vecs.npy") for side in ("user", "item"))
    assert (users[:, 8] == 1).all() and np.ptp(items[:, 8]) > 0, "the last column multiplies the bias by 1"
    factors = items[:, :8] / np.linalg.norm(items[:, :8], axis=1, keepdims=True)
    cosines = factors @ factors.T
    np.fill_diagonal(cosines, -np.inf)
    recommender = config.model.predictor(tmp_path)
    for row, (first, *_) in enumerate(recommender.similar_items(recommender.items, 3)):
        assert first.item == recommender.items[int(cosines[row].argmax())]
        assert first.score == pytest.approx(cosines[row].max(), abs=1e-5)
