"""What is said at the end of a command: where it was recorded, and where its model is registered."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from mlframework.config.secrets import masked
from mlframework.training.tracking.mlflow.registry import ALIAS
from mlframework.training.tracking.mlflow.spool import QUEUE, Sent, Spool
from mlframework.training.tracking.mlflow.tracker import Target


def recorded_lines(target: Target, folder: Path, command: str) -> Iterator[str]:
    """Yield where a run or a study was recorded, as far as it is known to be sent.

    Args:
        target: where it goes.
        folder: of the run; of a study, whose trials lie below it.
        command: that sends what is left.
    """
    uri, spool = masked(target.uri), Spool(folder)
    if not spool.exists:
        yield f"MLflow: nothing was written for it in {folder}, which was trained without"
        return
    place = f"experiment {target.experiment!r} at {uri}"
    if all(_is_sent(each.parent, target) for pattern in ("", "*/", "*/*/") for each in folder.glob(pattern + QUEUE)):
        look = f"   look: mlflow ui --backend-store-uri {shlex.quote(uri)}" if uri.startswith("sqlite") else ""
        yield f"MLflow: recorded in {place}{look}"
    else:
        yield f"MLflow: not all of it is recorded yet in {place}; it is kept in {folder}, and sent by: {command}"
    name = next((event["name"] for event in reversed(spool.events()) if event["kind"] == "model"), None)
    if name is not None:
        sent = Sent.read(folder, uri, target.experiment)
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


def _is_sent(folder: Path, target: Target) -> bool:
    sent = Sent.read(folder, masked(target.uri), target.experiment)
    return sent.mark is None and sent.position > 0 and not Spool(folder).has_more(sent.position)
