"""search.keep: whose checkpoints stay, how much disk they take, and what several processes may do at once."""

import json
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlframework.runs import RunDir
from mlframework.search.cleaning import clean, decide
from mlframework.search.confirm import folder_of_trainings
from mlframework.search.keep import Keep, remove_checkpoints, sizes
from mlframework.search.results import TrialRecord
from mlframework.search.study import OpenStudy
from support.searches import Watched, open_search, run_search

pytestmark = pytest.mark.usefixtures("here")

SIX: dict[str, Any] = {
    "search.n_trials": 6,
    "search.sampler": {"type": "GridSampler"},
    "search_space": {"optimizer.lr": {"type": "categorical", "choices": [0.05, 0.1, 1e-7, 0.2, 0.02, 0.3]}},
}


def kept(study: OpenStudy) -> list[int]:
    """Trials that have checkpoints."""
    return sorted(
        int(path.parts[-3].removeprefix("trial_")) for path in study.spec.folder.path.glob("trial_*/*/last.pt")
    )


def ranked(study: OpenStudy) -> list[int]:
    records = [TrialRecord.of(trial) for trial in study.trials()]
    return [record.number for record in study.spec.goal.ranked(records)]


def records_of(study: OpenStudy) -> list[TrialRecord]:
    return [TrialRecord.of(trial) for trial in study.trials()]


def on_disk(study: OpenStudy) -> int:
    """Bytes of all files under checkpoints/, by inode, as `du` counts them."""
    found = {path.stat().st_ino: path.stat().st_size for path in study.spec.folder.path.rglob("checkpoints/*")}
    return sum(found.values())


@pytest.mark.parametrize("top_k", [0, 1, 4])
def test_the_best_few_keep_theirs(top_k: int) -> None:
    study, end = run_search({**SIX, "search.keep": {"top_k": top_k}})
    assert kept(study) == sorted(ranked(study)[:top_k])
    results = json.loads(study.spec.folder.results.read_text())
    assert results["checkpoints"] == {"trials": ranked(study)[:top_k], "bytes": on_disk(study)}
    assert decide(study, end.records).n_bytes == on_disk(study)


def test_the_best_keep_theirs_from_the_first_on_as_long_as_they_fit() -> None:
    one = on_disk(run_search({**SIX, "search.study_name": "one", "search.keep": {"top_k": 1}})[0])
    # What a finished trial keeps is one file or two, as its last epoch was the best one or not.
    with pytest.warns(
        UserWarning, match=r"search\.keep\.max_gb: .* is too little for all checkpoints: those of trial"
    ) as told:
        study, _ = run_search({**SIX, "search.keep": {"top_k": 4, "max_gb": 2.1 * one / 1e9}})
    assert len(told) == 1, "it is said once"
    assert 1 <= len(kept(study)) < 4
    assert kept(study) == sorted(ranked(study)[: len(kept(study))]), "the first ones"
    assert on_disk(study) <= 2.1 * one


def test_a_limit_that_the_best_trial_exceeds_keeps_none() -> None:
    with pytest.warns(UserWarning, match=r"those of trial \d take .* kB, .*; no best trial keeps its own") as told:
        study, _ = run_search({**SIX, "search.keep": {"max_gb": 1e-9}})
    assert (kept(study), on_disk(study), len(told)) == ([], 0, 1)
    assert len(ranked(study)) == 6


def test_what_can_be_resumed_stays_and_counts() -> None:
    """A trial that is interrupted is kept whatever the limit, and goes on from its last epoch."""

    def interrupt(number: int, epoch: int, _value: float) -> None:
        if (number, epoch) == (4, 2):
            raise KeyboardInterrupt

    limit = {"search.keep": {"max_gb": 1e-9}}
    with (
        pytest.warns(
            UserWarning, match=r"what can still be resumed takes .* kB alone and is kept; no best trial's are"
        ) as told,
        suppress(KeyboardInterrupt),
    ):
        run_search({**SIX, **limit}, watcher=Watched(interrupt))
    assert len(told) == 2, "each is said once"
    study = open_search({**SIX, **limit}, resume=True)
    assert kept(study) == [4]
    found = decide(study, records_of(study))
    assert (found.resumable, found.n_bytes) == ([4], on_disk(study))
    assert "1 not finished" in found.describe()
    watcher = Watched()
    with pytest.warns(UserWarning, match="no best trial keeps its own"):
        study, _ = run_search({**SIX, **limit}, resume=True, watcher=watcher)
    assert [epoch for number, epoch, _ in watcher.epochs if number == 4] == [2, 3]
    assert kept(study) == []


def test_nothing_is_said_where_all_fits() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        study, _ = run_search({**SIX, "search.keep": {"max_gb": 1.0}})
    assert len(kept(study)) == 3


def test_hard_links_count_once_and_folds_and_confirmations_count(here: Path) -> None:
    study = open_search(SIX)
    run = study.spec.folder.trial(0)
    for folder in (run.checkpoints, run.path / "fold_1/checkpoints", run.path / "repeat_2/checkpoints"):
        folder.mkdir(parents=True)
        (folder / "last.pt").write_bytes(b"x" * 100)
        os.link(folder / "last.pt", folder / "best.pt")
        (folder / "previous.pt").write_bytes(b"x" * 10)
    (run.checkpoints / ".last.pt.x7").write_bytes(b"x")  # what a death left half-written
    (run.checkpoints / "notes.txt").write_text("not ours")
    assert sum(sizes([run]).values()) == 331
    training = RunDir(folder_of_trainings(study.spec.folder.path) / "trial_0000_seed_8")
    training.checkpoints.mkdir(parents=True)
    (training.checkpoints / "last.pt").write_bytes(b"x" * 1000)
    assert decide(study, []).n_bytes == 1000
    remove_checkpoints(run)
    assert [path.name for path in run.path.rglob("*.*")] == ["notes.txt"]


def test_several_processes_may_clean_at_once(here: Path) -> None:
    """Each sees the same finished trials and removes what is there; what another one took first is no error."""
    study, end = run_search({**SIX, "search.keep": {"top_k": 6}})
    assert len(kept(study)) == 6
    other = open_search({**SIX, "search.keep": {"top_k": 2}}, resume=True)
    for _ in range(12):
        for number in range(6):
            folder = study.spec.folder.trial(number).checkpoints
            folder.mkdir(exist_ok=True)
            for name in ("last.pt", "best.pt", "previous.pt", ".last.pt.1"):
                (folder / name).write_bytes(b"x")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda each: clean(replace(each, cleaned=set()), end.records), [other] * 4))
        assert kept(study) == sorted(ranked(study)[:2])


@pytest.mark.parametrize("wrong", [{"top_k": -1}, {"max_gb": 0}, {"max_gb": -1.0}, {"top": 3}])
def test_what_keep_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Keep.model_validate(wrong)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "the best 3 trials keep theirs"),
        ({"top_k": 1, "max_gb": 0.5}, "the best trial keeps its own, 0.5 GB at most in all"),
        ({"top_k": 0}, "only what can be resumed is kept"),
    ],
)
def test_the_plan_says_the_budget(settings: dict[str, Any], said: str) -> None:
    assert Keep(**settings).describe() == said


def test_the_budget_may_change_when_a_study_goes_on() -> None:
    """It is nothing that trials have in common."""
    run_search({**SIX, "search.keep": {"top_k": 6}})
    study, _ = run_search({**SIX, "search.keep": {"top_k": 2}}, resume=True)
    assert kept(study) == sorted(ranked(study)[:2])
