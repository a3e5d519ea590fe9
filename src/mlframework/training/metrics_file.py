"""The file that has a line for each epoch."""

from mlframework.learners.base import Learner
from mlframework.runs import RunDir, append_line
from mlframework.training.callbacks import History


class MetricsFile:
    """Writes metrics.jsonl, a line an epoch."""

    def __init__(self, run: RunDir) -> None:
        self._run = run

    def on_start(self, learner: Learner, history: History) -> None:
        """Do nothing: the epochs before a resume stand in the file already."""

    def on_epoch(self, learner: Learner, history: History) -> None:
        """Write the epoch's line."""
        append_line(self._run.metrics, history.records[-1].to_dict())

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Do nothing."""
