"""How a step is taken: batches, accumulation, clipping, precision."""

import copy
import subprocess
import sys
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mlframework.data.batches import Batch, Batches, FetchTensors
from mlframework.errors import TrainingError
from mlframework.experiment import ExperimentConfig, build_learner, load_data
from mlframework.learners.precision import Accumulation, Clip, Scaled, Unscaled, build_precision
from mlframework.learners.settings import StepSettings
from mlframework.learners.tasks import Classification

MakeConfig = Callable[..., ExperimentConfig]


def batches(n: int, batch_size: int, order: torch.Generator | None = None) -> Batches:
    numbers = np.arange(n, dtype=np.float32)
    return Batches(FetchTensors(numbers, device="cpu"), np.arange(n), batch_size, "cpu", order)


@given(n=st.integers(1, 60), batch_size=st.integers(1, 20), shuffled=st.booleans())
def test_the_batches_hold_every_example_once(n: int, batch_size: int, shuffled: bool) -> None:
    found = batches(n, batch_size, torch.Generator().manual_seed(1) if shuffled else None)
    inputs, targets, sizes = [], [], []
    for (numbers,), target, _, _ in found:
        inputs += numbers.tolist()
        targets += target.tolist()
        sizes.append(len(target))
    assert inputs == targets
    assert sorted(targets) == list(range(n))
    assert len(sizes) == len(found) and min(sizes) == found.smallest
    if not shuffled:
        assert targets == list(range(n))
    if n > 1 and batch_size > 1:
        assert min(sizes) > 1
        assert max(sizes) <= batch_size + 1
    if batch_size == 1:
        assert sizes == [1] * n


def test_a_last_batch_of_one_joins_the_one_before() -> None:
    assert [len(batch.targets) for batch in batches(9, 4)] == [4, 5]
    assert [len(batch.targets) for batch in batches(10, 4)] == [4, 4, 2]


def test_the_order_is_new_in_every_epoch_and_the_same_for_one_seed() -> None:
    def orders(seed: int) -> list[list[int]]:
        found = batches(20, 8, torch.Generator().manual_seed(seed))
        return [[int(t) for batch in found for t in batch.targets] for _ in range(2)]

    first, second = orders(3)
    assert first != second and [first, second] == orders(3) and first != orders(4)[0]


def test_a_last_group_may_have_fewer_batches() -> None:
    groups = list(Accumulation(3).groups((i, i) for i in range(7)))  # type: ignore[misc]
    assert [len(group) for group in groups] == [3, 3, 1] and Accumulation(3).steps_per_epoch(7) == 3


@pytest.mark.parametrize("weights", [None, [1.0, 5.0, 0.5]])
@pytest.mark.parametrize("n", [12, 11, 10, 9])  # batches of 4: the last ones are shorter
def test_accumulated_batches_give_the_gradient_of_one_large_batch(n: int, weights: list[float] | None) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    task = Classification("abc", None if weights is None else torch.tensor(weights).double(), 0.1)
    inputs, targets = torch.randn(n, 4).double(), torch.randint(0, 3, (n,))

    def gradient(parts: list[slice]) -> list[torch.Tensor]:
        copied = copy.deepcopy(module)
        group = [Batch((inputs[part],), *[targets[part]] * 3) for part in parts]
        for batch in group:
            loss = task.loss(copied(*batch.inputs), batch.targets)
            Accumulation(len(parts)).share(loss, batch, group, task.weight).backward()
        return [parameter.grad for parameter in copied.parameters() if parameter.grad is not None]

    whole, accumulated = gradient([slice(0, n)]), gradient([slice(0, 4), slice(4, 8), slice(8, n)])
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(whole, accumulated, strict=True))


@pytest.mark.parametrize("changes", [{}, {"training.class_weights": "balanced"}])
def test_a_learner_accumulates_to_the_weights_of_large_batches(
    make_config: MakeConfig, changes: dict[str, Any]
) -> None:
    def trained(batch_size: int, steps: int) -> dict[str, torch.Tensor]:
        config = make_config(
            "mlp classification",
            **{"training.batch_size": batch_size, "training.accumulation_steps": steps, **changes},
        )
        learner = build_learner(config, load_data(config))
        learner.train_epoch()
        weights: dict[str, torch.Tensor] = learner.state_dict()["module"]
        return weights

    # 144 training rows: 15 batches of 10 (the last of 4) make 5 steps of 30, the last of 24.
    small, large = trained(10, 3), trained(30, 1)
    assert all(torch.allclose(small[name], large[name], atol=1e-6) for name in large)
    other = trained(10, 1)
    assert not all(torch.allclose(other[name], large[name], atol=1e-4) for name in large)


def test_clipping_bounds_the_step(make_config: MakeConfig) -> None:
    def step_length(max_norm: float | None) -> float:
        config = make_config(
            "mlp regression",
            **{"training.gradient_clipping": max_norm, "training.batch_size": 1000, "optimizer.momentum": 0.0},
        )
        learner = build_learner(config, load_data(config))
        before = {name: tensor.clone() for name, tensor in learner.state_dict()["module"].items()}
        learner.train_epoch()  # one batch, one step
        after = learner.state_dict()["module"]
        return float(torch.sqrt(sum(((after[name] - before[name]) ** 2).sum() for name in before)))  # type: ignore[arg-type]

    free = step_length(None)
    bound = free / 0.05 / 10  # a tenth of the gradient's norm: the learning rate is 0.05
    assert step_length(bound) == pytest.approx(free / 10, rel=1e-3)
    assert step_length(1e6) == pytest.approx(free)


def test_a_clip_leaves_a_short_gradient_as_it_is() -> None:
    module = nn.Linear(2, 1, bias=False)
    for given_, expected in (([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])):
        module.weight.grad = torch.tensor([given_])
        Clip(module, 1.0)()
        assert module.weight.grad.tolist()[0] == pytest.approx(expected)


def test_the_val_loss_knows_nothing_of_smoothing_and_weights(make_config: MakeConfig) -> None:
    found = []
    for changes in ({}, {"training.label_smoothing": 0.4, "training.class_weights": [1.0, 50.0]}):
        config = make_config("mlp classification", **changes)
        found.append(build_learner(config, load_data(config)).evaluate("val"))
    assert found[0] == found[1]


def test_smoothing_and_weights_reach_the_training(make_config: MakeConfig) -> None:
    def val_loss(**changes: Any) -> float:
        config = make_config("mlp classification", **changes)
        learner = build_learner(config, load_data(config))
        for _ in range(3):
            learner.train_epoch()
        return learner.evaluate("val")["loss"]

    plain = val_loss()
    assert val_loss(**{"training.label_smoothing": 0.4}) > plain
    assert val_loss(**{"training.class_weights": [1.0, 50.0]}) > plain


def test_a_regression_speaks_the_targets_unit(make_config: MakeConfig) -> None:
    config = make_config("mlp regression")
    learner = build_learner(config, load_data(config))
    for _ in range(8):
        learner.train_epoch()
    outputs = learner.outputs("val")
    assert abs(outputs.values.mean() - outputs.targets.mean()) < 20  # around 300, with a spread of 130
    assert learner.evaluate("val")["rmse"] < 40


def test_mixed_precision_multiplies_in_bf16_and_keeps_float32_weights(make_config: MakeConfig) -> None:
    config = make_config("mlp classification", **{"training.trainer_type": "mixed_precision"})
    learner = build_learner(config, load_data(config))
    seen: list[torch.dtype] = []
    learner.module.register_forward_hook(lambda _module, _inputs, out: seen.append(out.dtype))  # type: ignore[attr-defined]
    learner.train_epoch()
    assert learner.outputs("val").values.dtype == np.float32
    assert set(seen) == {torch.bfloat16}
    assert {tensor.dtype for tensor in learner.state_dict()["module"].values()} == {torch.float32}


def test_standard_precision_is_float32() -> None:
    precision = build_precision(StepSettings(), "cpu")
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert isinstance(precision, Unscaled) and precision.state_dict() == {}


def test_fp16_on_the_cpu_is_an_error_that_names_the_way_out() -> None:
    settings = StepSettings(trainer_type="mixed_precision", precision="fp16")
    with pytest.raises(TrainingError, match=r"fp16 needs a CUDA device, got 'cpu'; use precision: bf16"):
        build_precision(settings, "cpu")


def test_fp16_without_mixed_precision_is_an_error() -> None:
    with pytest.raises(ValueError, match="only with trainer_type: mixed_precision"):
        StepSettings(precision="fp16")


def test_a_model_that_cannot_take_a_batch_of_one_says_so_before_any_training(make_config: MakeConfig) -> None:
    config = make_config("mlp classification", **{"model.batch_norm": True, "training.batch_size": 1})
    with pytest.raises(TrainingError, match=r"cannot take this data: Expected more than 1 value.*batch_size may help"):
        build_learner(config, load_data(config))


def test_trying_a_model_out_leaves_no_trace(make_config: MakeConfig) -> None:
    config = make_config("mlp classification", **{"model.batch_norm": True, "model.dropout": 0.5})
    state = build_learner(config, load_data(config)).state_dict()
    means = [tensor for name, tensor in state["module"].items() if "running_mean" in name]
    counts = [int(tensor) for name, tensor in state["module"].items() if "num_batches" in name]
    assert means and not any(mean.any() for mean in means) and set(counts) == {0}


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_on_cuda_learns_and_resumes(make_config: MakeConfig, precision: str) -> None:
    config = make_config(
        "mlp classification",
        **{"device": "cuda", "training.trainer_type": "mixed_precision", "training.precision": precision},
    )
    learner = build_learner(config, load_data(config))
    first, *_, last = [learner.train_epoch()["loss"] for _ in range(6)]
    assert last < first
    state = learner.state_dict()
    if precision == "fp16":
        assert state["precision"]["scale"] > 0
    other = build_learner(config, load_data(config))
    other.load_state_dict(state)
    assert other.evaluate("val") == learner.evaluate("val")


@pytest.mark.gpu
def test_a_step_that_overflows_is_left_out() -> None:
    module = nn.Linear(2, 1).cuda()
    before = module.weight.detach().clone()
    optimizer, scaled = torch.optim.SGD(module.parameters(), lr=1.0), Scaled()
    scale = scaled.state_dict()["scale"]
    scaled.backward(module(torch.full((1, 2), float("inf"), device="cuda")).sum())
    scaled.step(optimizer, Clip(module, 1.0))
    assert torch.equal(module.weight, before)
    assert scaled.state_dict()["scale"] < scale


def test_gradients_that_an_interrupt_left_off_are_on_again(make_config: MakeConfig) -> None:
    """Ctrl-C in a notebook may hit torch while it has them off; the next training in that process needs them."""
    config = make_config("mlp classification")
    learner = build_learner(config, load_data(config))
    expected = learner.train_epoch()
    other = build_learner(config, load_data(config))
    with torch.no_grad():
        assert other.train_epoch() == expected


@pytest.mark.parametrize(("metric", "expected"), [("val_auc", True), ("val_f1", True), ("val_loss", False)])
def test_what_a_metric_imports_is_there_before_the_first_epoch(metric: str, expected: bool) -> None:
    """Importing scikit-learn takes seconds, which would count as the first evaluation's; and nobody imports it for the others."""
    script = f"""
        import sys
        from mlframework.learners.base import wanted_metrics
        wanted_metrics("classification", ["{metric}"])
        print("sklearn.metrics" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(expected)
