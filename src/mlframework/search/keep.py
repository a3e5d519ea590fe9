"""`search.keep`: whose checkpoints a study keeps, and how much disk they may take."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mlframework.config.base import Config
from mlframework.runs import RunDir
from mlframework.training.checkpoint import Checkpoints

Sizes = dict[tuple[int, int], int]
"""Bytes of files, by device and inode: a file with two names is there once."""


class Keep(Config):
    """Which checkpoints of a study are kept: of its best trials, and of what can still be resumed."""

    top_k: Annotated[int, Field(ge=0)] = 3
    """How many of the best trials keep their checkpoints."""
    max_gb: Annotated[float, Field(gt=0)] | None = None
    """What the study's checkpoints may take in all, in 10^9 bytes; null: no limit. The best trials keep theirs, from the
    first on, as long as they fit; those of trials that can still be resumed are never removed, but count."""

    @property
    def max_bytes(self) -> float:
        """The limit in bytes."""
        return float("inf") if self.max_gb is None else self.max_gb * 1e9

    def describe(self) -> str:
        """Say in a line what is kept."""
        who = f"the best {self.top_k} trials keep theirs" if self.top_k != 1 else "the best trial keeps its own"
        kept = who if self.top_k else "only what can be resumed is kept"
        return kept if self.max_gb is None else f"{kept}, {self.max_gb:g} GB at most in all"


def checkpoint_folders(run: RunDir) -> list[Path]:
    """Return where a trial's checkpoints lie or may lie, those of its folds and repeats included."""
    return [run.checkpoints, *run.path.glob("fold_*/checkpoints"), *run.path.glob("repeat_*/checkpoints")]


def sizes(runs: Iterable[RunDir]) -> Sizes:
    """Return the bytes of the checkpoints of runs; another process may be writing or removing them."""
    found: Sizes = {}
    for run in runs:
        for folder in checkpoint_folders(run):
            for path in Checkpoints(folder, "").files():
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                found[status.st_dev, status.st_ino] = status.st_size
    return found


def remove_checkpoints(run: RunDir) -> None:
    """Delete the checkpoints of a trial, those of its folds and repeats included.

    Raises:
        RunError: they cannot be deleted.
    """
    for folder in checkpoint_folders(run):
        Checkpoints(folder, "").remove()


def shown_bytes(count: float) -> str:
    """Return a number of bytes with its unit."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
