"""Best and last checkpoints of a run, each complete for an exact resume."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlframework.errors import CheckpointError
from mlframework.learners.base import Codec, Learner
from mlframework.runs import FORMAT, replacing
from mlframework.training.callbacks import EpochRecord, History


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints in a folder: `best.pt` and `last.pt`.

    Attributes:
        folder: where they lie.
        identity: what makes a training the same one; a checkpoint of another identity is refused.
    """

    folder: Path
    identity: str

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    def save(self, learner: Learner, history: History) -> None:
        """Write `last.pt`, and `best.pt` where the last epoch is the best so far."""
        state = {
            "format": FORMAT,
            "identity": self.identity,
            "history": [record.to_dict() for record in history.records],
            "learner": learner.state_dict(),
        }
        _write(learner.codec, state, self.last)
        if history.best is history.records[-1]:
            _link(self.last, self.best)

    def restore(self, learner: Learner, history: History, path: Path) -> None:
        """Give learner and history back the state of a checkpoint.

        Raises:
            CheckpointError: the file is cut short, not ours, or of another training.
        """
        state = learner.codec.load(path)
        if state.get("format") != FORMAT or not {"identity", "history", "learner"} <= state.keys():
            raise CheckpointError(f"{path}: is not a checkpoint of this version of mlframework; start a new run")
        if state["identity"] != self.identity:
            raise CheckpointError(
                f"{path}: is of a training with other settings; resume it with the run's own config.yaml, or start a new run"
            )
        learner.load_state_dict(state["learner"])
        history.records[:] = [EpochRecord.from_dict(record) for record in state["history"]]

    def remove(self) -> None:
        """Delete the checkpoints: a trial that is done and not among the best needs none."""
        for path in (self.best, self.last):
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def _link(source: Path, path: Path) -> None:
    """Make `path` the same file as `source`: `source` is only ever replaced, so `path` keeps what it is now."""
    with replacing(path) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, temporary)


def _write(codec: Codec, state: Mapping[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        codec.dump(state, temporary)
