"""docs/guides/mlflow.md, "Add a tracker", typed into a copy of the package: the tracker is told of trainings and trials."""

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.reader import InProcess, Step, in_process
from support.searches import write_config
from support.typed_in import typed_in

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "mlflow.md"
STUDY = Path("runs/optuna_studies/tiny_optimization")


class Wandb:
    """The calls of Weights & Biases that the page makes, taken down in a file of the run's folder.

    Attributes:
        breaks_at: the epoch at which somebody presses Ctrl-C, once.
    """

    def __init__(self) -> None:
        self.breaks_at: int | None = None

    def init(self, **told: Any) -> "Run":
        assert not set(told["id"]) & set("/\\#?%:"), "Weights & Biases takes no such id"
        return Run(self, Path(told.pop("dir")) / "wandb.jsonl", told)


class Run:
    """A run of it."""

    def __init__(self, wandb: Wandb, path: Path, told: dict[str, Any]) -> None:
        self._wandb, self._path = wandb, path
        self.summary: dict[str, Any] = {}
        self._write("init", **told)

    def log(self, values: dict[str, float], step: int) -> None:
        self._write("log", step=step, **values)
        if step == self._wandb.breaks_at:
            self._wandb.breaks_at = None
            raise KeyboardInterrupt

    def finish(self, exit_code: int) -> None:
        self._write("finish", exit_code=exit_code, **self.summary)

    def _write(self, call: str, **told: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps({"call": call, **told}) + "\n")


def calls(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "wandb.jsonl").read_text().splitlines()]


def steps(run: Path) -> list[int]:
    return [each["step"] for each in calls(run) if each["call"] == "log"]


def ends(run: Path) -> list[tuple[str, int]]:
    return [(each["status"], each["exit_code"]) for each in calls(run) if each["call"] == "finish"]


@pytest.fixture(scope="module")
def wandb() -> Iterator[Wandb]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wandb", found := Wandb())
        yield found


@pytest.fixture(scope="module")
def typist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """Commands of a copy of the package in which the page was typed; this process imports it in the other one's place."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "src", root / "src")
    typed_in(PAGE, root)
    (root / "here").mkdir()
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "mlframework"}
    sys.path.insert(0, str(root / "src"))
    importlib.invalidate_caches()
    try:
        with in_process(root / "here") as found:
            assert Path(str(importlib.import_module("mlframework").__file__)).is_relative_to(root)
            yield found
    finally:
        sys.path.remove(str(root / "src"))
        for name in [name for name in sys.modules if name.split(".")[0] == "mlframework"]:
            del sys.modules[name]
        sys.modules.update(kept)


def test_a_training_and_its_resume_are_one_run(typist: InProcess, wandb: Wandb) -> None:
    write_config({"tracking.wandb": {"enabled": True, "project": "tumours"}})
    wandb.breaks_at = 2
    typist.type(Step("bash", "ml-train --config config.yaml --lr 0.02", ""), exits=130)
    run = Path("runs/tiny_lr-0.02")
    assert (steps(run), ends(run)) == ([1, 2], [("interrupted", 1)])
    typist.type(Step("bash", f"ml-train --resume {run}", ""))
    assert (steps(run), ends(run)) == ([1, 2, 3], [("interrupted", 1), ("finished", 0)])
    first, second = (each for each in calls(run) if each["call"] == "init")
    assert first == second
    assert (first["project"], first["name"], first["resume"]) == ("tumours", "tiny_lr-0.02", "allow")
    assert first["config"]["optimizer.lr"] == 0.02
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [each["val_loss"] for each in calls(run) if each["call"] == "log"] == [each["val_loss"] for each in epochs]


def test_each_trial_of_a_search_is_a_run_and_says_how_it_ended(typist: InProcess, wandb: Wandb) -> None:
    write_config({
        "tracking.wandb": {"enabled": True}, "search.n_trials": 3,
        "search_space": {"optimizer.lr": {"type": "loguniform", "low": 1e-3, "high": 1e30}},
        "search.pruner": {"type": "ThresholdPruner", "upper": 0.72, "n_warmup_steps": 2},
        "search.enqueue": [{"optimizer.lr": lr} for lr in (0.09, 0.001, 1e30)],
    })  # fmt: skip
    typist.type(Step("bash", "ml-search --config config.yaml", ""))
    runs = [STUDY / f"trial_{number:04d}" for number in range(3)]
    assert [(steps(run), ends(run)) for run in runs] == [
        ([1, 2, 3], [("finished", 0)]), ([1, 2], [("pruned", 1)]), ([], [("failed", 1)]),
    ]  # fmt: skip
    states = [trial["state"] for trial in json.loads((STUDY / "results.json").read_text())["trials"]]
    assert states == ["complete", "pruned", "failed"]
    begun = [calls(run)[0] for run in runs]
    assert [each["config"]["optimizer.lr"] for each in begun] == [0.09, 0.001, 1e30]
    assert len({each["id"] for each in begun}) == 3


def test_who_does_not_ask_for_it_has_none(typist: InProcess, wandb: Wandb) -> None:
    write_config({"name": "without"})
    typist.type(Step("bash", "ml-train --config config.yaml", ""))
    assert Path("runs/without/metrics.jsonl").is_file() and not Path("runs/without/wandb.jsonl").exists()
