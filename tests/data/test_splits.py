"""Splits are disjoint, cover every row, and follow from the seed."""

from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlframework.data.splits import Loaded, SplitConfig, Splits, split
from mlframework.errors import DataError


@dataclass(frozen=True)
class Numbered:
    """Examples that remember which row they were."""

    rows: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: np.ndarray[Any, Any]) -> Self:
        return type(self)(self.rows[rows], self.targets[rows])

    def concat(self, other: Self) -> Self:
        return type(self)(np.concatenate([self.rows, other.rows]), np.concatenate([self.targets, other.targets]))


def numbered(n: int, classes: np.ndarray[Any, Any] | None = None, **known: Any) -> Loaded[Numbered]:
    targets = np.zeros(n, dtype=np.float32) if classes is None else classes
    return Loaded(Numbered(np.arange(n), targets), stratify=classes, **known)


def rows_of(splits: Splits[Numbered]) -> list[list[int]]:
    return [[] if part is None else part.rows.tolist() for part in (splits.train, splits.val, splits.test)]


fractions = st.floats(0.01, 0.49)
class_sizes = st.lists(st.integers(3, 30), min_size=2, max_size=6)


def labels(sizes: list[int], seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.RandomState(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


@given(n=st.integers(3, 200), val=fractions, test=st.one_of(st.just(0.0), fractions), seed=st.integers(0, 2**32 - 1))
def test_a_random_split_is_disjoint_covers_every_row_and_follows_from_the_seed(
    n: int, val: float, test: float, seed: int
) -> None:
    config = SplitConfig(val_fraction=val, test_fraction=test)
    splits = split(numbered(n), config, seed)
    parts = rows_of(splits)
    assert sorted(chain(*parts)) == list(range(n))
    assert len(parts[0]) >= 1
    assert len(parts[1]) >= 1
    assert (splits.test is None) == (test == 0)
    assert abs(len(parts[1]) - val * n) <= 1
    assert abs(len(parts[2]) - test * n) <= 1
    assert rows_of(split(numbered(n), config, seed)) == parts


@given(
    sizes=st.lists(st.integers(10, 40), min_size=2, max_size=5),
    val=st.floats(0.15, 0.35),
    test=st.one_of(st.just(0.0), st.floats(0.15, 0.35)),
    seed=st.integers(0, 1000),
)
def test_a_stratified_split_has_every_class_in_every_part(sizes: list[int], val: float, test: float, seed: int) -> None:
    classes = labels(sizes)
    config = SplitConfig(strategy="stratified", val_fraction=val, test_fraction=test)
    parts = rows_of(split(numbered(len(classes), classes), config, seed))
    assert sorted(chain(*parts)) == list(range(len(classes)))
    for rows in parts[: 2 if test == 0 else 3]:
        assert set(classes[rows]) == set(range(len(sizes)))
    assert rows_of(split(numbered(len(classes), classes), config, seed)) == parts


@given(sizes=st.lists(st.integers(20, 60), min_size=2, max_size=6), val=st.floats(0.1, 0.4))
def test_a_stratified_split_keeps_each_class_share(sizes: list[int], val: float) -> None:
    classes = labels(sizes)
    config = SplitConfig(strategy="stratified", val_fraction=val, test_fraction=0.0)
    _, rows, _ = rows_of(split(numbered(len(classes), classes), config, 1))
    counts = np.bincount(classes[rows], minlength=len(sizes))
    assert np.all(np.abs(counts - np.array(sizes) * val) <= 1)
    assert len(rows) == round(len(classes) * val)


@given(times=st.lists(st.integers(-50, 50), min_size=3, max_size=80), val=fractions, test=fractions)
def test_a_split_by_time_puts_the_newest_rows_into_the_test(times: list[int], val: float, test: float) -> None:
    time = np.array(times)
    config = SplitConfig(strategy="time", val_fraction=val, test_fraction=test)
    parts = rows_of(split(numbered(len(times), time=time), config, 0))
    in_order = time[list(chain(*parts))]
    assert np.all(np.diff(in_order) >= 0)
    assert sorted(chain(*parts)) == list(range(len(times)))


def test_another_seed_is_another_split_and_the_configs_seed_wins() -> None:
    loaded = numbered(100)
    first = rows_of(split(loaded, SplitConfig(), 1))
    assert rows_of(split(loaded, SplitConfig(), 2)) != first
    assert rows_of(split(loaded, SplitConfig(seed=1), 2)) == first


def test_a_seed_names_the_same_split_for_good() -> None:
    _, val, test = rows_of(split(numbered(10), SplitConfig(), 42))
    assert (val, test) == ([2, 6], [1, 8])


def test_a_class_that_is_too_small_for_the_fractions_is_said() -> None:
    classes = labels([4, 40])
    config = SplitConfig(val_fraction=0.15, test_fraction=0.8)
    with pytest.raises(DataError, match="smaller fractions"):
        split(numbered(44, classes), config, 0)


def test_where_no_strategy_is_named_the_data_decides() -> None:
    classes = labels([5, 5])
    time = np.arange(10)
    assert numbered(10).strategy(SplitConfig()) == "random"
    assert numbered(10, classes).strategy(SplitConfig()) == "stratified"
    assert numbered(10, classes, time=time).strategy(SplitConfig()) == "time"
    assert numbered(10, classes, time=time).strategy(SplitConfig(strategy="random")) == "random"


def given_splits(**counts: int) -> Loaded[Numbered]:
    bounds = np.cumsum([0, *counts.values()])
    rows = {name: np.arange(a, b) for name, a, b in zip(counts, bounds, bounds[1:], strict=False)}
    n = int(bounds[-1])
    return numbered(n, np.arange(n) % 2, given=rows)


def test_splits_that_the_data_gives_win() -> None:
    splits = split(given_splits(train=6, val=4, test=2), SplitConfig(), 0)
    assert rows_of(splits) == [list(range(6)), list(range(6, 10)), [10, 11]]
    assert split(given_splits(train=6, val=4), SplitConfig(), 0).test is None


def test_a_missing_val_is_cut_from_train() -> None:
    train, val, test = rows_of(split(given_splits(train=20, test=4), SplitConfig(val_fraction=0.3), 0))
    assert test == [20, 21, 22, 23]
    assert len(val) == 6
    assert sorted(train + val) == list(range(20))


def test_fractions_that_given_splits_make_useless_are_named() -> None:
    with pytest.warns(UserWarning, match=r"not used: test_fraction: 0\.1, val_fraction: 0\.3"):
        split(given_splits(train=6, val=4), SplitConfig(val_fraction=0.3, test_fraction=0.1), 0)


@given(
    sizes=st.lists(st.integers(12, 40), min_size=2, max_size=5),
    fraction=st.one_of(st.floats(0.05, 0.7), st.just(1.0)),
    seed=st.integers(0, 1000),
)
def test_a_part_of_train_is_a_part_of_train(sizes: list[int], fraction: float, seed: int) -> None:
    classes = labels(sizes)
    splits = split(numbered(len(classes), classes), SplitConfig(), 0)
    n = len(splits.train)
    for strategy in ("random", "stratified", "time"):
        part = splits.subset_train(fraction, seed, strategy)
        assert set(part.train.rows) <= set(splits.train.rows)
        assert part.val is splits.val
        assert part.test is splits.test
        assert rows_of(splits.subset_train(fraction, seed, strategy)) == rows_of(part)
        if strategy == "stratified":
            assert len(part.train) == max(len(sizes), round(fraction * n))
            shares = np.bincount(part.train.targets, minlength=len(sizes)) - len(part.train) * (
                np.bincount(splits.train.targets) / n
            )
            assert np.abs(shares).max() < 1
        else:
            assert len(part.train) == max(1, round(fraction * n))


def test_the_newest_rows_are_kept_of_a_train_in_order_of_time() -> None:
    splits = split(numbered(10, time=np.arange(10)[::-1]), SplitConfig(strategy="time", test_fraction=0.0), 0)
    assert splits.train.rows.tolist() == [9, 8, 7, 6, 5, 4, 3, 2]
    assert splits.subset_train(0.25, 0, "time").train.rows.tolist() == [3, 2]


def test_refit_trains_on_train_and_val_and_keeps_the_test() -> None:
    splits = split(numbered(20), SplitConfig(), 3)
    assert splits.val is not None
    refit = splits.refit()
    assert refit.train.rows.tolist() == splits.train.rows.tolist() + splits.val.rows.tolist()
    assert refit.val is None
    assert refit.test is splits.test
    assert refit.refit() is refit


def test_without_test_has_no_test() -> None:
    splits = split(numbered(20), SplitConfig(), 3)
    assert splits.test is not None
    shut = splits.without_test()
    assert shut.test is None
    assert shut.train is splits.train
    assert shut.val is splits.val


@pytest.mark.parametrize(
    ("loaded", "config", "message"),
    [
        (numbered(2), SplitConfig(), "2 rows are too few for 3 splits"),
        (numbered(1), SplitConfig(test_fraction=0.0), "1 rows are too few for 2 splits"),
        (numbered(9), SplitConfig(strategy="stratified"), "target is a number.*set data.split.strategy to random"),
        (numbered(9), SplitConfig(strategy="time"), "no time; name a time_column"),
        (numbered(4, time=np.array([1.0, np.nan, 2, 3])), SplitConfig(strategy="time"), "1 of 4 rows have no value"),
        (
            numbered(4, time=np.array(["2024-01-01", "NaT", "2024-01-02", "NaT"], dtype="datetime64[us]")),
            SplitConfig(strategy="time"),
            "2 of 4 rows have no value",
        ),
        (
            numbered(9, np.array([0] * 7 + [1] * 2), class_names=("cat", "dog")),
            SplitConfig(),
            r"too few of: dog \(2\); .*strategy to random",
        ),
    ],
)
def test_data_that_cannot_be_cut_is_refused(loaded: Loaded[Numbered], config: SplitConfig, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(loaded, config, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "add up to 1, which leaves nothing to train on"),
        ({"val_fraction": 0.0}, "greater than 0"),
        ({"test_fraction": -0.1}, "greater than or equal to 0"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"strategy": "kfold"}, "'random', 'stratified', 'group', 'time' or 'leave_one_out'"),
        ({"strategy": "leave_one_out", "val_fraction": 0.2}, "val_fraction: 0.2 means nothing to leave_one_out"),
        (
            {"strategy": "leave_one_out", "test_fraction": 0.2},
            "test_fraction: 0.2 .*test_fraction: 0 leaves the test out",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SplitConfig(**settings)


def test_leave_one_out_may_do_without_a_test() -> None:
    assert SplitConfig(strategy="leave_one_out", test_fraction=0).test_fraction == 0
    assert SplitConfig(strategy="leave_one_out", seed=3).test_fraction > 0


def test_leave_one_out_is_for_interactions() -> None:
    with pytest.raises(DataError, match="leave_one_out is for interactions"):
        split(numbered(9), SplitConfig(strategy="leave_one_out"), 0)


def test_a_fraction_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1, got 0"):
        split(numbered(5), SplitConfig(), 0).subset_train(0, 0, "random")
