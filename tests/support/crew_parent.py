"""A search with workers, as `ml-search --workers N --resume` runs it, that writes down all that it hears.

Arguments: a config, the number of workers, and the file for what is heard: a line of JSON an event.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlframework.cli import console
from mlframework.search.read import read_config
from mlframework.search.start import open_search
from mlframework.search.workers.crew import job_of, search_with_workers
from mlframework.search.workers.job import Job, Post
from mlframework.search.workers.launch import Workers
from mlframework.search.workers.local import LocalLauncher, LocalWorker


class Heard:
    """Writes down what a search does."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, event: str, **said: Any) -> None:
        """Write a line in one go."""
        os.write(self._file, (json.dumps({"event": event, "time": time.time(), **said}) + "\n").encode())

    def trial_started(self, number: int, params: Mapping[str, Any], num_epochs: int) -> None:
        """Write it down."""
        self.write("started", trial=number, params=dict(params))

    def epoch_ended(self, number: int, epoch: int, value: float) -> None:
        """Write it down."""
        self.write("epoch", trial=number, epoch=epoch, value=value)

    def trial_ended(self, number: int) -> None:
        """Write it down."""
        self.write("ended", trial=number)

    def trial_lost(self, number: int, why: str) -> None:
        """Write it down."""
        self.write("lost", trial=number, why=why)

    def waiting(self, n_trials: int) -> None:
        """Write it down."""
        self.write("waiting", n_trials=n_trials)

    def news(self, text: str) -> None:
        """Write it down."""
        self.write("news", text=text)


class Watched(LocalLauncher):
    """Writes down the processes, so that they can be killed."""

    def start(self, job: Job, post: Post) -> LocalWorker:
        """Start one."""
        worker = super().start(job, post)
        nursery = 0 if self.nursery is None else self.nursery.pid
        HEARD.write("worker", number=job.number, pid=worker.pid, nursery=nursery, parent=os.getpid())
        return worker


def main() -> None:
    """Search."""
    read = read_config(sys.argv[1], {})
    study = open_search(read, True, 0)
    with Workers(int(sys.argv[2])).prepared() as workers:
        workers.prepare_for(read)
        launcher = Watched(study.spec.folder, nursery=workers.nursery)
        end = search_with_workers(study, job_of(study, read), launcher, workers.count, HEARD)
    HEARD.write("end", why=end.why)


if __name__ == "__main__":
    HEARD = Heard(Path(sys.argv[3]))
    console.run(main)
