"""Adam over all weights at once: torch's numbers, to the last bit."""

import copy
from typing import Any

import pytest
import torch

from mlframework import adam
from mlframework.optim import Adam, AdamW

SHAPES = [(7, 5), (7,), (3, 7), (3,), (), (40, 17)]


def weights(dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in SHAPES]


def descend(
    parameters: list[torch.nn.Parameter], optimizer: Any, steps: int = 30, without: tuple[int, int] | None = None
) -> None:
    """Take steps by gradients of all sizes; `without` names a weight that has none before that step."""
    generator = torch.Generator().manual_seed(2)
    for step in range(steps):
        for number, weight in enumerate(parameters):
            scale = 10.0 ** (step % 7 - 4)
            weight.grad = torch.randn(weight.shape, generator=generator, dtype=weight.dtype) * scale + weight.detach()
            if without is not None and number == without[0] and step < without[1]:
                weight.grad = None
        optimizer.step()


def assert_same(one: Any, parameters: list[torch.nn.Parameter], other: Any, theirs: list[torch.nn.Parameter]) -> None:
    for left, right in zip(parameters, theirs, strict=True):
        assert torch.equal(left, right)
        for name, value in one.state[left].items():
            assert torch.equal(value, other.state[right][name]), name


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many weights each step over all at once had."""
    counts, step = [], adam._step

    def count(group: Any, together: list[Any], states: Any) -> None:
        counts.append(len(together))
        step(group, together, states)

    monkeypatch.setattr(adam, "_step", count)
    return counts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (Adam(lr=0.01), torch.optim.Adam),
        (Adam(lr=0.3, beta1=0.5, beta2=0.6, eps=1e-3, weight_decay=0.1), torch.optim.Adam),
        (Adam(lr=0.3, beta1=0.0, beta2=0.0), torch.optim.Adam),
        (AdamW(type="adamw", lr=0.01), torch.optim.AdamW),
        (AdamW(type="adamw", lr=0.3, beta1=0.5, weight_decay=0.2), torch.optim.AdamW),
    ],
)
def test_steps_are_torchs(config: Any, kind: Any, dtype: torch.dtype, counted: list[int]) -> None:
    mine, theirs = weights(dtype), weights(dtype)
    betas = (config.beta1, config.beta2)
    ours = config.build(mine)
    torchs = kind(theirs, lr=config.lr, betas=betas, eps=config.eps, weight_decay=config.weight_decay, foreach=False)
    descend(mine, ours)
    descend(theirs, torchs)
    assert_same(ours, mine, torchs, theirs)
    assert counted == [len(SHAPES)] * 29, "the first step is torch's, which makes the state"


def test_weights_of_several_groups_have_their_own_learning_rates(counted: list[int]) -> None:
    mine, theirs = weights(), weights()
    ours = Adam().build([{"params": mine[:2], "lr": 0.1}, {"params": mine[2:]}])  # type: ignore[list-item]
    torchs = torch.optim.Adam([{"params": theirs[:2], "lr": 0.1}, {"params": theirs[2:]}], foreach=False)
    descend(mine, ours)
    descend(theirs, torchs)
    assert_same(ours, mine, torchs, theirs)
    assert counted == [2, 4] * 29


def test_a_weight_without_a_gradient_is_left_alone_and_one_that_began_later_has_torchs_own_step(
    counted: list[int],
) -> None:
    mine, theirs = weights(), weights()
    ours, torchs = Adam().build(mine), torch.optim.Adam(theirs, foreach=False)
    descend(mine, ours, without=(2, 10))
    descend(theirs, torchs, without=(2, 10))
    assert_same(ours, mine, torchs, theirs)
    assert counted == [len(SHAPES) - 1] * 9


def test_a_state_that_is_taken_back_goes_on_the_same(counted: list[int]) -> None:
    mine, theirs = weights(), weights()
    ours, torchs = Adam().build(mine), torch.optim.Adam(theirs, foreach=False)
    descend(mine, ours, 5)
    descend(theirs, torchs, 5)
    again = Adam().build(mine)
    again.load_state_dict(copy.deepcopy(torchs.state_dict()))
    descend(mine, again)
    descend(theirs, torchs)
    assert_same(again, mine, torchs, theirs)
    assert len(counted) == 4 + 30


@pytest.mark.parametrize(
    ("config", "largest"), [(Adam(fused=True), adam._LARGEST), (Adam(), 700)], ids=["fused", "many weights"]
)
def test_what_is_large_or_asked_for_is_torchs_own(
    config: Adam, largest: int, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adam, "_LARGEST", largest)
    mine, theirs = weights(), weights()
    ours, torchs = config.build(mine), torch.optim.Adam(theirs, foreach=False, fused=config.fused or None)
    descend(mine, ours)
    descend(theirs, torchs)
    assert_same(ours, mine, torchs, theirs)
    assert counted == []


def test_half_a_step_is_not_taken_where_a_closure_is_given() -> None:
    mine, theirs = weights(), weights()
    ours, torchs = Adam().build(mine), torch.optim.Adam(theirs, foreach=False)
    for parameters, optimizer in ((mine, ours), (theirs, torchs)):
        descend(parameters, optimizer, 3)

        def loss(parameters: list[torch.nn.Parameter] = parameters) -> float:
            total = sum((weight**2).sum() for weight in parameters)
            for weight in parameters:
                weight.grad = None
            total.backward()  # type: ignore[union-attr]
            return float(total.detach())  # type: ignore[union-attr]

        assert optimizer.step(loss) > 0
    assert_same(ours, mine, torchs, theirs)
