"""Interactions as arrays, as a matrix and as a table."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.data import Catalogue, InteractionExamples, TableEncoder, TableExamples, TableSchema


def features(name: str, numbers: list[float], codes: list[int]) -> TableExamples:
    schema = TableSchema((f"{name}_n",), (f"{name}_c",), {f"{name}_c": ("p", "q")}, "", "regression", None)
    return TableExamples(
        schema,
        np.array(numbers, dtype=np.float32)[:, None],
        np.array(codes, dtype=np.int32)[:, None],
        np.zeros(len(codes), dtype=np.float32),
    )


def catalogue(n_users: int = 3, n_items: int = 4, **changes: Any) -> Catalogue:
    users, items = tuple(f"u{i}" for i in range(n_users)), tuple(range(10, 10 + n_items))
    return replace(Catalogue("user", "item", users, items, None, None, "ranking", "", None), **changes)


def examples(entries: dict[tuple[int, int], float], of: Catalogue | None = None) -> InteractionExamples:
    codes = np.array(list(entries), dtype=np.int32).reshape(-1, 2)
    values = np.array(list(entries.values()), dtype=np.float32)
    return InteractionExamples(of or catalogue(), codes[:, 0].copy(), codes[:, 1].copy(), values)


some = st.dictionaries(
    st.tuples(st.integers(0, 2), st.integers(0, 3)), st.floats(0, 100, width=32), max_size=12
)  # fmt: skip


@given(entries=some)
def test_the_matrix_holds_every_value_and_is_canonical(entries: dict[tuple[int, int], float]) -> None:
    matrix = examples(entries).matrix()
    assert matrix.shape == (3, 4)
    assert matrix.dtype == np.float32
    assert matrix.nnz == len(entries)
    assert matrix.has_canonical_format
    found = {
        (user, int(item)): float(value)
        for user in range(3)
        for item, value in zip(
            matrix.indices[matrix.indptr[user] : matrix.indptr[user + 1]],
            matrix.data[matrix.indptr[user] : matrix.indptr[user + 1]],
            strict=True,
        )
    }
    assert found == entries
    for user in range(3):
        assert np.all(np.diff(matrix.indices[matrix.indptr[user] : matrix.indptr[user + 1]]) > 0)


def test_the_matrix_is_built_once() -> None:
    one = examples({(0, 1): 1.0})
    assert one.matrix() is one.matrix()
    assert one.take(np.array([0])).matrix() is not one.matrix()


def test_a_pair_that_stands_twice_is_no_matrix() -> None:
    one = examples({(0, 1): 1.0, (0, 2): 1.0})
    with pytest.raises(ValueError, match="stand twice"):
        one.concat(one.take(np.array([1]))).matrix()


@given(entries=some, data=st.data())
def test_taking_apart_and_putting_together(entries: dict[tuple[int, int], float], data: st.DataObject) -> None:
    whole = examples(entries)
    cut = data.draw(st.integers(0, len(entries)))
    order = np.array(data.draw(st.permutations(range(len(entries)))), dtype=np.int64)
    one, two = whole.take(order[:cut]), whole.take(order[cut:])
    assert len(one) == cut
    assert one.concat(two) == whole.take(order)
    assert one.concat(two).take(np.argsort(order)) == whole


def test_only_interactions_of_one_catalogue_go_together() -> None:
    entries = {(0, 1): 1.0}
    of_users = features("u", [1, np.nan, 3], [0, -1, 1])
    known = catalogue(user_features=of_users)
    alike = catalogue(user_features=features("u", [1, np.nan, 3], [0, -1, 1]))
    assert known == alike
    assert hash(known) == hash(alike)
    assert len(examples(entries, known).concat(examples({(1, 1): 2.0}, alike))) == 2
    others = [
        catalogue(),
        catalogue(4),
        catalogue(task="regression"),
        catalogue(user_features=features("u", [1, np.nan, 4], [0, -1, 1])),
        catalogue(user_features=features("u", [1, np.nan, 3], [0, -1, 0])),
        catalogue(user_features=features("v", [1, np.nan, 3], [0, -1, 1])),
        catalogue(user_features=of_users, item_features=features("i", [1, 2, 3, 4], [0, 1, 1, 1])),
    ]
    for other in others:
        assert known != other
        assert examples(entries, known) != examples(entries, other)
        with pytest.raises(ValueError, match="different catalogues"):
            examples(entries, known).concat(examples(entries, other))
    assert known != "catalogue"


@pytest.mark.parametrize("changed", [{(0, 2): 1.0}, {(1, 1): 1.0}, {(0, 1): 2.0}])
def test_other_interactions_are_not_equal(changed: dict[tuple[int, int], float]) -> None:
    assert examples({(0, 1): 1.0}) == examples({(0, 1): 1.0})
    assert examples({(0, 1): 1.0}) != examples(changed)


@pytest.mark.parametrize(
    ("task", "dtype"), [("ranking", np.float32), ("classification", np.int64), ("regression", np.float32)]
)
def test_targets_are_of_the_tasks_type(task: Any, dtype: type) -> None:
    targets = examples({(0, 1): 1.0, (1, 1): 0.0}, catalogue(task=task)).targets
    assert targets.dtype == dtype
    assert targets.tolist() == [1, 0]


def test_a_table_has_the_ids_and_what_is_known_about_both() -> None:
    known = catalogue(
        user_features=features("u", [1, np.nan, 3], [0, -1, 1]),
        item_features=features("i", [4, 5, 6, 7], [1, 1, 0, 0]),
        task="classification",
        target="stars",
        class_names=("stars < 4", "stars >= 4"),
    )
    table = examples({(2, 0): 1.0, (1, 3): 0.0}, known).as_table()
    assert table.schema == TableSchema(
        numeric=("u_n", "i_n"),
        categorical=("user", "item", "u_c", "i_c"),
        vocabulary={
            "user": ("u0", "u1", "u2"), "item": ("10", "11", "12", "13"), "u_c": ("p", "q"), "i_c": ("p", "q"),
        },
        target="stars",
        task="classification",
        class_names=("stars < 4", "stars >= 4"),
    )  # fmt: skip
    np.testing.assert_array_equal(table.numeric, np.array([[3, 4], [np.nan, 7]], dtype=np.float32))
    assert table.numeric.dtype == np.float32
    assert table.categorical.tolist() == [[2, 0, 1, 1], [1, 3, -1, 0]]
    assert table.categorical.dtype == np.int32
    assert table.targets.tolist() == [1, 0]
    assert TableSchema.from_dict(table.schema.to_dict()) == table.schema
    assert TableEncoder.fit(table).numeric_width >= 2


def test_a_table_without_features_has_the_ids_only() -> None:
    table = examples({(2, 0): 2.0}).as_table()
    assert (table.schema.numeric, table.schema.categorical) == ((), ("user", "item"))
    assert (table.schema.task, table.schema.target) == ("regression", "")
    assert table.numeric.shape == (1, 0)
    assert table.categorical.tolist() == [[2, 0]]
    assert table.targets.tolist() == [2]
