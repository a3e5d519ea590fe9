"""Sorting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.order import stable_order


@given(st.lists(st.integers(-3, 40), max_size=60), st.sampled_from(["int64", "int32", "uint16", "float64"]))
def test_it_is_numpys_stable_order(keys: list[int], dtype: str) -> None:
    array = np.array(keys, dtype="int64").astype(dtype)
    assert stable_order(array).tolist() == np.argsort(array, kind="stable").tolist()


@pytest.mark.parametrize("n_different", [100_000, 99_999, 50, 1])
def test_also_of_many(n_different: int) -> None:
    keys = np.random.default_rng(0).permutation(100_000) % n_different
    assert np.array_equal(stable_order(keys), np.argsort(keys, kind="stable"))
