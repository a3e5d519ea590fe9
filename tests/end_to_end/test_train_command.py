"""The installed command `ml-train` on real data: what it trains, how it goes on after a stop, what bad input gets."""

import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mlframework
from mlframework.cli import console, train
from mlframework.config import yaml
from mlframework.runs import read_json
from mlframework.training.callbacks import TIMES
from support.running import Ended

ML_TRAIN = str(Path(sys.executable).with_name("ml-train"))
PATIENCE = 120  # seconds after which something that was waited for will not come any more
Tree = dict[str, Any]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ml_train(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """Runs the command in this process, which has imported torch already."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ml-train", *arguments])
        monkeypatch.setattr(console, "_resume_hint", [])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            train.main()
        return Ended(int(end.value.code or 0), *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, handler)


def write(path: str, tree: Tree) -> str:
    Path(path).write_text(yaml.dump(tree), encoding="utf-8")
    return path


def table_tree(csv: Path, target: str, **changes: Any) -> Tree:
    return {
        "name": csv.stem, "seed": 3, "device": "cpu", "data": {"type": "table", "path": str(csv), "target": target},
        "model": {"architecture": "mlp", "hidden_size": 32},
        "training": {"num_epochs": 5, "batch_size": 32, "num_threads": 1},
        "optimizer": {"type": "sgd", "lr": 0.05}, "tracking": {"tensorboard": False}, **changes,
    }  # fmt: skip


@pytest.fixture
def cancer(breast_cancer_csv: Path) -> Tree:
    return table_tree(breast_cancer_csv, "diagnosis", metric="val_auc")


@pytest.fixture
def digits(few_digits: Path) -> Tree:
    return {
        "name": "digits", "seed": 1, "device": "cpu",
        "data": {"type": "image_folder", "path": str(few_digits), "image_size": 32, "augment": "light"},
        "model": {"architecture": "shufflenet_v2_x0_5", "dropout": 0.2},
        "training": {"num_epochs": 6, "batch_size": 16, "num_threads": 1},
        "optimizer": {"type": "sgd", "lr": 0.05}, "scheduler": {"type": "cosine", "warmup_epochs": 1},
        "metric": "val_acc",
    }  # fmt: skip


def lines(path: Path) -> list[Tree]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start the installed command, with ^C as a terminal would have it."""
    return subprocess.Popen(
        [ML_TRAIN, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def end(process: "subprocess.Popen[str]") -> Ended:
    out, err = process.communicate(timeout=PATIENCE)
    return Ended(process.returncode, out, err)


def wait_for_epochs(run: Path, n: int, process: "subprocess.Popen[str]") -> None:
    """Wait until `n` epochs stand in the run's metrics.jsonl."""
    deadline = time.monotonic() + PATIENCE
    while len(lines(run / "metrics.jsonl")) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_same(one: Any, other: Any) -> None:
    """Bit for bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, Mapping):
        assert one.keys() == other.keys()
        for key in one.keys() - set(TIMES):
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one == other


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("best", "last"):
        left, right = (torch.load(run / f"checkpoints/{name}.pt", weights_only=True) for run in (one, other))
        for state in (left, right):
            state["history"] = json.loads(state["history"])
        assert_same(left, right)
    assert_same(load_file(one / "artifacts/model.safetensors"), load_file(other / "artifacts/model.safetensors"))
    assert_same(lines(one / "metrics.jsonl"), lines(other / "metrics.jsonl"))


# --- What it trains ---------------------------------------------------------------------------------------------------


def test_breast_cancer_is_told_apart_and_tested_once(here: Path, cancer: Tree, breast_cancer_csv: Path) -> None:
    """The installed command, with an override by its last part and one by its dotted key, and the final run."""
    write("cancer.yaml", {**cancer, "training": {**cancer["training"], "num_epochs": 15}})
    ended = end(start(here, "--config", "cancer.yaml", "--lr", "0.1", "--model.hidden_size=16", "--mode", "final"))
    assert (ended.code, ended.err) == (0, ""), ended.err
    run, final = (
        here / "runs/breast_cancer_lr-0.1_hidden_size-16",
        here / "runs/breast_cancer_lr-0.1_hidden_size-16-final",
    )
    assert sorted(path.name for path in (here / "runs").iterdir()) == [run.name, final.name]
    result = read_json(run / "result.json")
    assert result["metric"] == "val_auc" and result["value"] >= 0.98
    assert not (run / "test_ledger.jsonl").exists()
    tested = read_json(final / "result.json")
    assert tested["test_metrics"]["test_auc"] >= 0.98
    assert tested["last_epoch"] == result["best_epoch"] == len(lines(final / "metrics.jsonl"))
    [opening] = lines(final / "test_ledger.jsonl")
    assert opening["weights"] == "last" and opening["examples"] == 114 and "--mode" in opening["command"]
    # What is said: where it lies, what it reached, and what was opened.
    for text in ("341 examples, 114 to validate", str(run.relative_to(here)), "refit on 455 examples", "test_auc"):
        assert text in ended.out
    config = yaml.read(run / "config.yaml").tree
    assert config["optimizer"]["lr"] == 0.1 and config["model"]["hidden_size"] == 16
    predictions = mlframework.load(final).predict(breast_cancer_csv)
    assert len(predictions) == 569 and {p.value for p in predictions} == {"benign", "malignant"}


def test_diabetes_is_predicted_in_its_unit(ml_train: Callable[..., Ended], diabetes_csv: Path) -> None:
    tree = table_tree(diabetes_csv, "progression", metric="val_r2")
    ended = ml_train("--config", write("d.yaml", tree), "--lr", "0.01", "--num_epochs", "20")
    assert ended.code == 0, ended.err
    metrics = read_json(Path("runs/diabetes_lr-0.01_num_epochs-20/result.json"))["best_metrics"]
    assert metrics["val_r2"] > 0.3 and 40 < metrics["val_rmse"] < 75


def test_a_run_folder_is_never_written_over(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    write("c.yaml", cancer)
    for name in ("breast_cancer_num_epochs-1", "breast_cancer_num_epochs-1-2"):
        assert ml_train("--config", "c.yaml", "--num_epochs", "1").code == 0
        assert len(lines(Path("runs") / name / "metrics.jsonl")) == 1


def test_hyperparameters_come_before_overrides(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    write("c.yaml", cancer)
    best = {"mlp": {"optimizer.lr": 0.02, "model.hidden_size": 8, "training.num_epochs": 1}}
    for path, arguments in (("models/best_hyperparameters.json", ()), ("other.json", ("other.json",))):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(json.dumps(best))
        assert ml_train("--config", "c.yaml", "--lr", "0.03", "--hyperparameters", *arguments).code == 0
    for run in ("breast_cancer_lr-0.03", "breast_cancer_lr-0.03-2"):
        tree = yaml.read(Path("runs") / run / "config.yaml").tree
        assert (tree["optimizer"]["lr"], tree["model"]["hidden_size"]) == (0.03, 8)
    ended = ml_train("--config", "c.yaml", "--hyperparameters", "none.json")
    assert ended.code == 2 and "none.json: " in ended.err


def test_cross_validation_shows_a_table_and_keeps_it(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    ended = ml_train("--config", write("c.yaml", cancer), "--cross-validate", "3", "--num_epochs", "2")
    assert ended.code == 0, ended.err
    run = Path("runs/breast_cancer_num_epochs-2_folds-3")
    values = [read_json(run / f"fold_{n}/result.json")["value"] for n in (1, 2, 3)]
    result = read_json(run / "result.json")
    assert result["folds"] == values and result["value"] == pytest.approx(sum(values) / 3)
    assert all(f"{value:.4f}" in ended.out for value in values) and "over 3 folds" in ended.out
    bests = [read_json(run / f"fold_{n}/result.json")["best_epoch"] for n in (1, 2, 3)]
    for number, (value, epoch) in enumerate(zip(values, bests, strict=True), 1):
        assert f"fold {number}/3: {result['metric']} {value:.6g} at epoch {epoch}" in ended.out
    assert not list(run.rglob("test_ledger.jsonl"))
    again = ml_train("--resume", str(run))
    assert again.code == 0 and "is finished already" in again.out


def test_the_table_of_many_folds_stays_narrow(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    ended = ml_train("--config", write("c.yaml", cancer), "--cross-validate", "12", "--num_epochs", "1")
    assert ended.code == 0, ended.err
    result = read_json(Path("runs/breast_cancer_num_epochs-1_folds-12/result.json"))
    after = ended.out[ended.out.index("fold 12/12") :].splitlines()
    assert max(map(len, after[1:-1])) < 60
    rows = [line.split() for line in after]
    for number, value in enumerate(result["folds"], 1):
        assert [str(number), "1", f"{value:.4f}"] in rows
    mean, deviation = statistics.mean(result["folds"]), statistics.stdev(result["folds"])
    assert [result["metric"], f"{mean:.4f}", f"{deviation:.4f}"] in rows


def test_a_stopped_cross_validation_goes_on_as_one(
    ml_train: Callable[..., Ended], cancer: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("c.yaml", cancer)
    arguments = ("--config", "c.yaml", "--cross-validate", "3", "--num_epochs", "2")
    assert ml_train(*arguments).code == 0
    whole = read_json(Path("runs/breast_cancer_num_epochs-2_folds-3/result.json"))
    trained: list[str] = []
    original = mlframework.plans.train  # type: ignore[attr-defined]

    def interrupted(config: Any, splits: Any, run: Any, callbacks: Any) -> Any:
        trained.append(run.path.name)
        if trained == ["fold_1", "fold_2"]:
            raise KeyboardInterrupt
        return original(config, splits, run, callbacks)

    monkeypatch.setattr(mlframework.plans, "train", interrupted)  # type: ignore[attr-defined]
    ended = ml_train(*arguments)
    run = "runs/breast_cancer_num_epochs-2_folds-3-2"
    assert ended.code == 130 and f"go on with: ml-train --resume {run}" in ended.err
    assert ml_train("--config", "c.yaml", "--resume").code == 0  # the newest unfinished one
    assert trained == ["fold_1", "fold_2", "fold_1", "fold_2", "fold_3"]
    assert_same(read_json(Path(run) / "result.json"), whole)


def test_print_config_trains_nothing_and_is_a_config_itself(ml_train: Callable[..., Ended], digits: Tree) -> None:
    shown = ml_train("--config", write("d.yaml", digits), "--print-config", "--lr", "1e-3")
    assert shown.code == 0 and "runs" not in os.listdir()
    Path("shown.yaml").write_text(shown.out)
    tree = yaml.read("shown.yaml").tree
    assert tree["optimizer"] == {**tree["optimizer"], "type": "sgd", "lr": 1e-3, "momentum": 0.9}
    assert tree["training"]["accumulation_steps"] == 1 and tree["data"]["split"]["val_fraction"] == 0.2
    assert ml_train("--config", "shown.yaml", "--print-config").out == shown.out


HELP = """
import sys
from mlframework.cli import train
sys.argv = ["ml-train", "--help"]
try:
    train.main()
except SystemExit as end:
    assert end.code == 0
heavy = {"torch", "torchvision", "optuna", "plotly", "sklearn", "polars", "numpy", "PIL", "pydantic", "rich", "tensorboard"}
print(sorted(heavy & set(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for word in (
        "--config",
        "--mode",
        "--hyperparameters",
        "--resume",
        "--cross-validate",
        "--print-config",
        "--lr 0.01",
    ):
        assert word in done.stdout


PLAIN = """
import sys
from mlframework.cli import train
sys.argv = ["ml-train", "--config", "d.yaml", *sys.argv[1:]]
try:
    train.main()
except SystemExit as end:
    assert end.code == 0, end.code
print("mlframework.search.read" in sys.modules, "mlframework.search.samplers" in sys.modules)
"""


def test_a_run_without_a_search_imports_nothing_of_one(here: Path, digits: Tree) -> None:
    write("d.yaml", digits)
    seen = []
    for options in ([], ["--optimizer.lr", "0.05"]):
        done = subprocess.run([sys.executable, "-c", PLAIN, *options], capture_output=True, text=True, check=True)
        seen.append(done.stdout.splitlines()[-1])
    assert seen == ["False False", "True True"]


# --- How it goes on after a stop --------------------------------------------------------------------------------------


def test_a_killed_run_ends_bit_for_bit_as_one_that_was_not(here: Path, digits: Tree) -> None:
    for name in ("whole", "killed"):
        (here / name).mkdir()
        write(f"{name}/d.yaml", digits)
    whole = start(here / "whole", "--config", "d.yaml")
    killed = start(here / "killed", "--config", "d.yaml")
    run = here / "killed/runs/digits"
    wait_for_epochs(run, 2, killed)
    killed.send_signal(signal.SIGKILL)
    assert end(killed).code == -signal.SIGKILL
    assert not (run / "result.json").exists() and len(lines(run / "metrics.jsonl")) < 6
    resumed = end(start(here / "killed", "--resume", "runs/digits"))
    assert (resumed.code, resumed.err) == (0, "") and "going on after epoch" in resumed.out
    ended = end(whole)
    assert (ended.code, ended.err) == (0, "")
    assert_same_run(here / "whole/runs/digits", run)


def test_signals_leave_a_run_that_says_how_to_go_on(here: Path, cancer: Tree) -> None:
    endless = {**cancer, "training": {**cancer["training"], "num_epochs": 100_000}}
    stops = (("int", signal.SIGINT, 130, "interrupted"), ("term", signal.SIGTERM, 143, "terminated"))
    processes = {}
    for name, *_ in stops:
        (here / name).mkdir()
        write(f"{name}/c.yaml", endless)
        processes[name] = start(here / name, "--config", "c.yaml")
    for name, number, code, word in stops:
        run = here / name / "runs/breast_cancer"
        wait_for_epochs(run, 3, processes[name])
        processes[name].send_signal(number)
        ended = end(processes[name])
        assert ended.code == code
        assert ended.err.splitlines() == [
            f"{word}; the last finished epoch is saved; go on with: ml-train --resume runs/breast_cancer"
        ]
        saved = json.loads(torch.load(run / "checkpoints/last.pt", weights_only=True)["history"])
        assert len(saved) >= len(lines(run / "metrics.jsonl")) >= 3
        assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.pt", "last.pt", "previous.pt"]


def test_a_finished_run_is_not_trained_again(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    write("c.yaml", cancer)
    assert ml_train("--config", "c.yaml", "--num_epochs", "2").code == 0
    run = Path("runs/breast_cancer_num_epochs-2")
    before = (run / "metrics.jsonl").read_text()
    ended = ml_train("--resume", str(run))
    assert ended.code == 0 and "is finished already: val_auc" in ended.out
    assert (run / "metrics.jsonl").read_text() == before
    ended = ml_train("--config", "c.yaml", "--resume")
    assert ended.code == 2 and "no unfinished run to resume: 1 are finished" in ended.err
    final = ml_train("--resume", str(run), "--mode", "final")
    assert final.code == 0 and read_json(Path(f"{run}-final/result.json"))["test_metrics"]


def test_a_run_that_was_killed_before_its_artifact_gets_it(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    write("c.yaml", cancer)
    assert ml_train("--config", "c.yaml", "--num_epochs", "2").code == 0
    run = Path("runs/breast_cancer_num_epochs-2")
    shutil.rmtree(run / "artifacts")
    ended = ml_train("--config", "c.yaml", "--resume")
    assert ended.code == 0, ended.err
    assert len(lines(run / "metrics.jsonl")) == 2 and mlframework.load(run)


def test_a_final_run_that_was_killed_before_its_test_is_tested(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    write("c.yaml", cancer)
    assert ml_train("--config", "c.yaml", "--num_epochs", "2", "--mode", "final").code == 0
    final = Path("runs/breast_cancer_num_epochs-2-final")
    whole = read_json(final / "result.json")
    (final / "result.json").write_text(json.dumps({k: v for k, v in whole.items() if k != "test_metrics"}))
    (final / "test_ledger.jsonl").unlink()
    assert ml_train("--config", "c.yaml", "--resume").code == 0
    assert read_json(final / "result.json")["test_metrics"] == whole["test_metrics"]
    assert len(lines(final / "test_ledger.jsonl")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--resume", "runs/none"), r"runs/none: there is no such run; runs there: runs/breast_cancer"),
        (("--resume", "."), r"has no config.yaml, it is not a run folder"),
        (("--resume",), r"name the run's folder, or its config with --config"),
        (("--resume", "runs/breast_cancer_num_epochs-1", "--lr", "0.1"), r"its own settings; leave out --lr"),
        (("--resume", "runs/breast_cancer_num_epochs-1", "--print-config"), r"leave out --print-config"),
        (("--resume", "runs/breast_cancer_num_epochs-1", "--cross-validate"), r"leave out --cross-validate"),
    ],
)
def test_a_resume_that_cannot_be(
    ml_train: Callable[..., Ended], cancer: Tree, arguments: tuple[str, ...], message: str
) -> None:
    assert ml_train("--config", write("c.yaml", cancer), "--num_epochs", "1").code == 0
    ended = ml_train(*arguments)
    assert ended.code == 2 and message in ended.err and "Traceback" not in ended.err


def test_profile_says_where_the_time_went(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    ended = ml_train("--config", write("c.yaml", cancer), "--num_epochs", "4", "--profile")
    assert ended.code == 0, ended
    (folder,) = Path("runs").glob("*/profile")
    assert (folder / "summary.txt").read_text() in ended.out
    assert json.loads((folder / "epoch_3.pt.trace.json").read_text())["traceEvents"]
    assert "Profiler" not in ended.err and "USDT" not in ended.err


@pytest.mark.parametrize("other", [("--cross-validate", "3"), ("--find-lr",), ("--print-config",)])
def test_profile_tells_of_one_training(ml_train: Callable[..., Ended], cancer: Tree, other: tuple[str, ...]) -> None:
    ended = ml_train("--config", write("c.yaml", cancer), "--profile", *other)
    assert ended.code == 2 and f"--profile: tells of one training; leave out {other[0]}" in ended.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("damage", ["cut short", "foreign", "garbage", "empty", "of other settings"])
def test_a_checkpoint_that_cannot_be_resumed(ml_train: Callable[..., Ended], cancer: Tree, damage: str) -> None:
    assert ml_train("--config", write("c.yaml", cancer), "--num_epochs", "1").code == 0
    run = Path("runs/breast_cancer_num_epochs-1")
    (run / "result.json").unlink()
    checkpoint, whole = run / "checkpoints/last.pt", (run / "checkpoints/last.pt").read_bytes()
    if damage == "foreign":
        torch.save({"model": torch.zeros(3), "epoch": 7}, checkpoint)
    elif damage == "of other settings":
        tree = yaml.read(run / "config.yaml").tree
        write(str(run / "config.yaml"), {**tree, "seed": 99})
    else:
        checkpoint.write_bytes(
            {"cut short": whole[: len(whole) // 2], "garbage": b"runs/digits\n" * 40, "empty": b""}[damage]
        )
    before = checkpoint.read_bytes()
    ended = ml_train("--resume", str(run))
    assert ended.code == 2 and "checkpoints/last.pt: " in ended.err
    assert len(ended.err.strip().splitlines()) == 1 and "Traceback" not in ended.err
    assert checkpoint.read_bytes() == before and not (run / "result.json").exists()


# --- What bad input gets ----------------------------------------------------------------------------------------------


def assert_refused(ended: Ended, *messages: str) -> None:
    """Exit 2, one message, no traceback, nothing half-written."""
    assert ended.code == 2, ended
    for message in messages:
        assert message in ended.err, ended.err
    assert "Traceback" not in ended.err and "defect" not in ended.err
    assert not Path("runs").is_dir() or not any(Path("runs").iterdir())


def class_folders(*counts: int) -> str:
    from PIL import Image

    for number, count in enumerate(counts):
        folder = Path(f"data/class{number}")
        folder.mkdir(parents=True)
        for image in range(count):
            Image.new("RGB", (16, 16), (number * 40, image, 0)).save(folder / f"{image}.png")
    return "data"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "none", "none: there is no such folder"),
        (lambda: str(Path("data").mkdir() or "data"), "data: empty, no class folders in it"),
        (lambda: class_folders(0, 0), "no images in its folders class0, class1"),
        (lambda: class_folders(10), "only one class, 'class0'"),
        (lambda: class_folders(10, 1), "class1 (1)"),
    ],
    ids=["missing", "empty", "no images", "one class", "a class with one image"],
)
def test_bad_image_folders(ml_train: Callable[..., Ended], digits: Tree, make: Callable[[], str], message: str) -> None:
    ended = ml_train("--config", write("d.yaml", digits), "--data.path", make())
    assert_refused(ended, message)
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        (("--target", "diagnose"), ("unknown column 'diagnose'; did you mean 'diagnosis'?",)),
        (("--data.path", "none.csv"), ("none.csv",)),
        (("--metric", "val_rmse"), ("val_rmse has no meaning in a classification", "val_acc")),
        (("--class_weights", "[1, 2, 3]"), ("has 3 weights, the data has 2 classes: benign, malignant",)),
        (("--trainer_type", "mixed_precision", "--precision", "fp16"), ("fp16 needs a CUDA device",)),
        (("--lr", "1e30"), ("is nan at epoch 1; a smaller optimizer.lr",)),
        (("--lr", "-1"), ("optimizer.lr", "greater than 0")),
        (("--num_epochs", "0"), ("training.num_epochs",)),
        (("--lrr", "1"), ("--lrr", "did you mean --lr?")),
        (("--lr",), ("--lr: needs a value",)),
        (("0.1",), ("0.1: is no option",)),
        (("--mode", "finale"), ("invalid choice: 'finale'",)),
        (("--cross-validate", "1"), ("1 folds; at least 2 are needed",)),
        (("--cross-validate", "400"), ("n_folds: 400 is too many for the 170 examples of the smallest class",)),
        (("--cross-validate", "3", "--mode", "final"), ("leave out --mode final",)),
        (("--mode", "final", "--test_fraction", "0"), ("there is no test split",)),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else str(value),
)
def test_bad_settings(
    ml_train: Callable[..., Ended], cancer: Tree, settings: tuple[str, ...], messages: tuple[str, ...]
) -> None:
    ended = ml_train("--config", write("c.yaml", cancer), *settings)
    assert_refused(ended, *messages)
    assert len(ended.err.strip().splitlines()) == 1


def test_all_bad_settings_are_said_at_once(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    broken = {**cancer, "sed": 1, "optimizer": {"type": "sgd", "lrr": 0.1, "momentum": 2}}
    ended = ml_train("--config", write("c.yaml", broken))
    assert_refused(ended, "sed: unknown key; did you mean 'seed'?", "optimizer.lrr: unknown key", "optimizer.momentum")
    assert all(line.startswith("c.yaml:") for line in ended.err.strip().splitlines())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# nothing\n",
        b"- a\n- b\n",
        b"\x89PNG\r\n\x1a\n\x00\xff\xfe",
        b"data:\n\ttype: table\n",
        b"just text",
        b"a: [1",
    ],
    ids=["empty", "only a comment", "a list", "binary", "tabs", "text", "cut short"],
)
def test_files_that_are_no_config(ml_train: Callable[..., Ended], content: bytes) -> None:
    Path("c.yaml").write_bytes(content)
    assert_refused(ml_train("--config", "c.yaml"), "c.yaml")


def test_configs_that_are_not_there(ml_train: Callable[..., Ended]) -> None:
    assert_refused(ml_train("--config", "none.yaml"), "none.yaml")
    assert_refused(ml_train("--config", "."), ".")
    assert_refused(ml_train(), "--config F is needed; ml-init-config DATA writes one")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    assert_refused(ml_train("--config", write("c.yaml", cancer), "--device", "cuda"), "device: cuda is not there")


def test_images_that_are_too_small_for_the_model(ml_train: Callable[..., Ended], digits: Tree) -> None:
    ended = ml_train("--config", write("d.yaml", digits), "--model.architecture", "alexnet", "--dropout", "0.5")
    assert_refused(ended, "the model cannot take this data", "another data.image_size")


def test_a_file_in_the_place_of_the_runs_folder(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    Path("runs").write_text("mine")
    assert_refused(ml_train("--config", write("c.yaml", cancer)), "a file stands where a folder is needed")
    assert Path("runs").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_runs_folder_that_may_not_be_written(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    Path("runs").mkdir(mode=0o555)
    assert_refused(ml_train("--config", write("c.yaml", cancer)), "you may not write there")


def test_a_file_that_may_not_grow_ends_a_run_with_one_message(ml_train: Callable[..., Ended], cancer: Tree) -> None:
    write("c.yaml", cancer)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # a checkpoint has more
    try:
        ended = ml_train("--config", "c.yaml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_refused(ended, "checkpoints/last.pt: cannot be written: ")
    assert len(ended.err.strip().splitlines()) == 1


@pytest.fixture
def tiny_disk(here: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MB."""
    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("no way to mount here")
    folder = here / "tiny"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield folder
    os.chdir(here)
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_what_is_finished_and_says_how_to_go_on(
    tiny_disk: Path, ml_train: Callable[..., Ended], cancer: Tree
) -> None:
    os.chdir(tiny_disk)
    write("c.yaml", {**cancer, "tracking": {"tensorboard": True}})
    filler = Path("filler")

    def fill(room: int) -> None:
        filler.unlink(missing_ok=True)
        free = os.statvfs(".").f_bavail * os.statvfs(".").f_frsize
        filler.write_bytes(b"x" * (free - room))

    fill(room=4096)
    ended = ml_train("--config", "c.yaml")
    assert_refused(ended, "cannot be written: the disk is full; make room")
    assert len(ended.err.strip().splitlines()) == 1
    # Room for the first checkpoint, of 120 kB, but not for the second beside it.
    fill(room=200_000)
    ended = ml_train("--config", "c.yaml", "--hidden_size", "96")
    run = Path("runs/breast_cancer_hidden_size-96")
    assert ended.code == 2 and "the disk is full; make room, then go on with --resume" in ended.err, ended
    assert len(ended.err.strip().splitlines()) == 1
    assert 1 <= len(json.loads(torch.load(run / "checkpoints/last.pt", weights_only=True)["history"])) < 5
    assert not list(run.rglob(".*"))
    filler.unlink()
    assert ml_train("--resume", str(run)).code == 0
    assert [line["epoch"] for line in lines(run / "metrics.jsonl")] == [1, 2, 3, 4, 5]
