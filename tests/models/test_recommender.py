"""Recommendations against brute force, and what is said of users, items and files that are no good."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlframework.data import InteractionsConfig
from mlframework.data.interaction_examples import InteractionExamples
from mlframework.errors import DataError, RunError
from mlframework.learners.ranking import Vectors
from mlframework.models.recommender import Link, Recommendation, Recommender, exporter

MakeExamples = Callable[..., InteractionExamples]
USERS = ("ada", "bob", "cy", "dee", "eve")
ITEMS = (10, 20, 30, 40, 50, 60)
SEEN = np.array(
    [[1, 0, 0, 0, 1, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 1, 0]], dtype=bool
)


def vectors_of(seed: int, n_users: int, n_items: int, d: int = 4) -> Vectors:
    drawn = np.random.default_rng(seed).normal(size=(n_users + n_items, d)).astype(np.float32)
    return Vectors(drawn[:n_users], drawn[n_users:])


VECTORS = vectors_of(0, 5, 6)
SCORES = VECTORS.users @ VECTORS.items.T


def exported(
    make: MakeExamples,
    folder: Path,
    vectors: Vectors = VECTORS,
    n_factors: int = 4,
    link: Link | None = None,
    **ids: Any,
) -> Recommender:
    """Export and read back."""
    train = make(SEEN, **{"users": USERS, "items": ITEMS, **ids})
    exporter("als", train, n_factors, link)(folder, vectors)
    return Recommender.read(folder)


@pytest.fixture
def recommender(make_examples: MakeExamples, tmp_path: Path) -> Recommender:
    """Of five users and six items: dee had nothing in training, cy all but one."""
    return exported(make_examples, tmp_path)


def items_of(found: list[list[Recommendation]]) -> list[list[Any]]:
    return [[each.item for each in items] for items in found]


def brute(row: int, k: int, seen: bool = True) -> list[int]:
    """Return the ids of the k best items for a user, by sorting."""
    candidates = [item for item in range(6) if not (seen and SEEN[row, item])]
    return [ITEMS[item] for item in sorted(candidates, key=lambda item: -SCORES[row, item])[:k]]


# --- What is exported -------------------------------------------------------------------------------------------------


def test_what_is_exported_is_what_serving_needs(recommender: Recommender, tmp_path: Path) -> None:
    assert {path.name for path in tmp_path.iterdir()} == {
        "model_meta.json", "user_vecs.npy", "item_vecs.npy", "seen_indptr.npy", "seen_items.npy", "rated_low.npy",
    }  # fmt: skip
    meta = json.loads((tmp_path / "model_meta.json").read_text(encoding="utf-8"))
    assert meta == {
        "format": 1, "family": "recommender", "model": "als", "n_factors": 4, "link": None, "user_column": "user_id",
        "item_column": "item_id", "users": list(USERS), "items": list(ITEMS),
    }  # fmt: skip
    for name, expected in (("user_vecs", VECTORS.users), ("item_vecs", VECTORS.items)):
        found = np.load(tmp_path / f"{name}.npy", allow_pickle=False)
        assert found.dtype == np.float32 and np.array_equal(found, expected)
    assert (recommender.users, recommender.items) == (USERS, ITEMS)


def test_what_was_seen_is_exported_user_by_user(recommender: Recommender, tmp_path: Path) -> None:
    indptr, seen = (np.load(tmp_path / f"seen_{name}.npy") for name in ("indptr", "items"))
    found = [seen[start:end].tolist() for start, end in itertools.pairwise(indptr)]
    assert found == [np.flatnonzero(row).tolist() for row in SEEN]


# --- Recommendations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recommendations_are_those_of_brute_force(recommender: Recommender, k: int, exclude_seen: bool) -> None:
    ids = ["eve", "ada", "cy", "ada"]
    found = recommender.recommend(ids, k, exclude_seen)
    assert items_of(found) == [brute(USERS.index(user), k, exclude_seen) for user in ids]
    for user, items in zip(ids, found, strict=True):
        expected = [SCORES[USERS.index(user), ITEMS.index(each.item)] for each in items]
        assert [each.score for each in items] == pytest.approx(expected, abs=1e-6)
        assert all(type(each.score) is float for each in items)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 9))
def test_recommendations_are_exact_for_any_vectors(
    make_examples: MakeExamples, tmp_path_factory: pytest.TempPathFactory, seed: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    seen, vectors = rng.random((7, 9)) < 0.4, vectors_of(seed, 7, 9)
    seen[:, 0] = True
    folder = tmp_path_factory.mktemp("any")
    exporter("als", make_examples(seen), 4)(folder, vectors)
    scores = vectors.users @ vectors.items.T
    users = rng.permutation(7)[:4].tolist()
    found = Recommender.read(folder).recommend(users, k)
    for user, items in zip(users, found, strict=True):
        free = np.flatnonzero(~seen[user])
        assert [each.item for each in items] == free[np.argsort(-scores[user, free], kind="stable")][:k].tolist()


def test_who_has_seen_nearly_all_gets_fewer(recommender: Recommender) -> None:
    assert items_of(recommender.recommend("cy", 6)) == [[60]]
    assert len(recommender.recommend("cy", 6, exclude_seen=False)[0]) == 6


def test_one_id_is_a_list_of_one(recommender: Recommender) -> None:
    assert recommender.recommend("ada", 2) == recommender.recommend(["ada"], 2)
    assert recommender.similar_items(30, 2) == recommender.similar_items([np.int64(30)], 2)
    assert recommender.recommend([], 2) == []


def test_ten_items_are_recommended_unless_told_otherwise(make_examples: MakeExamples, tmp_path: Path) -> None:
    seen = np.eye(3, 20, dtype=bool)
    exporter("als", make_examples(seen), 4)(tmp_path, vectors_of(1, 3, 20))
    recommender = Recommender.read(tmp_path)
    assert [len(items) for items in recommender.recommend([0, 1, 2])] == [10, 10, 10]
    assert len(recommender.similar_items(5)[0]) == 10


@pytest.mark.parametrize("k", [0, -1, 7])
def test_a_k_that_cannot_be_is_refused(recommender: Recommender, k: int) -> None:
    with pytest.raises(
        DataError, match=f"k: {k} should be a whole number from 1 to 6, as there are so many items to choose from"
    ):
        recommender.recommend("ada", k)
    with pytest.raises(DataError, match=f"k: {k} should be a whole number from 1 to 5"):
        recommender.similar_items(10, k)
    with pytest.raises(DataError, match="k: 6 should be a whole number from 1 to 5"):
        recommender.similar_items(10, 6)


# --- Users who were not in training -----------------------------------------------------------------------------------


def test_an_unknown_user_is_an_error_that_names_the_remedy(recommender: Recommender) -> None:
    with pytest.raises(DataError) as found:
        recommender.recommend(["ada", "zoe"], 2)
    assert str(found.value) == (
        "'zoe': not among the 4 users with interactions in training; unknown='popular' gives such users the most popular "
        "items"
    )


def test_a_user_of_val_only_is_unknown_too(recommender: Recommender) -> None:
    """dee has a row of vectors, but nothing was learnt of her."""
    with pytest.raises(DataError, match=r"^'dee': not among the 4 users"):
        recommender.recommend("dee", 2)


def test_many_unknown_users_are_counted(recommender: Recommender) -> None:
    with pytest.raises(DataError, match=r"^'u0', 'u1', 'u2', 'u3', 'u4' and 3 more: not among"):
        recommender.recommend([f"u{n}" for n in range(8)], 2)


def test_an_id_of_another_type_is_hinted_at(
    recommender: Recommender, make_examples: MakeExamples, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^7: not among .*\(ids are text here, such as 'ada'\)"):
        recommender.recommend(7, 2)
    with pytest.raises(DataError, match=r"^'10': not among .*\(ids are whole numbers here, such as 10\)"):
        recommender.similar_items("10", 2)
    numbered = exported(make_examples, tmp_path, users=range(5), items=tuple("abcdef"))
    with pytest.raises(DataError, match=r"^'0': .*\(ids are whole numbers here, such as 0\)"):
        numbered.recommend("0", 2)
    assert items_of(numbered.recommend(0, 2)) == [["abcdef"[ITEMS.index(item)] for item in brute(0, 2)]]
    with pytest.raises(DataError, match=r"^9: not among the 4 users with interactions in training; unknown='popular'"):
        numbered.recommend(9, 2)


def test_unknown_users_may_get_the_most_popular_items(recommender: Recommender) -> None:
    found = recommender.recommend(["zoe", "ada", "dee"], 4, unknown="popular")
    # How many users have each: 10: 3, 50: 3, 20: 2, 30: 2, 40: 1, 60: 0; of equals the first comes first.
    popular = [Recommendation(10, 3.0), Recommendation(50, 3.0), Recommendation(20, 2.0), Recommendation(30, 2.0)]
    assert found[0] == found[2] == popular
    assert items_of(found)[1] == brute(0, 4)
    assert recommender.recommend(["zoe"], 4, unknown="popular") == [popular]


def test_another_word_for_unknown_is_refused(recommender: Recommender) -> None:
    with pytest.raises(DataError, match="unknown: 'skip' should be 'error' or 'popular'"):
        recommender.recommend("ada", 2, unknown="skip")  # type: ignore[arg-type]


# --- Similar items ----------------------------------------------------------------------------------------------------


def test_similar_items_are_those_of_brute_force(recommender: Recommender) -> None:
    directions = VECTORS.items / np.linalg.norm(VECTORS.items, axis=1, keepdims=True)
    cosines = directions @ directions.T
    for row, found in enumerate(recommender.similar_items(ITEMS, 5)):
        others = [item for item in range(6) if item != row]
        order = sorted(others, key=lambda item: -cosines[row, item])
        assert [each.item for each in found] == [ITEMS[item] for item in order]
        assert [each.score for each in found] == pytest.approx([cosines[row, item] for item in order], abs=1e-6)


def test_an_item_is_never_like_itself_though_all_are_the_same(make_examples: MakeExamples, tmp_path: Path) -> None:
    same = Vectors(VECTORS.users, np.ones((6, 4), np.float32))
    for item, found in zip(ITEMS, exported(make_examples, tmp_path, same).similar_items(ITEMS, 5), strict=True):
        assert sorted([*(each.item for each in found), item]) == list(ITEMS)
        assert [each.score for each in found] == pytest.approx([1.0] * 5)


def test_an_item_of_which_nothing_is_known_is_like_none(make_examples: MakeExamples, tmp_path: Path) -> None:
    items = VECTORS.items.copy()
    items[2] = 0
    recommender = exported(make_examples, tmp_path, Vectors(VECTORS.users, items))
    assert [each.score for each in recommender.similar_items(30, 5)[0]] == [0.0] * 5
    (found,) = recommender.similar_items(10, 5)
    assert next(each.score for each in found if each.item == 30) == 0.0


def test_biases_say_nothing_of_what_an_item_is_like(make_examples: MakeExamples, tmp_path: Path) -> None:
    biased = Vectors(VECTORS.users, np.column_stack([VECTORS.items[:, :3], [0, 90, -90, 5, 7, 1]]).astype(np.float32))
    with_bias = exported(make_examples, tmp_path, biased, n_factors=3).similar_items(ITEMS, 5)
    plain = Vectors(VECTORS.users[:, :3], VECTORS.items[:, :3])
    assert with_bias == exported(make_examples, tmp_path, plain, n_factors=3).similar_items(ITEMS, 5)


def test_an_unknown_item_is_named(recommender: Recommender) -> None:
    with pytest.raises(
        DataError, match=r"^11 \(row 2\): not among the 6 items that the model was trained with; .*take such rows out$"
    ):
        recommender.similar_items([10, 11, 11], 2)


# --- Predictions ------------------------------------------------------------------------------------------------------

PAIRS = {"user_id": ["eve", "ada", "dee", "ada"], "item_id": [10, 60, 20, 60]}


def sources(folder: Path) -> dict[str, Any]:
    frame = pl.DataFrame(PAIRS)
    frame.write_csv(folder / "pairs.csv")
    frame.write_csv(folder / "pairs.tsv", separator="\t")
    frame.write_parquet(folder / "pairs.parquet")
    files = {suffix: folder / f"pairs.{suffix}" for suffix in ("csv", "tsv", "parquet")}
    more = pl.DataFrame({"rating": [1.0] * 4, **PAIRS})
    return {**files, "text": str(files["csv"]), "dict": PAIRS, "polars": more}


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "text", "dict", "polars"])
def test_scores_are_predicted_of_whatever_holds_pairs(kind: str, recommender: Recommender, tmp_path: Path) -> None:
    found = recommender.predict(sources(tmp_path)[kind])
    expected = [SCORES[USERS.index(user), ITEMS.index(item)] for user, item in zip(*PAIRS.values(), strict=True)]
    assert [each.value for each in found] == pytest.approx(expected, abs=1e-5)
    assert all(type(each.value) is float and each.probabilities == {} for each in found)


def test_whole_numbers_in_a_file_are_text_where_ids_are_text(make_examples: MakeExamples, tmp_path: Path) -> None:
    (tmp_path / "artifact").mkdir()
    recommender = exported(make_examples, tmp_path / "artifact", items=("10", "20", "30", "40", "50", "x"))
    (tmp_path / "pairs.csv").write_text("user_id,item_id\nada,10\neve,50\n", encoding="utf-8")
    values = [each.value for each in recommender.predict(tmp_path / "pairs.csv")]
    assert values == pytest.approx([SCORES[0, 0], SCORES[4, 4]], abs=1e-5)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"user_id": ["ada"]}, "item_id"),
        ({"user_id": ["ada"], "item": [10]}, "item_id"),
        ({"user_id": ["zoe"], "item_id": [10]}, "'zoe': not among the 5 users that the model was trained with"),
        ({"user_id": ["ada"], "item_id": [11]}, "11: not among the 6 items that the model was trained with"),
        (3, "predict takes a file, a data frame or a dict of columns, got int"),
    ],
)
def test_pairs_that_cannot_be_predicted_are_named(source: Any, said: str, recommender: Recommender) -> None:
    with pytest.raises(DataError, match=said):
        recommender.predict(source)


def test_a_regressions_score_is_in_its_unit(make_examples: MakeExamples, tmp_path: Path) -> None:
    recommender = exported(make_examples, tmp_path, link=Link(mean=3.5, scale=2.0))
    assert recommender.predict(PAIRS)[0].value == pytest.approx(SCORES[4, 0] * 2 + 3.5, abs=1e-5)


def test_a_classifications_score_is_a_probability(make_examples: MakeExamples, tmp_path: Path) -> None:
    names = ("rating < 4", "rating >= 4")
    far = Vectors(VECTORS.users * 100, VECTORS.items * 100)
    for vectors in (VECTORS, far):
        recommender = exported(make_examples, tmp_path, vectors, link=Link(class_names=names))
        scores = vectors.users @ vectors.items.T
        for user, item, found in zip(*PAIRS.values(), recommender.predict(PAIRS), strict=True):
            score = float(scores[USERS.index(user), ITEMS.index(item)])
            positive = 1 / (1 + np.exp(-np.clip(score, -700, 700)))
            assert found.probabilities == pytest.approx({names[0]: 1 - positive, names[1]: positive}, abs=1e-5)
            assert found.value == names[score > 0]


# --- Files that are no good -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["user_vecs", "item_vecs", "seen_indptr", "seen_items"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "text", "pickled", "archive"])
def test_a_damaged_file_is_named(name: str, damage: str, recommender: Recommender, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.npy"
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "pickled":
        np.save(path, np.array([object()]), allow_pickle=True)
    elif damage == "archive":
        with path.open("wb") as file:
            np.savez(file, a=np.zeros(3))
    else:
        path.write_bytes({"empty": b"", "cut": whole[:-4], "text": b"no array\n" * 20}[damage])
    with pytest.raises(RunError, match=rf"{name}\.npy: .*; train the model again"):
        Recommender.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("user_vecs", np.zeros((4, 4), np.float32)),
        ("user_vecs", np.zeros((5, 3), np.float32)),
        ("user_vecs", np.zeros(5, np.float32)),
        ("item_vecs", np.zeros((7, 4), np.float32)),
        ("seen_indptr", np.zeros(3, np.int64)),
        ("seen_items", np.zeros(3, np.int64)),
        ("seen_items", np.full(11, 6, np.int64)),
        ("seen_items", np.full(11, -1, np.int64)),
        ("rated_low", np.zeros(4, np.int64)),
        ("rated_low", np.array([[5], [0]])),
        ("rated_low", np.array([[0], [6]])),
        ("user_vecs", np.full((5, 4), "x")),
    ],
)
def test_files_that_do_not_fit_together_are_refused(
    name: str, array: Any, recommender: Recommender, tmp_path: Path
) -> None:
    np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(RunError, match=rf"{name}\.npy: .*train the model again"):
        Recommender.read(tmp_path)


def test_a_damaged_description_is_named(recommender: Recommender, tmp_path: Path) -> None:
    meta = tmp_path / "model_meta.json"
    whole = json.loads(meta.read_text(encoding="utf-8"))
    meta.write_text(json.dumps({key: value for key, value in whole.items() if key != "users"}), encoding="utf-8")
    with pytest.raises(RunError, match=r"model_meta\.json: .*users.*train the model again"):
        Recommender.read(tmp_path)
    meta.write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"model_meta\.json: is damaged"):
        Recommender.read(tmp_path)


@pytest.mark.parametrize("k", [2.0, "2", None, True])
def test_a_k_that_is_no_whole_number_is_refused(recommender: Recommender, k: Any) -> None:
    with pytest.raises(DataError, match="should be a whole number from 1"):
        recommender.recommend("ada", k)


@pytest.mark.parametrize("ids", [1.5, None, True])
def test_what_is_no_id_is_refused(recommender: Recommender, ids: Any) -> None:
    with pytest.raises(DataError, match="ids should be ids or a list of them"):
        recommender.recommend(ids, 2)


def test_an_id_of_another_type_is_an_error_also_where_strangers_get_what_is_popular(recommender: Recommender) -> None:
    """A service that passes numbers where ids are text would give everybody the same."""
    with pytest.raises(DataError, match="ids are text here"):
        recommender.recommend([7], 2, unknown="popular")


def test_what_a_user_rated_low_is_not_recommended(tmp_path: Path) -> None:
    lines = [
        f"u{user},i{item},{5 if (user + item) % 3 else 1}" for user in range(12) for item in range(12) if item != user
    ]
    (tmp_path / "r.csv").write_text("user_id,item_id,rating\n" + "\n".join(lines) + "\n", encoding="utf-8")
    data = InteractionsConfig(
        type="interactions", path=str(tmp_path / "r.csv"), rating_column="rating", min_rating=3, min_user_interactions=3
    )
    train = data.load().examples
    users, items = train.catalogue.rated_low
    low = {(train.catalogue.users[u], train.catalogue.items[i]) for u, i in zip(users, items, strict=True)}
    assert low == {(u, i) for u, i, r in (line.split(",") for line in lines) if r == "1"}
    rng = np.random.default_rng(0)
    vectors = Vectors(rng.random((12, 3)).astype(np.float32), rng.random((12, 3)).astype(np.float32))
    exporter("als", train, 3)(tmp_path, vectors)
    recommender = Recommender.read(tmp_path)
    for user, found in zip(recommender.users, recommender.recommend(recommender.users, 12), strict=True):
        # Each has rated all items but the one of its own number.
        assert [each.item for each in found] == [f"i{str(user)[1:]}"]
        every = recommender.recommend(user, 12, exclude_seen=False)[0]
        assert len(every) == 12
