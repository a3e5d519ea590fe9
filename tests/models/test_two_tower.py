"""Two towers: the losses against their definitions, how negatives are drawn, and what a tower makes of its inputs."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from mlframework.data.batches import FetchTensors
from mlframework.experiment import ExperimentConfig, build_learner, load_data
from mlframework.learners.base import Learner
from mlframework.models import towers
from mlframework.models.towers import Features, Tower, TwoTowerModule, WithNegatives
from mlframework.models.two_tower import TwoTower, vectors_of

MakeConfig = Callable[..., ExperimentConfig]


# --- Its settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"n_negatives": 4}, "n_negatives: has no effect with loss: in_batch_softmax; use sampled_softmax or bpr"),
        ({"loss": "bpr", "log_q_correction": True}, "log_q_correction: has no effect with loss: bpr"),
        ({"loss": "sampled_softmax", "log_q_correction": False}, "log_q_correction: has no effect with loss: sampled_"),
        ({"loss": "softmax"}, "'in_batch_softmax', 'sampled_softmax' or 'bpr'"),
        ({"similarity": "euclid"}, "'cosine' or 'dot'"),
        ({"loss": "bpr", "n_negatives": 0}, "greater than 0"),
        ({"embedding_dim": 0}, "greater than 0"),
        ({"hidden_layers": -1}, "greater than or equal to 0"),
        ({"hidden_size": 0}, "greater than 0"),
        ({"dropout": 1.0}, "less than 1"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"factors": 8}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        TwoTower(architecture="two_tower", **changes)


def test_settings_that_go_together_are_taken() -> None:
    assert TwoTower(architecture="two_tower", loss="bpr", n_negatives=3).n_negatives == 3
    assert TwoTower(architecture="two_tower", log_q_correction=False).log_q_correction is False


# --- The losses -------------------------------------------------------------------------------------------------------


def plain_in_batch_softmax(scores: Any, items: list[int], log_q: Any) -> float:
    """The definition, a pair at a time: what else is in the batch is a negative, but never the same item."""
    losses = []
    for row, positive in enumerate(items):
        logits = {}
        for column, item in enumerate(items):
            if column == row or item != positive:
                logits[column] = scores[row][column] - (0.0 if log_q is None else log_q[item])
        losses.append(math.log(sum(math.exp(logit) for logit in logits.values())) - logits[row])
    return sum(losses) / len(losses)


@settings(max_examples=60)
@given(items=st.lists(st.integers(0, 5), min_size=1, max_size=8), seed=st.integers(0, 10_000), corrected=st.booleans())
def test_in_batch_softmax_is_its_definition(items: list[int], seed: int, corrected: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(len(items), len(items))) * 3
    log_q = np.log(rng.uniform(0.01, 0.5, 6)) if corrected else None
    loss = towers.in_batch_softmax(None if log_q is None else torch.from_numpy(log_q))
    found = loss(torch.from_numpy(scores), torch.tensor(items))
    assert float(found) == pytest.approx(plain_in_batch_softmax(scores, items, log_q), rel=1e-5, abs=1e-6)


def test_a_batch_of_one_item_has_no_loss_and_no_gradient_that_is_no_number() -> None:
    raw = torch.randn(3, 3, requires_grad=True)
    loss = towers.in_batch_softmax(None)(raw, torch.tensor([4, 4, 4]))
    loss.backward()
    assert loss.item() == pytest.approx(0)
    assert raw.grad is not None and torch.equal(raw.grad, torch.zeros(3, 3))


def test_sampled_softmax_is_its_definition() -> None:
    raw = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = np.mean([math.log(sum(math.exp(x) for x in row)) - row[0] for row in raw.tolist()])
    assert float(towers.sampled_softmax(raw, torch.arange(5))) == pytest.approx(expected, rel=1e-5)


def test_the_pairwise_loss_is_its_definition() -> None:
    raw = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs = [math.log(1 + math.exp(-(row[0] - other))) for row in raw.tolist() for other in row[1:]]
    assert float(towers.bpr(raw, torch.arange(5))) == pytest.approx(np.mean(pairs), rel=1e-5)


def test_the_correction_is_the_log_share_of_the_training_interactions(make_config: MakeConfig) -> None:
    config = make_config("two_tower")
    train = load_data(config).train
    log_q = np.log(np.bincount(train.items, minlength=45) / len(train))
    items = [3, 9, 3, 40]
    scores = np.random.default_rng(0).normal(size=(4, 4))
    for correction, expected in ((None, log_q), (True, log_q), (False, None)):
        model = config.model.model_copy(update={"log_q_correction": correction})
        found = model._loss(train, "cpu")(torch.from_numpy(scores), torch.tensor(items))
        assert float(found) == pytest.approx(plain_in_batch_softmax(scores, items, expected), rel=1e-5)


def test_each_interaction_weighs_the_same(make_config: MakeConfig) -> None:
    """Whatever its weight in the log: ratings of 1 and of 5 make the same training."""
    config = make_config("two_tower")
    splits = load_data(config)
    values = np.random.default_rng(0).uniform(0.5, 9, len(splits.train)).astype(np.float32)
    weighted = type(splits.train)(splits.train.catalogue, splits.train.users, splits.train.items, values)
    plain = build_learner(config, splits).train_epoch()
    assert build_learner(config, type(splits)(weighted, splits.val, splits.test)).train_epoch() == plain


def test_an_epoch_takes_each_interaction_once(make_config: MakeConfig) -> None:
    config = make_config("two_tower", **{"model.loss": "bpr"})
    train = load_data(config).train
    learner = build_learner(config, load_data(config))
    seen: list[tuple[int, int]] = []
    forward = learner.module.forward  # type: ignore[attr-defined]

    def watched(users: Tensor, items: Tensor) -> Tensor:
        seen.extend(zip(users.tolist(), items[:, 0].tolist(), strict=True))
        out: Tensor = forward(users, items)
        return out

    learner.module.forward = watched  # type: ignore[attr-defined]
    learner.train_epoch()
    assert sorted(seen) == sorted(zip(train.users.tolist(), train.items.tolist(), strict=True))


# --- Negatives --------------------------------------------------------------------------------------------------------


def with_negatives(n_users: int, n_items: int, has: Any, n_negatives: int) -> tuple[WithNegatives, Tensor, Tensor]:
    users, items = np.nonzero(has)
    fetch = FetchTensors(users.astype(np.int64), items.astype(np.int64), device="cpu")
    positives = (users * n_items + items).astype(np.int64)
    shuffled = np.random.default_rng(0).permutation(positives)
    return WithNegatives(fetch, shuffled, n_items, n_negatives, "cpu"), torch.from_numpy(users), torch.from_numpy(items)


def test_negatives_stand_behind_the_positive_item() -> None:
    has = np.random.default_rng(0).random((6, 9)) < 0.4
    fetch, users, items = with_negatives(6, 9, has, 5)
    for rows in (torch.tensor([3, 0, 7, 3]), slice(2, 6)):
        found_users, found_items = fetch(rows)
        assert torch.equal(found_users, users[rows])
        assert found_items.shape == (4, 6) and found_items.dtype == torch.int64
        assert torch.equal(found_items[:, 0], items[rows])
        assert found_items.min() >= 0 and found_items.max() < 9


def test_an_item_that_the_user_has_is_hardly_ever_a_negative() -> None:
    """Of users who have half of all items, uniform draws hit one in two: drawn again twice, (1/2)^3 are left."""
    torch.manual_seed(0)
    has = np.zeros((50, 40), dtype=bool)
    for user in range(50):
        has[user, np.random.default_rng(user).permutation(40)[:20]] = True
    fetch, _, _ = with_negatives(50, 40, has, 30)
    users, items = fetch(torch.arange(1000))
    negatives = items[:, 1:]
    wrong = torch.from_numpy(has)[users[:, None], negatives].double().mean()
    # 30,000 draws: the standard deviation of the share is 0.002.
    assert float(wrong) == pytest.approx(1 / 8, abs=0.01)


def test_a_user_with_few_items_has_none_of_them_as_negatives() -> None:
    torch.manual_seed(0)
    has = np.zeros((200, 100), dtype=bool)
    has[np.arange(200), np.arange(200) % 100] = True
    fetch, _, _ = with_negatives(200, 100, has, 50)
    users, items = fetch(torch.arange(200))
    assert torch.from_numpy(has)[users[:, None], items[:, 1:]].sum() <= 2, "one in a million of 10,000 draws"
    counts = torch.bincount(items[:, 1:].flatten(), minlength=100).double()
    assert counts.min() > 50 and counts.max() < 160, "each of the others is drawn as often: 100 times, give or take 10"


def test_who_has_every_item_gets_negatives_all_the_same() -> None:
    fetch, _, _ = with_negatives(2, 3, np.ones((2, 3), dtype=bool), 4)
    users, items = fetch(torch.arange(6))
    assert items.shape == (6, 5) and len(users) == 6


@pytest.mark.parametrize(("loss", "default"), [("bpr", 1), ("sampled_softmax", 16)])
def test_as_many_negatives_are_drawn_as_is_said(loss: str, default: int, make_config: MakeConfig) -> None:
    for n_negatives in (None, 3):
        config = make_config("two_tower", **{"model.loss": loss, "model.n_negatives": n_negatives})
        learner = build_learner(config, load_data(config))
        (_, items), targets, _, _ = next(iter(learner._batches))  # type: ignore[attr-defined]
        assert items.shape == (64, 1 + (n_negatives or default))
        assert torch.equal(items[:, 0], targets)


# --- Towers -----------------------------------------------------------------------------------------------------------


def tower(n_rows: int, features: Features | None = None, hidden: tuple[int, ...] = (), dropout: float = 0.0) -> Tower:
    torch.manual_seed(n_rows)
    return Tower(n_rows, 4, hidden, dropout, features)


def test_without_layers_a_vector_is_its_embedding() -> None:
    module = tower(5)
    assert torch.equal(module(torch.arange(5)), module.embedding.weight)
    assert [name for name, _ in module.named_parameters()] == ["embedding.weight"]


@pytest.mark.parametrize("hidden", [(), (7,), (7, 6)])
def test_vectors_end_in_the_embeddings_length(hidden: tuple[int, ...]) -> None:
    features = Features(np.zeros((5, 3), np.float32), np.zeros((5, 1), np.int64), (2,))
    assert tower(5, features, hidden, 0.5)(torch.arange(5)).shape == (5, 4)
    assert tower(5, None, hidden, 0.5)(torch.arange(5)).shape == (5, 4)


def test_features_reach_the_vectors() -> None:
    rng = np.random.default_rng(0)
    numeric, codes = rng.normal(size=(5, 2)).astype(np.float32), rng.integers(0, 3, (5, 1))
    module = tower(5, Features(numeric, codes, (3,)))
    before = module(torch.arange(5))
    assert module.features is not None
    for buffer in (module.features.numeric, module.features.codes):
        buffer[2] = 2 - buffer[2] if buffer.dtype == torch.int64 else buffer[2] + 1  # type: ignore[index, operator]
        after = module(torch.arange(5))
        changed = (after != before).any(dim=1).tolist()
        assert changed[2] and not any(changed[:2] + changed[3:]), "of the row whose features they are, and of no other"
        before = after
    assert not [name for name in module.state_dict() if "numeric" in name or "codes" in name], "they are data"


def test_what_a_learner_knows_of_users_and_items_reaches_its_vectors(make_config: MakeConfig) -> None:
    config = make_config("two_tower with features")
    train = load_data(config).train
    module = config.model.build(train)
    assert (module.users.features.width, module.items.features.width) > (1, 1)
    without = make_config("two_tower").model.build(load_data(make_config("two_tower")).train)
    assert without.users.features is None and without.items.features is None


def test_dropout_is_for_training_only() -> None:
    module = tower(50, None, (), 0.5)
    rows = torch.arange(50)
    assert not torch.equal(module.train()(rows), module(rows))
    assert torch.equal(module.eval()(rows), module.embedding.weight)


@pytest.mark.parametrize("normalised", [True, False])
def test_scores_are_products_over_the_temperature(normalised: bool) -> None:
    module = TwoTowerModule(tower(6), tower(7), normalised, 0.25)
    users, items = torch.tensor([5, 0, 3]), torch.tensor([6, 2, 2])
    left, right = (side.embedding.weight.detach().double().numpy() for side in (module.users, module.items))
    if normalised:
        left, right = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (left, right))
    expected = left[users] @ right.T / 0.25
    assert module(users, items).detach().numpy() == pytest.approx(expected[:, items], abs=1e-5)
    own = torch.tensor([[6, 0], [1, 1], [2, 5]])
    found = module(users, own).detach().numpy()
    assert found == pytest.approx(np.take_along_axis(expected, own.numpy(), axis=1), abs=1e-5)


@pytest.mark.parametrize(("similarity", "lengths"), [("cosine", 1.0), ("dot", None)])
@pytest.mark.parametrize("hidden_layers", [0, 2])
def test_the_vectors_of_the_cosine_have_length_one(
    similarity: str, lengths: float | None, hidden_layers: int, make_config: MakeConfig
) -> None:
    config = make_config("two_tower", **{"model.similarity": similarity, "model.hidden_layers": hidden_layers})
    learner = trained(config)
    vectors = vectors_of(load_data(config).train, "cpu")(learner.module)  # type: ignore[attr-defined]
    assert (vectors.users.shape, vectors.items.shape) == ((180, 8), (45, 8))
    for found in (vectors.users, vectors.items):
        norms = np.linalg.norm(found, axis=1)
        assert norms == pytest.approx(np.ones(len(norms)), abs=1e-5) if lengths else np.ptp(norms) > 0.01


def trained(config: ExperimentConfig, n_epochs: int = 2) -> Learner:
    learner = build_learner(config, load_data(config))
    for _ in range(n_epochs):
        learner.train_epoch()
    return learner


def test_vectors_are_those_of_all_rows_however_many(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlframework.models import two_tower

    config = make_config("two_tower with features", **{"model.hidden_layers": 1, "model.dropout": 0.5})
    learner, train = trained(config), load_data(config).train
    whole = vectors_of(train, "cpu")(learner.module)  # type: ignore[attr-defined]
    monkeypatch.setattr(two_tower, "_AT_ONCE", 7)
    parts = vectors_of(train, "cpu")(learner.module)  # type: ignore[attr-defined]
    assert np.allclose(parts.users, whole.users, atol=1e-6) and np.allclose(parts.items, whole.items, atol=1e-6)


@pytest.mark.parametrize(("similarity", "temperature"), [("cosine", 0.2), ("dot", 1.0)])
def test_the_temperature_has_a_default_for_each_similarity(
    similarity: str, temperature: float, make_config: MakeConfig
) -> None:
    usual, same, other = (
        trained(make_config("two_tower", **{"model.similarity": similarity, "model.temperature": value}), 1)
        for value in (None, temperature, 0.7)
    )
    weights = [learner.state_dict()["module"]["users.embedding.weight"] for learner in (usual, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_features_of_those_that_are_not_in_training_do_not_change_the_encoding(make_config: MakeConfig) -> None:
    """What standardises and encodes the features is learnt from the users and items that are trained on."""
    config = make_config("two_tower with features")
    train = load_data(config).train
    some = train.take(np.flatnonzero(train.users < 90))
    ages = train.catalogue.user_features.numeric[:90, 0]
    module = config.model.build(some)
    encoded = module.users.features.numeric[:, 0].numpy()
    assert encoded[:90].mean() == pytest.approx(0, abs=1e-5) and encoded[:90].std() == pytest.approx(1, abs=1e-2)
    assert encoded == pytest.approx(
        (train.catalogue.user_features.numeric[:, 0] - ages.mean()) / ages.std(), rel=1e-3, abs=1e-3
    )
