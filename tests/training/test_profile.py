"""`--profile`: what it says of where the time went, and that the training is what it would have been."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlframework.experiment import ExperimentConfig, load_data, train
from mlframework.runs import RunDir
from mlframework.training import profile
from mlframework.training.callbacks import TIMES, EpochRecord, History
from mlframework.training.profile import Profile

MakeConfig = Callable[..., ExperimentConfig]
MLP = "mlp classification"


def trained(config: ExperimentConfig, folder: Path, *callbacks: Any) -> RunDir:
    run = RunDir.create(folder.parent, folder.name)
    train(config, load_data(config), run, callbacks)
    return run


def operations(file: Path) -> list[str]:
    return [event["name"] for event in json.loads(file.read_text())["traceEvents"] if event.get("cat") == "cpu_op"]


def test_an_epoch_is_traced_and_the_training_is_the_same(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(MLP, **{"training.num_epochs": 4})
    profiled = Profile(tmp_path / "profile", 4)
    run = trained(config, tmp_path / "with", profiled)
    (trace,) = (tmp_path / "profile").glob("*.json")
    assert trace.name == "epoch_3.pt.trace.json"
    n_steps = -(-len(load_data(config).train) // config.training.batch_size)
    assert operations(trace).count("aten::nll_loss_backward") == n_steps <= profile.STEPS
    assert (tmp_path / "profile" / "summary.txt").read_text().splitlines() == profiled.summary
    assert len(profiled.summary) <= 10
    assert profiled.summary[0].startswith("epoch 2: ")
    assert any(line.startswith(f"steps: {n_steps}, ") for line in profiled.summary)
    without = trained(config, tmp_path / "without")
    timeless = [
        [{**json.loads(line), **dict.fromkeys(TIMES, 0)} for line in each.metrics.read_text().splitlines()]
        for each in (run, without)
    ]
    assert timeless[0] == timeless[1]


def test_of_a_long_epoch_the_first_steps_are_traced(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "STEPS", 3)
    config = make_config(MLP, **{"training.num_epochs": 1, "training.batch_size": 4})
    profiled = Profile(tmp_path / "profile", 1)
    trained(config, tmp_path / "run", profiled)
    assert operations(tmp_path / "profile" / "epoch_1.pt.trace.json").count("aten::nll_loss_backward") == 3
    n_steps = -(-len(load_data(config).train) // 4)
    assert any(line.startswith(f"steps: {n_steps}, ") for line in profiled.summary)  # the times are of all steps


def test_the_shares_are_those_of_the_clock(tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    class Slow(scripted):  # type: ignore[misc]
        """Fetches for 1 s, takes steps for 2 s, evaluates for 1 s."""

        n_examples = 600

        def train_epoch(self) -> dict[str, float]:
            nonlocal now
            for done in (1, 2):
                now += 1.5
                self.on_batch(done, 2)
            return dict(super().train_epoch())

        def evaluate(self, split: str) -> dict[str, float]:
            nonlocal now
            now += 1
            return dict(super().evaluate(split))

        def data_seconds(self) -> float:
            return float(self.trained)

    monkeypatch.setattr("mlframework.training.profile.time.perf_counter", lambda: now)
    learner, history, profiled = Slow([0.5] * 3), History("val_acc", "maximize"), Profile(tmp_path, 9)
    profiled.on_start(learner, history)
    for epoch in (1, 2):
        metrics = learner.train_epoch() | learner.evaluate("val")
        now += 4  # checkpoint and reports
        history.records.append(EpochRecord(epoch, metrics, 4.0, None))
        profiled.on_epoch(learner, history)
    assert profiled.summary == []
    profiled.on_end(learner, history, "finished")  # early stopping: before the epoch that was to be traced
    assert profiled.summary[0] == "epoch 2: 8 s; data 12%, compute 38%, writing 50%"
    assert profiled.summary[1] == "training: 600 examples in 3 s, 200 a second; evaluation 1 s"
    assert profiled.summary[2] == "steps: 2, the median one 1.5 s, the slowest 1.5 s (number 1)"
    assert any("tensorboard" in line for line in profiled.summary if line.startswith("to try: "))
    events = json.loads((tmp_path / "epoch_2.pt.trace.json").read_text())["traceEvents"]
    assert [(event["name"], event["dur"]) for event in events] == [
        ("train (epoch 1)", 3e6), ("evaluate (epoch 1)", 1e6), ("train (epoch 2)", 3e6), ("evaluate (epoch 2)", 1e6),
    ]  # fmt: skip


class Tracer:
    """Takes 50 s to start and 70 s to stop; says nothing of operations."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self.wait = wait

    def start(self) -> None:
        self.wait(50)

    def stop(self, file: Path) -> list[str]:
        self.wait(70)
        file.write_text("{}")
        return ["device: cpu"]


def test_what_a_trace_takes_to_end_is_no_time_of_a_step(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    class Traced(scripted):  # type: ignore[misc]
        """Takes three steps, of 1, 2 and 3 s."""

        n_examples = 600

        def tracer(self) -> Tracer:
            return Tracer(wait)

        def train_epoch(self) -> dict[str, float]:
            for done in (1, 2, 3):
                wait(done)
                self.on_batch(done, 3)
            return dict(super().train_epoch())

    monkeypatch.setattr(profile, "STEPS", 2)
    monkeypatch.setattr("mlframework.training.profile.time.perf_counter", lambda: now)
    learner, history, profiled = Traced([0.5]), History("val_acc", "maximize"), Profile(tmp_path, 1)
    profiled.on_start(learner, history)
    history.records.append(EpochRecord(1, learner.train_epoch() | learner.evaluate("val"), 6.0, None))
    profiled.on_epoch(learner, history)
    assert profiled.summary[0] == "epoch 1: 6 s; data 0%, compute 100%, writing 0%; tracing it made it slower"
    assert profiled.summary[1] == "training: 600 examples in 6 s, 100 a second; evaluation 0 ms"
    assert profiled.summary[2] == "steps: 3, the median one 2 s, the slowest 3 s (number 3)"


def test_larger_batches_are_no_advice_where_one_is_all_there_is() -> None:
    """As with ALS, which has none at all."""
    several, one = (profile._Times([("train", 0.0, 1.0)], steps) for steps in ([0.5, 0.5], [1.0]))
    assert "batch_size" in profile._advice(several)[0]
    assert profile._advice(one) == []
