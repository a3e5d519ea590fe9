"""The guide to MLflow, played in its order: every command in it that needs no server of its own."""

import importlib
import re
import shlex
import signal
import sys
import warnings
from pathlib import Path

import pytest

from mlframework.cli import console
from mlframework.data.samples import write_breast_cancer

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "mlflow.md"


def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import mlflow
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(console, "_resume_hint", [])
    handler = signal.getsignal(signal.SIGTERM)
    Path("data").mkdir()
    write_breast_cancer(Path("data/breast_cancer.csv"))
    Path("configs").mkdir()
    text = (ROOT / "configs" / "breast_cancer.yaml").read_text(encoding="utf-8")
    Path("configs/breast_cancer.yaml").write_text(re.sub(r"num_epochs: \d+", "num_epochs: 3", text), encoding="utf-8")
    played = 0
    for language, block in re.findall(
        r"<!-- run -->\n```(\w+)\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL
    ):
        if language == "python":
            exec(compile(block, str(GUIDE), "exec"), {})
            played += 1
            continue
        for words in map(shlex.split, block.replace("\\\n", " ").splitlines()):
            monkeypatch.setattr(sys, "argv", words)
            with pytest.raises(SystemExit) as end:
                importlib.import_module(f"mlframework.cli.{words[0].removeprefix('ml-')}").main()
            assert not end.value.code, words
            played += 1
    signal.signal(signal.SIGTERM, handler)
    mlflow.set_tracking_uri(None)
    assert played == 6
    assert "probability_malignant" in capsys.readouterr().out
    client = MlflowClient("sqlite:///mlflow.db", "sqlite:///mlflow.db")
    experiment = client.get_experiment_by_name("tumours")
    assert experiment is not None
    names = [run.info.run_name for run in client.search_runs([experiment.experiment_id])]
    assert sorted(names) == sorted([
        "breast_cancer", "breast_cancer-2", "breast_cancer-2-final", "breast_cancer_optimization",
        *(f"trial_000{number}" for number in range(4)),
    ])  # fmt: skip
