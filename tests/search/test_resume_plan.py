"""What is said before a study goes on, and that it goes on so; data that has changed is refused, or recorded."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from mlframework.errors import StudyError
from mlframework.experiment import is_of_data, start_run
from mlframework.runs import RunDir, read_json
from mlframework.search import recorded, start
from mlframework.search.read import read_config
from mlframework.search.recorded import DATA, ENVIRONMENT, SETTINGS
from mlframework.search.resume_plan import progress_of, resume_plan
from mlframework.search.study import OpenStudy
from mlframework.study import search
from support.searches import Watched, open_search, run_search, write_config, write_table

pytestmark = pytest.mark.usefixtures("here")


def interrupted(at: tuple[int, int], changes: dict[str, Any] | None = None) -> None:
    """Search until a trial has reported a step, and stop there as Ctrl-C does."""

    def stop(number: int, step: int, _value: float) -> None:
        if (number, step) == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(changes, watcher=Watched(stop))


def plan_lines(study: OpenStudy) -> list[str]:
    return resume_plan(study).lines()


def test_a_new_study_has_no_plan() -> None:
    assert plan_lines(open_search()) == []


def test_what_is_there_and_what_is_taken_up_from_which_epoch_is_what_then_happens() -> None:
    changes = {"search.n_trials": 5}
    interrupted((2, 2), changes)
    study = open_search(changes, resume=True)
    assert plan_lines(study) == [
        "going on: 2 finished, 1 interrupted; 3 of 5 trials are left",
        "  trial 2 goes on after epoch 2 of 3",
    ]
    watched = Watched()
    run_search(changes, resume=True, watcher=watched)
    # What is told first is the epoch before the interruption, which may have been saved alone.
    assert [step for number, step, _ in watched.epochs if number == 2] == [2, 3]
    assert [number for number, *_ in watched.started] == [2, 3, 4]
    assert plan_lines(open_search(changes, resume=True)) == ["going on: 5 finished; 0 of 5 trials are left"]


def test_pruned_and_failed_trials_are_counted_apart() -> None:
    space = {"optimizer.lr": {"type": "categorical", "choices": [0.05, 1e30]}}
    changes = {
        "search_space": space, "search.sampler": {"type": "GridSampler"}, "search.n_trials": 2,
        "search.pruner": {"type": "ThresholdPruner", "upper": 0.0},
    }  # fmt: skip
    run_search(changes)
    assert plan_lines(open_search(changes, resume=True))[0] == ("going on: 1 pruned, 1 failed; 0 of 2 trials are left")


def test_a_trial_whose_checkpoint_is_gone_starts_again() -> None:
    interrupted((0, 2))
    folder = open_search(resume=True).spec.folder
    for path in folder.trial(0).checkpoints.iterdir():
        path.unlink()
    assert plan_lines(open_search(resume=True))[1] == "  trial 0 starts again: no epoch of it is saved here"
    watched = Watched()
    run_search(resume=True, watcher=watched)
    assert [step for number, step, _ in watched.epochs if number == 0] == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "part", "step", "said"),
    [
        (
            {"search.cross_validation": {"enabled": True, "n_folds": 3}},
            "fold",
            2,
            "goes on in fold 1, after epoch 2 of 3",
        ),
        ({"search.cross_validation": {"enabled": True, "n_folds": 3}}, "fold", 4, "goes on in fold 3"),
        ({"search.repeats": 2}, "repeat", 3, "goes on in repeat 1, after epoch 3 of 3"),
    ],
)
def test_a_trial_of_several_parts(changes: dict[str, Any], part: str, step: int, said: str) -> None:
    interrupted((0, step), changes)
    study = open_search(changes, resume=True)
    assert plan_lines(study)[1] == f"  trial 0 {said}"
    found = progress_of(study.spec.folder.trial(0), study.spec.plan)
    assert found is not None and f"in {part} {found.part}" in said


def test_a_trial_that_a_living_process_trains_is_not_taken_up() -> None:
    living = open_search({"search.n_trials": 2})
    lease = living.leases.claim(2, living.unfinished)
    assert lease is not None
    living.leases.bind(lease, living.study.ask().number)
    lines = plan_lines(open_search({"search.n_trials": 2}, resume=True))
    assert lines[0] == "going on: 1 being trained; 1 of 2 trials are left"
    assert re.fullmatch(rf"  trial 0 is being trained by process {os.getpid()} on \S+", lines[1])


# What has changed


def test_settings_that_may_change_are_said_against_the_last_call() -> None:
    run_search({"search.n_trials": 1})
    other = {
        "search.n_trials": 2, "search.timeout": 60.0, "device": "auto", "tracking.tensorboard": True,
        "search.sampler": {"type": "TPESampler"},
    }  # fmt: skip
    said = [
        "device \"cpu\" -> \"auto\"", "tracking.tensorboard false -> true", "search.n_trials 1 -> 2",
        "search.timeout null -> 60.0", "search.sampler RandomSampler -> TPESampler",
    ]  # fmt: skip
    study = open_search(other, resume=True)
    assert study.changes == said
    assert [line for line in plan_lines(study) if "changed" in line] == [f"  changed since: {line}" for line in said]
    assert open_search(other, resume=True).changes == []


def test_what_a_worker_is_told_is_no_change_of_settings() -> None:
    study, _ = run_search({"search.n_trials": 1})
    before = study.study.user_attrs[SETTINGS]
    config = str(write_config({"search.n_trials": 1, "search.timeout": 3.7}))
    start.open_search(read_config(config, {}), True, 0, is_worker=True)
    assert study.study.user_attrs[SETTINGS] == before
    start.open_search(read_config(config, {}), True, 0)
    assert json.loads(study.study.user_attrs[SETTINGS])["search"]["timeout"] == 3.7


def test_versions_are_said_against_those_that_the_study_was_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    study, _ = run_search({"search.n_trials": 1})
    now = recorded.environment()
    then = {**now, "packages": {**now["packages"], "torch": "1.13.0"}, "python": "3.9.1"}
    study.study.set_user_attr(ENVIRONMENT, json.dumps(then))
    for _ in range(2):
        assert open_search({"search.n_trials": 1}, resume=True).changes == [
            f"torch 1.13.0 -> {now['packages']['torch']}",
            f"python 3.9.1 -> {now['python']}",
        ]


def test_a_study_from_before_fingerprints_says_so_once() -> None:
    study, _ = run_search({"search.n_trials": 1})
    for key in (DATA, ENVIRONMENT, SETTINGS):
        study.study.set_user_attr(key, "[]" if key == DATA else "{}")
    again = open_search({"search.n_trials": 2}, resume=True)
    assert again.changes == [
        "data: not recorded when the study was made; recorded now",
        "versions: not recorded when the study was made; recorded now",
    ]
    assert open_search({"search.n_trials": 2}, resume=True).changes == []
    record = again.record()
    assert record.data_of(0) is None and record.data_of(1) is not None


def test_other_data_is_refused_in_words_and_nothing_is_changed() -> None:
    study, _ = run_search({"search.n_trials": 1})
    before = study.study.user_attrs
    write_table(Path("table.csv"), 50)
    with pytest.raises(StudyError) as error:
        open_search({"search.n_trials": 2}, resume=True)
    assert "data.path: table.csv: 61 lines then, 51 lines now" in str(error.value)
    assert "--accept-data-change" in str(error.value)
    assert study.study.user_attrs == before


def test_other_data_that_is_accepted_is_recorded_with_its_first_trial() -> None:
    interrupted((1, 2))
    write_table(Path("table.csv"), 50)
    result = search("config.yaml", resume=True, accept_data_change=True)
    assert [(each.number, each.state) for each in result.trials] == [
        (0, "complete"), (1, "superseded"), (2, "complete"), (3, "complete"),
    ]  # fmt: skip
    told = read_json(result.folder / "results.json")["data"]
    assert [(each["from_trial"], each["sources"][0]["counts"]["lines"]) for each in told] == [(0, 61), (2, 51)]
    of_trials = [read_json(RunDir(result.folder / f"trial_{n:04d}").environment)["data"]["digest"] for n in range(4)]
    assert of_trials == [told[0]["digest"]] * 2 + [told[1]["digest"]] * 2
    record = open_search(resume=True).record()  # it is the study's data now, and needs no consent
    assert [record.data_of(number) == record.latest for number in range(4)] == [False, False, True, True]
    write_table(Path("table.csv"))
    with pytest.raises(StudyError, match="51 lines then, 61 lines now"):
        open_search(resume=True)


def test_what_goes_on_with_accepted_data_is_in_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    interrupted((0, 1))
    write_table(Path("table.csv"), 50)
    search("config.yaml", resume=True, accept_data_change=True, progress=True)
    out = capsys.readouterr().out
    assert "  changed since: data.path: table.csv: 61 lines then, 51 lines now" in out
    assert "  changed since: trial 0, which was interrupted, is drawn again: it was begun on the former data" in out


def test_data_does_not_change_under_a_process_that_trains_on_it() -> None:
    living = open_search({"search.n_trials": 2})
    lease = living.leases.claim(2, living.unfinished)
    assert lease is not None
    living.leases.bind(lease, living.study.ask().number)
    write_table(Path("table.csv"), 50)
    with pytest.raises(StudyError, match="another process is searching it on the former data: trial 0"):
        search("config.yaml", resume=True, accept_data_change=True)
    write_table(Path("table.csv"))
    assert len(open_search({"search.n_trials": 2}, resume=True).record().data) == 1


def test_the_same_content_at_another_path_is_gone_on_with_from_the_same_epoch() -> None:
    interrupted((1, 2))
    Path("mnt").mkdir()
    Path("table.csv").rename("mnt/copy.csv")
    write_config({"data.path": "mnt/copy.csv"})
    study = open_search({"data.path": "mnt/copy.csv"}, resume=True)
    said = "data.path: table.csv then, mnt/copy.csv now: the same content"
    assert [line for line in plan_lines(study)[1:] if "batch" not in line] == [
        "  trial 1 goes on after epoch 2 of 3", f"  changed since: {said}",
    ]  # fmt: skip
    watched = Watched()
    moved, _ = run_search({"data.path": "mnt/copy.csv"}, resume=True, watcher=watched)
    assert [step for number, step, _ in watched.epochs if number == 1] == [2, 3], "its checkpoint was taken up"
    assert [trial.state.name for trial in moved.trials()] == ["COMPLETE"] * 3
    write_table(Path("other.csv"), 40)
    with pytest.raises(StudyError, match=r"the data of .* has changed"):
        open_search({"data.path": "other.csv"}, resume=True)
    run_search({"data.path": "other.csv", "search.n_trials": 4}, resume=True, accept_data_change=True)
    assert open_search({"data.path": "other.csv", "search.n_trials": 4}, resume=True).changes == []


def test_a_training_that_was_begun_on_other_data_is_begun_anew() -> None:
    study, _ = run_search({"search.n_trials": 1})
    tree = {**study.spec.space.base}
    run = RunDir(Path("run"))
    start_run(run, tree)
    assert is_of_data(run, tree)
    write_table(Path("table.csv"), 50)
    assert not is_of_data(run, tree)
    about = read_json(run.environment)
    run.environment.write_text(json.dumps({key: value for key, value in about.items() if key != "data"}))
    assert is_of_data(run, tree), "a run from before fingerprints is believed"


def test_a_trial_whose_folder_is_of_other_data_is_trained_from_its_start() -> None:
    interrupted((0, 2))
    run = open_search(resume=True).spec.folder.trial(0)
    about = read_json(run.environment)
    other = {**about["data"]["sources"][0], "digest": "of another machine"}
    run.environment.write_text(json.dumps({**about, "data": {"sources": [other]}}))
    assert plan_lines(open_search(resume=True))[1] == "  trial 0 starts again: no epoch of it is saved here"
    watched = Watched()
    run_search(resume=True, watcher=watched)
    assert [step for number, step, _ in watched.epochs if number == 0] == [1, 2, 3]
    assert read_json(run.environment)["data"] == about["data"]


@pytest.mark.parametrize(("key", "damaged"), [(DATA, '[{"from_trial": 0}]'), (ENVIRONMENT, "3"), (SETTINGS, "{")])
def test_a_record_that_is_damaged_is_said_to_be(key: str, damaged: str) -> None:
    study = open_search()
    study.study.set_user_attr(key, damaged)
    with pytest.raises(StudyError, match="record of what the study was searched with is damaged"):
        open_search(resume=True)


def test_no_password_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"tracking": {"uri": "postgresql://me:hunter2@host/db"}, "list": ["https://me:hunter2@host"]}
    study, _ = run_search({"search.n_trials": 1})
    recorded.record(study.study, study.record(), None, settings)
    assert "hunter2" not in study.study.user_attrs[SETTINGS] and "me:***@host" in study.study.user_attrs[SETTINGS]
