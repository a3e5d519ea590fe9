"""Where this process stands among those that torchrun started, and how a learner comes about there. No torch here."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlframework.errors import RunError, TrainingError

if TYPE_CHECKING:
    from mlframework.learners.base import Learner, LearnerSpec

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
LIKE_STANDARD = ("standard", "distributed")
"""Values of `training.trainer_type` that train the same: checkpoints and studies of the one go on with the other."""


class RankError(RunError):
    """A process of a distributed training is gone: this command cannot go on, the next one can."""


class BuildsLearner(Protocol):
    """A model's config."""

    def learner(self, spec: LearnerSpec) -> Learner:
        """Return a learner of the model."""


@dataclass(frozen=True)
class Place:
    """The place of this process among those that train together.

    Attributes:
        rank: its number, 0 for the one that leads.
        world: how many there are.
        local_rank: its number on this machine.
    """

    rank: int
    world: int
    local_rank: int


def place() -> Place | None:
    """Return this process's place as torchrun tells it, or None where torchrun did not start it."""
    if any(name not in os.environ for name in _NEEDED):
        return None
    return Place(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))


def torchrun(tree: Mapping[str, Any]) -> str:
    """Return what a command that trains a config begins with: torchrun, where the config is distributed, else nothing."""
    here = place()
    if (tree.get("training") or {}).get("trainer_type") != "distributed":
        return ""
    return f"torchrun --standalone --nproc-per-node {here.world if here is not None else 2} --no-python "


def require_place(trainer_type: str) -> None:
    """Check that as many processes were started as `training.trainer_type` needs.

    Raises:
        TrainingError: it is `distributed` without torchrun, or something else in one of several processes.
    """
    here = place()
    if here is None and trainer_type == "distributed":
        words = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        command = words if words.startswith("ml-") else "ml-train --config F"
        raise TrainingError(
            "training.trainer_type: distributed trains in processes that torchrun starts: torchrun --standalone "
            f"--nproc-per-node 2 --no-python {command}; use trainer_type: standard for one process"
        )
    if here is not None and here.world > 1 and trainer_type != "distributed":
        raise TrainingError(
            f"training.trainer_type: {trainer_type} trains in one process, and torchrun has started {here.world}; use "
            "trainer_type: distributed, or start the command without torchrun"
        )


def build_learner(model: BuildsLearner, spec: LearnerSpec) -> Learner:
    """Return the learner of a model: of this process alone, or one that leads those of the other processes.

    Raises:
        TrainingError: the processes are not those that the settings need, or the model does not fit the data.
    """
    require_place(spec.settings.trainer_type)
    if spec.settings.trainer_type != "distributed":
        return model.learner(spec)
    from mlframework.learners.team import lead

    return lead(model, spec)


def comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `training:` section as that of one process: in how many it trains changes nothing about its results."""
    same = settings.get("trainer_type", "standard") in LIKE_STANDARD
    return {**settings, "trainer_type": "standard"} if same else dict(settings)
