"""What a worker is told, what it says, and what starts it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

Event = Mapping[str, Any]
"""What a worker says: `event` names a method of `Watcher`, the other keys are its arguments; beside those `end`, `error`
and, from its launcher, `gone`."""
Post = Callable[[int, Event], None]
"""Takes what a worker says, with the worker's number."""
Gone = Literal["done", "left", "error", "killed", "defect"]
"""How a worker ended: all work is done; told to leave, and saved; with a message for the user; killed; by a defect."""


@dataclass(frozen=True)
class Job:
    """What a worker is told: all that it needs beside the study's storage.

    Attributes:
        number: of the worker, from 0.
        tree: the config with its search; `${VAR}` in it is not expanded.
        name: of the config's file.
        storage: the address of the study's storage where that is not the config's: of a proxy in front of it.
        copies: whether its run folders are copied: it then waits for an answer where one is to be sent or given.
    """

    number: int
    tree: Mapping[str, Any]
    name: str
    storage: str | None = None
    copies: bool = False

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Job:
        """Read what `to_json` wrote."""
        return cls(**json.loads(line))


class Worker(Protocol):
    """A worker that was started; its last event is `gone`, with `how` it ended and in words `why`."""

    def stop(self) -> None:
        """Ask it to save its trial and leave."""

    def kill(self) -> None:
        """End it at once."""


class Launcher(Protocol):
    """Starts workers."""

    def start(self, job: Job, post: Post) -> Worker:
        """Start one; what it says is posted from a thread.

        Raises:
            MlframeworkError: it can't be started.
        """

    def close(self) -> None:
        """Let go of what starting workers took, once all of them are gone."""
