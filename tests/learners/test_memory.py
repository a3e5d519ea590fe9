"""Steps and evaluations that run out of memory: in parts they give the same gradient, and leave nothing behind."""

import gc
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mlframework.cli import train as command
from mlframework.config import yaml
from mlframework.errors import ConfigError, OutOfMemoryError
from mlframework.experiment import ExperimentConfig, build_learner, load_data, train
from mlframework.learners.torch import TorchLearner
from mlframework.memory import is_out_of_memory, remedy, said
from mlframework.runs import RunDir

MakeConfig = Callable[..., ExperimentConfig]
ACCUMULATE = {"training.on_oom": "accumulate"}
UNEVEN = {"training.batch_size": 11}  # its parts differ in size: 4, 4, 3
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1.00 GiB of which 0 are free."


def learner_of(config: ExperimentConfig) -> TorchLearner:
    learner = build_learner(config, load_data(config))
    assert isinstance(learner, TorchLearner)
    return learner


def limit(learner: TorchLearner, most: int, evaluating: int = 10**9) -> list[int]:
    """Let no more examples through a module at once; returns how many went through or were refused, as it goes on."""
    forward, seen = learner.module.forward, []

    def limited(*inputs: Tensor) -> Tensor:
        n = len(inputs[0])
        seen.append(n)
        if n > (most if learner.module.training else evaluating):
            raise torch.OutOfMemoryError(FULL)
        found: Tensor = forward(*inputs)
        return found

    learner.module.forward = limited
    return seen


def weights(learner: TorchLearner) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in learner.state_dict()["module"].items()}


def closest(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Return the largest difference of two models' weights."""
    return max(float((found[name].double() - wanted[name].double()).abs().max()) for name in wanted)


@contextmanager
def told() -> Iterator[list[str]]:
    """Collect our warnings."""
    heard: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield heard
    heard += [str(each.message) for each in caught if "on_oom" in str(each.message)]


# A step in parts


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        ("mlp classification", {}),
        ("mlp classification", {"training.class_weights": "balanced", "training.accumulation_steps": 2}),
        ("mlp regression", {"training.gradient_clipping": 0.5}),
        ("fm classification", {"model.l2": 0.01}),
    ],
)
@pytest.mark.parametrize("most", [7, 1])
def test_steps_in_parts_are_those_of_whole_batches(
    make_config: MakeConfig, base: str, changes: dict[str, Any], most: int
) -> None:
    whole = learner_of(make_config(base, **UNEVEN, **changes))
    parts = learner_of(make_config(base, **UNEVEN, **ACCUMULATE, **changes))
    seen = limit(parts, most)
    with told() as heard:
        found, wanted = parts.train_epoch(), whole.train_epoch()
    at_once = {7: 5, 1: 1}[most]
    assert parts.state_dict()["splitting"]["at_once"] == at_once, "half as many, and half of those, until they fit"
    assert seen[0] == 11 and max(seen[4:]) <= most, "what did not fit once is not tried again"
    assert closest(weights(parts), weights(whole)) < 2e-6, "to the tolerance of float32 sums in another order"
    assert found == pytest.approx(wanted, rel=1e-5)
    assert len(heard) == 1 and f"at most {at_once} go through the model at once" in heard[0]
    assert "not quite the same" not in heard[0]


def test_another_weighing_would_show(make_config: MakeConfig) -> None:
    """What the test above compares does differ where parts of different sizes count alike."""
    whole = learner_of(make_config("mlp classification", **UNEVEN))
    parts = learner_of(make_config("mlp classification", **UNEVEN, **ACCUMULATE))
    limit(parts, 7)
    parts._weight = lambda targets: 1 if len(targets) < 4 else 2
    parts.train_epoch()
    whole.train_epoch()
    assert closest(weights(parts), weights(whole)) > 1e-4


def test_a_step_that_ran_out_of_memory_leaves_nothing_behind(make_config: MakeConfig) -> None:
    """It is cut short in the backward pass, when some gradients are there; what it held is free when it is repeated."""
    held: list[weakref.ref[Any]] = []

    class Activations:
        """Something that a pass through the model holds."""

    class Refuse(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: Tensor) -> Tensor:
            return tensor.view_as(tensor)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
            if len(gradient) > 7:
                raise torch.OutOfMemoryError(FULL)
            return gradient

    whole = learner_of(make_config("mlp classification"))
    parts = learner_of(make_config("mlp classification", **ACCUMULATE))
    last = [each for each in parts.module.modules() if isinstance(each, torch.nn.Linear)][-1]
    forward = last.forward

    def refusing(inputs: Tensor) -> Tensor:
        assert not any(each() is not None for each in held), "what the former try held is still there"
        kept = Activations()
        if len(inputs) > 7:
            held.append(weakref.ref(kept))
        # The last layer has its gradient before the memory runs out.
        found = forward(Refuse.apply(inputs))
        found.grad_fn.metadata["kept"] = kept
        return found

    last.forward = refusing  # type: ignore[method-assign]
    with told() as heard:
        parts.train_epoch()
    whole.train_epoch()
    assert len(held) == 2 and len(heard) == 1, "16 and 8 examples did not fit"
    assert closest(weights(parts), weights(whole)) < 2e-6


def test_the_random_numbers_of_a_try_are_drawn_again(make_config: MakeConfig) -> None:
    """So that a training does not depend on how often it was tried: only on how many examples go through at once."""
    config = make_config("mlp classification", **{"model.dropout": 0.5}, **ACCUMULATE)
    tried, known = learner_of(config), learner_of(config)
    state = known.state_dict()
    limit(tried, 4)
    with told() as heard:
        tried.load_state_dict(state)
        tried.train_epoch()
        known.load_state_dict({**state, "splitting": {"at_once": 4, "evaluated": None}})
        known.train_epoch()
    assert closest(weights(tried), weights(known)) == 0.0
    assert len(heard) == 1 and "dropout leaves out other units" in heard[0]


def test_batch_normalisation_in_parts_is_said_to_differ(make_config: MakeConfig) -> None:
    learner = learner_of(make_config("mlp classification", **{"model.batch_norm": True}, **ACCUMULATE))
    seen = limit(learner, 3)
    with told() as heard:
        learner.train_epoch()
    assert "BatchNorm goes by the mean and deviation of fewer examples" in heard[0]
    went_through = [size for size in seen if size <= 3]
    assert min(went_through) == 2, "it cannot train on one example"
    tracked = weights(learner)
    (counted,) = {int(tracked[name]) for name in tracked if name.endswith("num_batches_tracked")}
    assert counted == len(went_through), "the tries that failed have left no trace in the running means"


def test_negatives_of_the_same_batch_are_said_to_be_fewer(make_config: MakeConfig) -> None:
    for loss, count in (("in_batch_softmax", 1), ("bpr", 0)):
        learner = learner_of(make_config("two_tower", **{"model.loss": loss}, **ACCUMULATE))
        limit(learner, 20)
        with told() as heard:
            learner.train_epoch()
        assert sum("held against the other items of its part only" in text for text in heard) == count
        assert len(heard) == 1 and "at most 16 " in heard[0]


def test_an_interrupted_training_goes_on_in_the_same_parts(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config("mlp classification", **{"model.dropout": 0.2}, **ACCUMULATE)
    first, second = learner_of(config), learner_of(config)
    limit(first, 5)
    with told():
        first.train_epoch()
    (tmp_path / "last.pt").write_bytes(first.codec.encode(first.state_dict()))
    first.train_epoch()
    second.load_state_dict(second.codec.load(tmp_path / "last.pt"))
    seen = limit(second, 5)
    second.train_epoch()
    assert max(seen) <= 5, "it does not try again what did not fit"
    assert closest(weights(second), weights(first)) == 0.0


def test_a_checkpoint_of_former_versions_is_taken(make_config: MakeConfig) -> None:
    learner = learner_of(make_config("mlp classification", **ACCUMULATE))
    state = learner.state_dict()
    learner.load_state_dict({key: value for key, value in state.items() if key != "splitting"})


# Evaluation


def test_an_evaluation_in_parts_says_the_same(make_config: MakeConfig) -> None:
    whole = learner_of(make_config("mlp classification"))
    parts = learner_of(make_config("mlp classification", **ACCUMULATE))
    seen = limit(parts, 10**9, evaluating=9)
    with told() as heard:
        found, wanted = parts.outputs("val"), whole.outputs("val")
    assert found is not None and wanted is not None
    assert found.values == pytest.approx(wanted.values, abs=1e-6) and max(seen[-4:]) <= 9
    assert heard == [], "there is nothing in it that is not the same"


# What does not fit at all


@pytest.mark.parametrize("on_oom", ["fail", "accumulate"])
def test_what_does_not_fit_ends_the_training_with_what_may_help(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_oom: str
) -> None:
    from mlframework.learners import torch as module

    build = module.TorchLearner.__init__

    def limited(self: TorchLearner, *arguments: Any, **named: Any) -> None:
        build(self, *arguments, **named)
        limit(self, 0)

    monkeypatch.setattr(module.TorchLearner, "__init__", limited)
    config = make_config("mlp classification", **{"training.on_oom": on_oom, "tracking.tensorboard": False})
    with pytest.raises(OutOfMemoryError) as raised:
        train(config, load_data(config).without_test(), RunDir(tmp_path / on_oom))
    wanted = {
        "fail": "out of memory: Tried to allocate 2.00 GiB; a smaller training.batch_size may help, or "
        "training.on_oom: accumulate",
        "accumulate": "out of memory: Tried to allocate 2.00 GiB, with a single example at once; a smaller model may help",
    }
    assert str(raised.value) == wanted[on_oom]


def test_other_errors_of_a_step_are_no_matter_of_memory(make_config: MakeConfig) -> None:
    learner = learner_of(make_config("mlp classification", **ACCUMULATE))

    def broken(*_: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    learner.module.forward = broken
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        learner.train_epoch()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "out of memory: MemoryError"),
        (torch.OutOfMemoryError(FULL), "out of memory: Tried to allocate 2.00 GiB"),
        (RuntimeError("CUDA error: out of memory\nlong tail"), "out of memory: CUDA error: out of memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
                         "tried to allocate 4 bytes."),
            "out of memory: can't allocate memory: you tried to allocate 4 bytes",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "CUBLAS"),
        (OSError(12, "Cannot allocate memory"), "out of memory: "),
    ],
)  # fmt: skip
def test_the_errors_of_memory_are_known(error: Exception, text: str) -> None:
    assert is_out_of_memory(error) and text in said(error)


def test_other_errors_are_known_to_be_others() -> None:
    others = [ValueError("out of memory"), RuntimeError("shape"), OSError(28, "No space left on device"), KeyError("a")]
    assert not any(map(is_out_of_memory, others))


def test_a_model_without_batches_is_told_of_no_batches(make_config: MakeConfig) -> None:
    assert "batch" not in remedy(make_config("als").model.excludes)
    with pytest.raises(ConfigError, match="on_oom"):
        make_config("als", **ACCUMULATE)


def test_ml_train_says_in_one_line_that_memory_ran_out(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a real allocation that fails: the second layer has 10^14 weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlframework.machine.free_memory", lambda: None)  # it would be refused before
    (tmp_path / "huge.yaml").write_text(yaml.dump({"name": "huge", **planted["mlp classification"]}))
    arguments = ["ml-train", "--config", "huge.yaml", "--hidden_size", "10000000", "--hidden_layers", "2"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        command.main()
    out, err = capfd.readouterr()
    assert end.value.code == 2 and "Traceback" not in out + err
    assert err.startswith("out of memory: can't allocate memory: you tried to allocate 400000000000000 bytes")
    assert err.endswith("; a smaller training.batch_size may help, or training.on_oom: accumulate\n")
    assert not list(Path("runs").glob("*")), "a run that never trained leaves no folder"


REAL = """
import resource, sys, warnings
import torch
from mlframework.config import yaml
from mlframework.config.decode import decode
from mlframework.experiment import ExperimentConfig, build_learner, load_data

config = decode(ExperimentConfig, yaml.read(sys.argv[1]))
learner = build_learner(config, load_data(config))
torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000, resource.RLIM_INFINITY))
print(learner.train_epoch()["loss"])
"""


@pytest.mark.slow
def test_a_real_shortage_of_memory(planted: dict[str, Any], tmp_path: Path) -> None:
    """A layer of 100 000 units on 128 examples is 51 MB of activations, several times over; 150 MB are left."""
    tree = planted["mlp classification"]
    for on_oom, code in (("fail", 1), ("accumulate", 0)):
        training = {**tree["training"], "batch_size": 128, "on_oom": on_oom}
        model = {**tree["model"], "hidden_size": 100_000, "hidden_layers": 1}
        path = tmp_path / f"{on_oom}.yaml"
        path.write_text(yaml.dump({**tree, "training": training, "model": model}))
        ended = subprocess.run(
            [sys.executable, "-c", REAL, str(path)], capture_output=True, text=True, timeout=300, check=False
        )
        assert ended.returncode == code, ended.stderr
        if on_oom == "fail":
            assert "can't allocate memory" in ended.stderr
        else:
            assert "ran out of memory; from here on at most" in ended.stderr and float(ended.stdout) > 0
    gc.collect()
