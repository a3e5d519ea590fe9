"""Ranking metrics: against plain loops that say the definitions once more, against scikit-learn, and their laws."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.metrics
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mlframework.metrics import ranking, ranking_curves
from mlframework.metrics import scores as scoring
from mlframework.metrics.ranking import HeldOut, Ranks, rank

AT_K: dict[str, Callable[[Ranks, int], float]] = {
    "precision": ranking.precision,
    "recall": ranking.recall,
    "ndcg": ranking.ndcg,
    "map": ranking.average_precision,
}
Problem = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]


def sparse(dense: Any) -> Any:
    return scipy.sparse.csr_matrix(np.asarray(dense, dtype=np.float32))


def prepared(seen: Any, held: Any) -> HeldOut:
    return HeldOut.of(sparse(seen), sparse(held))


def evaluable(seen: NDArray[np.bool_], held: NDArray[np.bool_]) -> bool:
    return bool((seen.any(axis=1) & (held & ~seen).any(axis=1)).any())


@st.composite
def problems(draw: st.DrawFn, largest: int = 2, max_items: int = 40) -> Problem:
    """Vectors of small integers, whose scores are exact and often tied, and who has seen and holds out what."""
    n_users, n_items, d = draw(st.integers(1, 6)), draw(st.integers(2, max_items)), draw(st.integers(1, 3))
    whole = st.integers(-largest, largest).map(float)
    users = draw(arrays(np.float32, (n_users, d), elements=whole))
    items = draw(arrays(np.float32, (n_items, d), elements=whole))
    # One number each says what the pair is, so that few and many held-out items both happen.
    kinds = draw(arrays(np.int8, (n_users, n_items), elements=st.integers(0, draw(st.integers(3, 12)))))
    seen, held = (kinds == 1) | (kinds == 3), (kinds == 2) | (kinds == 3)
    assume(evaluable(seen, held))
    return users, items, seen, held


class Loops:
    """The definitions once more, as plain as they can be said."""

    def __init__(self, problem: Problem) -> None:
        users, items, seen, held = problem
        self.orders: list[list[int]] = []
        self.wanted: list[set[int]] = []
        for user in range(len(users)):
            wanted = {item for item in range(len(items)) if held[user, item] and not seen[user, item]}
            if not wanted or not seen[user].any():
                continue
            scores = [float(np.dot(users[user], vector)) for vector in items]
            candidates = [item for item in range(len(items)) if not seen[user, item]]
            self.orders.append(sorted(candidates, key=lambda item: (-scores[item], item)))
            self.wanted.append(wanted)

    def mean(self, of_user: Callable[[list[int], int], float]) -> float:
        """Mean over users of a function of (ranks of the held-out items in ascending order, how many there are)."""
        ranks = [[at for at, item in enumerate(order, 1) if item in wanted] for order, wanted in self.pairs()]
        return sum(of_user(each, len(each)) for each in ranks) / len(ranks)

    def pairs(self) -> list[tuple[list[int], set[int]]]:
        return list(zip(self.orders, self.wanted, strict=True))

    def metrics(self, k: int) -> dict[str, float]:
        return {
            "precision": self.mean(lambda ranks, n: sum(r <= k for r in ranks) / k),
            "recall": self.mean(lambda ranks, n: sum(r <= k for r in ranks) / n),
            "ndcg": self.mean(
                lambda ranks, n: (
                    sum(1 / math.log2(r + 1) for r in ranks if r <= k)
                    / sum(1 / math.log2(r + 1) for r in range(1, min(k, n) + 1))
                )
            ),
            "map": self.mean(
                lambda ranks, n: sum(so_far / r for so_far, r in enumerate(ranks, 1) if r <= k) / min(k, n)
            ),
        }


@settings(deadline=None)
@given(problems(), st.integers(1, 45))
def test_ranks_are_those_of_a_plain_sort(problem: Problem, depth: int) -> None:
    users, items, seen, held = problem
    loops, found = Loops(problem), rank(users, items, prepared(seen, held), depth)
    wanted = [order.index(item) + 1 for order, held_out in loops.pairs() for item in sorted(held_out)]
    assert found.ranks.tolist() == [at if at <= depth else 0 for at in wanted]
    assert found.n_held.tolist() == [len(held_out) for held_out in loops.wanted]
    assert found.owner.tolist() == [user for user, held_out in enumerate(loops.wanted) for _ in held_out]
    assert found.first.tolist() == [min(order.index(item) + 1 for item in each) for order, each in loops.pairs()]


@settings(deadline=None)
@given(problems(max_items=20))
def test_every_metric_at_every_k_is_its_definition(problem: Problem) -> None:
    users, items, seen, held = problem
    depth = len(items) + 3
    loops, found = Loops(problem), rank(users, items, prepared(seen, held), depth)
    for k in range(1, depth + 1):
        assert {name: metric(found, k) for name, metric in AT_K.items()} == pytest.approx(loops.metrics(k), abs=1e-12)
    assert ranking.reciprocal_rank(found) == pytest.approx(loops.mean(lambda ranks, n: 1 / ranks[0]), abs=1e-12)
    curves = {
        "recall": ranking_curves.recall_curve,
        "precision": ranking_curves.precision_curve,
        "ndcg": ranking_curves.ndcg_curve,
    }
    for name, curve in curves.items():
        assert curve(found) == pytest.approx([loops.metrics(k)[name] for k in range(1, depth + 1)], abs=1e-12)


@settings(deadline=None)
@given(problems(), st.integers(1, 45))
def test_a_metric_does_not_depend_on_how_deep_items_were_ranked(problem: Problem, depth: int) -> None:
    users, items, seen, held = problem
    shallow, deep = (rank(users, items, prepared(seen, held), each) for each in (depth, 50))
    for name, metric in AT_K.items():
        assert metric(shallow, depth) == metric(deep, depth), name
    assert shallow.first.tolist() == deep.first.tolist()


@settings(deadline=None)
@given(problems(), st.integers(1, 45))
def test_top_is_the_head_of_a_plain_sort(problem: Problem, k: int) -> None:
    users, items, seen, _ = problem
    mask = sparse(seen)
    scores = users @ items.T
    for masked, (found, values) in (
        (seen, ranking.top(users, items, mask.indptr, mask.indices, k)),
        (np.zeros_like(seen), ranking.top(users, items, None, None, k)),
    ):
        assert found.shape == values.shape == (len(users), k)
        assert (found.dtype, values.dtype) == (np.int64, np.float32)
        for user in range(len(users)):
            candidates = [item for item in range(len(items)) if not masked[user, item]]
            order = sorted(candidates, key=lambda item: (-scores[user, item], item))[:k]
            rest = k - len(order)
            assert found[user].tolist() == order + [-1] * rest
            assert values[user].tolist() == [scores[user, item] for item in order] + [-math.inf] * rest


def random_problem(n_users: int = 60, n_items: int = 300, n_held: int = 12) -> Problem:
    """A problem in which no two items have the same score, on any machine: each user has a dimension of their own."""
    rng = np.random.default_rng(3)
    users = np.eye(n_users, dtype=np.float32)
    items = rng.permuted(np.tile(np.arange(n_items, dtype=np.float32), (n_users, 1)), axis=1).T.copy()
    kinds = rng.permuted(np.tile(np.arange(n_items), (n_users, 1)), axis=1)
    return users, items, kinds >= n_items - 20, kinds < n_held


@pytest.mark.parametrize("k", [1, 5, 10, 50, 280])
def test_ndcg_agrees_with_scikit_learn(k: int) -> None:
    users, items, seen, held = random_problem()
    scores = np.where(seen, -1e6, users @ items.T)  # masked items rank last, and hold nothing out
    found = ranking.ndcg(rank(users, items, prepared(seen, held), k), k)
    assert found == pytest.approx(sklearn.metrics.ndcg_score(held, scores, k=k, ignore_ties=True), abs=1e-12)


def test_map_agrees_with_scikit_learn_where_nothing_is_cut_off() -> None:
    users, items, seen, held = random_problem()
    scores = np.where(seen, -1e6, users @ items.T)
    found = ranking.average_precision(rank(users, items, prepared(seen, held), 300), 300)
    assert found == pytest.approx(sklearn.metrics.label_ranking_average_precision_score(held, scores), abs=1e-12)


def test_known_values() -> None:
    """One user has seen item 0; items 2, 3, 5 are held out and stand at the ranks 1, 4 and 5 of 5 candidates."""
    users, items = np.ones((1, 1), np.float32), np.array([[9], [4], [5], [2], [3], [1]], np.float32)
    found = rank(users, items, prepared([[1, 0, 0, 0, 0, 0]], [[0, 0, 1, 1, 0, 1]]), 10)
    assert found.ranks.tolist() == [1, 4, 5]
    assert ranking.precision(found, 4) == 2 / 4
    assert ranking.precision(found, 10) == 3 / 10  # by K, though there are 5 candidates only
    assert ranking.recall(found, 4) == 2 / 3
    gain = [1 / math.log2(at + 1) for at in range(1, 6)]
    assert ranking.ndcg(found, 4) == pytest.approx((gain[0] + gain[3]) / (gain[0] + gain[1] + gain[2]))
    assert ranking.ndcg(found, 2) == pytest.approx(gain[0] / (gain[0] + gain[1]))
    assert ranking.average_precision(found, 4) == pytest.approx((1 / 1 + 2 / 4) / 3)
    assert ranking.average_precision(found, 2) == pytest.approx((1 / 1) / 2)
    assert ranking.reciprocal_rank(found) == 1.0
    assert ranking_curves.recall_curve(found).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, *[1.0] * 6])


def test_of_two_candidates_with_the_same_score_the_lower_position_comes_first() -> None:
    users, items = np.ones((2, 1), np.float32), np.zeros((50, 1), np.float32)
    items[::2] = -0.0  # zero is zero, whatever its sign
    seen, held = np.zeros((2, 50)), np.zeros((2, 50))
    seen[:, 3], held[0, [0, 10, 49]], held[1, 45] = 1, 1, 1
    found = rank(users, items, prepared(seen, held), 10)
    assert found.ranks.tolist() == [1, 10, 0, 0]
    assert found.first.tolist() == [1.0, 45.0]
    best, _ = ranking.top(users, items, None, None, 4)
    assert best.tolist() == [[0, 1, 2, 3]] * 2


@settings(deadline=None)
@given(problems(), st.integers(1, 9), st.integers(1, 4))
def test_how_many_users_are_ranked_at_a_time_changes_nothing(problem: Problem, depth: int, rows: int) -> None:
    users, items, seen, held = problem
    mask = sparse(seen)
    whole = rank(users, items, prepared(seen, held), depth), ranking.top(users, items, mask.indptr, mask.indices, depth)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_MIN_ROWS", rows)
        patch.setattr(scoring, "_BLOCK", 1)
        parts = (
            rank(users, items, prepared(seen, held), depth),
            ranking.top(users, items, mask.indptr, mask.indices, depth),
        )
    for one, other in zip((*vars(whole[0]).values(), *whole[1]), (*vars(parts[0]).values(), *parts[1]), strict=True):
        assert np.array_equal(one, other)


def test_a_block_of_scores_stays_small_whatever_the_number_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_BLOCK", 5000)
    monkeypatch.setattr(scoring, "_MIN_ROWS", 2)
    users, items, _, _ = random_problem()
    sizes = [len(scores) for _, scores in scoring.blocks(users, items, np.zeros(61, np.int64), np.empty(0, np.int64))]
    assert sizes == [16, 16, 16, 12]
    monkeypatch.setattr(scoring, "_BLOCK", 1)
    assert len(list(scoring.blocks(users, items, np.zeros(61, np.int64), np.empty(0, np.int64)))) == 30


@settings(deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_users_changes_nothing(problem: Problem, random: Any) -> None:
    users, items, seen, held = problem
    order = list(range(len(users)))
    random.shuffle(order)
    one = rank(users, items, prepared(seen, held), 5)
    other = rank(users[order], items, prepared(seen[order], held[order]), 5)
    for metric in AT_K.values():
        assert metric(one, 5) == pytest.approx(metric(other, 5), abs=1e-12)
    assert ranking.reciprocal_rank(one) == pytest.approx(ranking.reciprocal_rank(other), abs=1e-12)


@settings(deadline=None)
@given(problems(largest=9))
def test_metrics_are_shares_and_recall_rises_with_k(problem: Problem) -> None:
    users, items, seen, held = problem
    depth = len(items)
    found = rank(users, items, prepared(seen, held), depth)
    for metric in AT_K.values():
        assert all(0 <= metric(found, k) <= 1 for k in range(1, depth + 1))
    assert 0 < ranking.reciprocal_rank(found) <= 1
    recalls = ranking_curves.recall_curve(found)
    assert (np.diff(recalls) >= 0).all()
    assert recalls[-1] == ranking.recall(found, depth) == 1.0


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(13, 30), st.integers(1, 30))
def test_a_perfect_ranking_gives_one(n_held: int, n_items: int, k: int) -> None:
    """Not nearly one: a search compares values, and two perfect trials must be equal."""
    items = np.arange(n_items, 0, -1, dtype=np.float32)[:, None]
    held, seen = np.zeros((3, n_items)), np.zeros((3, n_items))
    held[:, :n_held], seen[:, -1] = 1, 1
    found = rank(np.ones((3, 1), np.float32), items, prepared(seen, held), 30)
    assert ranking.ndcg(found, k) == ranking.average_precision(found, k) == ranking.reciprocal_rank(found) == 1.0
    assert ranking.precision(found, k) == pytest.approx(min(k, n_held) / k)
    assert ranking.recall(found, k) == pytest.approx(min(k, n_held) / n_held)
    assert ranking_curves.recall_curve(found)[-1] == 1.0
    assert ranking_curves.ndcg_curve(found).tolist() == pytest.approx([1.0] * 30, abs=1e-12)
    assert ranking_curves.users_by_hits(found, 5).tolist() == [3 * (hits == min(5, n_held)) for hits in range(6)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3e38, -3e38])
@pytest.mark.parametrize("whose", ["user", "item"])
def test_a_score_that_is_not_a_number_makes_every_metric_not_a_number(bad: float, whose: str) -> None:
    users, items, seen, held = random_problem()
    users[:, 1], items[:, 1] = 2, 2
    (users if whose == "user" else items)[7, 1] = bad
    found = rank(users, items, prepared(seen, held), 10)
    for metric in AT_K.values():
        assert math.isnan(metric(found, 5))
    assert math.isnan(ranking.reciprocal_rank(found))
    assert np.isnan(ranking_curves.recall_curve(found)).all()
    for curve in (ranking_curves.precision_curve, ranking_curves.ndcg_curve):
        assert np.isnan(curve(found)).all()
    assert ranking_curves.recall_curve(found).shape == (10,)
    assert math.isnan(ranking.precision(rank(users, items, prepared(seen, held), 10, first=False), 5))
    with pytest.raises(ValueError, match="not a number"):
        ranking.top(users, items, None, None, 5)


def test_products_that_are_numbers_while_their_sum_is_none() -> None:
    large = np.full((2, 2), 1.5e19, np.float32)
    assert np.isfinite(large[0, 0] * large[0, 1])
    found = rank(large, large, prepared([[1, 0], [0, 1]], [[0, 1], [1, 0]]), 1)
    assert math.isnan(ranking.recall(found, 1))


def test_large_vectors_are_no_error_where_their_scores_are_numbers() -> None:
    users, items = np.full((1, 1), 1e18, np.float32), np.array([[-1e18], [1e18], [1e17]], np.float32)
    found = rank(users, items, prepared([[0, 1, 0]], [[1, 0, 0]]), 3)
    assert found.ranks.tolist() == [2]


def test_the_vectors_of_users_who_are_left_out_are_not_looked_at() -> None:
    users, items = np.array([[1], [math.nan]], np.float32), np.array([[1], [2], [3]], np.float32)
    found = rank(users, items, prepared([[0, 0, 1], [0, 0, 0]], [[1, 0, 0], [1, 0, 0]]), 3)
    assert ranking.reciprocal_rank(found) == 1 / 2


def test_users_without_held_out_item_or_without_training_are_left_out() -> None:
    seen = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
    held = [[0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]]
    prepared_once = prepared(seen, held)
    assert prepared_once.users.tolist() == [0, 3]
    assert prepared_once.users.dtype == np.int64
    assert len(prepared_once) == 2
    assert prepared_once.n_left_out == 1
    assert prepared_once.n_items == 3
    assert (prepared_once.seen_indptr.tolist(), prepared_once.seen_items.tolist()) == ([0, 1, 2], [0, 1])
    # Item 1 of user 3 is seen and therefore not held out.
    assert (prepared_once.held_indptr.tolist(), prepared_once.held_items.tolist()) == ([0, 2, 3], [1, 2, 2])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 0, 2, 1]], ids=["sorted", "unsorted"])
def test_rows_may_be_unsorted_and_hold_an_item_twice(order: list[int]) -> None:
    seen = scipy.sparse.csr_matrix((np.ones(4), np.array([0, 3, 3, 3])[order], [0, 4]), shape=(1, 5))
    held = scipy.sparse.csr_matrix((np.ones(4), np.array([1, 3, 4, 4])[order], [0, 4]), shape=(1, 5))
    found = HeldOut.of(seen, held)
    assert found.seen_items.tolist() == [0, 3]
    assert found.held_items.tolist() == [1, 4]


@settings(deadline=None)
@given(problems())
@example((*[np.ones((2, 1), np.float32)] * 2, np.array([[1, 0], [0, 1]], bool), np.array([[1, 1], [0, 1]], bool)))
def test_what_is_prepared_is_what_the_matrices_say(problem: Problem) -> None:
    _, _, seen, held = problem
    found = prepared(seen, held)
    new = held & ~seen
    wanted = [user for user in range(len(seen)) if seen[user].any() and new[user].any()]
    assert found.users.tolist() == wanted
    for row, user in enumerate(wanted):
        seen_row = found.seen_items[found.seen_indptr[row] : found.seen_indptr[row + 1]]
        held_row = found.held_items[found.held_indptr[row] : found.held_indptr[row + 1]]
        assert seen_row.tolist() == np.flatnonzero(seen[user]).tolist()
        assert held_row.tolist() == np.flatnonzero(new[user]).tolist()
    assert found.n_left_out == sum(held[user].any() and not seen[user].any() for user in range(len(seen)))


@pytest.mark.parametrize(
    ("seen", "held"),
    [([[0, 0]], [[1, 0]]), ([[1, 0]], [[0, 0]]), ([[1, 0]], [[1, 0]]), ([[1, 0], [0, 0]], [[0, 0], [1, 0]])],
    ids=["no training", "nothing held out", "held out what is seen", "never the same user"],
)
def test_nobody_left_to_evaluate(seen: Any, held: Any) -> None:
    with pytest.raises(ValueError, match="no user is left to evaluate"):
        prepared(seen, held)


def test_matrices_of_different_shape() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\), but the held-out items \(1, 3\)"):
        prepared([[1, 0]], [[0, 1, 0]])


def test_vectors_that_do_not_fit() -> None:
    users, items, seen, held = random_problem()
    prepared_once = prepared(seen, held)
    with pytest.raises(ValueError, match="300 items, but vectors of 299"):
        rank(users, items[1:], prepared_once, 5)
    with pytest.raises(ValueError, match="user 59 is evaluated, but there are vectors of 59"):
        rank(users[1:], items, prepared_once, 5)
    with pytest.raises(ValueError, match="matmul"):
        rank(users[:, 1:], items, prepared_once, 5)


@pytest.mark.parametrize(
    ("indptr", "seen"),
    [([0, 1], [0]), ([0, 1, 1], [3]), ([0, 1, 1], [-1]), ([0, 1, 1], [0, 1]), ([0, 0, 0], [1])],
    ids=["users", "item too high", "item too low", "items left over", "items of nobody"],
)
def test_seen_items_that_do_not_fit(indptr: list[int], seen: list[int]) -> None:
    vecs = np.ones((2, 1), np.float32), np.ones((3, 1), np.float32)
    with pytest.raises(ValueError, match="the seen items do not fit 2 users and 3 items"):
        ranking.top(*vecs, np.array(indptr), np.array(seen), 1)


@pytest.mark.parametrize("k", [0, -1])
def test_k_and_depth_are_at_least_one(k: int) -> None:
    users, items, seen, held = random_problem()
    with pytest.raises(ValueError, match=f"depth is {k}; it must be at least 1"):
        rank(users, items, prepared(seen, held), k)
    with pytest.raises(ValueError, match=f"k is {k}; it must be at least 1"):
        ranking.top(users, items, None, None, k)


@pytest.mark.parametrize("name", AT_K)
@pytest.mark.parametrize("k", [0, 6])
def test_k_is_within_the_depth(name: str, k: int) -> None:
    users, items, seen, held = random_problem()
    with pytest.raises(ValueError, match=f"K is {k}; it must be from 1 to 5"):
        AT_K[name](rank(users, items, prepared(seen, held), 5), k)


def test_the_reciprocal_rank_is_only_there_where_it_was_asked_for() -> None:
    users, items, seen, held = random_problem()
    found = rank(users, items, prepared(seen, held), 5, first=False)
    assert found.first.tolist() == [0.0] * 60
    assert found.ranks.tolist() == rank(users, items, prepared(seen, held), 5).ranks.tolist()
    assert ranking.recall(found, 5) > 0
    with pytest.raises(ValueError, match="first=True"):
        ranking.reciprocal_rank(found)


def test_items_are_grouped_where_there_are_many() -> None:
    """Enough items for groups of several and a rest, once without ties and once with many."""
    users, items, seen, held = random_problem(n_users=7, n_items=1237)
    for vectors in (items, -np.floor(items / 50)):
        loops = Loops((users, vectors, seen, held))
        wanted = [order.index(item) + 1 for order, held_out in loops.pairs() for item in sorted(held_out)]
        for depth in (1, 3, 10, 60):
            found = rank(users, vectors, prepared(seen, held), depth)
            assert found.ranks.tolist() == [at if at <= depth else 0 for at in wanted]


@pytest.mark.parametrize("n_items", [2000, 2111])
def test_few_more_than_the_best_are_sorted(n_items: int) -> None:
    """What makes ranking fast: the bound that the k best reach is nearly the score of the k-th."""
    users, items, _, _ = random_problem(n_users=50, n_items=n_items)
    flat, places = scoring.best_of(users @ items.T, 10)
    assert 50 * 10 <= len(flat) == len(places) < 1.2 * 50 * 10
