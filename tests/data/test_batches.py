"""Batches cut out of tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mlframework.data import batches
from mlframework.data.batches import Batches, FetchTensors, Rows


class ByBatch:
    """Gives the same rows, and is asked for every batch: it draws nothing ahead."""

    def __init__(self, fetch: FetchTensors) -> None:
        self.fetch, self.n_calls = fetch, 0

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        self.n_calls += 1
        return self.fetch(rows)


class Counted(FetchTensors):
    """Counts how often rows are gathered."""

    n_gathered = 0

    def gathered(self, rows: Tensor) -> FetchTensors:
        self.n_gathered += 1
        return super().gathered(rows)


def data(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.arange(n * 3, dtype=np.float32).reshape(n, 3), np.arange(n * 2).reshape(n, 2), np.arange(n)


@given(n=st.integers(1, 60), size=st.integers(1, 20), ahead=st.integers(0, 2000), seed=st.integers(0, 9))
def test_rows_that_are_gathered_ahead_come_in_the_same_batches(n: int, size: int, ahead: int, seed: int) -> None:
    x, codes, y = data(n)
    fetch = FetchTensors(x, codes, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_AHEAD", ahead)
        for epoch in range(2):
            ours, theirs = (
                Batches(each, y, size, "cpu", torch.Generator().manual_seed(seed + epoch))
                for each in (fetch, ByBatch(fetch))
            )
            found, expected = list(ours), list(theirs)
            assert len(found) == len(expected) == len(ours)
            for one, other in zip(found, expected, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one.inputs, other.inputs, strict=True))
                assert torch.equal(one.targets, other.targets) and torch.equal(one.own, other.own)


def test_an_epoch_of_a_small_table_is_gathered_once() -> None:
    x, codes, y = data(5000)
    fetch = Counted(x, codes, device="cpu")
    found = Batches(fetch, y, 32, "cpu", torch.Generator())
    assert len(list(found)) == 157
    assert fetch.n_gathered == 1


def test_of_a_large_one_no_more_is_gathered_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, codes, y = data(1000)
    fetch = Counted(x, codes, device="cpu")
    assert fetch.row_bytes == 3 * 4 + 2 * 8
    monkeypatch.setattr(batches, "_AHEAD", 28 * 100)
    list(Batches(fetch, y, 40, "cpu", torch.Generator()))
    assert fetch.n_gathered == 13, "two batches of 40 rows fit into 100"
