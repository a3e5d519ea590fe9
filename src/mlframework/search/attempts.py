"""The attempts at a trial: what was tried before, where that ended, and whether it is tried once more.

They stand in one attribute of the trial, each written before it trains. So whoever takes a trial over knows that somebody
began, and where: an attempt without an end is one whose process died. A death counts against a trial only where nothing was
won since the attempt began, and it is of memory where the system says that it has killed for want of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlframework.errors import LeaseLost, MlframeworkError, StorageError
from mlframework.plans import Evaluation, Report
from mlframework.runs import RunDir
from mlframework.search.cgroup import OomKills
from mlframework.search.faults import DISK, OUT_OF_MEMORY, Fault, FaultPolicy, fault_of, take_note
from mlframework.search.interrupted import worked_seconds
from mlframework.search.lease import Lease
from mlframework.search.storage import translated
from mlframework.search.study import OpenStudy

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

    from mlframework.search.objective import Training

ATTEMPTS = "mlframework:attempts"
Entry = dict[str, Any]
_KEPT = 20  # entries of a trial, errors apart: one that is preempted a hundred times has no use for all
_SMALLER = "a smaller training.batch_size may help"


@dataclass(frozen=True)
class Position:
    """How far a trial has come.

    Attributes:
        steps: how many values it has reported, or will report again as it goes on from its run folder: those of its last
            moment before a kill.
        saved: how many epochs its run folder has, those of all folds.
        folder: what tells that folder from one on another machine; None before there is one.
    """

    steps: int
    saved: int
    folder: int | None

    @classmethod
    def of(cls, frozen: FrozenTrial, run: RunDir) -> Position:
        """Return the position of a trial."""
        own, *parts = (_lines(path) for path in (run.metrics, *run.path.glob("*/metrics.jsonl")))
        written = run.config.stat().st_mtime_ns if run.config.is_file() else None
        return cls(max(len(frozen.intermediate_values), own), own + sum(parts), written)

    def is_beyond(self, entry: Mapping[str, Any]) -> bool:
        """Whether something was won since an attempt began; what another machine's folder has, nobody knows here."""
        same_folder = self.folder == entry["folder"]
        return bool(self.steps > entry["steps"] or (same_folder and self.saved > entry["saved"]))


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def first_attempt(lease: Lease) -> list[Entry]:
    """Return the attempts of a trial that is made now."""
    return [_entry(Position(0, 0, None), lease)]


def _entry(position: Position, lease: Lease) -> Entry:
    kills = OomKills.now()
    return {**position.__dict__, "by": _by(lease), "kills": kills.to_dict() if kills is not None else None}


def _by(lease: Lease) -> str:
    """Return what tells an owner, and how often it has taken the place, from others."""
    return f"{lease.owner.rpartition('|')[2]}:{lease.token}"


class Attempts:
    """The attempts at a trial, by the process that owns it.

    Args:
        study: the trial's study.
        trial: the trial.
        lease: by which this process owns it.
    """

    def __init__(self, study: OpenStudy, trial: Trial, lease: Lease) -> None:
        self._study, self._trial, self._lease = study, trial, lease
        self._policy: FaultPolicy = study.spec.faults
        self._run = study.spec.folder.trial(trial.number)
        self._saved = 0
        self.has_won = False
        """Whether a value was reported since the attempt began: the first one is written at once, so that all know."""

    def begin(self) -> Fault | None:
        """Begin an attempt where a former owner left the trial; returns why it has failed, where that is settled now."""
        frozen, entries = self._frozen(), self._entries()
        if entries and entries[-1].get("by") == _by(
            self._lease
        ):  # the trial is new, and was made with its first attempt
            return None
        now = Position.of(frozen, self._run)
        self._saved = now.saved
        fault = None
        if entries and "end" not in entries[-1]:
            entries[-1] |= {"end": "death", "won": now.is_beyond(entries[-1]), **self._kills_since(entries[-1])}
            fault = self._judge(entries, now)
        if fault is not None:
            entries[-1]["kind"] = fault.kind
        else:
            entries.append(_entry(now, self._lease))
        self._write(entries)
        return fault

    def train(self, training: Training, report: Report, say: Callable[[str], None]) -> Evaluation:
        """Train, and go on from the last checkpoint where an error came that nobody expected; `say` is told so.

        Raises:
            Exception: the error that is the last one: explained by the settings, seen before, or one too many.
        """
        while True:
            try:
                return training.evaluate(report)
            except (MlframeworkError, BrokenPipeError):
                raise
            except Exception as error:
                is_disk = isinstance(error, OSError) and error.errno in DISK
                if is_disk or not self._is_tried_again(fault_of(error)):
                    raise
                fault = take_note(error, self._run.path)
                say(f"trial {self._trial.number}: {fault.reason}; it is tried again from its last checkpoint")

    def reached(self, step: int) -> None:
        """Take note that a step was trained again that was reported already: this folder had no checkpoint of it.

        So deaths at different steps are told from deaths at one and the same.
        """
        if step <= self._saved:
            return
        entries = self._entries()
        entries[-1]["reached"] = step
        self._write(entries)

    def _is_tried_again(self, fault: Fault) -> bool:
        """Write down how the attempt ended, and begin the next one where there is to be one."""
        entries = self._entries()
        before = [entry["fault"] for entry in entries if entry.get("kind") == "error"]
        again = fault.kind == "error" and fault.reason not in before and len(before) < self._policy.retries
        entries[-1] |= {"end": "error", "kind": fault.kind, "fault": fault.reason}
        if again:
            now = Position.of(self._frozen(), self._run)
            self._saved = now.saved
            entries.append(_entry(now, self._lease))
            self.has_won = False
        self._write(entries)
        return again

    def _judge(self, entries: Sequence[Entry], now: Position) -> Fault | None:
        """Return why a trial has failed whose owner died, or None where it is to go on."""
        last, where = entries[-1], f"after step {now.steps}" if now.steps else "before its first report"
        if last["killed"]:
            what = f"the system killed its process for want of memory {where} (the oom_kill count of its control group rose)"
            return Fault(OUT_OF_MEMORY, f"out of memory: {what}; {_SMALLER}")
        held: list[Entry] = []
        for entry in reversed(entries):
            is_death = entry["end"] == "death"
            if entry.get("won", now.is_beyond(entry)) or (is_death and entry.get("reached") != last.get("reached")):
                break
            held += [entry] if is_death else []
        if len(held) >= self._policy.deaths:
            times = "" if len(held) == 1 else f" {len(held)} times in a row"
            return Fault("death", f"its process died{times} {where}: killed, or by a crash of native code")
        if sum(entry["killed"] is None for entry in held) > 1:
            what = f"its process died twice {where}, as one does that the system kills for want of memory"
            return Fault(OUT_OF_MEMORY, f"out of memory: {what}; {_SMALLER}")
        return None

    def _kills_since(self, entry: Entry) -> dict[str, Any]:
        """Return whether the system killed the attempt's process, None where nobody can tell.

        Each kill that was counted stands for one process: those that former deaths were put down to are taken off.
        """
        then = OomKills.of(entry["kills"])
        now = then.again() if then is not None else None
        if then is None or now is None:
            return {"killed": None}
        blamed = 0
        for trial in self._study.trials():
            for other in trial.user_attrs.get(ATTEMPTS, ()):
                seen = OomKills.of(other.get("until")) if other.get("killed") else None
                blamed += seen is not None and seen.is_of(now) and seen.count > then.count
        return {"killed": now.count - then.count > blamed, "until": now.to_dict()}

    def _frozen(self) -> FrozenTrial:
        with translated(self._study.spec.storage):
            return self._study.study._storage.get_trial(self._trial._trial_id)

    def _entries(self) -> list[Entry]:
        return [dict(entry) for entry in self._frozen().user_attrs.get(ATTEMPTS, ())]

    def _write(self, entries: list[Entry]) -> None:
        """Write the attempts, unless they are another worker's by now.

        Raises:
            LeaseLost: another worker owns the trial.
        """
        old = [entry for entry in entries[:-_KEPT] if entry.get("kind") == "error"]
        with translated(self._study.spec.storage):
            self._study.leases.renew(self._lease)
            self._trial.set_user_attr(ATTEMPTS, [*old, *entries[-_KEPT:]])

    def seconds(self) -> float | None:
        """Return how long the epochs took of a trial that a process left before its end; None for others."""
        left = any(entry.get("end") in ("death", "released") for entry in self._entries())
        return worked_seconds(self._run) if left else None

    def let_go(self) -> None:
        """Write down that the process ended the attempt in order: that is no fault of the trial."""
        with suppress(StorageError, LeaseLost):
            entries = self._entries()
            is_mine = bool(entries) and entries[-1].get("by") == _by(self._lease)
            if is_mine and "end" not in entries[-1] and not self._frozen().state.is_finished():
                entries[-1]["end"] = "released"
                self._write(entries)
