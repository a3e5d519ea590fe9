"""ALS: its settings, and that its vectors recommend what `implicit` itself would."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from mlframework.experiment import ExperimentConfig, build_learner, load_data
from mlframework.learners.base import Learner
from mlframework.models.als import WITHOUT_STEPS, Als

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
        ({"regularization": -0.1}, "greater than or equal to 0"),
        ({"alpha": 0.0}, "greater than 0"),
        ({"solver": "gauss"}, "'cg' or 'cholesky'"),
        ({"lr": 0.1}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Als(architecture="als", **settings)


@pytest.mark.parametrize(
    ("key", "value"),
    [("factors", 5), ("regularization", 3.0), ("alpha", 9.0), ("solver", "cholesky")],
)
def test_each_setting_reaches_the_factors(key: str, value: Any, make_config: MakeConfig) -> None:
    usual, other = trained(make_config("als")), trained(make_config("als", **{f"model.{key}": value}))
    one, two = usual.state_dict()["user_factors"], other.state_dict()["user_factors"]
    assert one.shape != two.shape if key == "factors" else not np.array_equal(one, two)
    assert two.shape == (180, value if key == "factors" else 8)


def test_the_settings_of_steps_mean_nothing_to_it() -> None:
    """Each of them is a setting: a misspelt one would exclude nothing."""
    sections = {key.partition(".")[0] for key in WITHOUT_STEPS}
    assert sections == {"optimizer", "scheduler", "training"}
    of_training = {key.partition(".")[2] for key in WITHOUT_STEPS if key.startswith("training.")}
    known = set(ExperimentConfig.model_fields["training"].annotation.model_fields)  # type: ignore[union-attr]
    assert of_training < known
    assert known - of_training == {"num_epochs", "early_stopping", "num_threads"}, "these have a meaning to it"


def test_short_names_are_of_settings() -> None:
    keys = {f"model.{name}" for name in Als.model_fields} | {"training.num_epochs"}
    assert set(Als.short_names) <= keys


def test_it_recommends_what_implicit_recommends(make_config: MakeConfig, tmp_path: Any) -> None:
    config = make_config("als")
    splits = load_data(config)
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=8, regularization=0.01, iterations=3, num_threads=1, random_state=np.random.default_rng(7)
        )
        model.fit(splits.train.matrix(), show_progress=False)
    items, scores = model.recommend(np.arange(180), splits.train.matrix(), N=7, filter_already_liked_items=True)
    trained(config).export(tmp_path)
    recommender = config.model.predictor(tmp_path)
    found = recommender.recommend(recommender.users, 7)
    assert np.allclose([[each.score for each in row] for row in found], scores, rtol=1e-5, atol=1e-6)
    ours = np.array([[recommender.items.index(each.item) for each in row] for row in found])
    assert np.mean(ours == items) > 0.99, "all but what ties to the last digit"
