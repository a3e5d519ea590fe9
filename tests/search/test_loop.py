"""The study loop on real data: what reaches the model, what is counted, what is survived."""

import gc
import json
import os
import shutil
import sys
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy
import torch

from mlframework import plans
from mlframework.config import yaml
from mlframework.config.decode import decode
from mlframework.data.splits import Splits
from mlframework.errors import DataError, RunError, StorageError, StudyError, Terminated
from mlframework.experiment import ExperimentConfig, load_data
from mlframework.folds import CrossValidation
from mlframework.metrics import direction_of
from mlframework.models.mlp import Mlp
from mlframework.plans import Evaluation, Folds, Report, SingleSplit
from mlframework.runs import RunDir
from mlframework.search import loop
from mlframework.search.lease import Lease
from mlframework.search.ledgers import open_ledger
from mlframework.search.loop import search
from mlframework.search.start import load as _load
from mlframework.search.storage import open_storage
from mlframework.search.study import OpenStudy
from mlframework.training.callbacks import Callback
from mlframework.training.result import RunResult
from support.recommenders import search_log
from support.searches import LR, Watched, open_search, run_search, write_config

pytestmark = pytest.mark.usefixtures("here")

SIZE = {"type": "int", "low": 4, "high": 12}


def states(study: OpenStudy) -> list[str]:
    return [trial.state.name for trial in study.trials()]


def trial_config(study: OpenStudy, number: int) -> dict[str, Any]:
    return yaml.read(study.spec.folder.trial(number).config).tree


# What reaches the model


def test_sampled_values_reach_the_built_model_and_its_optimizer() -> None:
    space = {
        "model.hidden_size": SIZE,
        "model.hidden_layers": {"type": "int", "low": 1, "high": 2},
        "optimizer.lr": LR,
        "optimizer.momentum": {"type": "uniform", "low": 0.1, "high": 0.9},
        "training.batch_size": {"type": "categorical", "choices": [5, 9, 36]},
    }
    study, end = run_search({"search_space": space})
    for record in end.records:
        # What stands in the checkpoint is what was trained, whatever the config says.
        learner = torch.load(study.spec.folder.trial(record.number).checkpoints / "last.pt")["learner"]
        matrices = [tensor.shape for name, tensor in learner["module"].items() if tensor.ndim == 2]
        size, layers = record.params["model.hidden_size"], record.params["model.hidden_layers"]
        assert [tuple(shape) for shape in matrices] == [(size, 3), *[(size, size)] * (layers - 1), (2, size)]
        (group,) = learner["optimizer"]["param_groups"]
        assert (group["lr"], group["momentum"]) == (record.params["optimizer.lr"], record.params["optimizer.momentum"])
        assert trial_config(study, record.number)["training"]["batch_size"] == record.params["training.batch_size"]
    assert len({record.params["model.hidden_size"] for record in end.records}) > 1


def test_the_batch_size_changes_the_steps_of_an_epoch() -> None:
    """With one batch an epoch and no momentum a step is the mean gradient: fewer steps, less moved."""
    space = {"training.batch_size": {"type": "categorical", "choices": [1, 36]}}
    changes: dict[str, Any] = {
        "search_space": space,
        "search.sampler": {"type": "GridSampler"},
        "optimizer.momentum": 0.0,
    }
    _, end = run_search(changes)
    losses = {record.params["training.batch_size"]: record.metrics["train_loss"] for record in end.records}
    assert losses[1] < losses[36]


def test_a_searched_number_of_epochs_is_the_trials() -> None:
    space = {"training.num_epochs": {"type": "int", "low": 1, "high": 4}}
    changes: dict[str, Any] = {
        "search_space": space,
        "search.sampler": {"type": "GridSampler"},
        "search.pruner": {"type": "HyperbandPruner", "min_resource": 4},
    }
    study, end = run_search({**changes, "search.n_trials": 4})
    assert study.spec.num_epochs == 4, "the most that a trial may have"
    assert study.study.pruner._max_resource == 4  # type: ignore[attr-defined]
    assert sorted(record.epochs for record in end.records) == [1, 2, 3, 4]
    assert all(record.epochs == record.params["training.num_epochs"] for record in end.records)


def test_a_searched_optimizer_has_its_own_settings_only() -> None:
    space = {
        "optimizer.type": {"type": "categorical", "choices": ["sgd", "adam"]},
        "optimizer.momentum": {
            "type": "uniform",
            "low": 0.5,
            "high": 0.9,
            "step": 0.4,
            "when": {"optimizer.type": "sgd"},
        },
    }
    study, end = run_search({"search_space": space, "search.sampler": {"type": "GridSampler"}, "search.n_trials": 9})
    assert states(study) == ["COMPLETE"] * 3
    for record in end.records:
        optimizer = trial_config(study, record.number)["optimizer"]
        assert optimizer["type"] == record.params["optimizer.type"]
        assert optimizer.get("momentum") == record.params.get("optimizer.momentum"), "the base's 0.9 is no one's"
    assert sorted(str(record.params.get("optimizer.momentum")) for record in end.records) == ["0.5", "0.9", "None"]


def test_the_best_config_gives_the_trials_value_to_the_last_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlframework.cli import train

    space = {"optimizer.lr": LR, "model.hidden_size": SIZE}
    study, end = run_search({"search_space": space, "model.dropout": 0.2, "search.metric": "val_log_loss"})
    best = min(record.value for record in end.records if record.value is not None)
    monkeypatch.setattr(sys, "argv", ["ml-train", "--config", str(study.spec.folder.best_config)])
    with pytest.raises(SystemExit) as exit_code:
        train.main()
    assert exit_code.value.code == 0
    result = json.loads(Path("runs/tiny/result.json").read_text())
    assert (result["metric"], result["value"]) == ("val_log_loss", best)


# What is counted


def test_the_number_of_trials_is_the_studys_total() -> None:
    for n_trials, expected in ((2, 2), (2, 2), (5, 5), (3, 5)):
        study, end = run_search({"search.n_trials": n_trials}, resume=True)
        assert (end.why, len(end.records)) == ("done", expected)
        assert states(study) == ["COMPLETE"] * expected


def test_a_resumed_search_suggests_what_an_uninterrupted_one_does() -> None:
    changes: dict[str, Any] = {"search.sampler": {"type": "TPESampler", "n_startup_trials": 2}}
    _, whole = run_search({**changes, "search.n_trials": 5, "search.study_name": "whole"})
    for n_trials in (1, 3, 5):
        _, parts = run_search({**changes, "search.n_trials": n_trials, "search.study_name": "parts"}, resume=True)
    assert [record.params for record in parts.records] == [record.params for record in whole.records]
    assert [record.value for record in parts.records] == [record.value for record in whole.records]


def test_no_trial_is_started_after_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = types.SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(loop, "time", clock)

    def pass_time(_number: int, epoch: int, _value: float) -> None:
        clock.now += 10.0 if epoch == 3 else 0.0

    changes = {"search.timeout": 25.0, "search.n_trials": 9}
    study, end = run_search(changes, watcher=Watched(pass_time))
    assert (end.why, states(study)) == ("timeout", ["COMPLETE"] * 3), "the trial that had begun has ended, too"
    assert json.loads(study.spec.folder.results.read_text())["best_trial"] is not None
    study, end = run_search({"search.n_trials": 4}, resume=True)
    assert (end.why, states(study)) == ("done", ["COMPLETE"] * 4)


def test_two_workers_share_the_trials_out() -> None:
    mine = open_search({"search.n_trials": 4})

    def leave(n_trials: int) -> None:
        assert n_trials == 1, "the first trial is still being trained"
        raise KeyboardInterrupt

    others = Watched(on_wait=leave)

    def join(number: int, epoch: int, _value: float) -> None:
        """Another worker runs all that is left while the first trial is in its first epoch."""
        if (number, epoch) == (0, 1):
            with pytest.raises(KeyboardInterrupt):
                run_search({"search.n_trials": 4}, resume=True, watcher=others)

    watcher = Watched(join)
    end = search(mine, _load, watcher)
    assert (end.why, states(mine)) == ("done", ["COMPLETE"] * 4)
    assert (watcher.ended, others.ended) == ([0], [1, 2, 3])


def test_who_waits_goes_on_with_the_trial_of_a_worker_that_dies() -> None:
    mine = open_search({"search.n_trials": 2})
    ledger = open_ledger(open_storage(mine.spec.storage), mine.study._study_id)
    theirs = Lease(0, 0, "elsewhere|ns|1|1|x", time.time() + 600, None)
    assert ledger.insert(theirs), "another machine has claimed the first place"

    def die(n_trials: int) -> None:
        assert n_trials == 1
        assert ledger.update(replace(theirs, expires=time.time() - 1)), "it gives no sign of life any more"

    watcher = Watched(on_wait=die)
    end = search(mine, _load, watcher)
    assert (end.why, states(mine), watcher.waited) == ("done", ["COMPLETE"] * 2, [1])
    assert ledger.read()[0].token == 1


def test_others_are_looked_at_the_more_seldom_the_longer_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a trial of milliseconds is seen in milliseconds, and one of hours costs two looks a second."""
    now, pauses, watcher = [100.0], [], Watched()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(loop, "time", types.SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    since: dict[int, float] = {}
    for _ in range(30):
        since = loop._wait(since, {3, 4}, watcher)
    assert pauses[0] == 0.02 and pauses[-1] == 0.5 and pauses == sorted(pauses)
    assert all(pause <= max(0.25 * sum(pauses[:n]), 0.02) + 1e-9 for n, pause in enumerate(pauses))
    assert watcher.waited == [2], "it is said once"
    assert loop._wait(since, {7}, watcher) == {7: now[0] - 0.02}, "another one is looked at often again"


# What is survived


def failing(choice: Any, key: str, **changes: Any) -> tuple[OpenStudy, dict[Any, Any]]:
    """Search a good and a bad choice; returns each one's record."""
    good = {"optimizer.lr": 0.05, "model.hidden_size": 4}[key]
    space = {key: {"type": "categorical", "choices": [choice, good, good + 1]}}
    study, end = run_search(
        {"search_space": space, "search.sampler": {"type": "GridSampler"}, "search.n_trials": 9, **changes}
    )
    found = {record.params[key]: record for record in end.records}
    assert found.pop(good).state == found.pop(good + 1).state == "complete", "the search goes on"
    return study, found


def test_a_loss_that_is_no_number_fails_the_trial() -> None:
    _, found = failing(1e30, "optimizer.lr")
    assert found[1e30].state == "failed"
    assert "a smaller optimizer.lr" in found[1e30].reason


def test_a_trial_that_raises_fails_with_its_reason_and_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    build = Mlp.build

    def breaking(self: Mlp, *arguments: Any) -> Any:
        if self.hidden_size == 7:
            raise ZeroDivisionError("seven [is] too many\nsecond line")
        return build(self, *arguments)

    monkeypatch.setattr(Mlp, "build", breaking)
    study, found = failing(7, "model.hidden_size")
    assert (found[7].state, found[7].reason) == ("failed", "ZeroDivisionError: seven [is] too many")
    trace = (study.spec.folder.trial(found[7].number).path / "error.txt").read_text()
    assert "in breaking" in trace and "second line" in trace


def test_a_trial_that_needs_more_memory_than_there_is_fails_and_says_so() -> None:
    # The second layer would have 10^14 weights: more than a process can address.
    _, found = failing(10_000_000, "model.hidden_size", **{"model.hidden_layers": 2})
    record = found[10_000_000]
    assert record.reason.startswith("out of memory: ") and record.fault == "out_of_memory"


def test_a_config_that_cannot_be_trained_fails_the_trial() -> None:
    space = {"data.fraction": {"type": "categorical", "choices": [1.0, 0.5]}}

    def load(config: ExperimentConfig) -> Splits[Any]:
        if config.data.fraction == 0.5:
            raise DataError("half is not enough")
        return _load(config)

    study, end = run_search({"search_space": space, "search.sampler": {"type": "GridSampler"}}, load=load)
    assert sorted(states(study)) == ["COMPLETE", "FAIL"]
    assert "half is not enough" in [record.reason for record in end.records]


def alike(value: float) -> list[float]:
    """Return values that train alike, to the last digit of a float32: the same one would not be trained twice."""
    return [value * (1 + number * 1e-12) for number in range(8)]


def test_bad_trials_are_pruned_and_good_ones_are_not() -> None:
    space = {"optimizer.lr": {"type": "categorical", "choices": [*alike(0.05), *alike(1e-7)]}}
    pruner = {"type": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 1}
    watcher = Watched()
    changes = {
        "search_space": space,
        "search.pruner": pruner,
        "search.n_trials": 12,
    }
    study, end = run_search(changes, watcher=watcher)
    pruned = [record for record in end.records if record.state == "pruned"]
    assert pruned and {record.params["optimizer.lr"] for record in pruned} <= set(alike(1e-7))
    assert {record.number for record in pruned}.isdisjoint({0, 1})
    for record in pruned:
        lines = study.spec.folder.trial(record.number).metrics.read_text().splitlines()
        assert len(lines) == record.epochs < 3, "it has not trained on"
        assert not study.spec.folder.trial(record.number).result.exists()


@pytest.mark.parametrize(
    ("model", "bad"),
    [
        # With such a penalty all factors are 0; with such a learning rate the first factors stay: both rank by chance.
        ({"architecture": "als", "factors": 8}, {"model.regularization": [0.01, 1e6]}),
        ({"architecture": "bpr", "factors": 8}, {"model.lr": [0.3, 1e-6]}),
        ({"architecture": "two_tower", "embedding_dim": 8}, {"optimizer.lr": [0.05, 1e-7]}),
    ],
    ids=["als", "bpr", "two_tower"],
)
@pytest.mark.parametrize("pruner", ["MedianPruner", pytest.param("HyperbandPruner", marks=pytest.mark.slow)])
def test_bad_trials_of_every_recommender_are_pruned(
    model: dict[str, Any], bad: dict[str, Any], pruner: str, planted: dict[str, Any]
) -> None:
    """Each iteration of ALS and BPR is an epoch that a pruner is told of."""
    pruners = {
        "MedianPruner": {"type": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 3},
        "HyperbandPruner": {"type": "HyperbandPruner", "min_resource": 4, "max_resource": 8, "reduction_factor": 2},
    }
    ((key, (good, worse)),) = bad.items()
    space = {key: {"type": "categorical", "choices": [*alike(good), *alike(worse)]}}
    watcher = Watched()
    study, end = search_log(
        planted["als"]["data"], model, space, training={"num_epochs": 8}, watcher=watcher, n_trials=16,
        pruner=pruners[pruner],
    )  # fmt: skip
    pruned = [record for record in end.records if record.state == "pruned"]
    assert pruned and {record.params[key] for record in pruned} <= set(alike(worse))
    counting = [record for record in end.records if record.counts]
    assert {record.state for record in counting if record.params[key] in alike(good)} == {"complete"}
    for record in pruned:
        told = [epoch for number, epoch, _ in watcher.epochs if number == record.number]
        assert told == list(range(1, record.epochs + 1)) and record.epochs < 8, "it has not trained on"
        assert len(study.spec.folder.trial(record.number).metrics.read_text().splitlines()) == record.epochs
        assert not study.spec.folder.trial(record.number).result.exists()
    assert all(record.epochs == 8 for record in end.records if record.state == "complete")


@pytest.mark.filterwarnings("error:The reported value is ignored")  # what is known is not reported again
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Terminated])
def test_an_interrupted_trial_goes_on_as_the_same_trial(interruption: type[BaseException]) -> None:
    _, undisturbed = run_search({"search.study_name": "undisturbed", "model.dropout": 0.3})

    def interrupt(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (1, 2):
            raise interruption

    first = Watched(interrupt)
    with pytest.raises(interruption):
        run_search({"model.dropout": 0.3}, watcher=first)
    results = json.loads(Path("runs/optuna_studies/tiny_optimization/results.json").read_text())
    assert [trial["state"] for trial in results["trials"]] == ["complete", "interrupted"], "what is finished is written"

    second = Watched()
    study, end = run_search({"model.dropout": 0.3}, resume=True, watcher=second)
    assert (end.why, states(study)) == ("done", ["COMPLETE"] * 3)
    assert second.started[0] == first.started[1], "the same number, the same parameters"
    assert [epoch for number, epoch, _ in second.epochs if number == 1] == [2, 3], "from its last epoch"
    for mine, theirs in zip(end.records, undisturbed.records, strict=True):
        assert (mine.params, mine.value, mine.metrics, mine.epochs) == (
            theirs.params,
            theirs.value,
            theirs.metrics,
            theirs.epochs,
        )
    lines = [json.loads(line)["epoch"] for line in study.spec.folder.trial(1).metrics.read_text().splitlines()]
    assert lines == [1, 2, 3]


def test_a_trial_that_came_to_its_end_is_never_pruned() -> None:
    # Hyperband halves after epochs 1 and 3, and 3 is the last: it would condemn most of those that trained it.
    pruner = {"type": "HyperbandPruner", "reduction_factor": 3}
    _, end = run_search({"search.pruner": pruner, "search.n_trials": 16})
    assert any(record.state == "pruned" for record in end.records)
    assert {record.state for record in end.records if record.epochs == 3} == {"complete"}


@pytest.mark.parametrize(
    ("damaged", "epochs", "said"),
    [
        (["last.pt"], [2, 3], r"last\.pt: is cut short or damaged; going on from previous\.pt, which is of epoch 1"),
        (
            ["last.pt", "previous.pt"],
            [1, 2, 3],
            r"trial_0001: its checkpoints are damaged; it is trained again from its",
        ),
    ],
    ids=["the last one", "both"],
)
def test_a_trial_whose_checkpoints_are_damaged_trains_again_what_they_held(
    damaged: list[str], epochs: list[int], said: str
) -> None:
    _, undisturbed = run_search({"search.study_name": "undisturbed"})

    def interrupt(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(watcher=Watched(interrupt))
    run = Path("runs/optuna_studies/tiny_optimization/trial_0001")
    for name in damaged:
        os.truncate(run / "checkpoints" / name, 1000)
    watcher = Watched()
    with pytest.warns(UserWarning, match=said):
        study, end = run_search(resume=True, watcher=watcher)
    assert states(study) == ["COMPLETE"] * 3
    assert [record.value for record in end.records] == [record.value for record in undisturbed.records]
    # The last epoch before a resume is reported once more.
    assert [epoch for number, epoch, _ in watcher.epochs if number == 1][-len(epochs) :] == epochs
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize("files", ["stay", "are cleared away"])
def test_a_trial_that_another_worker_took_over_is_let_go(files: str) -> None:
    study = open_search()

    def lose(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (1, 3 if files == "stay" else 2):
            if files == "are cleared away":
                shutil.rmtree(study.spec.folder.trial(1).path)
            storage = open_storage(study.spec.storage)
            ledger = open_ledger(storage, study.study._study_id)
            mine = ledger.read()[1]
            assert ledger.replace(
                replace(mine, token=mine.token + 1, owner="elsewhere|ns|1|1|x", expires=time.time() + 600)
            )

    def finish(_: int) -> None:
        """The other worker comes to the trial's end."""
        assert states(study) == ["COMPLETE", "RUNNING", "COMPLETE"]
        study.study.tell(1, 0.25)

    watcher = Watched(lose, finish)
    end = search(study, _load, watcher)
    assert (watcher.lost, watcher.ended, watcher.waited) == ([1], [0, 2], [1])
    assert (end.why, states(study)) == ("others", ["COMPLETE"] * 3), "the last trial was another's"
    assert end.records[1].value == 0.25


def test_who_lost_a_trial_writes_nothing_more_into_its_folder() -> None:
    study = open_search({"search.n_trials": 1, "search.lease_seconds": 0.2, "training.num_epochs": 5})

    def stand_still(_number: int, epoch: int, _value: float) -> None:
        """Stop for longer than the lease, as a machine that sleeps: another worker takes the trial over."""
        if epoch == 2:
            ledger = open_ledger(open_storage(study.spec.storage), study.study._study_id)
            mine = ledger.read()[0]
            taken = replace(mine, token=mine.token + 1, owner="elsewhere|ns|1|1|x", expires=time.time() + 600)
            assert ledger.replace(taken)
            time.sleep(0.3)

    def finish(_: int) -> None:
        study.study.tell(0, 0.25)

    watcher = Watched(stand_still, finish)
    search(study, _load, watcher)
    assert watcher.lost == [0]
    folder = study.spec.folder.trial(0)
    assert len(folder.metrics.read_text().splitlines()) == 2, "the third epoch was trained and not written"


@pytest.mark.parametrize("change", ["other", "gone"])
def test_data_that_changes_meanwhile_ends_the_search_before_the_next_trial(change: str) -> None:
    kept = write_config().with_name("table.csv").read_bytes()

    def edit(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (0, 2):
            Path("table.csv").unlink()
            if change == "other":
                Path("table.csv").write_bytes(b"".join(kept.splitlines(keepends=True)[:-1]))

    said = {"other": (StudyError, "61 lines then, 60 lines now"), "gone": (DataError, "there is no such file")}[change]
    study = open_search()
    with pytest.raises(said[0], match=said[1]):
        search(study, _load, Watched(edit))
    assert states(study) == ["COMPLETE"], "the trial that was trained on the former data counts; no other has begun"
    Path("table.csv").write_bytes(kept)
    again, end = run_search(resume=True)
    assert (end.why, states(again)) == ("done", ["COMPLETE"] * 3)


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_storage_whose_file_is_removed_ends_the_search(kind: str) -> None:
    def remove(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (0, 2):
            Path("studies.db").unlink()

    study = open_search({"search.storage": f"{kind}:///studies.db"})
    with pytest.raises(StorageError, match="was removed"):
        search(study, _load, Watched(remove))


def test_a_storage_that_breaks_ends_the_search_with_one_message() -> None:
    study = open_search()

    def drop(number: int, _epoch: int, _value: float) -> None:
        if number == 1:
            storage = open_storage(study.spec.storage)
            assert isinstance(storage, optuna.storages.RDBStorage)
            with storage.engine.begin() as connection:
                connection.execute(sqlalchemy.text("DROP TABLE IF EXISTS mlframework_leases"))

    with pytest.raises(StorageError, match=r"sqlite:///studies\.db cannot be used: no such table: mlframework_leases"):
        search(study, _load, Watched(drop))
    assert states(study) == ["COMPLETE", "RUNNING"], "the trial is not failed, its storage is"


def test_a_folder_that_cannot_be_written_ends_the_search_and_not_the_trial() -> None:
    study = open_search()
    study.spec.folder.path.mkdir(parents=True, exist_ok=True)
    study.spec.folder.trial(0).path.write_text("a file where the trial's folder belongs")
    with pytest.raises(RunError, match="a file stands where a folder is needed"):
        search(study, _load, Watched())
    assert states(study) == ["RUNNING"]
    study.spec.folder.trial(0).path.unlink()
    study, end = run_search(resume=True)
    assert (end.why, states(study)) == ("done", ["COMPLETE"] * 3)


# Cross-validation


def rows_of(examples: Any) -> set[float]:
    """Return what tells a row of the table from the others: its first feature."""
    return {float(value) for value in examples.numeric[:, 0]}


def test_each_trial_is_trained_on_each_fold() -> None:
    folds = {"enabled": True, "n_folds": 3, "aggregation": "worst"}
    study, end = run_search({"search.cross_validation": folds, "search.n_trials": 2})
    for record in end.records:
        run = study.spec.folder.trial(record.number)
        values = [json.loads((run.path / f"fold_{n}/result.json").read_text())["value"] for n in (1, 2, 3)]
        assert record.value == max(values), "the worst of a loss is the largest"
        assert record.epochs == 3 + 2, "each epoch of the first fold, and each later fold"
        assert not (run.path / "fold_4").exists()


@pytest.mark.parametrize(
    ("metric", "aggregation", "value"),
    [
        ("val_acc", "mean", 0.4),
        ("val_acc", "median", 0.3),
        ("val_acc", "worst", 0.2),
        ("val_loss", "mean", 0.4),
        ("val_loss", "median", 0.3),
        ("val_loss", "worst", 0.7),
    ],
)
def test_the_folds_make_the_trials_value(
    monkeypatch: pytest.MonkeyPatch, metric: str, aggregation: Any, value: float
) -> None:
    found, reported = [0.3, 0.7, 0.2], []
    config, splits = _experiment()
    trained: list[Splits[Any]] = []

    def train(_config: ExperimentConfig, fold: Splits[Any], _run: RunDir, _callbacks: Sequence[Callback]) -> RunResult:
        trained.append(fold)
        metrics = {metric: found[len(trained) - 1]}
        return RunResult(metric, direction_of(metric), len(trained), metrics, 3, metrics, 1.0, "", 1)

    monkeypatch.setattr(plans, "train", train)
    folds = Folds(CrossValidation(enabled=True, n_folds=3, aggregation=aggregation))
    evaluation = folds.evaluate(config, splits, RunDir(Path("run")), lambda *each: reported.append(each[:2]), [])
    assert evaluation.value == pytest.approx(value)
    assert evaluation.best_epoch == 2
    assert [step for step, _ in reported] == [4, 5]
    assert reported[-1][1] == evaluation.value

    everything = load_data(config)
    assert everything.test is not None
    train_and_val = rows_of(everything.train) | rows_of(everything.val)
    assert rows_of(everything.test) and not rows_of(everything.test) & train_and_val
    held_out: list[float] = []
    for fold in trained:
        assert fold.test is None
        assert rows_of(fold.train) | rows_of(fold.val) == train_and_val
        assert not rows_of(fold.train) & rows_of(fold.val)
        held_out += rows_of(fold.val)
    assert sorted(held_out) == sorted(train_and_val), "each row is validated on once"


def test_an_interrupted_fold_goes_on() -> None:
    changes = {"search.cross_validation": {"enabled": True, "n_folds": 3}, "search.n_trials": 1}
    _, undisturbed = run_search({**changes, "search.study_name": "undisturbed"})

    def interrupt(_number: int, step: int, _value: float) -> None:
        if step == 4:  # the second fold has ended
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(changes, watcher=Watched(interrupt))
    study, end = run_search(changes, resume=True)
    assert states(study) == ["COMPLETE"]
    assert [(r.params, r.value, r.epochs) for r in end.records] == [
        (r.params, r.value, r.epochs) for r in undisturbed.records
    ]


# The test split is a vault


def _experiment() -> tuple[ExperimentConfig, Splits[Any]]:
    from mlframework.config.yaml import Document

    config = decode(ExperimentConfig, Document(dict(open_search(resume=True).spec.space.base)))
    return config, _load(config)


def numbers_within(root: object) -> Iterator[np.ndarray[Any, Any]]:
    """Yield every array that is reachable from an object; modules, classes and functions are not its content."""
    seen, waiting = {id(root)}, [root]
    while waiting:
        found = waiting.pop()
        if isinstance(found, torch.Tensor):
            yield found.detach().numpy()
        if isinstance(found, np.ndarray):
            yield found
            waiting.append(found.base)
        for inner in gc.get_referents(found):
            skipped = isinstance(inner, type | types.ModuleType | types.FunctionType | types.FrameType)
            if not skipped and id(inner) not in seen:
                seen.add(id(inner))
                waiting.append(inner)


def holds_any(root: object, rows: np.ndarray[Any, Any]) -> bool:
    return any(np.isin(found, rows).any() for found in numbers_within(root) if found.dtype == rows.dtype)


def test_no_test_row_can_be_reached_from_what_a_search_holds() -> None:
    study = open_search({"search.n_trials": 1})
    config, _ = _experiment()
    everything = load_data(config)
    assert everything.test is not None and everything.val is not None
    test_rows, val_rows = everything.test.numeric, everything.val.numeric
    assert len(test_rows) == 12
    looked_at: list[tuple[bool, bool]] = []

    class Looking:
        """A plan that looks at all that a trial is given, and at what it makes of it."""

        n_parts, part, n_seeds = 1, "training", 1

        def last_step(self, config: ExperimentConfig) -> int:
            return SingleSplit().last_step(config)

        def evaluate(
            self,
            config: ExperimentConfig,
            splits: Splits[Any],
            run: RunDir,
            report: Report,
            callbacks: Sequence[Callback],
        ) -> Evaluation:
            self.given = (config, splits, run, report)
            return SingleSplit().evaluate(config, splits, run, report, [*callbacks, self])  # type: ignore[list-item]

        def on_start(self, *_: object) -> None:
            """Do nothing."""

        def on_epoch(self, learner: object, history: object) -> None:
            held = (self.given, learner, history, study)
            looked_at.append((holds_any(held, val_rows), holds_any(held, test_rows)))

        def on_end(self, *_: object) -> None:
            """Do nothing."""

    search(replace(study, spec=replace(study.spec, plan=Looking())), _load, Watched())
    assert looked_at == [(True, False)] * 3
    assert holds_any(everything, test_rows), "a search that were given the test split would have been found out"


def test_the_files_of_a_study_take_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, written = 100.0, []

    def write(study: Any) -> None:
        nonlocal now
        now += 2
        written.append(now)

    monkeypatch.setattr(loop.time, "monotonic", lambda: now)
    monkeypatch.setattr(loop, "write_outputs", write)
    study: Any = None
    pace = loop._Pace()
    for seconds in (0, 1, 65, 0.5):  # after so many seconds a trial ends
        now += seconds
        with loop.outputs_written(study, pace):
            pass
    assert written == [102]
    now += 1
    pace.catch_up(study)  # nothing is left to train: what was put off is written
    pace.catch_up(study)
    assert written == [102, 171.5]
    with pytest.raises(KeyError), loop.outputs_written(study, pace):
        raise KeyError
    assert written == [102, 171.5, 173.5]
