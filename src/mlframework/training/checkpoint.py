"""Best and last checkpoints of a run, each complete for an exact resume."""

import copy
import json
import math
import os
import shutil
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlframework.errors import CheckpointError, DamagedCheckpointError
from mlframework.learners.base import Codec, Learner
from mlframework.runs import FOLDER_MODE, FORMAT, replacing, sync_folder, writing
from mlframework.training.callbacks import EpochRecord, History

PACE = 0.2
"""Seconds from one write to the next: of epochs that follow one another faster, the last and the best are written."""

_KEYS = {"identity", "history", "learner"}


@dataclass(frozen=True)
class _Saved:
    """An epoch's end: the learner's state, how it is encoded, the epochs so far, and whether the last is the best."""

    state: Any
    codec: Codec
    records: Sequence[EpochRecord]
    is_best: bool

    def encoded(self, identity: str) -> memoryview:
        """Return the bytes of its checkpoint."""
        # The history as one text: torch looks at every object of a state for what it would have to write apart.
        history = json.dumps([record.to_dict() for record in self.records])
        return self.codec.encode({"format": FORMAT, "identity": identity, "history": history, "learner": self.state})


class Checkpoints:
    """The checkpoints in a folder: `best.pt`, `last.pt`, and while a training goes on `previous.pt`.

    An epoch writes one file: `previous.pt` is what was `last.pt` before, `best.pt` a second name of what was.
    It is written beside the next epoch, and not before the one before is `PACE` old: until then its state is kept in
    memory. Whoever relies on it calls `settle` first.

    Args:
        folder: where they lie.
        identity: what makes a training the same one; a checkpoint of another identity is refused.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity
        self._kept: list[_Saved] = []
        self._writing: _Writing | None = None
        self._due = -math.inf

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    @property
    def previous(self) -> Path:
        return self.folder / "previous.pt"

    def save(self, learner: Learner, history: History) -> None:
        """Begin to write `last.pt`, and `best.pt` where the last epoch is the best so far; the state is that of now.

        It waits for what is being written, so that there is no more than one write at a time. Where the last one
        began less than `PACE` ago, it keeps a copy of the state instead.

        Raises:
            RunError: what was saved before could not be written; see `settle`.
        """
        state, is_best = learner.state_dict(), history.best is history.records[-1]
        saved = _Saved(state, learner.codec, tuple(history.records), is_best)
        # In one step: an interrupt in the middle of it would lose both the epoch that was kept and this one.
        self._kept = [*(each for each in self._kept if each.is_best and not is_best), saved]
        if time.monotonic() < self._due:
            self._kept[-1] = replace(self._kept[-1], state=_copied(state))
        else:
            self._begin()

    def settle(self) -> None:
        """Write what is kept, and wait until all that was saved is on the disk.

        Raises:
            RunError: it cannot be written, or the run's folder was removed; what was saved before is as it was.
        """
        if self._kept:
            self._begin()
        self._wait()

    def drop(self) -> None:
        """Forget what is kept: it is another process's training by now."""
        self._kept.clear()

    def _begin(self) -> None:
        self._wait()
        self._due = time.monotonic() + PACE
        self._writing = _Writing(self, [(each.encoded(self.identity), each.is_best) for each in self._kept])
        self._kept.clear()

    def _wait(self) -> None:
        if self._writing is not None:
            # Only what has ended is forgotten: who is interrupted while waiting waits again.
            error = self._writing.wait()
            self._writing = None
            if error is not None:
                self._kept.clear()
                raise error

    def _write(self, encoded: memoryview, is_best: bool) -> None:
        with writing(self.folder):
            self.folder.mkdir(FOLDER_MODE, exist_ok=True)  # not its parents: a run without its config is of no use
        with replacing(self.last, former=self.previous) as temporary:
            temporary.write_bytes(encoded)
        if is_best:
            _link(self.last, self.best)
        sync_folder(self.folder)

    def resume(self, learner: Learner, history: History) -> None:
        """Give learner and history the newest state that is whole; do nothing where none was saved.

        Raises:
            DamagedCheckpointError: none is whole.
            CheckpointError: they are of another training.
        """
        self._clear()
        damaged: list[DamagedCheckpointError] = []
        for path in (self.last, self.previous):
            if not path.is_file():
                continue
            try:
                self.restore(learner, history, path)
            except DamagedCheckpointError as error:
                damaged.append(error)
                continue
            if damaged:
                warnings.warn(
                    f"{self.last}: is cut short or damaged; going on from {path.name}, which is of epoch "
                    f"{len(history.records)}: what came after it is trained again",
                    UserWarning,
                    stacklevel=2,
                )
                # The next epoch's state would push it into the place of the one that is whole.
                with writing(self.last):
                    self.last.unlink(missing_ok=True)
            return
        if len(damaged) > 1:
            raise DamagedCheckpointError(
                f"{self.folder}: {self.last.name} and {self.previous.name} are both cut short or damaged; delete that "
                "folder, then --resume trains from the first epoch",
                self.folder,
            )
        if damaged:
            raise damaged[0]

    def restore(self, learner: Learner, history: History, path: Path) -> None:
        """Give learner and history back the state of a checkpoint.

        Raises:
            CheckpointError: the file is cut short, not ours, or of another training.
        """
        state = learner.codec.load(path)
        if state.get("format") != FORMAT or not state.keys() >= _KEYS or not isinstance(state["history"], str):
            raise CheckpointError(f"{path}: is not a checkpoint of this version of mlframework; start a new run")
        if state["identity"] != self.identity:
            raise CheckpointError(
                f"{path}: is of a training with other settings; resume it with the run's own config.yaml, or start a new run"
            )
        learner.load_state_dict(state["learner"])
        history.records[:] = [EpochRecord.from_dict(record) for record in json.loads(state["history"])]

    def forget_previous(self) -> None:
        """Delete `previous.pt`: nothing is left to resume.

        Raises:
            RunError: it cannot be deleted.
        """
        with writing(self.previous):
            self.previous.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """Return what lies there of ours, what a death left half-written included."""
        return [path for path in (self.best, self.last, self.previous) if path.is_file()] + self._half_written()

    def remove(self) -> None:
        """Delete the checkpoints: a trial that is done and not among the best needs none. Several may do so at once.

        Raises:
            RunError: they cannot be deleted.
        """
        with writing(self.folder):
            for path in self.files():
                path.unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError:
            return  # not there, or something in it that is not ours

    def _half_written(self) -> list[Path]:
        starts = tuple(f".{path.name}." for path in (self.best, self.last, self.previous))
        try:
            return [path for path in self.folder.iterdir() if path.name.startswith(starts)]
        except (FileNotFoundError, NotADirectoryError):  # there was none, or another process has just removed it
            return []

    def _clear(self) -> None:
        """Delete what a killed process left half-written."""
        with writing(self.folder):
            for path in self._half_written():
                path.unlink(missing_ok=True)


class _Writing:
    """Checkpoints on their way to the disk: a thread of its own waits for that, so that the training goes on meanwhile."""

    def __init__(self, checkpoints: Checkpoints, encoded: Sequence[tuple[memoryview, bool]]) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(checkpoints, encoded), name="checkpoint")
        self._thread.start()

    def wait(self) -> BaseException | None:
        """Wait until it has ended; return what it raised."""
        self._thread.join()
        return self._error

    def _run(self, checkpoints: Checkpoints, encoded: Sequence[tuple[memoryview, bool]]) -> None:
        try:
            for each, is_best in encoded:
                checkpoints._write(each, is_best)
        except BaseException as error:  # noqa: BLE001 - it is raised where the training waits for it
            self._error = error


def _copied(state: Any) -> Any:
    """Return a state that no step writes into any more. (`copy.deepcopy` takes four times as long.)"""
    if isinstance(state, dict):
        found = copy.copy(state)  # torch's are dicts with more to them
        for key, value in state.items():
            found[key] = _copied(value)
        return found
    if isinstance(state, list | tuple):
        return type(state)(_copied(each) for each in state)
    if isinstance(state, np.ndarray):
        return state.copy()
    return state.clone() if hasattr(state, "clone") else copy.deepcopy(state)


def _link(source: Path, path: Path) -> None:
    """Make `path` the same file as `source`: `source` is only ever replaced, so `path` keeps what it is now."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            with replacing(path) as copy:
                shutil.copyfile(source, copy)
        else:
            os.replace(temporary, path)
