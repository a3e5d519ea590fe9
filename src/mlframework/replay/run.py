"""Training a stored run again, and saying whether it comes to the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlframework.config.decode import decode
from mlframework.config.yaml import Document
from mlframework.data.fingerprint import Fingerprint
from mlframework.environment import differences, environment
from mlframework.errors import DataError, MlframeworkError, RunError, Stopped, TrialPruned
from mlframework.experiment import ExperimentConfig, load_data, refit, start_run
from mlframework.learners.base import Learner
from mlframework.replay.original import REPORTS, Original, stored_epochs
from mlframework.replay.verdict import Comparison, Epochs, compare
from mlframework.runs import FORMAT, RunDir, write_json
from mlframework.search.faults import fault_of
from mlframework.training.callbacks import Callback, History


@dataclass(frozen=True)
class Replay:
    """What a replay came to.

    Attributes:
        original: what was replayed.
        run: the replay's folder.
        comparison: of the epochs.
        failure: why the replay failed, None where it did not.
        differs: what it ran on and learnt from that is other than it was.
    """

    original: Original
    run: RunDir
    comparison: Comparison
    failure: str | None
    differs: Sequence[str]

    @property
    def has_diverged(self) -> bool:
        """Whether it came to something else."""
        return self.comparison.verdict == "diverged" or not self._ends_alike

    @property
    def _ends_alike(self) -> bool:
        if self.original.state != "failed":
            return self.failure is None
        # A trial that was tried again has more to say of its failure than one attempt.
        return self.failure is not None and self.failure in (self.original.reason or self.failure)

    @property
    def message(self) -> str:
        """The verdict in a line."""
        found = self.comparison
        why = f" ({'; '.join(self.differs) or 'versions, machine and data are recorded as the same'})"
        also = f", although other: {'; '.join(self.differs)}" if self.differs else ""
        again = f"; it fails again alike: {self.failure}" if self.failure is not None else ""
        if found.diverged is not None:
            first = found.diverged
            then, now = _apart(first.then, first.now)
            return f"diverged at {first.at}: {first.name} {then} then, {now} now{why}"
        if not self._ends_alike:
            then = f"failed then: {self.original.reason}" if self.original.state == "failed" else "did not fail then"
            now = f"fails now: {self.failure}" if self.failure is not None else "does not fail now"
            return f"diverged after {found.n_epochs} epochs: it {then}; it {now}{why}"
        if found.missing is not None:
            return f"diverged at {found.missing_at}: {found.missing}{why}"
        if found.largest is not None:
            largest = found.largest
            where = f"{largest.size:.1g} in {largest.name} at {largest.at}"
            return f"within noise (largest difference {where}){again}{also}"
        # Where the folder is gone, the storage has the metric that the trial reported, and no other.
        metrics = self.original.tree["metric"] if REPORTS in self.original.epochs else "every metric"
        return f"identical: {found.n_epochs} epochs, to the last digit of {metrics}{again}{also}"

    def to_dict(self) -> dict[str, Any]:
        """Return the content of replay.json."""
        found = self.comparison
        return {
            "format": FORMAT,
            "replay_of": self.original.name,
            "verdict": "diverged" if self.has_diverged else found.verdict,
            "message": self.message,
            "epochs": found.n_epochs,
            "first_difference": asdict(found.differences[0]) if found.differences else None,
            "largest_difference": asdict(found.largest) if found.largest is not None else None,
            "differs": list(self.differs),
            "failure": self.failure,
        }


def _apart(then: float | None, now: float | None) -> tuple[str, str]:
    """Return two values with as many digits as tell them apart."""
    for digits in (3, 6, 17):
        shown = ["nothing" if value is None else f"{value:.{digits}g}" for value in (then, now)]
        if shown[0] != shown[1]:
            break
    return shown[0], shown[1]


def refuse_other_data(name: str, then: Fingerprint | None, now: Fingerprint | None, accept_change: bool) -> list[str]:
    """Return what has changed in the data of a run where that is accepted.

    Raises:
        DataError: it has changed, and that is not accepted.
    """
    changed = then.changes(now) if then is not None and now is not None else []
    if changed and not accept_change:
        listed = "\n".join(f"  {line}" for line in changed)
        raise DataError(
            f"the data of {name} has changed since:\n{listed}\n"
            "put the former data back, or train on the present data all the same by --accept-data-change"
        )
    return changed


def replay(
    original: Original, tree: Mapping[str, Any], root: Path, changed_data: Sequence[str], callbacks: Sequence[Callback]
) -> Replay:
    """Train a run again into a new folder under `root`, as far as it was trained, and compare.

    Args:
        original: what is replayed.
        tree: its config; the data's path and the device may be others.
        root: where the folder is made.
        changed_data: what `refuse_other_data` has found.
        callbacks: told of every epoch.

    Raises:
        MlframeworkError: the data can't be loaded, the folder can't be written.
    """
    config = decode(ExperimentConfig, Document(dict(tree), original.name))
    splits = load_data(config).without_test()
    run = RunDir.create(root, f"replay_{original.slug}")
    start_run(run, tree)
    reports: list[dict[str, Any]] = []
    ends = _Ends(original.epochs, original.state, reports, config.metric)
    failure = None
    try:
        if original.final_epochs is not None:
            refit(config, splits, run, original.final_epochs, [*callbacks, ends])
        else:
            original.plan.evaluate(config, splits, run, ends.report, [*callbacks, ends])
    except TrialPruned:
        pass
    except (Stopped, RunError):
        raise
    except MlframeworkError as error:
        failure = str(error)
    except Exception as error:  # noqa: BLE001 - that it fails, and how, is what is compared
        failure = fault_of(error).reason
    now: Epochs = {REPORTS: reports} if REPORTS in original.epochs else stored_epochs(run, original.plan)
    compared = compare(original.epochs, now, is_cut_short=original.state == "failed")
    present = dict(environment())
    if tree.get("device") != original.tree.get("device"):
        changed_data = [*changed_data, f"device {original.tree.get('device')} -> {tree.get('device')}"]
    found = Replay(original, run, compared, failure, [*differences(original.environment, present), *changed_data])
    write_json(run.path / "replay.json", found.to_dict())
    return found


class _Ends:
    """Ends a replay where the original ended: a pruned one at its last epoch, a failed one behind the epoch of its failure."""

    def __init__(self, then: Epochs, state: str, reports: list[dict[str, Any]], metric: str) -> None:
        self._parts = [(part, len(lines)) for part, lines in then.items()]
        self._beyond = 1 if state == "failed" else 0
        self._is_whole = state == "complete"
        self._reports, self._metric = reports, metric
        self._last_step = then[REPORTS][-1]["epoch"] if REPORTS in then else None
        self._part = 0

    def report(self, step: int, value: float, parts: Sequence[float] = (), /) -> None:
        """Remember the report; the storage alone knows of a trial whose folder is gone."""
        self._reports.append({"epoch": step, self._metric: value})
        if not self._is_whole and self._last_step is not None and step >= self._last_step + self._beyond:
            raise TrialPruned("as far as it was trained")

    def on_start(self, learner: Learner, history: History) -> None:
        """Count the parts."""
        self._part += 1

    def on_epoch(self, learner: Learner, history: History) -> None:
        """End the replay where nothing is left to compare."""
        if self._is_whole or self._last_step is not None:
            return
        last = self._parts[-1][1] if self._parts else 0
        if (self._part, len(history.records)) >= (max(1, len(self._parts)), last + self._beyond):
            raise TrialPruned("as far as it was trained")

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        """Do nothing."""
