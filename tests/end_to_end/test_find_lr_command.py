"""`ml-train --find-lr` on real data: what it writes and says, what bad input gets, and that its suggestion trains best."""

import json
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlframework.cli import console, train
from mlframework.config import yaml
from support.running import Ended

CONFIGS = Path(__file__).parents[2] / "configs"
Tree = dict[str, Any]


@pytest.fixture
def ml_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """Runs the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
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


MlTrain = Callable[..., Ended]


def write(tree: Tree) -> str:
    Path("config.yaml").write_text(yaml.dump(tree), encoding="utf-8")
    return "config.yaml"


def shipped(name: str, path: Path, /, **changes: Any) -> Tree:
    """A shipped config on one thread, with sections changed."""
    tree = dict(yaml.read(CONFIGS / f"{name}.yaml").tree)
    del tree["search"]
    tree |= {"device": "cpu", "tracking": {"tensorboard": False}}
    wanted = {"data": {"path": str(path)}, "training": {"num_threads": 1}}
    for section, settings in (*wanted.items(), *changes.items()):
        tree[section] = {**tree[section], **settings}
    return tree


@pytest.fixture
def cancer(breast_cancer_csv: Path) -> Tree:
    return shipped("breast_cancer", breast_cancer_csv)


def found(folder: str) -> Tree:
    return dict(json.loads(Path("runs", folder, "lr_finder.json").read_text()))


def trained_command(ended: Ended) -> list[str]:
    """Return the words of the command that the last line tells to use."""
    return shlex.split(ended.out.strip().splitlines()[-1].partition("train with it: ")[2])


def test_it_writes_what_it_found_and_says_how_to_use_it(ml_train: MlTrain, cancer: Tree) -> None:
    path = write(cancer)
    ended = ml_train("--config", path, "--find-lr", "--batch_size", "64")
    assert ended.code == 0, ended.err
    finding = found("breast_cancer_find_lr_batch_size-64")
    assert finding["format"] == 1
    assert finding["suggested"] in finding["suggestions"].values()
    assert set(finding["suggestions"]) == {"steepest", "minimum_tenth"}
    assert len(finding["lrs"]) == len(finding["losses"]) == len(finding["smoothed"]) <= 100
    assert finding["lrs"][0] == pytest.approx(1e-7) and finding["stopped_why"] in ended.out
    assert finding["config"]["training"]["batch_size"] == 64 and "search" not in finding["config"]
    plot = Path("runs/breast_cancer_find_lr_batch_size-64/plots/lr_finder.html")
    assert "steepest descent" in plot.read_text(encoding="utf-8") and str(plot) in ended.out
    assert trained_command(ended) == [
        "ml-train", "--config", path, "--batch_size", "64", "--lr", f"{finding['suggested']:g}",
    ]  # fmt: skip


def test_the_command_it_names_trains_at_that_rate_as_if_nothing_had_been_swept(ml_train: MlTrain, cancer: Tree) -> None:
    path = write({**cancer, "training": {**cancer["training"], "num_epochs": 1}, "scheduler": {"type": "none"}})
    _, *arguments = trained_command(ml_train("--config", path, "--find-lr"))
    assert ml_train(*arguments).code == 0
    lr = found("breast_cancer_find_lr")["suggested"]
    [epoch] = Path(f"runs/breast_cancer_lr-{lr:g}/metrics.jsonl").read_text().splitlines()
    assert json.loads(epoch)["lr"] == lr


@pytest.mark.slow
def test_a_second_sweep_gets_a_folder_of_its_own_and_finds_the_same(ml_train: MlTrain, cancer: Tree) -> None:
    path = write(cancer)
    for _ in range(2):
        assert ml_train("--config", path, "--find-lr").code == 0
    assert found("breast_cancer_find_lr") == found("breast_cancer_find_lr-2")


def test_bounds_and_steps_are_obeyed(ml_train: MlTrain, cancer: Tree) -> None:
    bounds = ["--find-lr-low", "1e-5", "--find-lr-high", "0.01", "--find-lr-steps", "40"]
    assert ml_train("--config", write(cancer), "--find-lr", *bounds).code == 0
    finding = found("breast_cancer_find_lr")
    assert (len(finding["lrs"]), finding["lrs"][0], finding["lrs"][-1]) == (40, 1e-5, 0.01)


def test_a_sweep_is_not_taken_for_a_run_to_resume(ml_train: MlTrain, cancer: Tree) -> None:
    path = write(cancer)
    assert ml_train("--config", path, "--find-lr").code == 0
    assert "no unfinished run to resume" in ml_train("--resume", "--config", path).err
    assert "not a run folder" in ml_train("--resume", "runs/breast_cancer_find_lr").err


def test_it_trains_without_an_optimizer_section(ml_train: MlTrain, cancer: Tree) -> None:
    del cancer["optimizer"]
    ended = ml_train("--config", write(cancer), "--find-lr")
    assert ended.code == 0 and found("breast_cancer_find_lr")["suggested"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--find-lr", "--mode", "final"], "--mode final: has no effect beside --find-lr"),
        (["--find-lr", "--cross-validate", "3"], "--cross-validate: has no effect beside --find-lr"),
        (["--find-lr", "--resume"], "--resume: has no effect beside --find-lr"),
        (["--find-lr", "--print-config"], "--print-config: has no effect beside --find-lr"),
        (["--find-lr", "--lr", "0.1"], "--lr: has no effect beside --find-lr"),
        (["--find-lr", "--optimizer.lr", "0.1"], "--optimizer.lr: has no effect beside --find-lr"),
        (["--find-lr-low", "1e-5"], "--find-lr-low: has an effect only with --find-lr"),
        (["--find-lr-steps", "50"], "--find-lr-steps: has an effect only with --find-lr"),
        (["--find-lr", "--find-lr-low", "0"], "0 is not above 0"),
        (["--find-lr", "--find-lr-steps", "5"], "5 steps; at least 20 are needed"),
        (["--find-lr", "--find-lr-low", "1", "--find-lr-high", "0.1"], "from 1 to 0.1; it must rise"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(ml_train: MlTrain, cancer: Tree, arguments: list[str], said: str) -> None:
    ended = ml_train("--config", write(cancer), *arguments)
    assert ended.code == 2 and said in ended.err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("als", "als has no optimizer, so there is no learning rate to find\n"),
        ("bpr", "bpr has no optimizer, so there is no learning rate to find; search its model.lr with ml-search\n"),
    ],
)
def test_models_without_an_optimizer(ml_train: MlTrain, planted: dict[str, Tree], family: str, said: str) -> None:
    ended = ml_train("--config", write(planted[family]), "--find-lr")
    assert ended.code == 2 and ended.err.endswith(said)
    assert not Path("runs").exists()


def final_value(ml_train: MlTrain, tree: Tree, lr: float) -> float:
    """Train at a rate and return the metric of the last epoch; that of a training that diverges is 0."""
    name = f"lr{lr:g}"
    ended = ml_train("--config", write({**tree, "name": name, "optimizer": {**tree["optimizer"], "lr": lr}}))
    if ended.code == 2:
        assert "is nan" in ended.err or "is inf" in ended.err
        return 0.0
    result = json.loads(Path("runs", name, "result.json").read_text())
    return float(result["last_metrics"][tree["metric"]])


def assert_suggestion_trains_best(ml_train: MlTrain, tree: Tree) -> None:
    assert ml_train("--config", write(tree), "--find-lr").code == 0
    lr = found(f"{tree['name']}_find_lr")["suggested"]
    suggested, larger, smaller = (final_value(ml_train, tree, rate) for rate in (lr, 10 * lr, lr / 10))
    assert suggested > larger and suggested > smaller, (lr, suggested, larger, smaller)


@pytest.mark.parametrize("seed", [42, 1])
def test_the_suggestion_trains_better_than_ten_times_it_or_a_tenth_on_breast_cancer(
    ml_train: MlTrain, breast_cancer_csv: Path, seed: int
) -> None:
    tree = shipped("breast_cancer", breast_cancer_csv, training={"num_epochs": 3, "early_stopping": None})
    assert_suggestion_trains_best(ml_train, {**tree, "seed": seed})


@pytest.mark.slow
def test_the_suggestion_trains_better_than_ten_times_it_or_a_tenth_on_digits(
    ml_train: MlTrain, digits_folder: Path
) -> None:
    """The shipped config, with images of half the side; docs/decisions/0013 has the figures of the shipped size."""
    tree = shipped("digits", digits_folder, data={"image_size": 16}, training={"num_epochs": 2})
    assert_suggestion_trains_best(ml_train, tree)
