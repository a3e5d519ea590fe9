"""The command `ml-train --replay` and the plan of `ml-search --resume`: what they say of real runs and trials."""

import json
import re
import shlex
import shutil
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlframework.cli import console, search, train
from mlframework.config import yaml
from mlframework.learners.torch import TorchLearner
from mlframework.runs import read_json
from support.recommenders import search_log
from support.running import Ended
from support.searches import Watched, run_search, tree, write_config, write_table

STUDY = Path("runs/optuna_studies/tiny_optimization")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[str], Ended]]:
    """Runs a command in this process, which has imported torch already."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setenv("COLUMNS", "200")
    handler = signal.getsignal(signal.SIGTERM)

    def run(line: str) -> Ended:
        words = shlex.split(line)
        monkeypatch.setattr(sys, "argv", words)
        monkeypatch.setattr(console, "_resume_hint", [])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            {"ml-train": train, "ml-search": search}[words[0]].main()
        ended = Ended(int(end.value.code or 0), *capsys.readouterr())
        assert "Traceback" not in ended.out + ended.err, ended
        return ended

    yield run
    signal.signal(signal.SIGTERM, handler)


def last(text: str) -> str:
    return text.rstrip("\n").rpartition("\n")[2]


def change(path: Path, epoch: int, name: str, by: Callable[[float], float]) -> None:
    """Change a stored value, as if it had been another one then."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[epoch - 1][name] = by(lines[epoch - 1][name])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def train_alone(**changes: Any) -> str:
    """Write a config without a search, and return the command that trains it."""
    write_config(changes)
    Path("config.yaml").write_text(yaml.dump({k: v for k, v in tree(changes).items() if k != "search"}))
    return "ml-train --config config.yaml"


# Identical


def test_a_trial_is_trained_again_to_the_last_digit(call: Callable[[str], Ended]) -> None:
    run_search()
    before = {path: path.read_bytes() for path in STUDY.rglob("*") if path.is_file()}
    end = call("ml-train --replay tiny_optimization/1")
    assert (end.code, end.err) == (0, "")
    assert "trial 1 of study tiny_optimization: complete, 3 epochs stored" in end.out
    assert last(end.out) == "identical: 3 epochs, to the last digit of every metric"
    run = Path("runs/replay_tiny_optimization_0001")
    assert f"replay: {run}\n" in end.out
    assert read_json(run / "replay.json")["verdict"] == "identical"
    assert [line["val_loss"] for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())] == [
        line["val_loss"] for line in map(json.loads, (STUDY / "trial_0001/metrics.jsonl").read_text().splitlines())
    ]
    assert {path: path.read_bytes() for path in STUDY.rglob("*") if path.is_file()} == before
    assert not (run / "test_ledger.jsonl").exists()
    # By the trial's folder, and by the study's.
    for target in (STUDY / "trial_0001", STUDY / "1", Path.cwd() / STUDY / "trial_0001"):
        assert last(call(f"ml-train --replay {target}").out).startswith("identical")


def test_a_trial_whose_folder_is_gone_is_known_by_the_storage(call: Callable[[str], Ended]) -> None:
    space = {
        "optimizer.type": {"type": "categorical", "choices": ["sgd", "adam"]},
        "optimizer.momentum": {"type": "uniform", "low": 0.5, "high": 0.9, "when": {"optimizer.type": "sgd"}},
    }
    _, end = run_search({"search_space": space, "search.n_trials": 4, "training.num_epochs": 2})
    trained = {record.number: record.params["optimizer.type"] for record in end.records if record.counts}
    assert set(trained.values()) == {"sgd", "adam"}
    for number in trained:
        shutil.rmtree(STUDY / f"trial_{number:04d}")
        ended = call(f"ml-train --replay tiny_optimization/{number}")
        assert last(ended.out) == "identical: 2 epochs, to the last digit of val_loss"


def test_a_pruned_trial_is_trained_as_far_as_it_was(call: Callable[[str], Ended]) -> None:
    pruner = {"type": "ThresholdPruner", "upper": 0.0, "n_warmup_steps": 2}
    run_search({"search.pruner": pruner, "search.n_trials": 1, "training.num_epochs": 5})
    for gone in (False, True):
        if gone:
            shutil.rmtree(STUDY / "trial_0000")
        end = call("ml-train --replay tiny_optimization/0")
        assert "pruned, 2 epochs stored" in end.out
        assert last(end.out).startswith("identical: 2 epochs")
    assert [len(path.read_text().splitlines()) for path in Path("runs").glob("replay_*/metrics.jsonl")] == [2, 2]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"search.cross_validation": {"enabled": True, "n_folds": 3}}, "fold"),
        pytest.param({"search.repeats": 2}, "repeat", marks=pytest.mark.slow),
    ],
)
def test_folds_and_repeats_are_all_trained_again(
    call: Callable[[str], Ended], changes: dict[str, Any], parts: str
) -> None:
    run_search({**changes, "search.n_trials": 1})
    n_parts = len(list((STUDY / "trial_0000").glob(f"{parts}_*")))
    end = call("ml-train --replay tiny_optimization/0")
    assert last(end.out) == f"identical: {3 * n_parts} epochs, to the last digit of every metric"
    assert f"{parts} {n_parts}/{n_parts}: val_loss" in end.out
    change(STUDY / f"trial_0000/{parts}_2/metrics.jsonl", 2, "val_acc", lambda value: value + 0.1)
    assert last(call("ml-train --replay tiny_optimization/0").err).startswith(
        f"diverged at {parts} 2, epoch 2: val_acc"
    )
    shutil.rmtree(STUDY / "trial_0000")
    assert last(call("ml-train --replay tiny_optimization/0").out).startswith(f"identical: {2 + n_parts} epochs")


def test_a_trial_that_was_interrupted_and_gone_on_with(call: Callable[[str], Ended]) -> None:
    def stop(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (0, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search({"search.n_trials": 1}, watcher=Watched(stop))
    end = call("ml-train --replay tiny_optimization/0")
    assert (end.code, end.out) == (2, "") and "is not over, it is running; replay it when it has ended" in end.err
    run_search({"search.n_trials": 1}, resume=True)
    assert last(call("ml-train --replay tiny_optimization/0").out).startswith("identical: 3 epochs")


def test_a_run_of_its_own_its_folds_and_its_final_run(call: Callable[[str], Ended]) -> None:
    line = train_alone()
    assert call(f"{line} --mode final").code == 0
    assert call(f"{line} --cross-validate 2").code == 0
    for run, epochs in (("tiny", 3), ("tiny-final", None), ("tiny_folds-2", 6)):
        end = call(f"ml-train --replay runs/{run}")
        found = re.fullmatch(r"identical: (\d) epochs, to the last digit of every metric", last(end.out))
        assert found is not None, end
        assert epochs is None or int(found[1]) == epochs
        assert "data" in read_json(Path(f"runs/{run}/environment.json"))
    assert not list(Path("runs").glob("replay_*/test_ledger.jsonl")), "a replay does not open the test split"


@pytest.mark.slow
def test_a_training_of_a_confirmation(call: Callable[[str], Ended]) -> None:
    write_config({"search.confirm": {"top_k": 2, "seeds": 2}, "search.n_trials": 2})
    assert call("ml-search --config config.yaml").code == 0
    runs = sorted(STUDY.glob("confirm/trial_*")) or sorted(STUDY.glob("*/trial_*_seed_*"))
    assert len(runs) == 4
    assert last(call(f"ml-train --replay {runs[0]}").out).startswith("identical: 3 epochs")


@pytest.mark.parametrize("architecture", ["als", pytest.param("bpr", marks=pytest.mark.slow)])
def test_recommenders(call: Callable[[str], Ended], planted: dict[str, Any], architecture: str) -> None:
    log = planted["als"]["data"]
    space: Mapping[str, Any] = {"model.factors": {"type": "int", "low": 4, "high": 8}}
    study, _ = search_log(log, {"architecture": architecture}, space, n_trials=1)
    end = call(f"ml-train --replay {study.spec.name}/0")
    assert last(end.out) == "identical: 3 epochs, to the last digit of every metric", end


# Noise and divergence


def test_noise_is_told_from_divergence_and_the_first_diverging_epoch_is_shown(call: Callable[[str], Ended]) -> None:
    run_search({"search.n_trials": 1})
    metrics = STUDY / "trial_0000/metrics.jsonl"
    change(metrics, 2, "val_loss", lambda value: value * (1 + 3e-6))
    end = call("ml-train --replay tiny_optimization/0")
    assert end.code == 0
    assert re.fullmatch(r"within noise \(largest difference \de-06 in val_loss at epoch 2\)", last(end.out))
    change(metrics, 3, "train_loss", lambda value: value + 0.25)
    environment = read_json(STUDY / "trial_0000/environment.json")
    environment["packages"]["torch"] = "1.13.0"
    (STUDY / "trial_0000/environment.json").write_text(json.dumps(environment))
    end = call("ml-train --replay tiny_optimization/0")
    now = read_json(Path("runs/replay_tiny_optimization_0000-2/environment.json"))["packages"]["torch"]
    assert end.code == 2
    assert re.fullmatch(
        rf"diverged at epoch 3: train_loss \S+ then, \S+ now \(torch 1\.13\.0 -> {re.escape(now)}\)\n", end.err
    )
    table = end.out[end.out.index(" epoch 3 ") :]
    assert re.search(r"train_loss +\S+ +\S+ +0\.2", table) and "val_loss" not in table
    told = read_json(Path("runs/replay_tiny_optimization_0000-2/replay.json"))
    assert told["verdict"] == "diverged" and told["first_difference"]["epoch"] == 2


def test_a_run_that_ended_at_another_epoch_has_diverged(call: Callable[[str], Ended]) -> None:
    run_search({"search.n_trials": 1})
    metrics = STUDY / "trial_0000/metrics.jsonl"
    line = json.loads(metrics.read_text().splitlines()[-1])
    metrics.write_text(metrics.read_text() + json.dumps({**line, "epoch": 4}) + "\n")
    end = call("ml-train --replay tiny_optimization/0")
    assert end.code == 2 and end.err.startswith("diverged at epoch 4: it has 4 epochs then, 3 now")


def test_a_failed_trial_fails_again_alike_or_is_said_not_to(call: Callable[[str], Ended]) -> None:
    changes = {"search_space": {"optimizer.lr": {"type": "categorical", "choices": [1e30]}}, "search.n_trials": 1}
    run_search(changes)
    reason = read_json(STUDY / "results.json")["trials"][0]["reason"]
    for gone in (False, True):
        if gone:
            shutil.rmtree(STUDY / "trial_0000")
        end = call("ml-train --replay tiny_optimization/0")
        assert end.code == 0 and last(end.out).endswith(f"it fails again alike: {reason}"), end


def test_a_failure_that_was_none_or_is_none_any_more_is_a_divergence(call: Callable[[str], Ended]) -> None:
    space = {"optimizer.lr": {"type": "categorical", "choices": [0.05, 1e30]}}
    _, end = run_search({"search_space": space, "search.sampler": {"type": "GridSampler"}, "search.n_trials": 2})
    good, bad = sorted(end.records, key=lambda record: record.state == "failed")
    configs = [STUDY / f"trial_{record.number:04d}/config.yaml" for record in (good, bad)]
    texts = [config.read_text() for config in configs]
    for config, text in zip(configs, reversed(texts), strict=True):
        config.write_text(text)
    for record, other in ((good, r"it did not fail then; it fails now: train_loss is \S+ at epoch 1"), (bad, None)):
        ended = call(f"ml-train --replay tiny_optimization/{record.number}")
        assert ended.code == 2
        found = other or rf"it failed then: {re.escape(bad.reason or '')}; it does not fail now"
        assert re.match(rf"diverged after 0 epochs: {found}", ended.err), ended
    run = Path(f"runs/replay_tiny_optimization_{bad.number:04d}")
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1, "one epoch shows that it does not fail there"


def test_a_failure_in_the_middle_is_waited_for(call: Callable[[str], Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = TorchLearner.train_epoch
    trained: Counter[int] = Counter()

    def breaks(self: TorchLearner) -> dict[str, float]:
        trained[id(self)] += 1
        if trained[id(self)] == 3:
            raise ValueError("broken at the third epoch")
        return dict(epochs(self))

    with monkeypatch.context() as patch:
        patch.setattr(TorchLearner, "train_epoch", breaks)
        run_search({"search.n_trials": 1, "training.num_epochs": 5, "search.retries": 0})
        for gone in (False, True):
            if gone:
                shutil.move(STUDY / "trial_0000", "kept")
            end = call("ml-train --replay tiny_optimization/0")
            assert last(end.out).startswith("identical: 2 epochs")
            assert last(end.out).endswith("; it fails again alike: ValueError: broken at the third epoch")
            trained.clear()
    for gone in (True, False):
        if not gone:
            shutil.move("kept", STUDY / "trial_0000")
        end = call("ml-train --replay tiny_optimization/0")
        said = "diverged after 2 epochs: it failed then: ValueError: broken at the third epoch; it does not fail now"
        assert end.code == 2 and end.err.startswith(said)
        assert len((last_replay() / "metrics.jsonl").read_text().splitlines()) == 3


def last_replay() -> Path:
    return max(Path("runs").glob("replay_*"), key=lambda path: path.stat().st_mtime_ns)


# Data


def test_other_data_is_refused_unless_it_is_accepted_and_may_lie_elsewhere(call: Callable[[str], Ended]) -> None:
    run_search({"search.n_trials": 1})
    Path("table.csv").rename("copy.csv")
    assert last(call("ml-train --replay tiny_optimization/0 --data.path copy.csv").out).startswith("identical")
    write_table(Path("table.csv"), 50)
    end = call("ml-train --replay tiny_optimization/0")
    assert end.code == 2
    assert "data.path: table.csv: 61 lines then, 51 lines now" in end.err and "--accept-data-change" in end.err
    assert len(list(Path("runs").glob("replay_*"))) == 1, "what is refused leaves no folder behind"
    end = call("ml-train --replay tiny_optimization/0 --accept-data-change")
    assert end.code == 2 and end.err.startswith("diverged at epoch 1: ") and "61 lines then, 51 lines now" in end.err


def test_a_run_from_before_fingerprints_is_trained_again_and_said_to_be_one(call: Callable[[str], Ended]) -> None:
    assert call(train_alone()).code == 0
    Path("runs/tiny/environment.json").unlink()
    end = call("ml-train --replay runs/tiny")
    assert "its data was not recorded" in end.out and last(end.out).startswith("identical")


def test_a_run_does_not_go_on_with_other_data_unasked(call: Callable[[str], Ended]) -> None:
    assert call(train_alone()).code == 0
    (Path("runs/tiny/artifacts/model_meta.json")).unlink()  # so that it has not ended
    write_table(Path("table.csv"), 50)
    end = call("ml-train --resume runs/tiny")
    assert end.code == 2 and "data.path: table.csv: 61 lines then, 51 lines now" in end.err
    end = call("ml-train --resume runs/tiny --accept-data-change")
    assert end.code == 0 and "changed since: data.path: table.csv: 61 lines then" in end.out


# What can't be replayed


def test_what_can_not_be_replayed_says_why(call: Callable[[str], Ended]) -> None:
    choices = {"type": "categorical", "choices": [0.05, 0.06]}
    changes = {"search_space": {"optimizer.lr": choices}, "search.n_trials": 4, "search.on_duplicate": "reuse"}
    _, end = run_search(changes)
    reused = next(record for record in end.records if record.same_as is not None)
    Path("runs/empty").mkdir()
    Path("runs/half").mkdir()
    Path("runs/half/config.yaml").write_text((STUDY / "trial_0000/config.yaml").read_text())
    for target, said in {
        f"tiny_optimization/{reused.number}": f"took over the outcome of trial {reused.same_as} without a training",
        "tiny_optimization/77": "there is no trial 77 of study tiny_optimization: it has trials 0 to 3",
        "tinny_optimization/0": "did you mean 'tiny_optimization'?",
        "runs/empty": "is neither a run's folder nor a trial; name a trial as STUDY/NUMBER",
        "runs/half": "no epoch of it is stored",
        "tiny_optimization/-1": "is neither a run's folder nor a trial",
    }.items():
        ended = call(f"ml-train --replay {target}")
        assert ended.code == 2 and said in ended.err, ended
    (STUDY / "trial_0000/metrics.jsonl").write_text("no json\n")
    ended = call("ml-train --replay tiny_optimization/0")
    assert ended.code == 2 and "metrics.jsonl: is damaged" in ended.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--replay x/1 --lr 0.1 --mode final", "leave out --mode, --lr"),
        ("--replay x/1 --config config.yaml --resume", "leave out --config, --resume"),
        ("--config config.yaml --accept-data-change", "--accept-data-change: is for --replay and --resume"),
    ],
)
def test_options_that_say_nothing_with_a_replay_or_without(
    call: Callable[[str], Ended], options: str, said: str
) -> None:
    write_config()
    end = call(f"ml-train {options}")
    assert end.code == 2 and said in end.err and end.err.count("\n") == 1


# The plan of a search that goes on


def test_the_plan_of_a_resumed_search_stands_before_its_first_trial(call: Callable[[str], Ended]) -> None:
    write_config()
    assert "going on" not in call("ml-search --config config.yaml --n-trials 2").out
    end = call("ml-search --config config.yaml --n-trials 3 --resume")
    assert "going on: 2 finished; 1 of 3 trials are left\n  changed since: search.n_trials 2 -> 3\ntrial 2: " in end.out
    write_table(Path("table.csv"), 50)
    end = call("ml-search --config config.yaml --n-trials 4 --resume")
    assert end.code == 2 and "data.path: table.csv: 61 lines then, 51 lines now" in end.err
    end = call("ml-search --config config.yaml --n-trials 4 --resume --accept-data-change")
    assert end.code == 0 and "  changed since: data.path: table.csv: 61 lines then, 51 lines now" in end.out
    assert [each["from_trial"] for each in read_json(STUDY / "results.json")["data"]] == [0, 3]
    end = call("ml-search --config config.yaml --accept-data-change")
    assert end.code == 2 and "--accept-data-change: is for a study that exists: give --resume with it" in end.err
