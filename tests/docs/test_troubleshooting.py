"""docs/troubleshooting.md: the messages that it shows are those that come, and it answers what the seeds ask."""

import re
import shutil
from pathlib import Path

import pytest

from mlframework.data.samples import write_breast_cancer
from mlframework.errors import MissingExtraError
from support.reader import Step, blocks, in_process

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
SAID = [block["text"] for block in blocks(PAGE) if block["comment"] == "said"]
SEARCH = "ml-search --config configs/breast_cancer.yaml --n-trials 1 --search.pruner.type none"
SEEDS = [
    # The training framework's guide
    "All Trials Pruned", "Poor Results: best trial worse than manual tuning", "Slow Search: each trial takes too long",
    "Out of Memory: search crashes with CUDA OOM",
    # The factorization machines' tuner
    "Import errors", "Memory issues", "Slow optimization", "Poor results: check", "Monitor optimization progress",
    "Check for failed trials", "Verify search space", "Compare against manual",
    # The two-tower model's tuner
    "Optuna no instalado", "Torch no disponible", "Trials muy lentos", "Visualizaciones no se generan",
    # The course's common mistakes
    "Tuning on test data", "Too few trials", "Ignoring interactions", "Not using early stopping", "Uniform scale for LR",
]  # fmt: skip


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said where a study exists, has other settings, an option is misspelt and a package is missing."""
    folder = tmp_path_factory.mktemp("trouble")
    (folder / "configs").mkdir()
    text = (ROOT / "configs" / "breast_cancer.yaml").read_text(encoding="utf-8")
    (folder / "configs" / "breast_cancer.yaml").write_text(text, encoding="utf-8")
    write_breast_cancer(folder / "data" / "breast_cancer.csv")
    with in_process(folder) as typist:
        typist.type(Step("bash", f"{SEARCH} --num_epochs 1", ""))
        wrong = [SEARCH, f"{SEARCH} --num_epochs 5 --resume", "ml-train --config configs/breast_cancer.yaml --lrr 3"]
        found = [typist.type(Step("bash", line, ""), exits=2) for line in wrong]
    shutil.rmtree(folder)
    return "".join([*found, str(MissingExtraError("optuna", "optuna", "A search"))])


@pytest.mark.parametrize("said", SAID, ids=lambda said: said[:40])
def test_the_messages_are_those_that_come(said: str, messages: str) -> None:
    said = said.replace("30 then, 5 now", "1 then, 5 now")  # the reader's study has more epochs
    assert said.strip() in messages


def test_messages_are_shown() -> None:
    assert len(SAID) == 4


@pytest.mark.parametrize("asked", SEEDS)
def test_every_section_of_the_seeds_troubleshooting_is_answered(asked: str) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    [row] = [line for line in lines if line.startswith((f'| "{asked}', f'| "Error: {asked}'))]
    assert re.search(r"\]\(\S+\)|`[\w.]+`", row.split(" | ")[1]), row


def test_all_trials_pruned_is_answered_the_right_way_round() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("### All trials are pruned")[2].partition("###")[0]
    assert "Raise `n_warmup_steps`" in section
    assert "Raise `n_startup_trials`" in section
