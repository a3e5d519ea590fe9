"""From a log to examples: what is left out, merged and said, and what is refused."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlframework.config import yaml
from mlframework.config.base import Config
from mlframework.config.decode import decode
from mlframework.data import DataConfig, InteractionsConfig, SplitConfig, clear_cache, load_splits
from mlframework.data.samples import RATINGS_SEED, planted_tastes, write_ratings
from mlframework.data.splits import Loaded
from mlframework.errors import ConfigError, DataError

TIMED = {"rating_column": "rating", "time_column": "time"}


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    clear_cache()
    yield
    clear_cache()


def config(path: Path | str = "log.csv", **settings: Any) -> InteractionsConfig:
    return InteractionsConfig(type="interactions", path=str(path), **settings)


def log(folder: Path, *rows: str, header: str = "user_id,item_id,rating,time", **settings: Any) -> InteractionsConfig:
    (folder / "log.csv").write_text("\n".join([header, *rows, ""]))
    return config(folder / "log.csv", **settings)


def triples(loaded: Loaded[Any]) -> list[tuple[Any, Any, float]]:
    """Return what was loaded with its ids."""
    examples = loaded.examples
    users, items = examples.catalogue.users, examples.catalogue.items
    return [
        (users[user], items[item], value)
        for user, item, value in zip(examples.users, examples.items, examples.values.tolist(), strict=True)
    ]


ROWS = ("b,10,5,3", "a,9,2,1", "b,9,4,2", "a,10,3,9")


def test_ids_are_sorted_and_mapped_back(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    loaded = log(tmp_path, *ROWS, **TIMED).load()
    assert triples(loaded) == [("b", 10, 5), ("a", 9, 2), ("b", 9, 4), ("a", 10, 3)]
    catalogue = loaded.examples.catalogue
    assert (catalogue.users, catalogue.items) == (("a", "b"), (9, 10))
    assert (catalogue.user_column, catalogue.item_column, catalogue.target) == ("user_id", "item_id", "rating")
    assert catalogue.class_names is None
    assert loaded.time is not None
    assert loaded.time.tolist() == [3, 1, 2, 9]
    assert loaded.groups is not None
    assert loaded.groups.tolist() == [1, 0, 1, 0]
    assert [str(each.message) for each in recwarn] == []
    assert [loaded.examples.users.dtype, loaded.examples.items.dtype, loaded.examples.values.dtype] == [
        np.int32, np.int32, np.float32,
    ]  # fmt: skip


ids = st.one_of(st.integers(0, 30), st.sampled_from(["x", "7", "007", "Ä", "a b"]))


@given(pairs=st.lists(st.tuples(ids, ids), min_size=1, max_size=30))
def test_every_pair_comes_back_by_its_ids(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[Any, Any]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.csv"
    pl.DataFrame([(str(u), str(i)) for u, i in pairs], schema=["user_id", "item_id"], orient="row").write_csv(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = config(path).load()
    found = {(str(user), str(item)): value for user, item, value in triples(loaded)}
    assert found == {(str(u), str(i)): [(str(a), str(b)) for a, b in pairs].count((str(u), str(i))) for u, i in pairs}
    assert list(loaded.examples.catalogue.users) == sorted(loaded.examples.catalogue.users)


def test_without_ratings_what_repeats_is_counted(tmp_path: Path) -> None:
    rows = ("a,1,9,3", "a,2,9,4", "a,1,9,8", "a,1,9,5")
    with pytest.warns(
        UserWarning, match="of 4 rows 2 repeat a user and item and were merged; 2 interactions of 1 users"
    ):
        loaded = log(tmp_path, *rows, time_column="time").load()
    assert triples(loaded) == [("a", 2, 1), ("a", 1, 3)]
    assert loaded.time is not None
    assert loaded.time.tolist() == [4, 8]


@pytest.mark.parametrize(("time", "rating"), [("time", 2), (None, 3)])
def test_with_ratings_the_last_one_counts(tmp_path: Path, time: str | None, rating: int) -> None:
    rows = ("a,1,1,3", "a,1,2,8", "a,1,3,5")
    with pytest.warns(UserWarning, match="2 repeat"):
        loaded = log(tmp_path, *rows, rating_column="rating", time_column=time).load()
    assert triples(loaded) == [("a", 1, rating)]


def test_low_ratings_are_left_out_before_repeats_are_merged(tmp_path: Path) -> None:
    rows = ("a,1,5,1", "a,1,2,2", "a,2,4,3", "b,1,3.9,4")
    with pytest.warns(UserWarning, match="of 4 rows 2 are below min_rating 4; 2 interactions of 1 users and 2 items"):
        loaded = log(tmp_path, *rows, **TIMED, min_rating=4.0).load()
    assert triples(loaded) == [("a", 1, 1), ("a", 2, 1)]


def test_all_that_was_left_out_is_said_at_once(tmp_path: Path) -> None:
    rows = ("a,1,5,1", "a,2,5,2", "b,1,5,3", "b,2,5,4", "b,2,4,5", "c,1,5,6", "c,3,5,7", "d,3,1,8")
    with pytest.warns(UserWarning) as caught:
        loaded = log(tmp_path, *rows, **TIMED, min_rating=4.0, min_user_interactions=2, min_item_interactions=2).load()
    assert [str(each.message) for each in caught] == [
        "log.csv: of 8 rows 1 are below min_rating 4, 1 repeat a user and item and were merged, 2 went with users of "
        "fewer than 2 or items of fewer than 2 interactions; 4 interactions of 2 users and 2 items are left"
    ]
    assert [(user, item) for user, item, _ in triples(loaded)] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_nothing_left_is_refused_with_what_took_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of 4 rows 3 are below min_rating 5, 1 went with .*; nothing is left: lower"):
        log(tmp_path, *ROWS, **TIMED, min_rating=5.0, min_user_interactions=2).load()
    with pytest.raises(DataError, match=r"4 are below min_rating 9; nothing is left"):
        log(tmp_path, *ROWS, **TIMED, min_rating=9.0).load()


def test_a_classification_asks_whether_the_rating_is_high(tmp_path: Path) -> None:
    loaded = log(tmp_path, *ROWS, "c,9,3.99,1", **TIMED, task="classification", min_rating=4.0).load()
    assert [value for _, _, value in triples(loaded)] == [1, 0, 1, 0, 0]
    assert loaded.class_names == loaded.examples.catalogue.class_names == ("rating < 4", "rating >= 4")
    assert loaded.examples.targets.dtype == np.int64


@pytest.mark.parametrize(("least", "words"), [(1.0, "every rating"), (6.0, "no rating")])
def test_a_classification_needs_two_classes(tmp_path: Path, least: float, words: str) -> None:
    with pytest.raises(DataError, match=rf"{words} is at least .*they go from 2 to 5.*another data\.min_rating"):
        log(tmp_path, *ROWS, **TIMED, task="classification", min_rating=least).load()


def test_a_regression_keeps_every_rating(tmp_path: Path) -> None:
    loaded = log(tmp_path, "a,1,-2.5,1", "a,2,0,1", rating_column="rating", task="regression").load()
    assert loaded.examples.targets.tolist() == [-2.5, 0]
    assert loaded.examples.targets.dtype == np.float32


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        (("a,1,3,1", "a,2,0,1", "a,3,-1,1"), {}, r"log\.csv:3: column 'rating' is '0', but in a ranking ratings are weights, "
         r"which must be above 0 \(1 more of 3 rows are like this\); set data\.min_rating"),
        (("a,1,3,1", "a,2,good,1"), {}, r"log\.csv:3: column 'rating' is 'good'"),
        (("a,1,3,1", "a,,3,1"), {}, r"log\.csv:3: column 'item_id' is empty"),
        (("a,1,3,1", "a,2,3,soon"), {}, r"log\.csv:3: column 'time' is 'soon'"),
        (("1,1,3,1", "-1,2,3,1"), {}, r"log\.csv:3: column 'user_id' is '-1', and ids cannot be negative"),
        (ROWS, {"user_column": "user"}, "data.user_column: unknown column 'user'; did you mean 'user_id'"),
        (ROWS, {"item_column": "zzz"}, r"data.item_column: unknown column 'zzz' \(known: item_id, rating, time, user_id\)"),
    ],
)  # fmt: skip
def test_bad_values_are_refused(tmp_path: Path, rows: tuple[str, ...], settings: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        log(tmp_path, *rows, **{**TIMED, **settings}).load()


def test_all_missing_columns_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.user_column: .*\n.*data\.item_column: .*\n.*data\.rating_column"):
        log(tmp_path, "1,2", header="a,b", rating_column="c").load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "classification", "min_rating": 4.0}, "classification needs a rating_column"),
        ({"task": "regression"}, "regression needs a rating_column"),
        ({"task": "classification", "rating_column": "r"}, "classification needs a min_rating"),
        (
            {"task": "regression", "rating_column": "r", "min_rating": 4.0},
            "min_rating: means nothing to task regression",
        ),
        ({"min_rating": 4.0}, "min_rating: needs a rating_column"),
        ({"item_column": "user_id"}, "item_column: column 'user_id' is named under user_column, too"),
        ({"rating_column": "t", "time_column": "t"}, "time_column: column 't' is named under rating_column"),
        ({"split": {"strategy": "time"}}, "split.strategy: time needs a time_column"),
        (
            {"split": {"strategy": "stratified"}},
            "stratified is for classes; for interactions use random, time or leave",
        ),
        ({"min_user_interactions": 0}, "greater than or equal to 1"),
        ({"min_item_interactions": 0}, "greater than or equal to 1"),
        ({"task": "rank"}, "'ranking', 'classification' or 'regression'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**settings)


class Top(Config):
    """A config with data."""

    data: DataConfig
    """The data."""


@pytest.mark.parametrize("data", ["type: table, target: y", "type: image_folder"])
def test_only_interactions_leave_one_out(data: str) -> None:
    text = f"data: {{path: x, {data}, split: {{strategy: leave_one_out}}}}"
    with pytest.raises(ConfigError, match=r"data\.split\.strategy: leave_one_out is for interactions"):
        decode(Top, yaml.parse(text))
    found = decode(Top, yaml.parse("data: {path: x, type: interactions, split: {strategy: leave_one_out}}"))
    assert found.data.split.strategy == "leave_one_out"


FEATURES = "user_id,age,town\na,10,Rome\nb,20,Oslo\nz,30,Rome\n"


def with_features(
    folder: Path, users: str = FEATURES, items: str = "item_id,price\n9,1.5\n10,2\n", **settings: Any
) -> Any:
    (folder / "users.csv").write_text(users)
    (folder / "items.csv").write_text(items)
    return log(
        folder, *ROWS, "c,9,1,1", **TIMED,
        user_features={"path": str(folder / "users.csv"), "categorical": ["town"]},
        item_features={"path": str(folder / "items.csv")}, **settings,
    )  # fmt: skip


def test_features_are_in_the_table_and_in_the_one_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning) as caught:
        loaded = with_features(tmp_path, min_rating=2.0).load()
    assert [str(each.message) for each in caught] == [
        "log.csv: of 5 rows 1 are below min_rating 2; 4 interactions of 2 users and 2 items are left\n"
        "users.csv: 1 of 3 rows are of ids with no interactions left"
    ]
    table = loaded.examples.as_table()
    assert table.schema.numeric == ("age", "price")
    assert table.schema.categorical == ("user_id", "item_id", "town")
    assert table.numeric.tolist() == [[20, 2], [10, 1.5], [20, 1.5], [10, 2]]
    assert table.categorical.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("item_id,age\n9,1\n10,2\n", "data.item_features: column 'age' is also that of data.user_features; rename it"),
        ("item_id,rating\n9,1\n10,2\n", "data.item_features: column 'rating' is also that of data.rating_column"),
        ("item_id,user_id\n9,1\n10,2\n", "data.item_features: column 'user_id' is also that of data.user_column"),
    ],
)
def test_features_that_clash_are_refused(tmp_path: Path, items: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        with_features(tmp_path, items=items).load()


def test_a_feature_table_that_is_missing_is_refused_with_its_setting(tmp_path: Path) -> None:
    of = log(tmp_path, *ROWS, item_features={"path": str(tmp_path / "no.csv")})
    with pytest.raises(DataError, match=r"no\.csv: there is no such file; correct data\.item_features\.path"):
        of.load()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["log.csv", "users.csv", "items.csv"])
def test_a_file_that_has_changed_is_loaded_again(tmp_path: Path, name: str) -> None:
    of = with_features(tmp_path, split={"test_fraction": 0.0}, min_user_interactions=2)
    first = load_splits(of, 1)
    assert load_splits(of, 1).train is first.train
    os.utime(tmp_path / name, ns=(1, 1))
    assert load_splits(of, 1).train is not first.train


def test_a_fraction_of_train_is_taken_of_each_user(tmp_path: Path) -> None:
    rows = [f"{user},{item},1,{item}" for user in "abc" for item in range(20)]
    split = SplitConfig(strategy="leave_one_out")
    splits = load_splits(log(tmp_path, *rows, **TIMED, split=split, fraction=0.5), 1)
    assert np.bincount(splits.train.users).tolist() == [9, 9, 9]
    assert splits.test.items.tolist() == [19] * 3
    half = load_splits(log(tmp_path, *rows, **TIMED, split=SplitConfig(strategy="time"), fraction=0.5), 1)
    assert half.train.items.min() == 6


def test_the_sample_is_as_it_says(tmp_path: Path) -> None:
    path = write_ratings(tmp_path / "ratings.csv")
    frame = pl.read_csv(path)
    assert frame.columns == ["user_id", "item_id", "rating", "timestamp"]
    assert (frame.height, frame["user_id"].n_unique(), frame["item_id"].n_unique()) == (24_000, 600, 400)
    assert set(frame["rating"]) == {1, 2, 3, 4, 5}
    assert frame["user_id"].value_counts()["count"].min() >= 12
    popularity = np.sort(frame["item_id"].value_counts()["count"].to_numpy())[::-1]
    assert popularity[:40].sum() > 0.25 * 24_000
    before = path.read_bytes()
    assert write_ratings(path).read_bytes() == before
    of = config(
        path, rating_column="rating", time_column="timestamp", task="regression",
        user_features={"path": str(tmp_path / "users.csv")}, item_features={"path": str(tmp_path / "items.csv")},
    )  # fmt: skip
    schema = of.load().examples.as_table().schema
    assert schema.numeric == ("age", "year", "minutes")
    assert schema.categorical == ("user_id", "item_id", "group", "country", "genre")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_planted_tastes_beat_popularity_twofold(tmp_path: Path) -> None:
    split = SplitConfig(val_fraction=0.1, test_fraction=0.1)
    path = write_ratings(tmp_path / "ratings.csv")
    splits = load_splits(config(path, rating_column="rating", min_rating=4.0, split=split), 1)
    catalogue = splits.train.catalogue
    planted = planted_tastes(np.random.RandomState(RATINGS_SEED))
    users, items = ([int(each[1:]) - 1 for each in of] for of in (catalogue.users, catalogue.items))
    seen, held = splits.train.matrix().toarray() > 0, splits.test.matrix().toarray() > 0

    def ndcg_at_10(scores: np.ndarray) -> float:
        top = np.argsort(-np.where(seen, -np.inf, scores), axis=1, kind="stable")[:, :10]
        discounts = 1 / np.log2(np.arange(2, 12))
        gain = np.take_along_axis(held, top, axis=1) @ discounts
        ideal = np.cumsum(discounts)[np.minimum(held.sum(axis=1), 10) - 1]
        return float((gain / ideal).mean())

    oracle = ndcg_at_10((planted.log_popularity + 1.6 * planted.affinity)[np.ix_(users, items)])
    popularity = ndcg_at_10(np.broadcast_to(seen.sum(axis=0), seen.shape))
    assert 0.05 < popularity < 0.12
    assert oracle > 2.5 * popularity


def test_the_samples_features_say_something_of_the_ratings(tmp_path: Path) -> None:
    path = write_ratings(tmp_path / "ratings.csv")
    users, items = pl.read_csv(tmp_path / "users.csv"), pl.read_csv(tmp_path / "items.csv")
    frame = pl.read_csv(path).join(users, on="user_id").join(items, on="item_id")

    def explained(*by: str) -> float:
        residual = frame["rating"] - frame.select(pl.col("rating").mean().over(by)).to_series()
        return 1 - float(residual.var() / frame["rating"].var())  # type: ignore[operator, arg-type]

    assert explained("group", "genre") > 0.15
    assert explained("country", "year") < 0.05


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.skipif("MLFRAMEWORK_MOVIELENS" not in os.environ, reason="MLFRAMEWORK_MOVIELENS names no u.data")
def test_movielens_is_read_as_it_comes() -> None:
    path = os.environ["MLFRAMEWORK_MOVIELENS"]
    of = {"rating_column": "rating", "time_column": "timestamp"}
    loaded = config(path, **of).load()
    assert len(loaded.examples) == 100_000
    assert loaded.examples.catalogue.users == tuple(range(1, 944))
    assert loaded.examples.catalogue.items == tuple(range(1, 1683))
    assert triples(loaded)[0] == (196, 242, 3)
    assert loaded.examples.matrix().sum() == 352_986
    liked = config(path, **of, min_rating=4.0, min_user_interactions=5, min_item_interactions=3).load()
    matrix = liked.examples.matrix()
    assert matrix.getnnz(axis=1).min() >= 5
    assert matrix.getnnz(axis=0).min() >= 3
    splits = load_splits(config(path, **of, split={"strategy": "leave_one_out"}), 1)
    assert [len(splits.train), len(splits.val), len(splits.test)] == [98_114, 943, 943]
