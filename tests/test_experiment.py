"""One run from its config: what it writes, what it looks at, and that it can be repeated."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import mlframework
from mlframework.config import yaml
from mlframework.data.splits import Splits
from mlframework.errors import CheckpointError, ConfigError, RunError, Terminated, TrainingError
from mlframework.experiment import (
    ExperimentConfig,
    build_learner,
    evaluate_test,
    export,
    load_data,
    refit,
    start_run,
    train,
)
from mlframework.final import final_epochs, mark_final, run_final
from mlframework.learners.base import Learner, resolve_threads
from mlframework.runs import RunDir, read_json
from mlframework.training.callbacks import TIMES, History

MakeConfig = Callable[..., ExperimentConfig]
MLP = "mlp classification"
TIMELESS = dict.fromkeys(TIMES, 0)


class Vault:
    """A test split that nobody may touch."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the test split was opened: {name}")

    def __len__(self) -> int:
        raise AssertionError("the test split was counted")


class StopAfter:
    """Ends a training after an epoch, as SIGTERM would."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def on_start(self, learner: Learner, history: History) -> None: ...

    def on_epoch(self, learner: Learner, history: History) -> None:
        if history.records[-1].epoch == self._epoch:
            raise Terminated("test")

    def on_end(self, learner: Learner, history: History, status: str) -> None: ...


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def vaulted(splits: Splits[Any]) -> Splits[Any]:
    return replace(splits, test=Vault())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ledger(run: RunDir) -> list[dict[str, Any]]:
    return lines(run.test_ledger) if run.test_ledger.exists() else []


def weights(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["learner"]["module"]
    return found


def same_weights(one: Path, other: Path) -> bool:
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class TestTheTestSplit:
    def test_neither_training_nor_refit_nor_export_looks_at_it(
        self, make_config: MakeConfig, run: RunDir, tmp_path: Path
    ) -> None:
        config = make_config(MLP)
        splits = vaulted(load_data(config))
        train(config, splits, run)
        export(config, splits, run, "best")
        refit(config, splits, RunDir(tmp_path / "refit"), 2)
        assert not run.test_ledger.exists() and "test_metrics" not in (run.read_result() or {})

    def test_each_opening_is_a_line_in_the_ledger(self, make_config: MakeConfig, run: RunDir) -> None:
        config = make_config(MLP)
        splits = load_data(config)
        train(config, splits, run)
        found = evaluate_test(config, splits, run, "best")
        assert set(found) == {"test_loss", "test_acc"}
        evaluate_test(config, splits, run, "last")
        assert [(line["weights"], line["examples"]) for line in ledger(run)] == [
            ("best", len(splits.test)), ("last", len(splits.test))]  # fmt: skip
        assert all(line["time"] and line["command"] == [Path(sys.argv[0]).name, *sys.argv[1:]] for line in ledger(run))
        assert (run.read_result() or {})["best_epoch"] >= 1  # what was there stays

    def test_the_opening_is_written_down_before_anything_is_seen(self, make_config: MakeConfig, run: RunDir) -> None:
        config = make_config(MLP, metrics=["test_auc"])
        splits = load_data(config)
        train(config, splits, run)
        # One class alone in the test split: AUC is undefined, and the evaluation fails.
        one_class = splits.test.take((splits.test.targets == 0).nonzero()[0])
        with pytest.raises(TrainingError, match="AUC is undefined"):
            evaluate_test(config, replace(splits, test=one_class), run, "best")
        assert [line["examples"] for line in ledger(run)] == [len(one_class)]
        assert "test_metrics" not in (run.read_result() or {})

    def test_where_there_is_none_the_setting_is_named(self, make_config: MakeConfig, run: RunDir) -> None:
        config = make_config(MLP, **{"data.split": {"test_fraction": 0.0}})
        splits = load_data(config)
        assert splits.test is None
        train(config, splits, run)
        with pytest.raises(TrainingError, match=r"no test split: set data.split.test_fraction above 0"):
            evaluate_test(config, splits, run, "best")
        assert not ledger(run)

    def test_metrics_asked_for_any_split_are_computed_on_it(self, make_config: MakeConfig, run: RunDir) -> None:
        config = make_config(MLP, metrics=["val_f1", "test_auc"])
        splits = load_data(config)
        result = train(config, splits, run)
        assert "val_f1" in result.best_metrics and "val_auc" not in result.best_metrics
        assert set(evaluate_test(config, splits, run, "best")) == {"test_loss", "test_acc", "test_f1", "test_auc"}


class TestWhatARunWrites:
    def test_result_json(self, make_config: MakeConfig, run: RunDir) -> None:
        config = make_config(MLP, metric="val_acc", **{"model.hidden_layers": 1})
        result = train(config, load_data(config), run)
        written = read_json(run.result)
        assert set(written) == {
            "format", "metric", "direction", "value", "best_epoch", "best_metrics", "last_epoch", "last_metrics",
            "seconds", "reason", "resources",
        }  # fmt: skip
        assert (written["format"], written["metric"], written["direction"]) == (1, "val_acc", "maximize")
        epochs = lines(run.metrics)
        values = [epoch["val_acc"] for epoch in epochs]
        assert written["value"] == max(values) == result.value
        assert written["best_epoch"] == values.index(max(values)) + 1 == result.best_epoch
        best, last = epochs[result.best_epoch - 1], epochs[-1]
        assert written["best_metrics"] == {k: v for k, v in best.items() if k.startswith(("train_", "val_"))}
        assert written["last_metrics"] == {k: v for k, v in last.items() if k.startswith(("train_", "val_"))}
        assert (written["last_epoch"], written["reason"]) == (4, "all epochs done")
        # x0, x1 and an embedding of 3 codes in 2 numbers; 4 inputs, 16 wide, 2 classes.
        assert written["resources"]["n_parameters"] == 3 * 2 + 4 * 16 + 16 + 16 * 2 + 2
        assert written["resources"]["fit_seconds"] == written["seconds"] > 0

    def test_metrics_jsonl_has_a_line_an_epoch(self, make_config: MakeConfig, run: RunDir) -> None:
        config = make_config(MLP)
        train(config, load_data(config), run)
        epochs = lines(run.metrics)
        assert [line["epoch"] for line in epochs] == [1, 2, 3, 4]
        assert list(epochs[0]) == [
            "epoch", "train_loss", "train_acc", "val_loss", "val_acc", "lr", "gradient_norm", "gradient_norm_max",
            "seconds", "throughput", "share_data", "share_compute", "share_writing",
        ]  # fmt: skip
        assert all(line["lr"] == 0.05 for line in epochs)

    def test_the_thread_count_is_written_out(self, planted: dict[str, Any], run: RunDir) -> None:
        tree = {**planted[MLP], "training": {"num_epochs": 1}}
        resolved = resolve_threads(tree)
        assert resolved["training"]["num_threads"] >= 1 and "num_threads" not in tree["training"]
        start_run(run, resolved)
        assert yaml.read(run.config).tree == resolved
        assert resolve_threads({"training": {"num_threads": 3}}) == {"training": {"num_threads": 3}}
        assert resolve_threads({})["training"]["num_threads"] >= 1
        environment = read_json(run.environment)
        assert environment["format"] == 1 and "torch" in environment["packages"] and environment["python"]

    def test_the_thread_count_is_obeyed(self, make_config: MakeConfig) -> None:
        before = torch.get_num_threads()
        try:
            for threads in (1, 2):
                config = make_config(MLP, **{"training.num_threads": threads})
                build_learner(config, load_data(config))
                assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)

    def test_without_tracking_there_is_no_event_file(self, make_config: MakeConfig, run: RunDir) -> None:
        config = make_config(MLP, **{"tracking.tensorboard": False})
        train(config, load_data(config), run)
        assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "metrics.jsonl", "result.json"]


class TestSelection:
    def test_the_metric_decides_what_is_best(self, make_config: MakeConfig, run: RunDir, tmp_path: Path) -> None:
        config = make_config(MLP, metric="val_loss")
        assert train(config, load_data(config), run).direction == "minimize"
        config = make_config(MLP, metric="train_acc")
        result = train(config, load_data(config), RunDir(tmp_path / "other"))
        values = [line["train_acc"] for line in lines(tmp_path / "other" / "metrics.jsonl")]
        assert result.value == max(values)

    def test_a_metric_that_is_asked_for_is_there_from_the_first_epoch(
        self, make_config: MakeConfig, run: RunDir
    ) -> None:
        config = make_config(MLP, metric="val_auc", metrics=["train_f1"])
        train(config, load_data(config), run)
        assert all({"val_auc", "train_f1"} <= set(line) for line in lines(run.metrics))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"metric": "test_acc"}, "would select on the test split; use val_acc"),
            ({"metric": "val_accu"}, "unknown metric 'val_accu'; did you mean 'val_acc'"),
            ({"metrics": ["accuracy"]}, "unknown metric 'accuracy'"),
            ({"model": {"architecture": "resnet18"}}, "resnet18 takes data of type image_folder.*type table; use mlp"),
            ({"name": "a/b"}, "name"),
            ({"seed": -1}, "seed"),
            ({"device": "gpu"}, "device"),
        ],
    )
    def test_a_config_that_does_not_fit_together_is_refused(
        self, make_config: MakeConfig, changes: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            make_config(MLP, **changes)

    def test_early_stopping_ends_a_run_and_a_resume_trains_no_further(
        self, make_config: MakeConfig, run: RunDir
    ) -> None:
        stopping = {"patience": 2, "min_delta": 1.0}  # no loss can fall by that much here: ends after 3 epochs
        config = make_config(MLP, **{"training.early_stopping": stopping, "training.num_epochs": 30})
        result = train(config, load_data(config), run)
        assert result.last_epoch == 3 and result.reason.startswith("early stopping: val_loss")
        before = run.metrics.read_text()
        again = train(config, load_data(config), run)
        assert (again.last_epoch, again.reason, run.metrics.read_text()) == (3, result.reason, before)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
    @pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
    def test_a_device_that_is_not_there(self, make_config: MakeConfig, device: str) -> None:
        config = make_config(MLP, device=device)
        with pytest.raises(TrainingError, match=f"device: {device} is not there .*; use auto or cpu"):
            build_learner(config, load_data(config))


class TestResume:
    @pytest.mark.parametrize("family", ["mlp classification", "mlp regression"])
    def test_a_stopped_run_ends_as_one_that_was_not_stopped(
        self, make_config: MakeConfig, tmp_path: Path, family: str
    ) -> None:
        config = make_config(family, **{"model.dropout": 0.3, "scheduler": {"type": "one_cycle"}})
        splits = load_data(config)
        whole, stopped = RunDir(tmp_path / "whole"), RunDir(tmp_path / "stopped")
        train(config, splits, whole)
        for epoch in (1, 3):
            with pytest.raises(Terminated):
                train(config, splits, stopped, [StopAfter(epoch)])
        # A line that was written but whose checkpoint was lost, as after a power cut, is not there twice.
        with stopped.metrics.open("a") as file:
            file.write('{"epoch": 4, "train_loss": 99.0}\n')
        train(config, splits, stopped)
        for name in ("best", "last"):
            assert same_weights(whole.checkpoints / f"{name}.pt", stopped.checkpoints / f"{name}.pt")
        found, expected = lines(stopped.metrics), lines(whole.metrics)
        assert [{**line, **TIMELESS} for line in found] == [{**line, **TIMELESS} for line in expected]
        one, other = read_json(whole.result), read_json(stopped.result)
        ignored = {"seconds", "resources"}
        assert {k: one[k] for k in one.keys() - ignored} == {k: other[k] for k in other.keys() - ignored}

    def test_other_settings_are_refused_but_another_name_device_or_tracker_is_not(
        self, make_config: MakeConfig, run: RunDir
    ) -> None:
        config = make_config(MLP)
        with pytest.raises(Terminated):
            train(config, load_data(config), run, [StopAfter(1)])
        for changes in ({"optimizer.lr": 0.01}, {"seed": 8}, {"model.hidden_size": 8}, {"training.num_threads": 2}):
            with pytest.raises(CheckpointError, match="is of a training with other settings"):
                train(make_config(MLP, **changes), load_data(config), run)
        same = make_config(MLP, name="other", device="auto", **{"tracking.tensorboard": False})
        assert train(same, load_data(same), run).last_epoch == 4

    def test_a_damaged_checkpoint_is_refused_and_left_as_it_is(self, make_config: MakeConfig, run: RunDir) -> None:
        config = make_config(MLP)
        train(config, load_data(config), run)
        path = run.checkpoints / "last.pt"
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(CheckpointError, match=r"last\.pt: cannot be read as a checkpoint; it is cut short"):
            train(config, load_data(config), run)
        assert len(path.read_bytes()) == 1000


class TestFinal:
    def test_refit_learns_from_train_and_val_for_the_epochs_it_is_told(
        self, make_config: MakeConfig, run: RunDir
    ) -> None:
        config = make_config(
            MLP, scheduler={"type": "cosine"},
            **{"training.early_stopping": {"patience": 1}, "training.batch_size": 10, "training.num_epochs": 10},
        )  # fmt: skip
        splits = load_data(config)
        told: list[tuple[int, int]] = []

        class Watch(StopAfter):
            def on_start(self, learner: Learner, history: History) -> None:
                learner.on_batch = lambda done, total: told.append((done, total))

        result = refit(config, splits, run, 3, [Watch(99)])
        n = len(splits.train) + len(splits.val)
        assert n == 192 and told[-1] == (20, 20)  # 19 batches of 10, and one of 2
        assert (result.metric, result.last_epoch, len(lines(run.metrics))) == ("train_loss", 3, 3)
        assert set(result.best_metrics) == {"train_loss", "train_acc"}
        # The schedule stretches over the ten epochs of the run that selected, not over these three.
        assert lines(run.metrics)[-1]["lr"] > 0.04

    def test_the_final_run_serves_its_last_epoch_and_opens_the_test_split_once(
        self, make_config: MakeConfig, run: RunDir, planted: dict[str, Any]
    ) -> None:
        # Early stopping is a setting of the run that selected; here it must change neither the length nor the identity.
        config = make_config(MLP, **{"training.early_stopping": {"patience": 1, "min_delta": 9.0}})
        splits = load_data(config)
        start_run(run, planted[MLP])
        mark_final(run, 3, RunDir(Path("runs/selected")))
        assert final_epochs(run) == 3 and final_epochs(RunDir(run.path.parent)) is None
        final = run_final(config, splits, run, 3, [])
        assert final.result.last_epoch == 3
        assert len(ledger(run)) == 1 and ledger(run)[0]["weights"] == "last"
        assert (run.read_result() or {})["test_metrics"] == final.test_metrics
        assert final.test_metrics["test_acc"] > 0.7
        assert mlframework.load(run.path).predict({"x0": [2.0], "x1": [0.0], "colour": ["red"]})[0].value == "high"


class TestFraction:
    def test_it_trains_on_a_part_and_validates_on_all(self, make_config: MakeConfig, run: RunDir) -> None:
        whole, half = load_data(make_config(MLP)), load_data(make_config(MLP, **{"data.fraction": 0.5}))
        assert (len(whole.train), len(half.train)) == (144, 72)
        assert (len(half.val), len(half.test)) == (len(whole.val), len(whole.test)) == (48, 48)
        config = make_config(MLP, **{"data.fraction": 0.5, "training.batch_size": 24})
        assert train(config, half, run).last_epoch == 4


class TestLoad:
    def test_a_folder_that_is_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="there is no such run"):
            mlframework.load(tmp_path / "none")
        with pytest.raises(RunError, match=r"has no config\.yaml"):
            mlframework.load(tmp_path)

    def test_a_run_that_did_not_end(self, planted: dict[str, Any], run: RunDir) -> None:
        start_run(run, planted[MLP])
        with pytest.raises(RunError, match=f"no trained model in it .*ml-train --resume {run.path}"):
            mlframework.load(run.path)


REPEAT = """
import json, sys
from pathlib import Path
from mlframework.config import yaml
from mlframework.config.decode import decode
from mlframework.experiment import ExperimentConfig, load_data, train
from mlframework.runs import RunDir
config = decode(ExperimentConfig, yaml.read(sys.argv[1]))
print(json.dumps(dict(train(config, load_data(config), RunDir(Path(sys.argv[2]))).best_metrics)))
"""


def test_one_seed_gives_the_same_numbers_in_two_fresh_processes(planted: dict[str, Any], tmp_path: Path) -> None:
    start_run(RunDir(tmp_path), {**planted[MLP], "model": {**planted[MLP]["model"], "dropout": 0.2}})
    command = [sys.executable, "-c", REPEAT, str(tmp_path / "config.yaml")]
    processes = [
        subprocess.Popen([*command, str(tmp_path / name)], stdout=subprocess.PIPE, text=True) for name in ("a", "b")
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1] and "val_loss" in outputs[0]
    assert same_weights(tmp_path / "a/checkpoints/last.pt", tmp_path / "b/checkpoints/last.pt")
