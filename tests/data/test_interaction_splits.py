"""Splits of interactions: disjoint, complete, and with every user in each."""

from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlframework.data import Catalogue, InteractionExamples
from mlframework.data.splits import Loaded, SplitConfig, Splits, split
from mlframework.errors import DataError

sizes = st.lists(st.integers(3, 12), min_size=1, max_size=8)
seeds = st.integers(0, 2**32 - 1)


def log(counts: list[int], time: np.ndarray | None = None, shuffle: int = 0) -> Loaded[InteractionExamples]:
    """Interactions of users with so many each, in a random order; the item is the number of the row."""
    users = np.random.RandomState(shuffle).permutation(np.repeat(np.arange(len(counts)), counts))
    n = len(users)
    catalogue = Catalogue(
        "u", "i", tuple(range(len(counts))), tuple(range(n)), None, None, "ranking", "", None
    )  # fmt: skip
    examples = InteractionExamples(
        catalogue, users.astype(np.int32), np.arange(n, dtype=np.int32), np.ones(n, np.float32)
    )
    return Loaded(examples, time=time, groups=users)


def parts(splits: Splits[InteractionExamples]) -> list[InteractionExamples]:
    return [part for part in (splits.train, splits.val, splits.test) if part is not None]


def covers(splits: Splits[InteractionExamples], n: int) -> bool:
    return sorted(chain(*(part.items.tolist() for part in parts(splits)))) == list(range(n))


shares = st.tuples(st.floats(0.01, 0.98), st.one_of(st.just(0.0), st.floats(0.01, 0.98))).filter(lambda x: sum(x) < 1)


@given(counts=sizes, fractions=shares, seed=seeds)
@example(counts=[4], fractions=(0.1, 0.8), seed=0)
def test_a_random_split_gives_each_user_its_share_of_each(
    counts: list[int], fractions: tuple[float, float], seed: int
) -> None:
    val, test = fractions
    config = SplitConfig(val_fraction=val, test_fraction=test)
    splits = split(log(counts), config, seed)
    assert covers(splits, sum(counts))
    assert (splits.test is None) == (test == 0)
    for user, n in enumerate(counts):
        of_user = [int(np.sum(part.users == user)) for part in parts(splits)]
        n_test = min(max(1, round(test * n)), n - 2) if test else 0
        n_val = min(max(1, round(val * n)), n - n_test - 1)
        assert of_user == [n - n_val - n_test, n_val, n_test][: len(of_user)]
        assert of_user[0] >= 1
    assert parts(split(log(counts), config, seed)) == parts(splits)


def test_the_seed_decides_and_rows_keep_the_order_of_the_file() -> None:
    first, second = (split(log([9] * 20), SplitConfig(), seed) for seed in (1, 2))
    assert first.val != second.val
    for part in parts(first):
        assert np.all(np.diff(part.items) > 0)


def test_a_seed_names_the_same_split_for_good() -> None:
    splits = split(log([4, 5]), SplitConfig(), 42)
    assert [part.items.tolist() for part in parts(splits)] == [[0, 1, 3, 7, 8], [2, 4], [5, 6]]


@given(counts=sizes, data=st.data(), with_test=st.booleans())
def test_leave_one_out_holds_out_each_users_last(counts: list[int], data: st.DataObject, with_test: bool) -> None:
    n = sum(counts)
    time = np.array(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))
    loaded = log(counts, time)
    config = SplitConfig(strategy="leave_one_out", **({} if with_test else {"test_fraction": 0.0}))
    splits = split(loaded, config, 0)
    assert covers(splits, n)
    for user in range(len(counts)):
        rows = sorted(np.flatnonzero(loaded.examples.users == user), key=lambda row: (time[row], row))
        found = [part.items[part.users == user].tolist() for part in parts(splits)]
        cut = [rows[:-2], rows[-2:-1], rows[-1:]] if with_test else [rows[:-1], rows[-1:]]
        assert found == [sorted(part) for part in cut]


@given(counts=sizes, seed=seeds)
def test_leave_one_out_without_time_holds_out_any(counts: list[int], seed: int) -> None:
    splits = split(log(counts), SplitConfig(strategy="leave_one_out"), seed)
    assert covers(splits, sum(counts))
    assert splits.val is not None
    assert splits.test is not None
    assert sorted(splits.val.users) == sorted(splits.test.users) == list(range(len(counts)))
    assert parts(split(log(counts), SplitConfig(strategy="leave_one_out"), seed)) == parts(splits)


def test_without_time_the_seed_decides_who_is_left_out() -> None:
    config = SplitConfig(strategy="leave_one_out")
    assert split(log([9] * 20), config, 1).test != split(log([9] * 20), config, 2).test


@pytest.mark.parametrize("strategy", ["random", "leave_one_out"])
def test_users_of_too_few_rows_are_counted(strategy: Any) -> None:
    with pytest.raises(DataError, match=r"2 of 3 users have fewer than 3 .*min_user_interactions: 3"):
        split(log([2, 9, 1]), SplitConfig(strategy=strategy), 0)
    with pytest.raises(DataError, match=r"1 of 3 users have fewer than 2 .*min_user_interactions: 2"):
        split(log([2, 9, 1]), SplitConfig(strategy=strategy, test_fraction=0.0), 0)
    assert covers(split(log([3, 3]), SplitConfig(strategy=strategy), 0), 6)
    assert covers(split(log([2, 2]), SplitConfig(strategy=strategy, test_fraction=0.0), 0), 4)


def test_a_split_by_time_is_one_cut_for_all_and_names_the_strangers() -> None:
    users = np.array([0, 0, 0, 0, 1, 0, 1, 0, 2, 2])
    loaded = Loaded(log([10]).examples, time=np.array([0, 0, 1, 1, 1, 2, 3, 4, 5, 6]), groups=users)
    with pytest.warns(UserWarning, match="1 of 2 users of test have nothing in train") as caught:
        splits = split(loaded, SplitConfig(strategy="time", val_fraction=0.3, test_fraction=0.3), 0)
    assert [part.items.tolist() for part in parts(splits)] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert str(caught[0].message).startswith("1 of 2 users of val and 1 of 2 users of test have nothing")


def test_nobody_is_a_stranger_where_all_train(recwarn: pytest.WarningsRecorder) -> None:
    loaded = log([5, 5], np.arange(10))
    groups = np.array([0, 1] * 5)
    split(Loaded(loaded.examples, time=loaded.time, groups=groups), SplitConfig(strategy="time"), 0)
    assert [str(each.message) for each in recwarn] == []


def test_interactions_are_split_at_random_unless_a_strategy_is_named() -> None:
    loaded = log([5, 5], np.arange(10))
    assert loaded.strategy(SplitConfig()) == "random"
    assert loaded.strategy(SplitConfig(strategy="time")) == "time"


@given(counts=sizes, fraction=st.floats(0.01, 0.99), seed=seeds)
def test_a_part_of_train_has_a_part_of_each_user(counts: list[int], fraction: float, seed: int) -> None:
    splits = split(log(counts), SplitConfig(), 0)
    for strategy in ("random", "leave_one_out"):
        part = splits.subset_train(fraction, seed, strategy, splits.train.users)
        assert set(part.train.items) <= set(splits.train.items)
        assert part.val is splits.val
        for user in range(len(counts)):
            n = int(np.sum(splits.train.users == user))
            assert np.sum(part.train.users == user) == max(1, round(fraction * n))


def test_a_part_of_a_train_in_order_of_time_is_the_newest() -> None:
    loaded = log([5, 5], np.arange(10))
    splits = split(loaded, SplitConfig(strategy="time", test_fraction=0.0), 0)
    part = splits.subset_train(0.25, 0, "time", splits.train.users)
    assert part.train.items.tolist() == [6, 7]


def test_leave_one_out_needs_users() -> None:
    with pytest.raises(DataError, match="leave_one_out is for interactions"):
        split(Loaded(log([5, 5]).examples), SplitConfig(strategy="leave_one_out"), 0)
