"""best.pt and last.pt."""

import os
from pathlib import Path
from typing import Any

import pytest

from mlframework.errors import CheckpointError, RunError
from mlframework.training.callbacks import EpochRecord, History
from mlframework.training.checkpoint import Checkpoints


def trained(learner: Any, checkpoints: Checkpoints, values: list[float]) -> History:
    """Save a checkpoint after each epoch, as the loop does."""
    history = History("val_acc", "maximize")
    for epoch, value in enumerate(values, 1):
        learner.train_epoch()
        history.records.append(EpochRecord(epoch, {"train_loss": 1.0, "val_acc": value}, 0.5, 0.01))
        checkpoints.save(learner, history)
    return history


def restored(learner: Any, checkpoints: Checkpoints, path: Path) -> tuple[int, list[int]]:
    """Epochs of the learner, and of the history."""
    history = History("val_acc", "maximize")
    checkpoints.restore(learner, history, path)
    return learner.trained, [record.epoch for record in history.records]


def test_best_stays_the_best_epochs_state_while_last_goes_on(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", "id")
    trained(scripted([]), checkpoints, [0.5, 0.9, 0.7, 0.9, 0.1])
    assert restored(scripted([]), checkpoints, checkpoints.best) == (2, [1, 2])
    assert restored(scripted([]), checkpoints, checkpoints.last) == (5, [1, 2, 3, 4, 5])


def test_the_best_epoch_costs_no_second_file_and_nothing_else_lies_there(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path, "id")
    trained(scripted([]), checkpoints, [0.5, 0.9])
    assert os.path.samefile(checkpoints.best, checkpoints.last)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt"]


def test_a_file_system_without_hard_links_gets_a_copy(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    checkpoints = Checkpoints(tmp_path, "id")
    trained(scripted([]), checkpoints, [0.5, 0.9, 0.7])
    assert not os.path.samefile(checkpoints.best, checkpoints.last)
    assert restored(scripted([]), checkpoints, checkpoints.best) == (2, [1, 2])


def test_a_write_that_fails_leaves_the_epoch_before(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, learner = Checkpoints(tmp_path, "id"), scripted([])
    history = trained(learner, checkpoints, [0.5, 0.9])

    def half(state: Any, path: Path) -> None:
        path.write_text("{")
        raise OSError(28, "No space left on device")

    learner.train_epoch()
    history.records.append(EpochRecord(3, {"train_loss": 1.0, "val_acc": 0.95}, 0.5, None))
    monkeypatch.setattr(learner.codec, "dump", half)
    with pytest.raises(RunError, match=r"last\.pt: cannot be written: the disk is full"):
        checkpoints.save(learner, history)
    assert restored(scripted([]), checkpoints, checkpoints.last) == (2, [1, 2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt"]


def test_another_identity_is_refused(tmp_path: Path, scripted: Any) -> None:
    trained(scripted([]), Checkpoints(tmp_path, "one"), [0.5])
    other = Checkpoints(tmp_path, "other")
    learner = scripted([])
    with pytest.raises(CheckpointError, match=r"last\.pt: is of a training with other settings; resume it with"):
        restored(learner, other, other.last)
    assert learner.trained == 0


@pytest.mark.parametrize(
    "content",
    [
        '{"weights": 1}',
        '{"format": 1, "identity": "id"}',
        '{"format": 99, "identity": "id", "history": [], "learner": {}}',
    ],
)
def test_a_state_that_is_no_checkpoint_of_this_version_is_refused(tmp_path: Path, scripted: Any, content: str) -> None:
    checkpoints = Checkpoints(tmp_path, "id")
    checkpoints.last.write_text(content)
    with pytest.raises(CheckpointError, match="is not a checkpoint of this version of mlframework"):
        restored(scripted([]), checkpoints, checkpoints.last)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path, "id")
    checkpoints.last.write_text('{"format": 1, "ide')
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        restored(scripted([]), checkpoints, checkpoints.last)


def test_remove_takes_both_and_their_folder_but_no_other_file(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", "id")
    checkpoints.remove()  # nothing there yet
    trained(scripted([]), checkpoints, [0.5])
    checkpoints.remove()
    assert not checkpoints.folder.exists()
    trained(scripted([]), checkpoints, [0.5])
    (checkpoints.folder / "notes.txt").write_text("mine")
    checkpoints.remove()
    assert [path.name for path in checkpoints.folder.iterdir()] == ["notes.txt"]
