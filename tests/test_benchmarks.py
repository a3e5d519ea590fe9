"""The benchmark suite itself: what its table names is there, and it believes no ratio of sides that disagree."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MODULES = ("suite", "case_table", "measure", "scores", "show")
TOY = """
import json, sys
results = {"prepare": {}, "ours": {"seconds": 2.0, "found": 1.0}, "hand": {"seconds": 2.0, "found": 1.00001},
           "slow": {"seconds": 9.0, "found": 1.0}, "wrong": {"seconds": 1.0, "found": 1.1}}
if sys.argv[1] == "prepare":
    open("prepared", "w").close()
open("prepared").close()
assert sys.argv[1] != "failing", "it fails"
print("something else")
print(json.dumps(results[sys.argv[1]]))
"""


@pytest.fixture(name="suite")
def _suite(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("suite")
    for name in MODULES:
        sys.modules.pop(name, None)


def sides_of(script: Path) -> set[str]:
    """Return the sides that a script hands to `main`."""
    calls = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Call)]
    mains = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "main"]
    return {str(keyword.arg) for call in mains for keyword in call.keywords}


def test_every_case_of_the_table_has_its_script_and_sides(suite: ModuleType) -> None:
    """What the table names is there, once, with something by which its sides are compared."""
    assert len({case.name for case in suite.CASES}) == len(suite.CASES)
    for case in suite.CASES:
        missing = {"prepare", *case.sides} - sides_of(BENCHMARKS / "cases" / case.script)
        assert not missing, f"{case.name}: {case.script} has no {missing}"
        assert case.floor is None or case.agree, f"{case.name}: nothing says that its sides do the same"
        source = next((each for each in suite.CASES if each.name == case.runs_of), case)
        assert (case.script, case.ours, case.floor) == (source.script, source.ours, source.floor), case.name
        assert not (case.peers or case.others) or case.near, f"{case.name}: nothing says what its peers come to"


def test_the_table_has_every_case_with_its_bar(suite: ModuleType) -> None:
    """The bars are those that were agreed on: none is lowered by the way."""
    assert {case.name: case.bar for case in suite.CASES} == {
        "tiny_mlp": 1.15, "resnet18": 1.0, "small_cnn": 0.35, "fm": 1.15, "two_tower": 1.15, "top_k": 1.5,
        "als_search": 1.1, "trial_overhead": 2.0, "mlp_search": 0.75, "als_two_workers": 0.6, "mlp_two_workers": 0.6,
        "train_table": 1.15, "als_run": 1.25, "help": 0.3, "resnet18_memory": 1.25, "growth": 1.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "status", "said"),
    [
        ("ours", 0, "1.00 (1.00..1.00)"),
        ("slow", 1, "4.50 (4.50..4.50)"),
        ("wrong", 1, "they should agree to 0.001"),
        ("failing", 1, "it fails"),
    ],
)
def test_a_bar_counts_only_where_the_results_agree(
    suite: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ours: str, status: int, said: str,
) -> None:  # fmt: skip
    """A case is met by a small ratio of sides that come to the same; else the suite ends with exit 1, and says why."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(sys.modules["measure"], "CASES_FOLDER", tmp_path)
    case = suite.Case("toy", "toy.py", "a toy", 1.15, ours=ours, agree={"found": 1e-3})
    monkeypatch.setattr(suite, "CASES", (case,))
    results = tmp_path / "results.md"
    assert suite.main(["--rounds", "1", "--results", str(results)]) == status
    assert said in " ".join(capsys.readouterr().out.split())
    assert "- torch: " in results.read_text()


@pytest.mark.parametrize(
    ("seconds", "is_met", "is_within"),
    [(1.15, True, False), (1.17, True, True), (1.18, False, False), (0.3, True, False)],
)
def test_a_ratio_is_judged_to_the_nearest_twentieth(
    suite: ModuleType, seconds: float, is_met: bool, is_within: bool
) -> None:
    scores, measure = sys.modules["scores"], sys.modules["measure"]
    case = suite.Case("toy", "toy.py", "a toy", 1.15, agree={"found": 0})
    score = scores.Score(case)
    sides = {"hand": 1.0, "ours": seconds}
    score.add(
        {side: measure.Measured({"seconds": value, "found": 1}, value, value, 1) for side, value in sides.items()}
    )
    assert (score.is_met, score.is_within) == (is_met, is_within)


def test_a_round_of_a_real_case_agrees(suite: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal of ALS: ours and the script by hand come to the same NDCG from the same log, and torch stays out."""
    monkeypatch.setenv("MLFRAMEWORK_BENCH_QUICK", "1")
    monkeypatch.delenv("MLFRAMEWORK_MOVIELENS", raising=False)
    case = next(each for each in suite.CASES if each.name == "als_run")
    said: list[Any] = []
    score = suite.run_case(case, 1, False, said.append)
    assert not score.problems
    assert score.rounds[0]["ours_run"].result["ndcg_at_10"] > 0.05
    assert said == ["als_run: prepare", "als_run: round 1 of 1"]


def test_noisy_cases_have_more_rounds_unless_somebody_says_how_many(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: dict[str, int] = {}

    def run_case(case: Any, n_rounds: int, *_: object) -> Any:
        rounds[case.name] = n_rounds
        return suite.Score(case)

    monkeypatch.setattr(suite, "run_case", run_case)
    monkeypatch.setattr(suite, "table_of", lambda scores: "")
    monkeypatch.setattr(suite, "write_results", lambda scores, path: None)
    seen = []
    for options in ([], ["--rounds", "2"]):
        suite.main(["--case", "fm", "--case", "resnet18", "--case", "train_table", *options])
        seen.append(dict(rounds))
    assert seen == [{"fm": 15, "resnet18": 10, "train_table": 5}, dict.fromkeys(("fm", "resnet18", "train_table"), 2)]
