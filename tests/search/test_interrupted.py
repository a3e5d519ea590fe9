"""A trial that nobody works on is told to be interrupted, and its time is that in which it was worked on."""

import csv
from pathlib import Path

import optuna
import pytest

from mlframework.runs import read_json
from mlframework.search.ledgers import read_leases
from mlframework.search.loop import write_outputs
from mlframework.search.quiet import require_optuna
from mlframework.search.study import OpenStudy
from mlframework.study import open_study
from mlframework.visualise.study_view import StudyView
from support.searches import Watched, open_search, run_search

pytestmark = pytest.mark.usefixtures("here")


def stop_at(number: int, step: int) -> Watched:
    def stop(of: int, at: int, _value: float) -> None:
        if (of, at) == (number, step):
            raise KeyboardInterrupt

    return Watched(stop)


def interrupt(changes: dict[str, object] | None = None) -> OpenStudy:
    with pytest.raises(KeyboardInterrupt):
        run_search(changes, watcher=stop_at(1, 2))
    study: OpenStudy = open_search(changes, resume=True)
    return study


def in_files(study: OpenStudy) -> list[str]:
    told = [each["state"] for each in read_json(study.spec.folder.results)["trials"]]
    with study.spec.folder.trials.open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == told
    return told


@pytest.mark.parametrize("storage", ["sqlite:///studies.db", "journal:///studies.log"])
def test_what_was_interrupted_is_called_so_by_files_and_readers(storage: str) -> None:
    study = interrupt({"search.storage": storage})
    assert in_files(study) == ["complete", "interrupted"]
    read = open_study("tiny_optimization")
    assert [record.state for record in read.trials] == ["complete", "interrupted"]
    assert [record.has_ended for record in read.trials] == [True, False]
    assert "1 complete, 1 interrupted" in read._repr_html_()
    assert StudyView.of(study.study, "val_loss").counts == {"complete": 1, "interrupted": 1}


def test_its_checkpoints_are_kept_and_it_goes_on() -> None:
    study = interrupt()
    write_outputs(study)
    assert (study.spec.folder.trial(1).checkpoints / "last.pt").is_file()
    watched = Watched()
    run_search(resume=True, watcher=watched)
    assert [step for number, step, _ in watched.epochs if number == 1] == [2, 3]
    assert in_files(study) == ["complete"] * 3


def test_what_is_worked_on_runs() -> None:
    seen: list[list[str]] = []

    def look(number: int, step: int, _value: float) -> None:
        if (number, step) == (1, 2):
            write_outputs(study)
            seen.append(in_files(study))
            seen.append([record.state for record in open_study("tiny_optimization").trials])

    study = open_search()
    run_search(resume=True, watcher=Watched(look))
    assert seen == [["complete", "running"]] * 2


def test_the_time_of_a_trial_that_was_interrupted_is_that_of_its_epochs() -> None:
    study = interrupt()
    run_search(resume=True)
    [_, one, two] = read_json(study.spec.folder.results)["trials"]
    lines = [line for line in study.spec.folder.trial(1).metrics.read_text().splitlines() if line]
    epochs = [float(line.partition('"seconds": ')[2].partition(",")[0]) for line in lines]
    assert len(epochs) == 3
    assert one["seconds"] == pytest.approx(sum(epochs))
    frozen = study.trials()
    assert frozen[1].duration is not None and frozen[1].duration.total_seconds() > one["seconds"]
    assert frozen[2].duration is not None and frozen[2].duration.total_seconds() == two["seconds"]


def test_a_study_of_others_is_left_as_it_is() -> None:
    require_optuna()
    study = optuna.create_study(study_name="theirs", storage="sqlite:///theirs.db")
    study.ask()
    assert read_leases(study) == []
    assert StudyView.of(study, "value").counts == {"running": 1}
    assert b"mlframework_leases" not in Path("theirs.db").read_bytes()
