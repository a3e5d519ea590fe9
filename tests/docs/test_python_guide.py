"""What docs/guides/python.md shows runs as it stands, and so does examples/fm_tuning.py."""

import importlib
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from mlframework.cli import visualise
from mlframework.data.samples import write_breast_cancer, write_ratings
from mlframework.runs import read_json
from mlframework.tuner.fm import KEYS, fm_space

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "python.md").read_text(encoding="utf-8")
RUN = re.findall(r"^<!-- run -->\n```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder in which the page's blocks ran, in their order, and what they printed."""
    folder = tmp_path_factory.mktemp("python")
    shutil.copytree(ROOT / "configs", folder / "configs")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as monkeypatch, warnings.catch_warnings(), redirect_stdout(printed):
        warnings.simplefilter("ignore", UserWarning)  # that a few trials are too few to learn from
        monkeypatch.chdir(folder)
        write_breast_cancer("data/breast_cancer.csv")
        ratings = write_ratings("data/ratings.csv")
        for path in (ratings, ratings.with_name("users.csv")):  # fewer users: the same, and quicker
            header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
            path.write_text(header + "".join(row for row in rows if row[:5] <= "u0120"), encoding="utf-8")
        for language, text in RUN:
            if language == "python":
                exec(compile(text, "python.md", "exec"), {})
            else:
                monkeypatch.setattr(sys, "argv", shlex.split(text))
                visualise._main()
    yield folder, printed.getvalue()


def test_the_page_has_what_is_run() -> None:
    assert [language for language, _ in RUN].count("python") == PAGE.count("```python")


def test_the_page_prints_what_it_shows(played: tuple[Path, str]) -> None:
    _, printed = played
    for shown in re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        assert shown in printed
    assert "Best score: 0.89" in printed
    assert int(re.findall(r"(\d+) of 20 were stopped early", printed)[0]) >= 5


def test_the_page_leaves_what_it_says(played: tuple[Path, str]) -> None:
    folder, _ = played
    study = folder / "runs" / "optuna_studies" / "parabola-TPESampler"
    assert len(read_json(study / "results.json")["trials"]) == 15
    assert (study / "plots" / "optimization_history.html").is_file()
    assert (folder / "runs" / "breast_cancer_num_epochs-5" / "artifacts" / "model_meta.json").is_file()
    assert read_json(folder / "results" / "best.json")["direction"] == "minimize"


def test_the_table_has_the_default_space() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| `([\w.]+)`", PAGE, re.MULTILINE)
    assert [(name, key) for name, _, key in rows] == list(KEYS.items())
    for name, searched, _ in rows:
        numbers = [f"{float(number):g}" for number in re.findall(r"\d[\de.-]*", searched)]
        words = fm_space()[name].parameter.describe()
        assert all(number in words for number in numbers), name
        assert numbers or searched in words


def test_the_example_runs(tmp_path: Path) -> None:
    """With two trials an algorithm; the default is eight."""
    ended = subprocess.run(
        [sys.executable, ROOT / "examples" / "fm_tuning.py", "--n-trials", "2"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "history: 6 rows accepted" in ended.stdout
    for name in ("optuna", "bayesian", "hyperopt"):
        found = read_json(tmp_path / "fm_tuning" / f"{name}.json")
        states = [trial["state"] for trial in found["history"]]
        assert (states.count("imported"), len(states)) == (6, 8)
        assert 0.5 < found["best_score"] < 1.2
        assert re.search(rf"^  {name} +{found['best_score']:.4f}", ended.stdout, re.MULTILINE)
    assert len((tmp_path / "fm_tuning" / "progress.csv").read_text().splitlines()) == 3


def test_the_examples_history_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the runs of other days, trained again."""
    monkeypatch.chdir(tmp_path)
    example = runpy.run_path(str(ROOT / "examples" / "fm_tuning.py"))
    write_ratings("fm_tuning/ratings.csv")
    fm = importlib.import_module("mlframework.tuner.fm")
    batch_size, epochs, learning_rate, embedding_dim, error = example["HISTORY"][0]
    params = {
        "batch_size": batch_size,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "embedding_dim": embedding_dim,
    }
    plain = {"weight_decay": 1e-6, "dropout_rate": 0.0, "model.l2": 1e-7}
    value = fm.fm_objective(example["CONFIG"], metric="rmse")({**params, **plain})
    assert value == pytest.approx(error, abs=0.005)
