"""Making, resuming, joining and finding studies."""

import json
import os
from pathlib import Path
from typing import Any

import optuna
import pytest

from mlframework.errors import StorageError, StudyError
from mlframework.search.lookup import find_study
from mlframework.search.storage import open_storage
from mlframework.search.study import STARTED_WITH, STUDIES
from support.searches import Watched, open_search, run_search

pytestmark = pytest.mark.usefixtures("here")


def test_a_study_that_exists_is_an_error_without_resume_which_names_it_its_storage_and_its_folder() -> None:
    open_search()
    with pytest.raises(StudyError) as error:
        open_search()
    for part in ("'tiny_optimization' exists", "sqlite:///studies.db", str(STUDIES), "--resume", "--study-name"):
        assert part in str(error.value)


def test_a_study_of_another_name_may_share_the_storage() -> None:
    open_search()
    open_search({"search.study_name": "another"})
    names = [study.study_name for study in open_storage("sqlite:///studies.db").get_all_studies()]
    assert sorted(names) == ["another", "tiny_optimization"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_whose_study_the_storage_does_not_have_is_not_written_into(resume: bool) -> None:
    study, _ = run_search({"search.n_trials": 1})
    kept = {path: path.stat().st_mtime_ns for path in study.spec.folder.path.rglob("*")}
    with pytest.raises(StudyError, match=r"is the folder of a study .* that sqlite:///other\.db does not have"):
        open_search({"search.storage": "sqlite:///other.db"}, resume=resume)
    assert {path: path.stat().st_mtime_ns for path in study.spec.folder.path.rglob("*")} == kept


def test_resume_makes_a_study_that_is_not_there_yet() -> None:
    assert open_search(resume=True).trials() == []


def test_other_settings_are_refused_with_all_that_changed() -> None:
    open_search()
    changes: dict[str, Any] = {
        "training.num_epochs": 4,
        "seed": 9,
        "metric": "val_acc",
        "search_space": {"optimizer.lr": {"type": "loguniform", "low": 1e-3, "high": 0.2}},
    }
    with pytest.raises(StudyError) as error:
        open_search(changes, resume=True)
    for line in (
        "config.training.num_epochs: 3 then, 4 now",
        "config.seed: 3 then, 9 now",
        "metric: 'val_loss' then, 'val_acc' now",
        "search_space.optimizer.lr.high: 0.1 then, 0.2 now",
    ):
        assert line in str(error.value)
    assert "low" not in str(error.value), "what is as it was is not listed"


def test_what_does_not_change_the_trials_may_change() -> None:
    open_search()
    changes: dict[str, Any] = {
        "search.n_trials": 9,
        "search.timeout": 5,
        "search.sampler": {"type": "TPESampler"},
        "search.pruner": {"type": "MedianPruner"},
        "tracking.tensorboard": True,
        "device": "auto",
    }
    assert open_search(changes, resume=True).n_trials == 9


def test_another_process_joins_a_living_study() -> None:
    first = open_search({"search.n_trials": 2})
    second = open_search({"search.n_trials": 2}, resume=True)
    assert first.study._study_id == second.study._study_id
    claimed = [study.leases.claim(2, study.unfinished) for study in (first, second, first)]
    assert [lease and lease.place for lease in claimed] == [0, 1, None]


def test_a_study_whose_maker_died_before_it_wrote_its_settings_can_be_gone_on_with() -> None:
    storage = open_storage("sqlite:///studies.db")
    optuna.create_study(study_name="tiny_optimization", storage=storage, direction="minimize")
    study, end = run_search({"search.n_trials": 1}, resume=True)
    assert end.why == "done"
    assert json.loads(study.study.user_attrs[STARTED_WITH])["metric"] == "val_loss"


def test_all_trials_are_trained_with_the_threads_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"training.num_threads": None, "search.n_trials": 1}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    first = open_search(changes)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    again = open_search(changes, resume=True)
    other = open_search({**changes, "search.study_name": "other"})
    found = [study.spec.space.base["training"]["num_threads"] for study in (first, again, other)]
    assert found == [3, 3, 2], "of a new study, what the environment says"


def test_add_trials_adds_to_what_the_study_has() -> None:
    run_search({"search.n_trials": 2})
    study, end = run_search({"search.n_trials": 2}, resume=True, add_trials=3)
    assert (study.n_trials, len(end.records)) == (5, 5)


def test_a_grid_has_no_more_trials_than_cells_also_where_some_are_added() -> None:
    grid: dict[str, Any] = {
        "search.sampler": {"type": "GridSampler"},
        "search_space": {"optimizer.lr": {"type": "categorical", "choices": [0.01, 0.02, 0.05]}},
        "search.n_trials": 50,
    }
    study, end = run_search(grid)
    assert study.n_trials == 3
    assert sorted(record.params["optimizer.lr"] for record in end.records) == [0.01, 0.02, 0.05]
    watcher = Watched()
    _, end = run_search(grid, resume=True, add_trials=2, watcher=watcher)
    assert (watcher.started, len(end.records)) == ([], 3)


def test_the_studys_folder_records_what_finds_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES_FILE", "mine.db")
    study = open_search({"search.storage": "sqlite:///${STUDIES_FILE}"})
    assert json.loads(study.spec.folder.study.read_text()) == {
        "format": 1,
        "study_name": "tiny_optimization",
        "storage": "sqlite:///${STUDIES_FILE}",
        "metric": "val_loss",
        "direction": "minimize",
        "search": {
            "n_trials": 3,
            "sampler": {"type": "RandomSampler"},
            "pruner": {"type": "none"},
            "on_duplicate": "resample",
        },
    }
    found, metric, direction, folder = find_study("tiny_optimization", None)
    assert (found.study_name, metric, direction) == ("tiny_optimization", "val_loss", "minimize")
    assert folder.path == STUDIES / "tiny_optimization"


def test_a_study_is_found_in_a_storage_that_is_named() -> None:
    open_search({"metric": "val_acc"})
    Path("elsewhere").mkdir()
    os.chdir("elsewhere")
    found, metric, direction, _ = find_study("tiny_optimization", "sqlite:///../studies.db")
    assert (found.study_name, metric, direction) == ("tiny_optimization", "val_acc", "maximize")


def test_a_study_that_is_not_there_gets_the_names_of_those_that_are() -> None:
    with pytest.raises(StudyError, match=r"there is none at all; ml-search makes one"):
        find_study("tiny", None)
    open_search()
    open_search({"search.study_name": "another"})
    with pytest.raises(
        StudyError, match=r"no study 'anothr' in runs.*did you mean 'another'\? \(there: another, tiny_"
    ):
        find_study("anothr", None)
    with pytest.raises(StudyError, match=r"in sqlite:///studies\.db.*\(there: another, tiny_optimization\)"):
        find_study("zzz", "sqlite:///studies.db")


def test_of_many_studies_the_nearest_are_named() -> None:
    for number in range(11):
        folder = STUDIES / f"other_{number}"
        folder.mkdir(parents=True)
        (folder / "study.json").write_text("{}")
    (STUDIES / "other_10").rename(STUDIES / "wine")
    with pytest.raises(StudyError, match=r"did you mean 'wine'\? \(there: wine, (other_\d, ){4}and 6 more\)$"):
        find_study("winee", None)


@pytest.mark.parametrize("storage", [None, "sqlite:///studies.db"])
def test_a_comparison_is_no_study_but_has_pictures(storage: str | None) -> None:
    open_search()
    (STUDIES / "x_compare").mkdir(parents=True)
    (STUDIES / "x_compare/compare.json").write_text("{}")
    with pytest.raises(
        StudyError, match=r"^'x_compare' is no study but a comparison.*in runs/optuna_studies/x_compare/plots$"
    ):
        find_study("x_compare", storage)


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_looking_for_a_study_makes_no_storage(kind: str) -> None:
    with pytest.raises(StudyError, match=f"{kind}:///nosuch.db: there is no such file; give the study's storage"):
        find_study("tiny", f"{kind}:///nosuch.db")
    assert not Path("nosuch.db").exists()


def test_looking_for_a_study_of_a_storage_whose_password_was_not_recorded() -> None:
    folder = STUDIES / "tiny"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps({"storage": "postgresql://me:***@127.0.0.1/db"}))
    with pytest.raises(StorageError, match="the password was not recorded"):
        find_study("tiny", None)
