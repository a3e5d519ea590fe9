"""best.pt and last.pt."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from mlframework.errors import CheckpointError, DamagedCheckpointError, RunError
from mlframework.experiment import build_learner, load_data
from mlframework.training import checkpoint
from mlframework.training.callbacks import EpochRecord, History
from mlframework.training.checkpoint import Checkpoints
from support.states import assert_same

written = pytest.mark.usefixtures("every_epoch_written")


def trained(learner: Any, checkpoints: Checkpoints, values: list[float]) -> History:
    """Save a checkpoint after each epoch, as the loop does."""
    history = History("val_acc", "maximize")
    for epoch, value in enumerate(values, 1):
        learner.train_epoch()
        history.records.append(EpochRecord(epoch, {"train_loss": 1.0, "val_acc": value}, 0.5, 0.01))
        checkpoints.save(learner, history)
    checkpoints.settle()
    return history


def restored(learner: Any, checkpoints: Checkpoints, path: Path) -> tuple[int, list[int]]:
    """Epochs of the learner, and of the history."""
    history = History("val_acc", "maximize")
    checkpoints.restore(learner, history, path)
    return learner.trained, [record.epoch for record in history.records]


@written
def test_best_stays_the_best_epochs_state_while_last_goes_on(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", "id")
    trained(scripted([]), checkpoints, [0.5, 0.9, 0.7, 0.9, 0.1])
    assert restored(scripted([]), checkpoints, checkpoints.best) == (2, [1, 2])
    assert restored(scripted([]), checkpoints, checkpoints.last) == (5, [1, 2, 3, 4, 5])


@written
def test_the_best_epoch_costs_no_second_file_and_nothing_else_lies_there(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path, "id")
    trained(scripted([]), checkpoints, [0.5, 0.9])
    assert os.path.samefile(checkpoints.best, checkpoints.last)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt", "previous.pt"]


@written
def test_the_last_two_are_kept_by_renaming(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path, "id")
    trained(scripted([]), checkpoints, [0.5, 0.9])
    was = checkpoints.last.stat().st_ino
    learner, history = scripted([]), History("val_acc", "maximize")
    checkpoints.resume(learner, history)
    learner.train_epoch()
    history.records.append(EpochRecord(3, {"train_loss": 1.0, "val_acc": 0.7}, 0.5, None))
    checkpoints.save(learner, history)
    checkpoints.settle()
    assert [restored(scripted([]), checkpoints, path)[0] for path in (checkpoints.last, checkpoints.previous)] == [3, 2]
    assert checkpoints.previous.stat().st_ino == checkpoints.best.stat().st_ino == was, "nothing was written twice"


@written
@pytest.mark.parametrize("content", [b"", b'{"format": 1, "ide', b"\x00" * 60], ids=["empty", "cut short", "zeros"])
def test_of_a_damaged_last_one_the_one_before_is_taken_and_survives_the_next_epoch(
    tmp_path: Path, scripted: Any, content: bytes
) -> None:
    checkpoints = Checkpoints(tmp_path, "id")
    trained(scripted([]), checkpoints, [0.5, 0.9, 0.7])
    checkpoints.last.write_bytes(content)
    learner, history = scripted([]), History("val_acc", "maximize")
    with pytest.warns(
        UserWarning, match=r"last\.pt: is cut short or damaged; going on from previous\.pt, .* epoch 2:"
    ) as told:
        checkpoints.resume(learner, history)
    assert (learner.trained, len(history.records), len(told)) == (2, 2, 1)
    learner.train_epoch()
    history.records.append(EpochRecord(3, {"train_loss": 1.0, "val_acc": 0.7}, 0.5, None))
    checkpoints.save(learner, history)
    checkpoints.settle()
    assert restored(scripted([]), checkpoints, checkpoints.last)[0] == 3
    assert restored(scripted([]), checkpoints, checkpoints.previous)[0] == 2, "the damaged one did not take its place"


@written
def test_with_both_damaged_the_message_says_what_to_delete(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path, "id")
    trained(scripted([]), checkpoints, [0.5, 0.9])
    for path in (checkpoints.last, checkpoints.previous):
        path.write_bytes(b"")
    with pytest.raises(
        DamagedCheckpointError, match=r"both cut short or damaged; delete that folder, then --resume"
    ) as error:
        checkpoints.resume(scripted([]), History("val_acc", "maximize"))
    assert error.value.folder == tmp_path
    checkpoints.previous.unlink()
    with pytest.raises(DamagedCheckpointError, match=r"last\.pt: cannot be read"):
        checkpoints.resume(scripted([]), History("val_acc", "maximize"))


def test_a_kill_between_the_two_renames_loses_no_epoch_that_was_saved(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path, "id")
    trained(scripted([]), checkpoints, [0.5, 0.9])
    checkpoints.last.replace(checkpoints.previous)
    half = tmp_path / ".last.pt.x7"
    half.write_text('{"form')
    learner = scripted([])
    checkpoints.resume(learner, History("val_acc", "maximize"))
    assert learner.trained == 2
    assert not half.exists()


def test_without_checkpoints_there_is_nothing_to_resume(tmp_path: Path, scripted: Any) -> None:
    learner, history = scripted([]), History("val_acc", "maximize")
    Checkpoints(tmp_path / "none", "id").resume(learner, history)
    assert (learner.trained, history.records) == (0, [])
    assert not (tmp_path / "none").exists()


def test_a_run_whose_folder_was_removed_ends_instead_of_making_half_of_it_again(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", "id")
    with pytest.raises(RunError, match=r"checkpoints: cannot be written: its folder was removed meanwhile"):
        trained(scripted([]), checkpoints, [0.5])
    assert not (tmp_path / "run").exists()


@written
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


@written
def test_a_write_that_fails_leaves_the_epoch_before(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, learner = Checkpoints(tmp_path, "id"), scripted([])
    history = trained(learner, checkpoints, [0.5, 0.9])

    def half(path: Path, _content: Any) -> None:
        path.write_text("{")
        raise OSError(28, "No space left on device")

    learner.train_epoch()
    history.records.append(EpochRecord(3, {"train_loss": 1.0, "val_acc": 0.95}, 0.5, None))
    monkeypatch.setattr(Path, "write_bytes", half)
    checkpoints.save(learner, history)
    with pytest.raises(RunError, match=r"last\.pt: cannot be written: the disk is full"):
        checkpoints.settle()
    checkpoints.settle()  # it is said once
    assert restored(scripted([]), checkpoints, checkpoints.last) == (2, [1, 2])
    assert restored(scripted([]), checkpoints, checkpoints.previous) == (1, [1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt", "previous.pt"]


@written
def test_a_checkpoint_is_written_beside_the_next_epoch_and_has_the_state_of_its_own(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is trained while it is written is not in it; the one after it waits."""
    checkpoints, learner, history = Checkpoints(tmp_path, "id"), scripted([]), History("val_acc", "maximize")
    may_end, write = threading.Event(), Path.write_bytes

    def slow(path: Path, content: Any) -> int:
        assert may_end.wait(60)
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", slow)
    for epoch, value in enumerate([0.5, 0.9], 1):
        learner.train_epoch()
        history.records.append(EpochRecord(epoch, {"train_loss": 1.0, "val_acc": value}, 0.5, None))
        if epoch == 2:
            assert not checkpoints.last.exists(), "the training went on before it was written"
            may_end.set()
        checkpoints.save(learner, history)
    learner.train_epoch()
    checkpoints.settle()
    assert restored(scripted([]), checkpoints, checkpoints.last) == (2, [1, 2])
    assert restored(scripted([]), checkpoints, checkpoints.previous) == (1, [1])


def counted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The writes from now on: whether each is of a best epoch."""
    writes, write = [], Checkpoints._write

    def count(checkpoints: Checkpoints, encoded: memoryview, is_best: bool) -> None:
        writes.append(is_best)
        write(checkpoints, encoded, is_best)

    monkeypatch.setattr(Checkpoints, "_write", count)
    return writes


def test_of_epochs_that_follow_fast_the_best_and_the_last_are_written_whole_and_in_their_order(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlframework.training.checkpoint.PACE", 1e6)
    writes, checkpoints = counted(monkeypatch), Checkpoints(tmp_path, "id")
    trained(scripted([]), checkpoints, [0.5, 0.6, 0.9, 0.7, 0.9, 0.1])
    assert writes == [True, True, False], "the first at once, the best and the last when it is waited for"
    assert restored(scripted([]), checkpoints, checkpoints.best) == (3, [1, 2, 3])
    assert restored(scripted([]), checkpoints, checkpoints.last) == (6, [1, 2, 3, 4, 5, 6])
    assert restored(scripted([]), checkpoints, checkpoints.previous) == (3, [1, 2, 3])
    checkpoints.settle()
    assert len(writes) == 3, "nothing was left"


@pytest.mark.parametrize("family", ["mlp classification", "als", "two_tower"])
def test_what_is_kept_in_memory_is_what_would_have_been_written(
    tmp_path: Path, make_config: Any, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """The best epoch is followed by one that writes into the same weights."""
    config = make_config(family)
    splits, states = load_data(config), []
    for name, pace in (("often", 0.0), ("seldom", 1e6)):
        monkeypatch.setattr("mlframework.training.checkpoint.PACE", pace)
        torch.manual_seed(config.seed)
        learner, checkpoints = build_learner(config, splits), Checkpoints(tmp_path / name, "id")
        trained(learner, checkpoints, [0.5, 0.6, 0.9, 0.7])
        states.append([learner.codec.load(path)["learner"] for path in (checkpoints.best, checkpoints.last)])
    for often, seldom in zip(*states, strict=True):
        assert_same(often, seldom)


def interrupted_at(instruction: int, call: Callable[[], None]) -> bool:
    """Call something, and raise KeyboardInterrupt at an instruction of checkpoint.py; whether it came that far."""
    left = instruction

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != checkpoint.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interrupt_at_any_instruction_of_a_save_loses_no_epoch_before_it(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SIGTERM and Ctrl-C hit, nobody knows: epoch 2 is kept in memory, and epoch 3 is being saved."""
    monkeypatch.setattr(checkpoint, "PACE", 1e6)
    was_hit, instruction = True, 0
    while was_hit:
        checkpoints = Checkpoints(tmp_path / str(instruction), "id")
        learner, history = scripted([]), History("val_acc", "maximize")
        for epoch, value in enumerate((0.7, 0.5, 0.6), 1):
            learner.train_epoch()
            history.records.append(EpochRecord(epoch, {"train_loss": 1.0, "val_acc": value}, 0.5, 0.01))
            if epoch < 3:
                checkpoints.save(learner, history)
        was_hit = interrupted_at(instruction, partial(checkpoints.save, learner, history))
        checkpoints.settle()
        assert restored(scripted([]), checkpoints, checkpoints.last)[0] in ((2, 3) if was_hit else (3,)), instruction
        assert restored(scripted([]), checkpoints, checkpoints.best)[0] == 1, instruction
        instruction += 1
    assert instruction > 50


def test_nobody_writes_what_belongs_to_another_process_by_now(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlframework.training.checkpoint.PACE", 1e6)
    writes, checkpoints = counted(monkeypatch), Checkpoints(tmp_path, "id")
    learner, history = scripted([]), History("val_acc", "maximize")
    for epoch in (1, 2):
        learner.train_epoch()
        history.records.append(EpochRecord(epoch, {"train_loss": 1.0, "val_acc": 0.1 * epoch}, 0.5, None))
        checkpoints.save(learner, history)
    checkpoints.drop()
    checkpoints.settle()
    assert (len(writes), restored(scripted([]), checkpoints, checkpoints.last)) == (1, (1, [1]))


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
        '{"format": 99, "identity": "id", "history": "[]", "learner": {}}',
        '{"format": 1, "identity": "id", "history": [], "learner": {}}',
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


def test_several_may_remove_the_same_at_once(tmp_path: Path) -> None:
    """What another one has removed meanwhile, a file or the folder, is no fault."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", "id")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(300):
            checkpoints.folder.mkdir()
            for name in ("last.pt", "best.pt", "previous.pt", ".last.pt.x7"):
                (checkpoints.folder / name).write_bytes(b"x")
            list(pool.map(lambda _: (checkpoints.remove(), checkpoints.files()), range(4)))
            assert not checkpoints.folder.exists()


def test_remove_takes_all_and_their_folder_but_no_other_file(tmp_path: Path, scripted: Any) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", "id")
    checkpoints.remove()  # nothing there yet
    trained(scripted([]), checkpoints, [0.5, 0.4, 0.3])
    (checkpoints.folder / ".last.pt.x7").write_text("what a kill left")
    assert len(checkpoints.files()) == 4
    checkpoints.remove()
    assert not checkpoints.folder.exists()
    trained(scripted([]), checkpoints, [0.5])
    (checkpoints.folder / "notes.txt").write_text("mine")
    checkpoints.remove()
    assert [path.name for path in checkpoints.folder.iterdir()] == ["notes.txt"]
