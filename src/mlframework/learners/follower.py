"""What the ranks of a training do that do not lead: as the leader says, in silence. See `team`."""

from __future__ import annotations

import io
import json
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch

from mlframework.errors import MlframeworkError
from mlframework.learners.group import Group, is_cut
from mlframework.learners.ranks import Place, place
from mlframework.learners.sending import Receiver, receive_bytes
from mlframework.memory import is_out_of_memory

_DONE = json.dumps({"kind": "done"})


class Follower:
    """Does what the leader says, until it says that it is the end.

    Args:
        here: the place of this process.
    """

    def __init__(self, here: Place) -> None:
        self._group, self._here = Group(here), here
        self._receiver = Receiver()
        self._learner: Any = None
        self._lrs: deque[float] = deque()
        self._taken: Iterator[float] = iter(())

    def run(self) -> None:
        """Follow."""
        number = 0
        while (order := self._group.read(f"order/{number}")) != "end":
            self._group.tell(f"done/{number}/{self._here.rank}", self._attempt(order))
            number += 1
        self._group.leave()

    def _attempt(self, order: str) -> str:
        """Carry an order out, and return how that went."""
        try:
            self._obey(*order.split())
        except Exception as error:  # noqa: BLE001 - whatever it is, the leader decides what becomes of it
            self._group.cut()
            self._learner, self._receiver = None, Receiver()
            return _report(error)
        return _DONE

    def _obey(self, word: str, argument: str = "") -> None:
        if word == "build":
            self._learner = None
            self._group.join(int(argument))
            model, spec = self._receiver.receive()
            self._learner = model.learner(spec)
        elif word == "train":
            self._learner.train_epoch()
        elif word == "outputs":
            self._learner.outputs(argument)
        elif word == "load":
            self._learner.load_state_dict(torch.load(io.BytesIO(receive_bytes()), "cpu", weights_only=True))
        elif word == "steps":
            self._lrs.clear()
            self._taken = self._learner.steps(given_lrs(self._lrs))
        elif word == "step":
            self._lrs.append(float(argument))
            next(self._taken)
        else:
            raise ValueError(f"order {word!r}")


def given_lrs(lrs: deque[float]) -> Iterator[float]:
    """Yield learning rates as they are given: one has to be there whenever the next one is asked for."""
    while lrs:
        yield lrs.popleft()


def _report(error: Exception) -> str:
    kind = "defect"
    if is_out_of_memory(error):
        kind = "memory"
    elif isinstance(error, MlframeworkError):
        kind = "user"
    elif is_cut(error):
        kind = "cut"
    text = str(error).strip() or type(error).__name__
    where = "".join(traceback.format_exception(error)) if kind == "defect" else ""
    return json.dumps({"kind": kind, "text": text, "where": where})


def follow() -> None:
    """Follow the first rank to its end, in silence: it speaks for all."""
    here = place()
    assert here is not None
    warnings.simplefilter("ignore")
    # There is nothing to save here. SIGTERM is for all ranks; Ctrl-C is for the leader, which then says that it is the end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        Follower(here).run()
    except RuntimeError as error:
        if not is_cut(error):
            raise
