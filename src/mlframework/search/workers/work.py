"""What a worker does: search the study that its parent has made, and say what happens."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from mlframework.config.yaml import Document
from mlframework.errors import MlframeworkError
from mlframework.search.loop import search
from mlframework.search.patience import Patience
from mlframework.search.read import read_config
from mlframework.search.start import load, open_search
from mlframework.search.storage import masked
from mlframework.search.tracking import leave_files, let_go
from mlframework.search.workers.job import Event, Job

Send = Callable[[Event], None]
Wait = Callable[[], object]


def work(job: Job, send: Send, wait: Wait) -> None:
    """Search until the study has all its trials; what happens is sent. `wait` returns when it was answered.

    Raises:
        MlframeworkError: the search can't go on; its message was sent.
    """
    try:
        with warnings.catch_warnings():
            # The parent has said all that there is to be said about the config.
            warnings.simplefilter("ignore", UserWarning)
            read = read_config(Document(dict(job.tree), job.name), {})
            assert read.config.search is not None
            # A worker that replaces another one may start while the database is away.
            patience = Patience(read.config.search.storage_patience, masked(read.config.search.storage))
            study = patience(lambda: open_search(read, resume=True, add_trials=0, is_worker=True, address=job.storage))
        if job.copies:
            leave_files(read.config.tracking)
        try:
            end = search(study, load, Speaker(send, wait if job.copies else None))
        finally:
            let_go()
        send({"event": "end", "why": end.why})
    except MlframeworkError as error:
        send({"event": "error", "kind": type(error).__name__, "message": str(error)})
        raise


class Speaker:
    """Watches a worker's search, and says what it sees.

    Args:
        send: takes an event.
        wait: where run folders are copied: returns when that was done, before anything else is written into them.
    """

    def __init__(self, send: Send, wait: Wait | None = None) -> None:
        self._send, self._wait, self._copies = send, wait or (lambda: None), wait is not None

    def trial_started(self, number: int, params: Mapping[str, Any], num_epochs: int) -> None:
        """Say so."""
        self._send({"event": "trial_started", "number": number, "params": dict(params), "num_epochs": num_epochs})
        self._wait()

    def epoch_ended(self, number: int, epoch: int, value: float) -> None:
        """Say so."""
        self._send({"event": "epoch_ended", "number": number, "epoch": epoch, "value": value})
        self._wait()

    def trial_ended(self, number: int) -> None:
        """Say so."""
        if self._copies:  # from now on the parent has its folder, and sends what lies there
            let_go()
        self._send({"event": "trial_ended", "number": number})
        self._wait()

    def trial_lost(self, number: int, why: str) -> None:
        """Say so."""
        self._send({"event": "trial_lost", "number": number, "why": why})

    def waiting(self, n_trials: int) -> None:
        """Say nothing: the parent shows what the others train."""

    def news(self, text: str) -> None:
        """Say so."""
        self._send({"event": "news", "text": text})
