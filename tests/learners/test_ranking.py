"""How recommenders are measured: by their vectors, without what users had in training, and by which metrics."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlframework.data.interaction_examples import InteractionExamples
from mlframework.data.splits import Splits
from mlframework.errors import TrainingError
from mlframework.learners.ranking import Ranker, Vectors

MakeExamples = Callable[..., InteractionExamples]
USUAL = ("precision_at_10", "recall_at_10", "ndcg_at_10", "map_at_10", "mrr")


def splits_of(make: MakeExamples, train: Any, val: Any, test: Any = None) -> Splits[InteractionExamples]:
    return Splits(make(train), None if val is None else make(val), None if test is None else make(test))


def drawn(seed: int, n_users: int, n_items: int) -> tuple[Any, Any, Any, Vectors]:
    """Return train, val and test as 0/1 matrices that share no interaction, and vectors."""
    rng = np.random.default_rng(seed)
    which = rng.choice(4, size=(n_users, n_items), p=[0.6, 0.2, 0.1, 0.1])
    vectors = rng.normal(size=(n_users + n_items, 3)).astype(np.float32)
    return which == 1, which == 2, which == 3, Vectors(vectors[:n_users], vectors[n_users:])


def best(scores: Any, seen: Any, k: int) -> list[int]:
    """Return the k best items that are not seen, by sorting."""
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item))
    return [item for item in order if not seen[item]][:k]


def recall(recommended: list[int], held: Any, k: int) -> float:
    return sum(bool(held[item]) for item in recommended[:k]) / int(held.sum())


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_a_report_is_what_sorting_gives(make_examples: MakeExamples, seed: int) -> None:
    train, val, test, vectors = drawn(seed, 8, 13)
    users = {name: np.flatnonzero(train.any(1) & held.any(1)) for name, held in (("val", val), ("test", test))}
    if not all(map(len, users.values())):
        return
    ranker = Ranker(splits_of(make_examples, train, val, test), ())
    scores = vectors.users @ vectors.items.T
    popular = [int(n) for n in train.sum(axis=0)]
    for split, held in (("val", val), ("test", test)):
        report = ranker.report(split, vectors)
        assert (report.k, report.n_users) == (10, len(users[split]))
        ours = {user: best(scores[user], train[user], 13) for user in users[split]}
        theirs = {user: best(popular, train[user], 13) for user in users[split]}
        counts = np.bincount([item for items in ours.values() for item in items[:10]], minlength=13)
        assert report.recommended.tolist() == counts.tolist()
        assert report.interactions.tolist() == popular
        for k in range(1, 14):
            expected = np.mean([recall(ours[user], held[user], k) for user in users[split]])
            assert report.recall_at[k - 1] == pytest.approx(expected, abs=1e-12)
            expected = np.mean([recall(theirs[user], held[user], k) for user in users[split]])
            assert report.popularity_recall_at[k - 1] == pytest.approx(expected, abs=1e-12)
        measured = ranker.measure(split, vectors)
        assert set(measured) == set(USUAL)
        for name, curve in (("recall", report.recall_at), ("precision", report.precision_at), ("ndcg", report.ndcg_at)):
            assert measured[f"{name}_at_10"] == pytest.approx(curve[9], abs=1e-12)
        hits = [sum(bool(held[user, item]) for item in ours[user][:10]) for user in users[split]]
        assert report.users_by_hits.tolist() == np.bincount(hits, minlength=11).tolist()
        popular_hits = np.mean([sum(bool(held[user, item]) for item in theirs[user][:3]) / 3 for user in users[split]])
        assert report.popularity_precision_at[2] == pytest.approx(popular_hits, abs=1e-12)
        first = [1 + next(at for at, item in enumerate(ours[user]) if held[user, item]) for user in users[split]]
        assert measured["mrr"] == pytest.approx(np.mean([1 / rank for rank in first]), abs=1e-12)


def test_weights_and_classes_do_not_matter(make_examples: MakeExamples) -> None:
    train, val, _, vectors = drawn(3, 8, 13)
    plain = Ranker(splits_of(make_examples, train, val), ()).report("val", vectors)
    weighted = Ranker(splits_of(make_examples, train * 7.5, val * 0.25), ()).report("val", vectors)
    assert weighted.to_dict() == plain.to_dict()


def test_a_report_goes_to_a_hundred_items(make_examples: MakeExamples) -> None:
    train, val, _, vectors = drawn(0, 20, 150)
    report = Ranker(splits_of(make_examples, train, val), ()).report("val", vectors)
    assert report.recall_at.shape == report.popularity_recall_at.shape == (100,)
    assert report.recommended.shape == report.interactions.shape == (150,)
    assert report.to_dict()["n_items"] == 150


def test_what_is_asked_for_of_a_split_is_computed_of_it(make_examples: MakeExamples) -> None:
    train, val, test, vectors = drawn(1, 8, 13)
    ranker = Ranker(splits_of(make_examples, train, val, test), ("val_map_at_3", "test_recall_at_13", "val_mrr"))
    assert set(ranker.measure("val", vectors)) == {*USUAL, "map_at_3"}
    assert set(ranker.measure("test", vectors)) == {*USUAL, "map_at_3", "recall_at_13"}, "the test is asked for all"


def test_a_catalogue_of_few_items_has_the_metrics_that_it_can_have(make_examples: MakeExamples) -> None:
    train, val, _, vectors = drawn(1, 8, 6)
    splits = splits_of(make_examples, train, val)
    assert set(Ranker(splits, ("val_mrr",)).measure("val", vectors)) == {"mrr"}
    assert set(Ranker(splits, ("val_ndcg_at_6",)).measure("val", vectors)) == {"mrr", "ndcg_at_6"}
    report = Ranker(splits, ()).report("val", vectors)
    assert (report.k, len(report.recall_at)) == (6, 6)


@pytest.mark.parametrize(
    ("name", "remedy"), [("val_recall_at_14", "val_recall_at_10"), ("test_precision_at_200", "test_precision_at_10")]
)
def test_a_k_beyond_the_items_is_refused(make_examples: MakeExamples, name: str, remedy: str) -> None:
    train, val, _, _ = drawn(1, 8, 13)
    k = int(name.rpartition("_")[2])
    with pytest.raises(
        TrainingError, match=rf"metric: {name}: there are 13 items, fewer than {k}; .* such as {remedy}$"
    ):
        Ranker(splits_of(make_examples, train, val), ("val_mrr", name))
    few = splits_of(make_examples, train[:, :4], val[:, :4])
    with pytest.raises(TrainingError, match=r"fewer than 14; .* such as val_recall_at_4$"):
        Ranker(few, ("val_recall_at_14",))


def test_a_metric_of_another_task_is_refused(make_examples: MakeExamples) -> None:
    train, val, _, _ = drawn(1, 8, 13)
    with pytest.raises(TrainingError, match=r"val_acc has no meaning in a ranking, .* val_precision_at_10"):
        Ranker(splits_of(make_examples, train, val), ("val_acc",))


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_of_which_nobody_can_be_evaluated_says_what_helps(make_examples: MakeExamples, split: str) -> None:
    """The only user with something held out has nothing in training."""
    train, held = np.zeros((3, 12)), np.zeros((3, 12))
    train[:2, :5], held[2, 3] = 1, 1
    ranker = Ranker(splits_of(make_examples, train, held, held), ())
    vectors = Vectors(np.ones((3, 2), np.float32), np.ones((12, 2), np.float32))
    with pytest.raises(TrainingError, match=rf"^{split}: .*; a larger data\.split\.{split}_fraction, or another"):
        ranker.measure(split, vectors)


def test_users_without_training_are_left_out(make_examples: MakeExamples) -> None:
    train, held = np.zeros((3, 12)), np.zeros((3, 12))
    train[:2, :5], held[:, 7] = 1, 1
    vectors = Vectors(np.ones((3, 2), np.float32), np.ones((12, 2), np.float32))
    ranker = Ranker(splits_of(make_examples, train, held), ())
    assert ranker.report("val", vectors).n_users == 2
    # All scores tie, so the lower places come first: item 7 is the third of those that are not seen.
    assert ranker.measure("val", vectors)["mrr"] == pytest.approx(1 / 3)
