"""What MLflow is to be told: a file of JSON lines that only grows, and how far it was told.

Everything goes through these two files. So a server that is away costs nothing, a killed process loses nothing, and to
resume is to go on sending.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlframework.errors import RunError
from mlframework.runs import FORMAT, append_line, make_folder, read_json, write_json, writing

QUEUE, SENT = "mlflow_queue.jsonl", "mlflow_sent.json"

Event = Mapping[str, Any]
"""`kind` is a key of `delivery.HANDLERS`, `time` in milliseconds; the other keys are that handler's."""


def now() -> int:
    """Return the time as MLflow has it, in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Spool:
    """The events of one MLflow run.

    Attributes:
        folder: where its files lie: a run's folder, or a study's.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """The file of events."""
        return self.folder / QUEUE

    @property
    def exists(self) -> bool:
        """Whether anything was ever written."""
        return self.path.is_file()

    def append(self, kind: str, **content: Any) -> None:
        """Write an event.

        Raises:
            RunError: it cannot be written.
        """
        if self.exists:
            self._mend()
        else:
            with writing(self.folder):
                make_folder(self.folder)
        append_line(self.path, {"kind": kind, "time": now(), **content})

    def append_once(self, kind: str, **content: Any) -> bool:
        """Write an event unless the last one of its kind says the same; return whether it was written."""
        last = next((event for event in reversed(self.events()) if event["kind"] == kind), None)
        if last is not None and {key: value for key, value in last.items() if key not in ("kind", "time")} == content:
            return False
        self.append(kind, **content)
        return True

    def first(self) -> Event | None:
        """Return the first event, None where there is none."""
        return next(self._after(0), (None, 0))[0] if self.exists else None

    def events(self) -> list[Event]:
        """Return all events."""
        return [event for event, _ in self.after(0)]

    def after(self, position: int) -> list[tuple[Event, int]]:
        """Return the events behind a position, each with the position behind it. Half a line is left for later."""
        return list(self._after(position)) if self.exists else []

    def _after(self, position: int) -> Iterator[tuple[Event, int]]:
        with self.path.open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                position += len(line)
                try:
                    event = json.loads(line)
                except ValueError:  # a power cut may leave half a line, which was ended since
                    continue
                if isinstance(event, dict) and "kind" in event:
                    yield event, position

    def has_more(self, position: int) -> bool:
        """Whether anything stands behind a position."""
        try:
            return self.path.stat().st_size > position
        except OSError:
            return False

    def _mend(self) -> None:
        """End a last line that was cut short, so that the next one begins a line."""
        with writing(self.path), self.path.open("rb+") as file:
            if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
                file.write(b"\n")

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Yield whether this process alone sends the events now: a worker and its parent may both want to."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)


@dataclass
class Sent:
    """How far a spool was sent, and where to.

    Attributes:
        uri: of the server, without its password.
        experiment: MLflow's name of it.
        run_id: MLflow's id of the run; None before it was made.
        position: bytes of the spool that are sent.
        mark: number of the best trial whose run is not marked as that yet.
        version: of the model that was registered.
    """

    uri: str
    experiment: str
    run_id: str | None = None
    position: int = 0
    mark: int | None = None
    version: str | None = None

    @classmethod
    def read(cls, folder: Path, uri: str, experiment: str) -> Sent:
        """Return how far a folder's spool was sent to a place: not at all, where it was sent to another one."""
        try:
            content = read_json(folder / SENT)
            found = cls(**{key: content[key] for key in cls.__dataclass_fields__ if key in content})
        except (RunError, KeyError, TypeError):
            return cls(uri, experiment)
        return found if (found.uri, found.experiment) == (uri, experiment) else cls(uri, experiment)

    def write(self, folder: Path) -> None:
        """Write it, unless the folder was removed meanwhile."""
        if folder.is_dir():
            write_json(folder / SENT, {"format": FORMAT, **asdict(self)})
