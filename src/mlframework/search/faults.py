"""What goes wrong with a trial: which kind of fault it is, how it is told, and how often a trial is tried again."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlframework.errors import MlframeworkError
from mlframework.memory import free, is_out_of_memory, said
from mlframework.runs import write_text
from mlframework.search.duplicates import IMPORTED, REDRAWN

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Kind = Literal["settings", "error", "death", "out_of_memory"]
"""`settings` or data explain it; an `error` that nobody expected; the `death` of a process; `out_of_memory`."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors that the next trial, or the next attempt, would fail by, too."""
OUT_OF_MEMORY: Kind = "out_of_memory"
FAULT = "mlframework:fault"
"""Attribute of a trial that failed: of which kind its fault is."""
_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


@dataclass(frozen=True)
class Fault:
    """Something that went wrong with a trial.

    Attributes:
        kind: what sort of fault it is.
        reason: the fault in a line, and what may help.
    """

    kind: Kind
    reason: str


@dataclass(frozen=True)
class FaultPolicy:
    """How often a trial is tried again, and when a search is given up.

    Attributes:
        retries: how often a trial is tried again after errors that nobody expected.
        deaths: at how many deaths in a row without any progress a trial has failed.
        max_consecutive_failures: how many trials that failed one after the other end a search; None: no number does.
    """

    retries: int = 0
    deaths: int = 3
    max_consecutive_failures: int | None = None

    @classmethod
    def of_search(cls, retries: int, max_consecutive_failures: int | None) -> FaultPolicy:
        """Return what a search section asks for: a trial may die as often as it may raise."""
        return cls(retries, 1 + retries, max_consecutive_failures)


def fault_of(error: Exception) -> Fault:
    """Return what a training raised as a fault."""
    if is_out_of_memory(error):
        reason = str(error) if isinstance(error, MlframeworkError) else said(error)
        return Fault(OUT_OF_MEMORY, f"out of memory: {reason.removeprefix('out of memory: ')}")
    if isinstance(error, MlframeworkError):
        return Fault("settings", str(error))
    text = str(error).strip().splitlines()
    return Fault("error", f"{type(error).__name__}: {text[0] if text else ''}"[:500])


def take_note(error: Exception, folder: Path) -> Fault:
    """Return what a training raised as a fault; what the settings do not explain leaves its traceback in error.txt.

    Where memory ran out, what the error holds of it is given back.
    """
    fault = fault_of(error)
    if fault.kind != "settings":
        write_text(folder / "error.txt", "".join(traceback.format_exception(error)))
    if fault.kind == OUT_OF_MEMORY:
        free(error)
    return fault


def state_of(trial: FrozenTrial) -> str:
    """Return the state of a trial: Optuna's, but for what is none of the study's own trials, and what ran out of memory."""
    if IMPORTED in trial.user_attrs:
        return "imported"
    # To samplers it is an infeasible trial, which is not what it is to anybody else.
    is_short = trial.state.name == "PRUNED" and trial.user_attrs.get(FAULT) == OUT_OF_MEMORY
    return str(trial.user_attrs.get(REDRAWN, "failed" if is_short else _STATES[trial.state.name]))
