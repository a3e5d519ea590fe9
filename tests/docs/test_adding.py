"""docs/guides/adding-a-model.md and adding-a-metric.md, typed into a copy of the package: what they add works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlframework.runs import read_json
from support.typed_in import edited, typed_in

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "guides" / name for name in ("adding-a-model.md", "adding-a-metric.md")]
FOLLOW = """
import sys
from pathlib import Path
import mlframework, metrics_page
from mlframework.config.json_schema import json_schema
from mlframework.search.config import ConfigFile
from support.reader import follow, in_process

assert Path(mlframework.__file__).is_relative_to(Path.cwd()), mlframework.__file__
with in_process(Path.cwd()) as typist:
    for page in sys.argv[1:]:
        follow(Path(page), typist)
assert "TableResNet" in json_schema(ConfigFile)["$defs"]
assert "### `balanced_acc`" in metrics_page.page()
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package in which both pages were typed, from top to bottom."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "configs").mkdir()
    for page in PAGES:
        typed_in(page, root)
    path = os.pathsep.join(map(str, (root / "src", ROOT / "tests", ROOT / "scripts")))
    ended = subprocess.run(
        [sys.executable, "-c", FOLLOW, *PAGES], cwd=root, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return root


def test_the_model_of_the_page_is_trained_and_searched(copy: Path) -> None:
    study = read_json(copy / "runs" / "optuna_studies" / "table_resnet_optimization" / "results.json")
    assert {trial["state"] for trial in study["trials"]} <= {"complete", "pruned"}
    assert len({trial["params"]["model.n_blocks"] for trial in study["trials"]}) > 1
    assert read_json(copy / "runs" / "table_resnet" / "result.json")["value"] > 0.95


def test_the_metric_of_the_page_is_what_is_searched_for(copy: Path) -> None:
    study = read_json(copy / "runs" / "optuna_studies" / "balanced_optimization" / "results.json")
    assert (study["metric"], study["direction"]) == ("val_balanced_acc", "maximize")
    run = read_json(copy / "runs" / "balanced" / "result.json")
    assert 0.8 < run["value"] <= 1
    assert run["value"] != run["best_metrics"]["val_acc"]  # as the classes are not of one size


def test_an_edit_of_what_is_not_there_is_refused() -> None:
    assert edited("a\nb\nc\n", " a\n-b\n+B\n+x\n") == "a\nB\nx\nc\n"
    for text in ("a\nc\n", "a\nb\na\nb\n"):
        with pytest.raises(AssertionError, match="not there"):
            edited(text, " a\n-b\n+B\n")


@pytest.mark.slow
def test_the_code_of_the_pages_has_types(copy: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "src/mlframework/models/table_resnet.py",
         "src/mlframework/metrics/classification.py"],
        cwd=copy, capture_output=True, text=True, timeout=600, env={**os.environ, "MYPYPATH": str(copy / "src")},
    )  # fmt: skip
    assert re.search(r"Success: no issues", ended.stdout), ended.stdout + ended.stderr
