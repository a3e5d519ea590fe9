"""Ending a training after an epoch, as Ctrl-C or an error does."""

from mlframework.learners.base import Learner
from mlframework.training.callbacks import History


class Ending:
    """Raises an error once an epoch is over, its checkpoint written."""

    def __init__(self, epoch: int, error: BaseException) -> None:
        self._epoch, self._error = epoch, error

    def on_start(self, learner: Learner, history: History) -> None: ...

    def on_epoch(self, learner: Learner, history: History) -> None:
        if history.records[-1].epoch == self._epoch:
            raise self._error

    def on_end(self, learner: Learner, history: History, status: str) -> None: ...
