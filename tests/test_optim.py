"""Optimizers and schedulers: settings reach torch, learning rates are those worked out by hand, states go on exactly."""

import math
import subprocess
import sys
from typing import Any, get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from mlframework.config import schema
from mlframework.config.base import Config
from mlframework.data import DATASETS, DataConfig
from mlframework.models import MODELS, ModelConfig
from mlframework.optim import OPTIMIZERS, OptimizerConfig
from mlframework.schedules import SCHEDULERS, SchedulerConfig
from mlframework.search.pruners import PRUNERS, PrunerConfig
from mlframework.search.samplers import SAMPLERS, SamplerConfig

OPTIMIZER: TypeAdapter[Any] = TypeAdapter(OptimizerConfig)
SCHEDULER: TypeAdapter[Any] = TypeAdapter(SchedulerConfig)
PEAK = 0.8
STEPS = 4  # of an epoch

EVERY_SCHEDULE = [
    {"type": "none"},
    {"type": "none", "warmup_epochs": 2},
    {"type": "step", "step_size": 2, "gamma": 0.5},
    {"type": "step", "step_size": 2, "gamma": 0.5, "warmup_epochs": 1},
    {"type": "cosine", "min_lr": 0.1},
    {"type": "cosine", "warmup_epochs": 2},
    {"type": "exponential", "gamma": 0.5},
    {"type": "plateau", "factor": 0.5, "patience": 1},
    {"type": "plateau", "factor": 0.5, "patience": 0, "warmup_epochs": 1},
    {"type": "one_cycle"},
]


def weights() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))]


def take_step(parameters: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """Step towards 0, on a slope that depends on the place."""
    optimizer.zero_grad()
    sum((parameter**2).sum() + parameter.sin().sum() for parameter in parameters).backward()
    optimizer.step()


class Training:
    """An optimizer under a schedule, run epoch by epoch."""

    def __init__(
        self, optimizer: dict[str, Any], schedule: dict[str, Any], num_epochs: int, steps: int = STEPS
    ) -> None:
        self.parameters = weights()
        self.optimizer = OPTIMIZER.validate_python(optimizer).build(self.parameters)
        self.schedule = SCHEDULER.validate_python(schedule).build(self.optimizer, num_epochs, steps)
        self.steps = steps

    def epoch(self, watched: float = 1.0) -> list[float]:
        """Train an epoch; return the learning rate of each step."""
        rates = []
        for _ in range(self.steps):
            rates.append(float(self.optimizer.param_groups[0]["lr"]))
            take_step(self.parameters, self.optimizer)
            self.schedule.after_step()
        self.schedule.after_epoch(watched)
        return rates


def rates(schedule: dict[str, Any], watched: list[float], steps: int = STEPS) -> list[list[float]]:
    """Return the learning rates of a training, a list an epoch."""
    training = Training({"type": "sgd", "lr": PEAK, "momentum": 0.0}, schedule, len(watched), steps)
    return [training.epoch(value) for value in watched]


def by_epoch(schedule: dict[str, Any], watched: list[float]) -> list[float]:
    """Return the learning rate of each epoch, which must not change within one."""
    found = rates(schedule, watched)
    assert all(len(set(epoch)) == 1 for epoch in found)
    return [epoch[0] for epoch in found]


@pytest.mark.parametrize(
    ("table", "union", "key"),
    [
        (OPTIMIZERS, OptimizerConfig, "type"),
        (SCHEDULERS, SchedulerConfig, "type"),
        (SAMPLERS, SamplerConfig, "type"),
        (PRUNERS, PrunerConfig, "type"),
        (DATASETS, DataConfig, "type"),
        (MODELS, ModelConfig, "architecture"),
    ],
    ids=["optimizers", "schedulers", "samplers", "pruners", "datasets", "models"],
)
def test_tables_and_unions_hold_the_same(table: dict[str, type[Config]], union: Any, key: str) -> None:
    assert schema.discriminator(union) == key
    assert table == {tag: cls for cls in schema.members(union) for tag in schema.tags(cls, key)}
    for name, cls in table.items():
        assert name in get_args(cls.model_fields[key].annotation)


@pytest.mark.parametrize(
    ("written", "cls", "group"),
    [
        ({"type": "sgd"}, torch.optim.SGD, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0, "nesterov": False}),
        (
            {"type": "sgd", "lr": 0.3, "momentum": 0.5, "weight_decay": 0.1, "nesterov": True},
            torch.optim.SGD,
            {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.1, "nesterov": True},
        ),
        # A search over the momentum may try 0, for which torch refuses Nesterov's form.
        ({"type": "sgd", "momentum": 0.0, "nesterov": True}, torch.optim.SGD, {"momentum": 0.0, "nesterov": False}),
        ({"type": "adam"}, torch.optim.Adam, {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
        (
            {"type": "adam", "lr": 0.3, "beta1": 0.5, "beta2": 0.6, "eps": 1e-3, "weight_decay": 0.1},
            torch.optim.Adam,
            {"lr": 0.3, "betas": (0.5, 0.6), "eps": 1e-3, "weight_decay": 0.1},
        ),
        ({"type": "adamw"}, torch.optim.AdamW, {"lr": 0.001, "weight_decay": 0.01}),
        (
            {"type": "adamw", "lr": 0.3, "beta1": 0.5, "beta2": 0.6, "eps": 1e-3, "weight_decay": 0.1},
            torch.optim.AdamW,
            {"lr": 0.3, "betas": (0.5, 0.6), "eps": 1e-3, "weight_decay": 0.1},
        ),
        ({"type": "rmsprop"}, torch.optim.RMSprop, {"lr": 0.001, "alpha": 0.99, "momentum": 0.0}),
        (
            {"type": "rmsprop", "lr": 0.3, "alpha": 0.5, "momentum": 0.6, "weight_decay": 0.1, "eps": 1e-3},
            torch.optim.RMSprop,
            {"lr": 0.3, "alpha": 0.5, "momentum": 0.6, "weight_decay": 0.1, "eps": 1e-3},
        ),
    ],
)
def test_settings_reach_the_torch_optimizer(written: dict[str, Any], cls: type, group: dict[str, Any]) -> None:
    built = OPTIMIZER.validate_python(written).build(weights())
    assert isinstance(built, cls) and type(built).__name__ == cls.__name__
    assert {key: built.param_groups[0][key] for key in group} == group


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_setting_of_an_optimizer_changes_its_steps(name: str) -> None:
    def trained(**settings: Any) -> list[float]:
        parameters = weights()
        optimizer = OPTIMIZER.validate_python({"type": name, "lr": 0.1, **settings}).build(parameters)
        for _ in range(10):
            take_step(parameters, optimizer)
        values: list[float] = parameters[0].detach().tolist()
        return values

    changed = {"nesterov": True, "lr": 0.05, "eps": 0.1}
    for key in OPTIMIZERS[name].model_fields:
        if key not in ("type", "fused"):
            assert trained(**{key: changed.get(key, 0.35)}) != trained(), key


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_fused_step_is_torchs_and_nearly_the_same(name: str) -> None:
    trained: dict[bool, list[float]] = {}
    for fused in (False, True):
        parameters = weights()
        optimizer = OPTIMIZER.validate_python({"type": name, "lr": 0.1, "fused": fused}).build(parameters)
        assert bool(optimizer.defaults["fused"]) is fused
        for _ in range(10):
            take_step(parameters, optimizer)
        trained[fused] = parameters[0].detach().tolist()
    assert trained[True] == pytest.approx(trained[False], rel=1e-5)


@pytest.mark.parametrize(
    "written",
    [
        {"type": "sgd", "lr": 0.0}, {"type": "sgd", "lr": -1.0}, {"type": "sgd", "momentum": 1.0}, {"type": "adam", "eps": 0.0},
        {"type": "adam", "beta2": 1.0}, {"type": "adamw", "weight_decay": -0.1}, {"type": "rmsprop", "alpha": -0.1},
        {"type": "adam", "momentum": 0.9}, {"type": "rmsprop", "fused": True}, {"type": "sdg"},
        {"lr": 0.1}, {"type": "sgd", "lr": math.inf},
    ],
)  # fmt: skip
def test_optimizer_settings_that_are_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OPTIMIZER.validate_python(written)


@pytest.mark.parametrize(
    "written",
    [
        {"type": "step", "step_size": 0}, {"type": "step", "gamma": 0.0}, {"type": "step", "gamma": 1.5},
        {"type": "plateau", "factor": 1.0}, {"type": "plateau", "patience": -1}, {"type": "one_cycle", "pct_start": 1.0},
        {"type": "one_cycle", "warmup_epochs": 1}, {"type": "cosine", "min_lr": -0.1}, {"type": "none", "warmup_epochs": -1},
    ],
)  # fmt: skip
def test_scheduler_settings_that_are_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SCHEDULER.validate_python(written)


def test_none_keeps_the_learning_rate() -> None:
    assert by_epoch({"type": "none"}, [1.0] * 4) == [PEAK] * 4


def test_step_reduces_every_step_size_epochs() -> None:
    found = by_epoch({"type": "step", "step_size": 2, "gamma": 0.5}, [1.0] * 6)
    assert found == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.2, 0.2])


def test_cosine_falls_along_half_a_cosine() -> None:
    found = by_epoch({"type": "cosine", "min_lr": 0.2}, [1.0] * 4)
    wanted = [0.2 + 0.6 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert found == pytest.approx(wanted)
    assert wanted[0] == PEAK and wanted[2] == pytest.approx(0.5)


def test_cosine_ends_at_its_smallest_rate() -> None:
    training = Training({"type": "sgd", "lr": PEAK}, {"type": "cosine", "min_lr": 0.2}, 4)
    for _ in range(4):
        training.epoch()
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.2)


def test_exponential_reduces_every_epoch() -> None:
    assert by_epoch({"type": "exponential", "gamma": 0.5}, [1.0] * 4) == pytest.approx([0.8, 0.4, 0.2, 0.1])


def test_plateau_waits_patience_epochs_without_improvement() -> None:
    schedule = {"type": "plateau", "factor": 0.5, "patience": 1}
    assert by_epoch(schedule, [1.0, 0.9, 0.95, 0.95, 0.5, 0.4]) == pytest.approx([0.8, 0.8, 0.8, 0.8, 0.4, 0.4])
    assert by_epoch(schedule, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]) == [PEAK] * 6


def test_plateau_does_not_go_below_its_smallest_rate() -> None:
    found = by_epoch({"type": "plateau", "factor": 0.1, "patience": 0, "min_lr": 0.05}, [1.0] * 5)
    assert found == pytest.approx([0.8, 0.8, 0.08, 0.05, 0.05])


def test_one_cycle_rises_and_falls_step_by_step() -> None:
    schedule = {"type": "one_cycle", "pct_start": 0.5, "div_factor": 4.0, "final_div_factor": 10.0}
    training = Training({"type": "sgd", "lr": PEAK, "momentum": 0.7}, schedule, 3, 3)
    found = [rate for _ in range(3) for rate in training.epoch()]
    # 9 steps and their end are 10 points: half of them, up to point 4, is the rise.
    rise = [0.2 + 0.6 * (1 - math.cos(math.pi * step / 4)) / 2 for step in range(5)]
    fall = [0.02 + 0.78 * (1 + math.cos(math.pi * step / 5)) / 2 for step in range(1, 5)]
    assert found == pytest.approx([*rise, *fall])
    assert found[4] == pytest.approx(PEAK)
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.02)
    assert training.optimizer.param_groups[0]["momentum"] == 0.7  # a searched momentum stays what it is


@pytest.mark.parametrize("pct_start", [0.1, 0.2, 0.25, 0.3, 0.5, 0.9])
def test_one_cycle_works_for_every_length(pct_start: float) -> None:
    for steps in range(1, 12):
        (found,) = rates({"type": "one_cycle", "pct_start": pct_start}, [1.0], steps)
        assert all(0 < rate <= PEAK * (1 + 1e-9) for rate in found)


@pytest.mark.parametrize("epochs", [1, 2])
def test_warm_up_climbs_step_by_step_to_the_full_rate(epochs: int) -> None:
    found = rates({"type": "none", "warmup_epochs": epochs}, [1.0] * 4)
    climb = [PEAK * (step + 1) / (epochs * STEPS) for step in range(epochs * STEPS)]
    assert [rate for epoch in found[:epochs] for rate in epoch] == pytest.approx(climb)
    assert found[epochs:] == [[PEAK] * STEPS] * (4 - epochs)


def test_the_schedule_begins_after_the_warm_up() -> None:
    found = rates({"type": "step", "step_size": 1, "gamma": 0.5, "warmup_epochs": 1}, [1.0] * 4)
    assert found[0][-1] == pytest.approx(PEAK)
    assert [epoch[0] for epoch in found[1:]] == pytest.approx([0.8, 0.4, 0.2])


def test_a_cosine_after_a_warm_up_spans_the_epochs_that_are_left() -> None:
    training = Training({"type": "sgd", "lr": PEAK}, {"type": "cosine", "warmup_epochs": 2}, 4)
    found = [training.epoch()[0] for _ in range(4)]
    assert found[2:] == pytest.approx([PEAK, PEAK / 2])
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


def test_a_plateau_does_not_count_the_epochs_of_the_warm_up() -> None:
    schedule = {"type": "plateau", "factor": 0.5, "patience": 0, "warmup_epochs": 2}
    found = rates(schedule, [0.1, 0.1, 1.0, 0.9, 0.8])
    assert [epoch[0] for epoch in found[2:]] == [PEAK] * 3


def test_a_warm_up_longer_than_the_training_never_reaches_the_full_rate() -> None:
    found = rates({"type": "cosine", "warmup_epochs": 4}, [1.0] * 2)
    assert found[-1][-1] == pytest.approx(PEAK / 2)


@pytest.mark.parametrize("schedule", EVERY_SCHEDULE, ids=str)
@pytest.mark.parametrize("stop_after", [1, 3])
@pytest.mark.parametrize("optimizer", [{"type": name, "lr": 0.1} for name in OPTIMIZERS], ids=lambda o: str(o["type"]))
def test_a_saved_state_goes_on_exactly(schedule: dict[str, Any], optimizer: dict[str, Any], stop_after: int) -> None:
    watched = [1.0, 0.9, 0.95, 0.95, 0.97, 0.5]
    whole = Training(optimizer, schedule, len(watched))
    wanted = [whole.epoch(value) for value in watched]

    first = Training(optimizer, schedule, len(watched))
    for value in watched[:stop_after]:
        first.epoch(value)
    second = Training(optimizer, schedule, len(watched))
    second.parameters[0].data.copy_(first.parameters[0].data)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.schedule.load_state_dict(first.schedule.state_dict())
    assert [second.epoch(value) for value in watched[stop_after:]] == wanted[stop_after:]
    assert torch.equal(second.parameters[0], whole.parameters[0])


@pytest.mark.parametrize("schedule", EVERY_SCHEDULE, ids=str)
def test_states_hold_plain_values_that_a_safe_load_takes(schedule: dict[str, Any], tmp_path: Any) -> None:
    training = Training({"type": "sgd"}, schedule, 3)
    training.epoch()
    torch.save(training.schedule.state_dict(), tmp_path / "state.pt")
    found = torch.load(tmp_path / "state.pt", weights_only=True)
    Training({"type": "sgd"}, schedule, 3).schedule.load_state_dict(found)
    assert str(found) == str(training.schedule.state_dict())


@pytest.mark.parametrize("schedule", EVERY_SCHEDULE, ids=str)
def test_every_group_of_parameters_keeps_its_share(schedule: dict[str, Any]) -> None:
    first, second = weights(), weights()
    optimizer = torch.optim.SGD([{"params": first, "lr": 0.8}, {"params": second, "lr": 0.4}])
    built = SCHEDULER.validate_python(schedule).build(optimizer, 6, STEPS)
    for epoch in range(3):
        for _ in range(STEPS):
            take_step(first + second, optimizer)
            built.after_step()
        built.after_epoch(1.0 + epoch)
    one, other = (float(group["lr"]) for group in optimizer.param_groups)
    if "min_lr" not in schedule:
        assert one == pytest.approx(2 * other)


COMPARED = """
import sys
import torch
from mlframework.optim import OPTIMIZERS

plain = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}

def trained(optimizer, weight):
    for step in range(5):
        optimizer.zero_grad()
        ((weight - 0.5) ** 2).sum().backward()
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    return weight.detach().clone()

ours = {}
for name, config in OPTIMIZERS.items():
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    optimizer = config(type=name, lr=0.05, weight_decay=0.01).build([weight])
    assert isinstance(optimizer, plain[name])
    ours[name] = trained(optimizer, weight)

from mlframework.learners.size import sized
from mlframework.models.factorization import FactorizationMachine

sized(lambda: FactorizationMachine(1, (5, 7), 2, 4, 0.0, 0.1), "x")
assert "torch._dynamo" not in sys.modules
import torch._dynamo
for name, config in OPTIMIZERS.items():
    settings = config(type=name, lr=0.05, weight_decay=0.01)
    for kind in ("ours with the compiler", "torch's"):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 7))
        more = {"momentum": settings.momentum, "nesterov": settings.nesterov} if name == "sgd" else {}
        optimizer = plain[name]([weight], lr=0.05, weight_decay=0.01, **more) if kind == "torch's" else settings.build([weight])
        assert torch.equal(trained(optimizer, weight), ours[name]), (name, kind)
print("equal")
"""


def test_optimizers_leave_the_compiler_alone_and_step_as_torchs_do() -> None:
    """In a process of its own: once imported, the compiler stays."""
    ended = subprocess.run([sys.executable, "-c", COMPARED], capture_output=True, text=True, check=False, timeout=240)
    assert (ended.stdout, ended.returncode) == ("equal\n", 0), ended.stderr
