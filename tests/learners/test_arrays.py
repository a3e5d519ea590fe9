"""Checkpoints without torch: what was written comes back bit for bit, and a damaged file is never taken for another."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mlframework.errors import CheckpointError
from mlframework.learners.arrays import ArrayCodec

CODEC = ArrayCodec()
PLAIN = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.text() | st.floats(allow_nan=False)
ARRAYS = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
# A state is keys, arrays and plain values; lists of plain values may hold plain objects, such as an epoch's metrics.
LISTS = st.lists(PLAIN | st.dictionaries(st.text(), PLAIN, max_size=2), max_size=3)
NAMES = st.text() | st.sampled_from(["keys", "array", "value", "tree"])
STATES = st.dictionaries(
    NAMES,
    st.recursive(PLAIN | ARRAYS | LISTS, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6),
    max_size=4,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STATES)
def test_what_was_written_comes_back(tmp_path: Path, state: dict[str, Any]) -> None:
    (tmp_path / "last.pt").write_bytes(CODEC.encode(state))
    assert same(CODEC.load(tmp_path / "last.pt"), state)


STATE = {
    "format": 1,
    "history": [{"epoch": 1, "train_loss": 0.25}],
    "learner": {"user_factors": np.arange(12, dtype=np.float32).reshape(4, 3), "rng": {"state": 2**100 + 7}},
}


def test_a_changed_byte_is_found_or_changes_nothing(tmp_path: Path) -> None:
    """Archives have a checksum of each member; dates and the like are no part of the state."""
    path = tmp_path / "last.pt"
    path.write_bytes(CODEC.encode(STATE))
    whole = path.read_bytes()
    refused = 0
    for place, byte in enumerate(whole):
        path.write_bytes(whole[:place] + bytes([byte ^ (1 << place % 8)]) + whole[place + 1 :])
        try:
            assert same(CODEC.load(path), STATE), place
        except CheckpointError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
    assert refused > len(whole) / 3, "all of the arrays and of the tree"


def archive(path: Path, tree: Any, **members: Any) -> Path:
    with path.open("wb") as file:
        np.savez(file, tree=np.frombuffer(json.dumps(tree).encode(), np.uint8), **members)
    return path


@pytest.mark.parametrize(
    "tree",
    [
        [],
        3,
        None,
        "text",
        {},
        {"keys": 3},
        {"keys": []},
        {"keys": {"a": 3}},
        {"array": 0},
        {"keys": {"a": {"array": 7}}},
    ],
)
def test_an_archive_with_another_tree_is_refused(tmp_path: Path, tree: Any) -> None:
    with pytest.raises(CheckpointError, match=r"last\.pt: cannot be read as a checkpoint.* delete the folder"):
        CODEC.load(archive(tmp_path / "last.pt", tree))


@pytest.mark.parametrize("tree", [{"value": 3}, {"array": 0}])
def test_an_archive_of_no_state_is_refused(tmp_path: Path, tree: Any) -> None:
    path = archive(tmp_path / "last.pt", tree, array0=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"last\.pt: is a NumPy archive, but not a checkpoint of mlframework"):
        CODEC.load(path)


def test_files_of_numpy_that_are_no_state_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "last.pt").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        CODEC.load(tmp_path / "last.pt")
    with (tmp_path / "other.pt").open("wb") as file:
        np.savez(file, user_factors=np.zeros(3))
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        CODEC.load(tmp_path / "other.pt")


def test_no_code_is_written_or_read(tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError)):
        CODEC.encode({"a": np.array([object()])})
    with (tmp_path / "pickled.pt").open("wb") as file:
        np.savez(file, tree=np.array([Path()], dtype=object), allow_pickle=True)
    with pytest.raises(CheckpointError, match="allow_pickle"):
        CODEC.load(tmp_path / "pickled.pt")
