"""The sweep of the learning rate: what it suggests on losses whose answer is known, and that it leaves no trace."""

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlframework.errors import TrainingError
from mlframework.experiment import ExperimentConfig, build_learner, load_data
from mlframework.learners.base import Learner, Steps
from mlframework.training.lr_finder import Finding, Sweep, find_lr, suggestions
from support.states import assert_same

MakeConfig = Callable[..., ExperimentConfig]
WITH_STEPS = (
    "mlp classification", "mlp regression", "image classifier", "small cnn", "fm classification", "fm regression",
    "ffm classification", "two_tower", "two_tower with features",
)  # fmt: skip


def fall(lr: float, steepest: float = 1e-3) -> float:
    """A loss from 2 to 1, steepest over log lr at `steepest`; it is huge above 0.1."""
    return 2 - 1 / (1 + (steepest / lr) ** 1.5) + (lr / 0.1) ** 4


@pytest.fixture
def learner_of(scripted: type[Any]) -> Callable[[Callable[[float, int], float]], Learner]:
    """Makes a learner without torch, whose loss is a function of the learning rate and the number of the step."""

    class Stepping(scripted):  # type: ignore[misc]
        steps_per_epoch = 10

        def __init__(self, loss: Callable[[float, int], float]) -> None:
            super().__init__([0.5])
            self.loss, self.taken = loss, 0

        def steps(self, lrs: Iterable[float]) -> Iterator[float]:
            for lr in lrs:
                self.trained += 1
                self.taken += 1
                yield self.loss(lr, self.taken)

    return Stepping


LearnerOf = Callable[[Callable[[float, int], float]], Any]


# --- what it suggests


@pytest.mark.parametrize("num_steps", [20, 100, 1000])
@pytest.mark.parametrize("steepest", [1e-5, 1e-4, 1e-3])
def test_the_suggestion_is_where_the_loss_falls_fastest(learner_of: LearnerOf, steepest: float, num_steps: int) -> None:
    finding = find_lr(learner_of(lambda lr, _: fall(lr, steepest)), Sweep(num_steps=num_steps))
    # The average lags by up to a tenth of the sweep's eight decades; 20 steps are two to a decade and a half.
    assert steepest / 2 < finding.suggestions["steepest"] < steepest * 10
    assert finding.suggested == finding.suggestions["steepest"]
    assert finding.doubt is None


def test_the_other_suggestion_is_a_tenth_of_the_smoothed_minimum(learner_of: LearnerOf) -> None:
    finding = find_lr(learner_of(lambda lr, _: fall(lr)), Sweep())
    lowest = finding.lrs[finding.smoothed.index(min(finding.smoothed))]
    assert finding.suggestions["minimum_tenth"] == pytest.approx(lowest / 10, rel=0.05)
    assert 0.02 < lowest < 0.2


@pytest.mark.parametrize("step", [15, 25, 40])
def test_the_luck_of_one_batch_is_not_taken_for_the_steepest_descent(step: int) -> None:
    """One loss is high, and so is followed by the sharpest fall between two steps of the sweep."""
    lrs = Sweep().lrs[:75]
    losses = [fall(lr) + (0.5 if at == step else 0.0) for at, lr in enumerate(lrs)]
    assert losses[step] - losses[step + 1] > max(a - b for a, b in itertools.pairwise(map(fall, lrs)))
    assert 5e-4 < suggestions(lrs, losses, 0.9)["steepest"] < 5e-3


@given(
    steepest=st.floats(1e-5, 1e-3),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(0, 10),
    factor=st.sampled_from([10.0, 0.1]),
)
def test_the_unit_of_the_loss_does_not_matter_and_that_of_the_lr_moves_along(
    steepest: float, scale: float, shift: float, factor: float
) -> None:
    lrs = [float(lr) for lr in np.geomspace(1e-7, 1e-1, 80)]
    losses = [fall(lr, steepest) for lr in lrs]
    found = suggestions(lrs, losses, 0.8)
    assert suggestions(lrs, [scale * loss + shift for loss in losses], 0.8) == pytest.approx(found, rel=0.1)
    moved = suggestions([factor * lr for lr in lrs], losses, 0.8)
    assert moved == pytest.approx({rule: factor * lr for rule, lr in found.items()}, rel=0.1)


def test_it_says_where_the_fall_may_be_luck(learner_of: LearnerOf) -> None:
    noise = np.random.default_rng(4).normal(size=1000)
    noisy = find_lr(learner_of(lambda lr, step: 5 + 0.001 * fall(lr) + noise[step]), Sweep(high=0.09))
    assert noisy.doubt is not None and "--find-lr-steps" in noisy.doubt
    assert find_lr(learner_of(lambda lr, step: 5 + 5 * fall(lr) + noise[step]), Sweep(high=0.09)).doubt is None


def test_a_loss_that_does_not_fall_is_an_error(learner_of: LearnerOf) -> None:
    with pytest.raises(TrainingError, match=r"did not fall between the learning rates 1e-07 and .*--find-lr-high"):
        find_lr(learner_of(lambda lr, _: 1 + lr), Sweep())
    with pytest.raises(TrainingError, match=r"did not fall between the learning rates 1 and"):
        find_lr(learner_of(lambda _lr, step: 10.0**step), Sweep(low=1, high=2))


# --- the sweep


def test_the_learning_rates_rise_by_one_factor_to_the_very_end() -> None:
    lrs = Sweep(1e-5, 1.0, 51).lrs
    assert len(lrs) == 51 and lrs[0] == 1e-5 and lrs[-1] == 1.0
    assert [b / a for a, b in itertools.pairwise(lrs)] == pytest.approx([10**0.1] * 50)


@pytest.mark.parametrize(("num_steps", "beta"), [(20, 0.5), (100, 0.9), (500, 0.98)])
def test_the_smoothing_suits_the_number_of_steps(num_steps: int, beta: float) -> None:
    assert Sweep(num_steps=num_steps).beta == pytest.approx(beta)


@pytest.mark.parametrize(
    ("low", "high", "steps", "said"),
    [
        (1e-3, 1e-4, 100, "from 0.001 to 0.0001"), (1e-3, 1e-3, 100, "must rise"), (0.0, 1.0, 100, "above 0"),
        (1e-3, math.inf, 100, "to inf"), (math.nan, 1.0, 100, "from nan"), (1e-7, 10.0, 19, "19 steps; at least 20"),
    ],
)  # fmt: skip
def test_a_sweep_that_cannot_be_made_is_an_error(low: float, high: float, steps: int, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        Sweep(low, high, steps)


def test_the_moving_average_has_no_bias_and_follows_its_formula(learner_of: LearnerOf) -> None:
    finding = find_lr(learner_of(lambda lr, _: fall(lr)), Sweep())
    assert finding.smoothed[0] == pytest.approx(finding.losses[0])
    for step in (1, 7, len(finding.losses) - 1):
        weights = 0.9 ** np.arange(step, -1, -1)
        assert finding.smoothed[step] == pytest.approx(np.average(finding.losses[: step + 1], weights=weights))


def test_it_stops_where_the_smoothed_loss_diverges(learner_of: LearnerOf) -> None:
    learner = learner_of(lambda lr, _: fall(lr))
    seen: list[tuple[int, int]] = []
    finding = find_lr(learner, Sweep(), lambda done, total: seen.append((done, total)))
    assert finding.smoothed[-1] > 4 * min(finding.smoothed) and finding.smoothed[-2] <= 4 * min(finding.smoothed)
    assert "4 times its best" in finding.stopped_why
    assert learner.taken == len(finding.lrs) == len(finding.losses) == len(finding.smoothed) < 100
    assert seen == [(step, 100) for step in range(1, learner.taken + 1)]
    assert list(finding.lrs) == Sweep().lrs[: learner.taken]


def test_it_takes_all_steps_where_nothing_diverges(learner_of: LearnerOf) -> None:
    finding = find_lr(learner_of(lambda lr, _: fall(min(lr, 0.05))), Sweep())
    assert len(finding.lrs) == 100 and finding.stopped_why == "all 100 steps taken"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_it_stops_where_the_loss_is_no_number(learner_of: LearnerOf, bad: float) -> None:
    finding = find_lr(learner_of(lambda lr, _: fall(lr) if lr < 0.05 else bad), Sweep())
    assert f"the loss is {bad} at lr" in finding.stopped_why
    assert max(finding.lrs) < 0.05 and all(map(math.isfinite, finding.losses))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_number_at_the_first_step_is_an_error_that_does_not_blame_the_lr(learner_of: LearnerOf, bad: float) -> None:
    learner = learner_of(lambda _lr, _step: bad)
    with pytest.raises(TrainingError, match=f"loss is {bad} at the first step.*look for values in the data"):
        find_lr(learner, Sweep())
    assert learner.trained == 0


def test_the_json_holds_what_was_found() -> None:
    finding = Finding((0.1, 0.2), (2.0, 1.0), (2.0, 1.5), "why", {"steepest": 0.1, "minimum_tenth": 0.02}, None)
    assert finding.to_dict() == {
        "format": 1, "suggested": 0.1, "suggestions": {"steepest": 0.1, "minimum_tenth": 0.02}, "stopped_why": "why",
        "doubt": None, "lrs": [0.1, 0.2], "losses": [2.0, 1.0], "smoothed": [2.0, 1.5],
    }  # fmt: skip


# --- real learners


@pytest.mark.parametrize("family", WITH_STEPS)
def test_the_sweep_leaves_no_trace(make_config: MakeConfig, family: str) -> None:
    """State, the next draws of the global generator, and the epochs that follow are those of a learner never swept."""
    config = make_config(family, **{"scheduler.type": "one_cycle"})
    splits = load_data(config).without_test()

    def trained(swept: bool) -> list[Any]:
        learner = build_learner(config, splits)
        learner.train_epoch()  # so that the optimizer has a state to be lost
        found: list[Any] = [learner.evaluate("val")]
        before = copy.deepcopy(learner.state_dict())
        if swept:
            assert len(find_lr(learner, Sweep(high=1.0, num_steps=30)).losses) > 3
        assert_same(learner.state_dict(), before)
        found += [learner.evaluate("val"), learner.train_epoch(), learner.evaluate("val"), learner.learning_rate()]
        return [*found, copy.deepcopy(learner.state_dict()), torch.rand(3)]

    assert_same(trained(swept=True), trained(swept=False))


def test_an_interrupted_sweep_leaves_no_trace_either(make_config: MakeConfig) -> None:
    config = make_config("mlp classification", **{"model.dropout": 0.3})
    splits = load_data(config).without_test()

    def interrupt(done: int, _total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    swept = build_learner(config, splits)
    with pytest.raises(KeyboardInterrupt):
        find_lr(swept, Sweep(low=1e-2), interrupt)
    after = swept.train_epoch()
    assert build_learner(config, splits).train_epoch() == after


def test_a_step_that_was_cut_short_leaves_no_gradient(make_config: MakeConfig) -> None:
    config = make_config("mlp classification")
    learner: Any = build_learner(config, load_data(config).without_test())
    state = copy.deepcopy(learner.state_dict())
    expected = learner.train_epoch()
    for parameter in learner.module.parameters():
        parameter.grad = torch.ones_like(parameter)
    learner.load_state_dict(state)
    assert learner.train_epoch() == expected


@pytest.mark.parametrize("scheduler", ["none", "one_cycle", "step"])
def test_a_step_is_taken_at_the_swept_rate_whatever_the_schedule_says(make_config: MakeConfig, scheduler: str) -> None:
    """Plain descent moves the weights by lr times the gradient: twice the rate, twice the move."""
    changes: dict[str, Any] = {"scheduler.type": scheduler, "optimizer.momentum": 0.0, "optimizer.lr": 0.7}
    if scheduler == "step":
        changes["scheduler.warmup_epochs"] = 3
    config = make_config("mlp classification", **changes)
    splits = load_data(config).without_test()

    def moved(*lrs: float) -> torch.Tensor:
        learner: Any = build_learner(config, splits)
        before = learner.module.state_dict()
        first = {name: tensor.clone() for name, tensor in before.items() if tensor.is_floating_point()}
        assert len(list(learner.steps(lrs))) == len(lrs)
        assert learner.learning_rate() == lrs[-1]
        return torch.cat([(learner.module.state_dict()[name] - old).flatten() for name, old in first.items()])

    assert moved(0.01).abs().max() > 1e-5
    torch.testing.assert_close(moved(0.02), 2 * moved(0.01), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("changes", [{}, {"training.accumulation_steps": 3}, {"training.gradient_clipping": 0.01}])
def test_steps_are_those_of_training(make_config: MakeConfig, changes: dict[str, Any]) -> None:
    """At the config's own rate the steps of an epoch end with the weights of that epoch, and with its mean loss."""
    config = make_config("mlp classification", **{"model.dropout": 0.2, **changes})
    splits = load_data(config).without_test()
    one = build_learner(config, splits)
    assert isinstance(one, Steps)
    per_step = config.training.batch_size * config.training.accumulation_steps
    n_steps = math.ceil(len(splits.train) / per_step)
    losses = list(one.steps([0.05] * n_steps))
    assert len(losses) == n_steps and len(set(losses)) == n_steps
    stepped = copy.deepcopy(one.state_dict())
    other = build_learner(config, splits)  # which seeds the global generator again
    trained = other.train_epoch()
    for name in ("module", "optimizer", "rng", "rng_order"):
        assert_same(stepped[name], other.state_dict()[name])
    # Every example once, with dropout: what the epoch measured is the mean of the steps, by their sizes.
    sizes = np.full(n_steps, per_step)
    sizes[-1] = len(splits.train) - per_step * (n_steps - 1)
    assert np.average(losses, weights=sizes) == pytest.approx(trained["loss"], rel=1e-4)


def test_a_training_split_of_one_batch_is_swept_again_and_again(make_config: MakeConfig) -> None:
    config = make_config("mlp classification", **{"training.batch_size": 4096})
    learner = build_learner(config, load_data(config).without_test())
    finding = find_lr(learner, Sweep())
    assert len(finding.losses) > 20 and finding.smoothed[-1] != finding.smoothed[0]
    assert len(set(finding.losses)) > 10


@pytest.mark.parametrize("family", ["als", "bpr"])
def test_a_learner_without_steps_is_an_error(make_config: MakeConfig, family: str) -> None:
    config = make_config(family)
    learner = build_learner(config, load_data(config).without_test())
    with pytest.raises(TrainingError, match="takes no optimizer steps"):
        find_lr(learner, Sweep())


def test_data_that_is_no_number_to_begin_with(make_config: MakeConfig) -> None:
    config = make_config("mlp regression")
    learner: Any = build_learner(config, load_data(config).without_test())
    with torch.no_grad():
        next(learner.module.parameters()).fill_(math.nan)
    with pytest.raises(TrainingError, match="nan at the first step"):
        find_lr(learner, Sweep())


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_sweep_leaves_no_trace_in_mixed_precision_on_cuda(make_config: MakeConfig, precision: str) -> None:
    config = make_config(
        "mlp classification",
        **{"device": "cuda", "training.trainer_type": "mixed_precision", "training.precision": precision},
    )
    learner = build_learner(config, load_data(config).without_test())
    learner.train_epoch()
    before = copy.deepcopy(learner.state_dict())
    assert find_lr(learner, Sweep()).suggested > 0
    assert_same(learner.state_dict(), before)
