"""What is said at the end of a command: where it was recorded, and where its model is registered."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlframework.config.secrets import masked
from mlframework.training.tracking.mlflow.registry import ALIAS
from mlframework.training.tracking.mlflow.sender import shown_folders
from mlframework.training.tracking.mlflow.spool import QUEUE, Sent, Spool
from mlframework.training.tracking.mlflow.tracker import Target


def recorded_lines(target: Target, folders: Sequence[Path], command: str) -> Iterator[str]:
    """Yield where a run or studies were recorded, as far as they are known to be sent.

    Args:
        target: where they go.
        folders: of the run; of a study, whose trials lie below it; of each study of a comparison.
        command: that sends what is left.
    """
    uri = masked(target.uri)
    written = [folder for folder in folders if Spool(folder).exists]
    if not written:
        yield f"MLflow: nothing was written for it in {folders[0]}, which was trained without"
        return
    place = f"experiment {target.experiment!r} at {uri}"
    left = [folder for folder in written if not _is_all_sent(folder, target)]
    if left:
        kept = shown_folders(left)
        yield f"MLflow: not all of it is recorded yet in {place}; it is kept in {kept}, and sent by: {command}"
    else:
        look = f"   look: mlflow ui --backend-store-uri {shlex.quote(uri)}" if uri.startswith("sqlite") else ""
        yield f"MLflow: recorded in {place}{look}"
    for folder in written:
        yield from _registered_line(target, folder, command)


def _registered_line(target: Target, folder: Path, command: str) -> Iterator[str]:
    """Yield the name and version of a run's model, where it is to be registered."""
    events = Spool(folder).events()
    name = next((event["name"] for event in reversed(events) if event["kind"] == "model"), None)
    if name is not None:
        sent = Sent.read(folder, masked(target.uri), target.experiment)
        is_there = sent.version is not None and _is_sent(folder, target)
        yield (
            f"registered {name} version {sent.version} ({ALIAS})"
            if is_there
            else f"not registered yet: {name}; its model is kept in {folder}, and registered by: {command}"
        )


def unsent(target: Target, folder: Path) -> int:
    """Return how many entries of a run's queue are not known to be sent to where it goes."""
    sent = Sent.read(folder, masked(target.uri), target.experiment)
    return len(Spool(folder).after(sent.position))


def _is_all_sent(folder: Path, target: Target) -> bool:
    """Whether everything is sent of a run, or of a study and its trials."""
    queues = (queue for pattern in ("", "*/", "*/*/") for queue in folder.glob(pattern + QUEUE))
    return all(_is_sent(queue.parent, target) for queue in queues)


def _is_sent(folder: Path, target: Target) -> bool:
    sent = Sent.read(folder, masked(target.uri), target.experiment)
    return sent.mark is None and sent.position > 0 and not Spool(folder).has_more(sent.position)
