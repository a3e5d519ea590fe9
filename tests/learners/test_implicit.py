"""Models of `implicit` as learners: an epoch is an iteration of theirs, and a killed run goes on bit for bit."""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from threadpoolctl import threadpool_limits

from mlframework.errors import MissingExtraError, Stopped, TrainingError
from mlframework.experiment import ExperimentConfig, build_learner, load_data, start_run, train
from mlframework.learners.base import Learner
from mlframework.learners.implicit import ImplicitLearner
from mlframework.learners.ranking import Vectors
from mlframework.runs import RunDir
from mlframework.training.callbacks import TIMES, History

MakeConfig = Callable[..., ExperimentConfig]
MODELS = ("als", "bpr")


def fresh(config: ExperimentConfig) -> ImplicitLearner:
    learner = build_learner(config, load_data(config))
    assert isinstance(learner, ImplicitLearner)
    return learner


def factors(learner: ImplicitLearner, n_epochs: int = 0) -> Vectors:
    """Return copies of the factors after some more epochs: implicit writes into its own."""
    for _ in range(n_epochs):
        learner.train_epoch()
    return Vectors(learner.vectors.users.copy(), learner.vectors.items.copy())


def same(one: Vectors, other: Vectors) -> bool:
    """Bit for bit."""
    return one.users.tobytes() == other.users.tobytes() and one.items.tobytes() == other.items.tobytes()


def fitted(model: Any, config: ExperimentConfig, n_fits: int = 1) -> Vectors:
    """Return the factors of a model of implicit after some fits."""
    for _ in range(n_fits):
        with threadpool_limits(1, "blas"):
            model.fit(load_data(config).train.matrix(), show_progress=False)
    return Vectors(model.user_factors.copy(), model.item_factors.copy())


def als_of(config: ExperimentConfig, n_iterations: int) -> AlternatingLeastSquares:
    model = config.model
    with threadpool_limits(1, "blas"):
        return AlternatingLeastSquares(
            factors=model.factors, regularization=model.regularization, alpha=model.alpha, use_cg=model.solver == "cg",
            iterations=n_iterations, num_threads=1, random_state=np.random.default_rng(config.seed),
        )  # fmt: skip


def bpr_of(config: ExperimentConfig, n_iterations: int, random_state: Any) -> BayesianPersonalizedRanking:
    model = config.model
    return BayesianPersonalizedRanking(
        factors=model.factors, learning_rate=model.lr, regularization=model.regularization, iterations=n_iterations,
        verify_negative_samples=model.verify_negative, num_threads=1, random_state=random_state,
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes", [{}, {"model.solver": "cholesky"}, {"model.alpha": 7.0, "model.regularization": 0.5}]
)
def test_epochs_of_als_are_one_fit_of_as_many_iterations(make_config: MakeConfig, changes: dict[str, Any]) -> None:
    config = make_config("als", **changes)
    learner = fresh(config)
    for n_epochs in (1, 6):
        found = factors(learner, n_epochs - (n_epochs > 1))
        assert same(found, fitted(als_of(config, n_epochs), config))


@pytest.mark.parametrize("verify", [True, False])
def test_epochs_of_bpr_are_fits_of_one_iteration_with_one_generator(make_config: MakeConfig, verify: bool) -> None:
    config = make_config("bpr", **{"model.verify_negative": verify})
    model = bpr_of(config, 1, np.random.default_rng(config.seed))
    learner = fresh(config)
    for _ in range(4):
        assert same(factors(learner, 1), fitted(model, config))


def test_bpr_is_not_seeded_anew_in_each_epoch(make_config: MakeConfig) -> None:
    """With a number as its seed implicit draws the same samples in every fit: what our epochs must not do."""
    config = make_config("bpr")
    seed = int(np.random.default_rng(config.seed).integers(2**31))
    reseeded = bpr_of(config, 1, seed)
    start = fitted(reseeded, config)
    learner = fresh(config)
    factors(learner, 1)
    learner._model.user_factors, learner._model.item_factors = start.users.copy(), start.items.copy()
    states = [learner.state_dict()["rng"]]
    ours = factors(learner, 2)
    states.append(learner.state_dict()["rng"])
    assert states[0] != states[1], "the generator has gone on"
    assert not same(ours, fitted(reseeded, config, 2))
    # The draws of two epochs differ: the same factors are moved to other places by each.
    learner._model.user_factors, learner._model.item_factors = start.users.copy(), start.items.copy()
    one = factors(learner, 1)
    learner._model.user_factors, learner._model.item_factors = start.users.copy(), start.items.copy()
    assert not same(one, factors(learner, 1))


@pytest.mark.parametrize("model", MODELS)
def test_a_state_that_is_given_back_goes_on_bit_for_bit(model: str, make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(model)
    whole = factors(fresh(config), 5)
    stopped, resumed = fresh(config), fresh(config)
    factors(stopped, 2)
    (tmp_path / "state").write_bytes(stopped.codec.encode(stopped.state_dict()))
    resumed.load_state_dict(resumed.codec.load(tmp_path / "state"))
    assert same(factors(resumed, 3), whole)
    assert not same(factors(stopped, 1), whole)


class Killer:
    """Ends a training after an epoch, as a signal would."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def on_start(self, learner: Learner, history: History) -> None:
        """Do nothing."""

    def on_epoch(self, learner: Learner, history: History) -> None:
        """End it."""
        if len(history.records) == self._epoch:
            raise Stopped("killed")

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Do nothing."""


@pytest.mark.parametrize("model", MODELS)
def test_a_run_that_is_stopped_after_an_epoch_ends_with_the_same_factors(
    model: str, make_config: MakeConfig, planted: dict[str, Any], tmp_path: Path
) -> None:
    config = make_config(model, **{"training.num_epochs": 6, "tracking.tensorboard": False})
    splits = load_data(config).without_test()
    ends = {}
    for name, stops in (("whole", ()), ("stopped", (3, 5))):
        run = RunDir(tmp_path / name)
        start_run(run, planted[model])
        for epoch in stops:
            with pytest.raises(Stopped):
                train(config, splits, run, [Killer(epoch)])
        result = train(config, splits, run)
        learner = fresh(config)
        learner.load_state_dict(learner.codec.load(run.checkpoints / "last.pt")["learner"])
        lines = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
        metrics = [{key: value for key, value in line.items() if key not in TIMES} for line in lines]
        ends[name] = factors(learner), metrics, result.value, result.best_epoch
    assert same(ends["whole"][0], ends["stopped"][0])
    assert ends["whole"][1:] == ends["stopped"][1:]
    if model == "als":
        assert same(ends["stopped"][0], fitted(als_of(config, 6), config))


def test_the_loss_is_that_of_implicit(make_config: MakeConfig) -> None:
    config = make_config("als")
    told: list[float] = []
    model = als_of(config, 3)
    model.calculate_training_loss = True
    with threadpool_limits(1, "blas"):
        model.fit(load_data(config).train.matrix(), show_progress=False, callback=lambda *each: told.append(each[2]))
    learner = fresh(config)
    assert [learner.train_epoch()["loss"] for _ in range(3)] == told


@pytest.mark.parametrize("verify", [True, False])
def test_the_loss_of_bpr_is_the_share_of_pairs_in_the_wrong_order(make_config: MakeConfig, verify: bool) -> None:
    """A pair whose negative the user has is skipped: its order is no one's loss."""
    config = make_config("bpr", **{"model.verify_negative": verify})
    told: list[tuple[int, int]] = []
    train = load_data(config).train
    model = bpr_of(config, 1, np.random.default_rng(config.seed))
    model.fit(train.matrix(), show_progress=False, callback=lambda *each: told.append(each[2:]))
    ((correct, skipped),) = told
    assert (skipped > 0) == verify
    assert fresh(config).train_epoch()["loss"] == 1 - correct / (len(train) - skipped)


@pytest.mark.parametrize("model", MODELS)
def test_the_metrics_are_of_the_vectors(model: str, make_config: MakeConfig) -> None:
    """Precision@10 from nothing but the exported vectors, the training and the val interactions."""
    config = make_config(model)
    splits, learner = load_data(config), fresh(config)
    vectors = factors(learner, 2)
    scores = vectors.users @ vectors.items.T
    scores[splits.train.users, splits.train.items] = -np.inf
    top = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    held_out = splits.val.matrix().toarray() > 0
    users = np.flatnonzero(held_out.any(axis=1))
    precision = np.mean([held_out[user, top[user]].sum() / 10 for user in users])
    assert learner.evaluate("val")["precision_at_10"] == pytest.approx(precision, abs=1e-9)


def test_factors_that_are_no_numbers_end_the_training(make_config: MakeConfig) -> None:
    learner = fresh(make_config("bpr", **{"model.lr": 1e30}))
    with pytest.raises(TrainingError, match=r"the factors are no numbers any more; .*model.regularization.*model.lr"):
        factors(learner, 5)


def test_building_and_training_warns_of_nothing(make_config: MakeConfig) -> None:
    import implicit.utils

    implicit.utils._checked_blas_config = False  # it warns but once a process
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in MODELS:
            factors(fresh(make_config(model)), 1)


@pytest.mark.parametrize("model", MODELS)
def test_without_implicit_the_extra_is_named(
    model: str, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(MissingExtraError, match=rf"(?s)model\.architecture: {model}.*recommenders"):
        fresh(make_config(model))
