"""A disk that is full, read-only, or loses files while a search goes on: real file systems, and the command itself.

Each fault ends the command with exit 2 and one line that names the file and the remedy. What was finished is there, and
once the disk is mended the search comes to the values of one that was never disturbed.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from mlframework.errors import StorageError
from mlframework.search.storage import open_storage
from mlframework.training.callbacks import TIMES
from support.disks import PAGE, disk, mount
from support.faults import (
    Fault,
    at_call,
    clear,
    count_epochs,
    die,
    fill,
    make_read_only,
    no_longer_than,
    put_file,
    remove,
)
from support.forked import Ended, Forker, nothing
from support.searches import write_config
from support.states import assert_same

SAVE = "mlframework.training.checkpoint:Checkpoints._write"
TELL, JUDGE = "mlframework.search.objective:_tell", "mlframework.search.objective:judge"

__all__ = ["disk"]

STUDY = Path("runs/optuna_studies/tiny_optimization")
SQLITE, JOURNAL = "sqlite:///studies.db", "journal:///studies.log"
N_TRIALS, N_EPOCHS = 2, 3
Trials = list[dict[str, Any]]


def changes(storage: str = SQLITE) -> dict[str, Any]:
    return {"search.n_trials": N_TRIALS, "search.storage": storage, "tracking.tensorboard": True}


def told_of(trials: Trials) -> Trials:
    """What does not depend on the clock."""
    return [
        {key: trial[key] for key in ("number", "state", "value", "params", "best_epoch", "metrics")} for trial in trials
    ]


def results() -> Trials:
    return told_of(json.loads((STUDY / "results.json").read_text())["trials"])


def stored(storage: str) -> list[tuple[str, float | None]]:
    """State and value of each trial, as the storage has them."""
    return [
        (trial.state.name, trial.value)
        for trial in open_storage(storage).get_all_trials(0 if storage == JOURNAL else 1)
    ]


Search = Callable[..., Ended]


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    """Starts commands."""
    started = Forker()
    yield started
    started.close()


@pytest.fixture(scope="module")
def ml_search(forker: Forker) -> Search:
    """Runs `ml-search` in the present folder."""

    def run(*options: str, prepare: Fault = nothing, stdout: Path | None = None) -> Ended:
        return forker.run(["ml-search", "--config", "config.yaml", *options], prepare, stdout)

    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, ml_search: Search) -> Trials:
    """The trials of a search to which nothing happens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("undisturbed"))
        write_config(changes())
        assert ml_search().code == 0
        return results()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on an ordinary disk, which is the present one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_refused(ended: Ended, *parts: str) -> None:
    """Exit 2, and one message."""
    assert ended.code == 2, ended
    (message,) = [line for line in ended.err.splitlines() if not line.startswith("warning: ")]
    assert all(part in message for part in parts), message


def assert_intact(storage: str) -> None:
    """The storage has no damage, and nothing lies half-written beside it."""
    if storage == SQLITE and Path("studies.db").exists():
        # A connection that is left open keeps a file's room after the file is gone.
        with closing(sqlite3.connect("studies.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    if storage == JOURNAL:
        assert all(json.loads(line)["op_code"] >= 0 for line in Path("studies.log").read_bytes().splitlines())
    assert [str(path) for path in Path().rglob(".*")] == [], "half-written files"
    for path in STUDY.rglob("*.jsonl"):
        assert all(json.loads(line)["epoch"] for line in path.read_text().splitlines())


EPOCH_2 = N_EPOCHS + 2  # of trial 1
APPEND, SCALARS = (
    "mlframework.training.metrics_file:append_line",
    "mlframework.training.tracking.tensorboard:TensorBoardWriter.scalars",
)
# The checkpoint, or what is written beside it: whichever finds the disk full first.
NO_ROOM = "cannot be written: the disk is full; make room, then go on with --resume"
METRICS = (
    f"{STUDY}/trial_0001/metrics.jsonl: cannot be written: the file would be larger than this system allows; raise"
)
EVENTS = f"{STUDY}/trial_0001/events.out.tfevents."
RESULTS = f"{STUDY}/results.json: cannot be written: the disk is full"
DATABASE = f"{SQLITE} cannot be used: database or disk is full; make room on the disk, then go on with --resume"
LINES = (
    f"{JOURNAL} cannot be used: [Errno 27] File too large; raise the limit on the size of files (ulimit -f), then go on"
)
# At which call the disk is full, or which file may not grow any more; the storage, the message, epochs left to the resume.
SLOW = pytest.mark.slow
MOMENTS = [
    pytest.param(SAVE, EPOCH_2, None, SQLITE, NO_ROOM, 2, id="checkpoint"),
    pytest.param(
        APPEND,
        EPOCH_2,
        "runs/**/trial_0001/metrics.jsonl",
        SQLITE,
        METRICS,
        1,
        id="metrics.jsonl",
        marks=pytest.mark.slow,
    ),
    pytest.param(SCALARS, EPOCH_2, "runs/**/trial_0001/events*", SQLITE, EVENTS, 1, id="TensorBoard"),
    pytest.param(
        "mlframework.search.loop:write_results", 1, None, SQLITE, RESULTS, 3, id="results.json", marks=pytest.mark.slow
    ),
    pytest.param(TELL, 2, None, SQLITE, DATABASE, 0, id="SQLite"),
    pytest.param(TELL, 2, "studies.log", JOURNAL, LINES, 0, id="journal", marks=SLOW),
]


@pytest.mark.parametrize(("place", "number", "limit", "storage", "message", "left"), MOMENTS)
def test_a_full_disk_ends_the_search_and_once_there_is_room_it_goes_on(
    disk: Path, ml_search: Search, undisturbed: Trials, place: str, number: int, limit: str | None, storage: str, message: str,
    left: int,
) -> None:  # fmt: skip
    write_config(changes(storage))
    fault = fill if limit is None else partial(no_longer_than, limit)
    assert_refused(ml_search(prepare=partial(at_call, place, number, fault)), message)
    assert_intact(storage)
    clear()
    assert stored(storage)[0] == ("COMPLETE", undisturbed[0]["value"])
    epochs = disk / "epochs"
    ended = ml_search("--resume", prepare=partial(count_epochs, epochs))
    assert ended.code == 0, ended
    assert (epochs.read_text().count("epoch") if epochs.exists() else 0) == left, "it goes on at its last epoch"
    assert results() == undisturbed
    lines = [json.loads(line)["epoch"] for line in (STUDY / "trial_0001/metrics.jsonl").read_text().splitlines()]
    assert lines == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("storage", [SQLITE, JOURNAL])
def test_wherever_the_room_ends_the_search_can_go_on(
    disk: Path, ml_search: Search, undisturbed: Trials, storage: str
) -> None:
    """A disk with so many pages left, from none to enough: the fault comes wherever it comes."""
    room, refused = 0, 0
    while True:
        write_config(changes(storage))
        fill(room)
        ended = ml_search()
        if ended.code == 0:
            break
        refused += 1
        assert_refused(ended, "cannot be")
        assert "--resume" in ended.err or "try again" in ended.err
        clear()  # SQLite needs some room itself to read what a full disk has left it
        assert_intact(storage)
        again = ml_search("--resume")
        assert (again.code, results()) == (0, undisturbed), (room, ended, again)
        for path in disk.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        room += 3 * PAGE
    assert refused > 10


def test_output_into_a_file_on_a_full_disk_ends_the_search_and_fails_no_trial(
    disk: Path, ml_search: Search, undisturbed: Trials
) -> None:
    """As in `nohup ml-search ... > search.log`: each trial would fail by the line that says of it."""
    write_config(changes())
    log = disk / "search.log"
    ended = ml_search(prepare=partial(at_call, JUDGE, 2, partial(no_longer_than, "search.log", 3)), stdout=log)
    assert_refused(ended, "the output: cannot be written: the file would be larger than")
    assert [state for state, _ in stored(SQLITE)] == ["COMPLETE", "RUNNING"]
    assert ml_search("--resume").code == 0
    assert results() == undisturbed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_output_into_a_full_device_ends_with_one_message(folder: Path, ml_search: Search, undisturbed: Trials) -> None:
    write_config(changes())
    assert_refused(ml_search(stdout=Path("/dev/full")), "the output: No space left on device")


@pytest.mark.slow
def test_a_disk_that_becomes_read_only_ends_the_search(disk: Path, ml_search: Search, undisturbed: Trials) -> None:
    """As a kernel does with a disk that fails. Between two trials: a disk whose files are open for writing stays as it is."""
    write_config({**changes(JOURNAL), "tracking.tensorboard": False})
    try:
        ended = ml_search(prepare=partial(at_call, JUDGE, 2, make_read_only))
        assert_refused(ended, "read-only")
    finally:
        mount(disk, "rw")
    assert_intact(JOURNAL)
    assert ml_search("--resume").code == 0
    assert results() == undisturbed


def test_a_search_in_a_read_only_folder_says_so_and_leaves_nothing(
    disk: Path, ml_search: Search, undisturbed: Trials
) -> None:
    write_config(changes())
    mount(disk, "ro")
    try:
        assert_refused(
            ml_search(), f"{SQLITE} cannot be used: unable to open database file; does its folder exist, and may"
        )
    finally:
        mount(disk, "rw")
    assert sorted(path.name for path in disk.iterdir()) == ["config.yaml", "table.csv"]


@pytest.fixture
def unchangeable(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Makes folders that not even root may write into."""
    made: list[Path] = []

    def make(path: Path) -> None:
        if (
            shutil.which("chattr") is None
            or subprocess.run(["chattr", "+i", str(path)], capture_output=True).returncode
        ):
            pytest.skip("folders can't be made unchangeable here")
        made.append(path)

    yield make
    for path in made:
        subprocess.run(["chattr", "-i", str(path)], check=True)


def test_a_study_folder_that_may_not_be_written(
    folder: Path, ml_search: Search, undisturbed: Trials, unchangeable: Callable[[Path], None]
) -> None:
    write_config(changes())
    Path("runs").mkdir()
    unchangeable(Path("runs"))
    assert_refused(
        ml_search(), "optuna_studies", "cannot be written: you may not write there; run in a folder that you can"
    )
    assert list(Path("runs").iterdir()) == []


@pytest.mark.parametrize(
    "place",
    [
        "runs",
        pytest.param(str(STUDY), marks=pytest.mark.slow),
        pytest.param(f"{STUDY}/trial_0001", marks=pytest.mark.slow),
        pytest.param(f"{STUDY}/trial_0001/checkpoints", marks=pytest.mark.slow),
    ],
)
def test_a_file_where_a_folder_is_needed(folder: Path, ml_search: Search, undisturbed: Trials, place: str) -> None:
    write_config(changes())
    path = Path(place)
    fault: Fault = partial(put_file, path)
    if "trial_0001" in place:
        fault = partial(at_call, JUDGE, 2, fault)
    ended = ml_search(prepare=fault)
    assert_refused(ended, "cannot be written: a file stands where a folder is needed; move it away")
    assert path.read_text() == "mine"
    path.unlink()
    assert ml_search("--resume").code == 0
    assert results() == undisturbed


@pytest.mark.parametrize("removed", [STUDY / "trial_0001", pytest.param(Path("runs"), marks=pytest.mark.slow)])
def test_a_folder_that_is_removed_while_the_search_goes_on(
    folder: Path, ml_search: Search, undisturbed: Trials, removed: Path
) -> None:
    write_config(changes())
    fault = partial(remove, removed)
    said = "cannot be written: its folder was removed meanwhile; go on with --resume"
    assert_refused(ml_search(prepare=partial(at_call, SAVE, EPOCH_2, fault)), said)
    assert not removed.exists(), "it does not come back without what was in it"
    assert ml_search("--resume").code == 0
    assert results() == undisturbed


@pytest.mark.slow
def test_a_study_folder_that_is_removed_between_two_trials(
    folder: Path, ml_search: Search, undisturbed: Trials
) -> None:
    write_config(changes())
    fault = partial(remove, STUDY)
    ended = ml_search(prepare=partial(at_call, TELL, 1, fault))
    assert_refused(ended, f"{STUDY}: was removed while its search goes on; --resume makes it again")
    assert ml_search("--resume").code == 0
    assert results() == undisturbed


def cut_in_half(content: bytearray) -> bytes:
    return bytes(content[: len(content) // 2])


def other_header(content: bytearray) -> bytes:
    return b"\x17" * 100 + bytes(content[100:])


def page_overwritten(content: bytearray) -> bytes:
    at = len(content) // PAGE // 2 * PAGE
    return bytes(content[:at]) + b"\xa5" * PAGE + bytes(content[at + PAGE :])


@pytest.mark.parametrize("damage", [cut_in_half, other_header, page_overwritten])
def test_a_damaged_database_is_refused_and_not_touched(
    folder: Path, ml_search: Search, undisturbed: Trials, damage: Callable[[bytearray], bytes]
) -> None:
    write_config(changes())
    optuna.create_study(study_name="tiny_optimization", storage=open_storage(SQLITE)).add_trials(
        [optuna.create_trial(value=float(number), user_attrs={"text": "x" * 500}) for number in range(100)]
    )
    connection = sqlite3.connect("studies.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    Path("moved.db").write_bytes(damage(bytearray(Path("studies.db").read_bytes())))
    before = Path("moved.db").read_bytes()
    said = r"moved\.db cannot be used: (that file is no SQLite database|the file is damaged \(.+\),).*is left as it is"
    with pytest.raises(StorageError, match=said):
        open_storage("sqlite:///moved.db")
    ended = ml_search("--resume", "--storage", "sqlite:///moved.db")
    assert_refused(ended, "is left as it is", "put back a copy of it")
    assert Path("moved.db").read_bytes() == before


def test_what_one_worker_cannot_write_to_a_journal_does_not_break_it_for_another(
    folder: Path, ml_search: Search, undisturbed: Trials
) -> None:
    """One worker's quota is used up in the middle of a line, the other one goes on."""
    write_config(changes(JOURNAL))
    prepare = partial(at_call, TELL, 1, partial(no_longer_than, "studies.log"))
    first = ml_search(prepare=prepare)
    assert_refused(first, f"{JOURNAL} cannot be used: [Errno 27] File too large; raise the limit")
    with Path("studies.log").open("ab") as file:
        file.write(b'{"op_code": 5, "half a li')  # what a worker left that was killed in the middle
    assert ml_search("--resume").code == 0
    assert results() == undisturbed
    assert_intact(JOURNAL)


# Checkpoints that are damaged


def ml_train(forker: Forker, *options: str, prepare: Fault = nothing) -> Ended:
    return forker.run(["ml-train", *options], prepare)


def state_of(run: Path) -> tuple[Any, list[dict[str, Any]]]:
    """What was trained: everything in the last checkpoint that the next epoch depends on, and the metrics."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return torch.load(run / "checkpoints/last.pt", weights_only=True)["learner"], [
        {key: value for key, value in line.items() if key not in TIMES} for line in lines
    ]


def flip_a_bit(path: Path) -> None:
    """Change the sign of a weight, as a disk or a memory that fails does."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x80
    path.write_bytes(content)


def test_a_run_whose_last_checkpoint_is_damaged_ends_as_if_nothing_had_happened(folder: Path, forker: Forker) -> None:
    write_config({"training.num_epochs": 5})
    assert ml_train(forker, "--config", "config.yaml").code == 0
    Path("runs/tiny").rename("undisturbed")
    killed = ml_train(forker, "--config", "config.yaml", prepare=partial(at_call, SAVE, 4, die))
    assert killed.code == -signal.SIGKILL
    run = Path("runs/tiny")
    flip_a_bit(run / "checkpoints/last.pt")
    ended = ml_train(forker, "--resume", str(run))
    assert ended.code == 0
    assert ended.err == (
        "warning: runs/tiny/checkpoints/last.pt: is cut short or damaged; going on from previous.pt, which is of epoch 2: what "
        "came after it is trained again\n"
    )
    (state, metrics), (wanted, wanted_metrics) = state_of(run), state_of(Path("undisturbed"))
    assert metrics == wanted_metrics
    assert_same(state, wanted)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.pt", "last.pt"]


def test_a_run_whose_checkpoints_are_all_damaged_says_what_to_delete(folder: Path, forker: Forker) -> None:
    write_config({"training.num_epochs": 5})
    assert ml_train(forker, "--config", "config.yaml", prepare=partial(at_call, SAVE, 4, die)).code != 0
    checkpoints = Path("runs/tiny/checkpoints")
    for name in ("last.pt", "previous.pt"):
        os.truncate(checkpoints / name, 0)
    ended = ml_train(forker, "--resume", "runs/tiny")
    assert_refused(
        ended, f"{checkpoints}: last.pt and previous.pt are both cut short or damaged; delete that folder, then"
    )
    remove(checkpoints)
    assert ml_train(forker, "--resume", "runs/tiny").code == 0
    assert [line["epoch"] for line in state_of(Path("runs/tiny"))[1]] == [1, 2, 3, 4, 5]
