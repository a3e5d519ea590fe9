"""How long the gradients of an epoch were: what the learner says against a computation of its own."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlframework.experiment import ExperimentConfig, build_learner, load_data
from mlframework.learners.base import Learner
from mlframework.learners.precision import MEASURED, Clip

MakeConfig = Callable[..., ExperimentConfig]


def learner_of(config: ExperimentConfig) -> Learner:
    return build_learner(config, load_data(config).without_test())


@contextmanager
def gradients_seen(learner: Any) -> Iterator[list[float]]:
    """Compute the norm of each step's gradient by hand, in float64, when the optimizer is about to use it."""
    norms: list[float] = []
    optimizer = learner._stepping.optimizer

    step = optimizer.step

    def look_and_step() -> None:
        each = [float((p.grad.double() ** 2).sum()) for p in learner.module.parameters() if p.grad is not None]
        norms.append(math.sqrt(sum(each)))
        step()

    look_and_step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]  # else torch's schedulers warn of it
    optimizer.step = look_and_step
    yield norms
    optimizer.step = step


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training.accumulation_steps": 2},
        {"training.trainer_type": "mixed_precision"},
        {"training.on_oom": "accumulate"},
        {"training.batch_size": 1},  # more steps than are measured at first
    ],
    ids=str,
)
@pytest.mark.parametrize("family", ["mlp classification", "two_tower", "fm classification"])
def test_it_is_the_norm_of_the_gradient_over_all_weights(
    family: str, changes: dict[str, Any], make_config: MakeConfig
) -> None:
    learner = learner_of(make_config(family, **changes))
    for _ in range(2):
        with gradients_seen(learner) as norms:
            learner.train_epoch()
        measured, norm = norms[::MEASURED], learner.gradient_norm()
        assert norm is not None
        assert norm.mean == pytest.approx(sum(measured) / len(measured), rel=1e-5)
        assert norm.largest == pytest.approx(max(measured), rel=1e-5)


def test_what_is_clipped_is_measured_before_that_and_at_every_step(make_config: MakeConfig) -> None:
    free = learner_of(
        make_config("mlp classification", **{"training.batch_size": 4, "training.gradient_clipping": 1e9})
    )
    with gradients_seen(free) as norms:
        free.train_epoch()
    assert len(norms) > MEASURED
    norm = free.gradient_norm()
    assert norm is not None
    assert (norm.mean, norm.largest) == pytest.approx((sum(norms) / len(norms), max(norms)), rel=1e-5)

    bound = min(norms) / 2
    held = learner_of(
        make_config("mlp classification", **{"training.batch_size": 4, "training.gradient_clipping": bound})
    )
    with gradients_seen(held) as norms:
        held.train_epoch()
    assert max(norms) == pytest.approx(bound, rel=1e-3)
    norm = held.gradient_norm()
    assert norm is not None and norm.mean > 1.5 * bound


def test_measuring_changes_nothing(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    one = learner_of(make_config("mlp classification"))
    one.train_epoch()
    monkeypatch.setattr(Clip, "__call__", lambda self: None)
    other = learner_of(make_config("mlp classification"))
    other.train_epoch()
    assert other.gradient_norm() is None
    for name, weights in one.state_dict()["module"].items():
        assert torch.equal(weights, other.state_dict()["module"][name])


def clip_of(*lengths: float, max_norm: float | None = None) -> Clip:
    """Return a clip that has seen steps whose gradients had these lengths."""
    module = nn.Linear(1, 1, bias=False)
    clip = Clip(module, max_norm)
    for length in lengths:
        module.weight.grad = torch.full_like(module.weight, length)
        clip()
    return clip


def test_a_step_that_overflowed_is_left_out() -> None:
    """Of fp16: the scaler takes no such step."""
    norm = clip_of(1.0, float("inf"), 3.0, float("nan"), max_norm=100.0).measured()
    assert norm is not None and (norm.mean, norm.largest) == (2.0, 3.0)
    assert clip_of(float("inf"), max_norm=1.0).measured() is None


def test_a_long_epoch_keeps_no_number_for_each_of_its_steps() -> None:
    clip = clip_of(*([2.0] * 2500), max_norm=10.0)
    held = [value for value in vars(clip).values() if isinstance(value, list)]
    assert max(len([each for each in value if isinstance(each, Tensor) and each.numel() == 1]) for value in held) < 1100
    norm = clip.measured()
    assert norm is not None and (norm.mean, norm.largest) == (2.0, 2.0)
    clip.restart()
    assert clip.measured() is None
