"""Tables of weights and pairs of columns whose gradients are written out: to the bits of torch's own."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mlframework.models.factorization import FactorizationMachine
from mlframework.models.look_up import LookUp


@given(
    n_rows=st.integers(1, 9), width=st.integers(1, 5), shape=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    padded=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_look_up_and_its_gradient_are_those_of_torch_bit_for_bit(
    n_rows: int, width: int, shape: list[int], padded: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    ours = LookUp(n_rows, width, padding_idx=0 if padded else None)
    theirs = nn.Embedding(n_rows, width, padding_idx=0 if padded else None, _weight=ours.weight.detach().clone())
    rows = torch.randint(n_rows, tuple(shape))
    towards = torch.randn(*shape, width) * 10.0 ** torch.randint(-9, 9, (*shape, 1))
    for table in (ours, theirs):
        (table(rows) * towards).sum().backward()
    assert torch.equal(ours(rows), theirs(rows))
    assert isinstance(ours.weight.grad, Tensor) and isinstance(theirs.weight.grad, Tensor)
    assert torch.equal(ours.weight.grad, theirs.weight.grad)


def test_a_row_that_is_not_there_is_an_error() -> None:
    with pytest.raises(IndexError):
        LookUp(3, 2)(torch.tensor([3]))


@given(
    k=st.integers(1, 20), n_outputs=st.integers(1, 4), n=st.integers(1, 40), seed=st.integers(0, 99),
    dropout=st.sampled_from([0.0, 0.3, 0.9]),
)  # fmt: skip
def test_of_two_columns_scores_and_gradients_are_those_of_any_columns_bit_for_bit(
    k: int, n_outputs: int, n: int, seed: int, dropout: float
) -> None:
    torch.manual_seed(seed)
    machine = FactorizationMachine(0, (5, 7), n_outputs, k, dropout, 1.0)
    with torch.no_grad():
        machine.weights.table.weight[1:].normal_()
    general = copy.deepcopy(machine)
    codes = torch.stack([torch.randint(5, (n,)), torch.randint(7, (n,))], dim=1)
    torch.manual_seed(seed)
    machine(torch.empty(n, 0), codes).square().sum().backward()
    # A numeric column of zeros adds nothing, and is no case of users and items alone.
    general.weights.numeric = nn.Parameter(torch.randn(1, general.weights.table.weight.shape[1]))
    torch.manual_seed(seed)
    general(torch.zeros(n, 1), codes).square().sum().backward()
    machine.eval(), general.eval()
    with torch.no_grad():
        assert torch.equal(machine(torch.empty(n, 0), codes), general(torch.zeros(n, 1), codes))
    for ours, theirs in zip(
        (machine.weights.table.weight, machine.weights.bias),
        (general.weights.table.weight, general.weights.bias),
        strict=True,
    ):
        assert isinstance(ours.grad, Tensor) and isinstance(theirs.grad, Tensor)
        assert torch.equal(ours.grad, theirs.grad)
