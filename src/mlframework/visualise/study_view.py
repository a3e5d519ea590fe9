"""What the search plots see of a study: its trials, sorted by what became of them, and the names of its parameters."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from mlframework.errors import PlotError
from mlframework.registry import nearest, unknown
from mlframework.search.duplicates import IMPORTED, REDRAWN_STATES
from mlframework.search.faults import state_of
from mlframework.search.goal import Goal
from mlframework.search.interrupted import INTERRUPTED, abandoned, with_interrupted
from mlframework.search.ledgers import read_leases
from mlframework.search.primary import of_objective, without_reports
from mlframework.search.versions import original_name

if TYPE_CHECKING:
    import optuna

    from mlframework.search.results import TrialRecord

Direction: TypeAlias = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class StudyView:
    """A study as the plots see it.

    Attributes:
        name: the study's name.
        metric: what its values are, `val_acc`.
        direction: "maximize" or "minimize".
        trials: every trial, in the order of their numbers; of several objectives they have the value of `metric` alone.
        goal: what the study was searched for.
        records: every trial with the values of all objectives.
    """

    name: str
    metric: str
    direction: Direction
    trials: "Sequence[optuna.trial.FrozenTrial]"
    goal: Goal
    records: "Sequence[TrialRecord]"

    @classmethod
    def of(cls, study: "optuna.Study", metric: str, goal: Goal | None = None) -> "StudyView":
        """Read a study once.

        Args:
            study: Optuna's study.
            metric: what its values are; with several objectives, the one that is shown.
            goal: what it was searched for; None where there is one objective.

        Raises:
            PlotError: there are several objectives, and `goal` is missing or does not have the metric.
        """
        if goal is None and len(study.directions) != 1:
            raise PlotError(f"study {study.study_name!r} has {len(study.directions)} objectives; a plot shows one")
        goal = goal or Goal.single(metric, "maximize" if study.direction.name == "MAXIMIZE" else "minimize")
        if metric not in goal.metrics:
            raise PlotError(unknown(metric, goal.metrics, "objective"))
        leases = read_leases(study)  # before the trials: whose trial ends meanwhile has not left it
        trials = sorted(study.get_trials(deepcopy=False), key=lambda trial: trial.number)
        records = with_interrupted([_record(trial, goal) for trial in trials], abandoned(trials, leases))
        at = goal.metrics.index(metric)
        if metric != goal.main:  # what trials report is the main objective
            trials = [without_reports(trial) for trial in trials]
        shown = [of_objective(trial, at) for trial in trials]
        return cls(original_name(study.study_name), metric, goal.objectives[at].direction, shown, goal, records)

    @cached_property
    def complete(self) -> "list[optuna.trial.FrozenTrial]":
        """The trials that finished, with a finite value; none that were imported."""
        own = [trial for trial in self._in_state("COMPLETE") if IMPORTED not in trial.user_attrs]
        return [trial for trial in own if is_finite(trial.value)]

    @cached_property
    def pruned(self) -> "list[optuna.trial.FrozenTrial]":
        """The trials that the pruner stopped, not what samplers are told of as pruned: broken constraints, too little memory."""
        return [trial for trial in self._in_state("PRUNED") if state_of(trial) == "pruned"]

    @cached_property
    def running(self) -> "list[optuna.trial.FrozenTrial]":
        """The trials that are not over, and that somebody works on."""
        return [trial for trial in self._in_state("RUNNING") if trial.number not in self.interrupted_numbers]

    @cached_property
    def interrupted(self) -> "list[optuna.trial.FrozenTrial]":
        """The trials that are not over, and that nobody works on."""
        return [trial for trial in self._in_state("RUNNING") if trial.number in self.interrupted_numbers]

    @cached_property
    def best(self) -> "optuna.trial.FrozenTrial | None":
        """The best finished trial that keeps every constraint (the first of equals), or None."""
        allowed = [trial for trial in self.complete if is_feasible(trial)]
        if not allowed:
            return None
        return min(allowed, key=lambda trial: (self.badness(trial.value), trial.number))

    @cached_property
    def params(self) -> list[str]:
        """The dotted keys that finished or pruned trials have, in the order of their first appearance."""
        return list(dict.fromkeys(key for trial in (*self.complete, *self.pruned) for key in trial.params))

    @cached_property
    def labels(self) -> dict[str, str]:
        """Dotted key to what an axis shows: its last part where that is unique, else the key."""
        return short_names(self.params)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many trials became what; only what occurs, in a fixed order. The counts add up to all trials."""
        words = ("complete", "pruned", "failed", "running", INTERRUPTED, "waiting", *REDRAWN_STATES, "imported")
        tally = Counter(record.state for record in self.records)
        return {word: tally[word] for word in words if tally[word]}

    def badness(self, value: float | None) -> float:
        """Return a number that is smaller the better the value is.

        Raises:
            ValueError: there is no value.
        """
        if value is None:
            raise ValueError("a trial without a value is neither good nor bad")
        return -value if self.direction == "maximize" else value

    @cached_property
    def interrupted_numbers(self) -> set[int]:
        """The numbers of the trials that nobody works on."""
        return {record.number for record in self.records if record.state == INTERRUPTED}

    def _in_state(self, state: str) -> "list[optuna.trial.FrozenTrial]":
        return [trial for trial in self.trials if trial.state.name == state]


def _record(trial: "optuna.trial.FrozenTrial", goal: Goal) -> "TrialRecord":
    from mlframework.search.results import TrialRecord

    record = TrialRecord.of(trial)
    if goal.is_single or trial.values is None or len(trial.values) != len(goal.metrics):
        return record
    return replace(record, values=dict(zip(goal.metrics, trial.values, strict=True)))


def is_finite(value: float | None) -> bool:
    """Tell whether there is a value and it is a finite number."""
    return value is not None and math.isfinite(value)


def is_feasible(trial: "optuna.trial.FrozenTrial") -> bool:
    """Tell whether a trial keeps all constraints that were recorded with it (none: it does)."""
    return all(value <= 0 for value in trial.constraints.values())


def last_value(trial: "optuna.trial.FrozenTrial") -> float | None:
    """Return a trial's value, or the last finite one that it reported, or None."""
    if trial.value is not None and math.isfinite(trial.value):
        return trial.value
    reported = [value for _, value in sorted(trial.intermediate_values.items()) if math.isfinite(value)]
    return reported[-1] if reported else None


def values_of(trials: "Iterable[optuna.trial.FrozenTrial]") -> list[float]:
    """Return the values of finished trials."""
    return [trial.value for trial in trials if trial.value is not None]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Map each dotted key to its last part where no other key ends in the same one, else to itself."""
    tally = Counter(key.rsplit(".", 1)[-1] for key in keys)
    return {key: last if tally[last := key.rsplit(".", 1)[-1]] == 1 else key for key in keys}


def resolve_params(view: StudyView, names: Sequence[str]) -> list[str]:
    """Turn what the user wrote into dotted keys: `lr` or `optimizer.lr` both name `optimizer.lr`.

    Args:
        view: the study.
        names: dotted keys, or their last parts where those are unique.

    Returns:
        The dotted keys in the order asked for, each once.

    Raises:
        PlotError: names that are unknown or ambiguous; all of them at once, with the candidates and the nearest.
    """
    found: dict[str, None] = {}
    problems = []
    for name in names:
        matches = [name] if name in view.params else [key for key in view.params if key.endswith(f".{name}")]
        if len(matches) == 1:
            found[matches[0]] = None
        elif matches:
            problems.append(f"parameter {name!r} is ambiguous: {' or '.join(sorted(matches))}")
        else:
            problems.append(_unknown(view, name))
    if problems:
        raise PlotError("\n".join(problems))
    return list(found)


def _unknown(view: StudyView, name: str) -> str:
    near = nearest(name, [*view.params, *view.labels.values()])
    guess = f"; did you mean {near!r}?" if near else ""
    searched = ", ".join(sorted(view.params)) or "none in any trial that ran"
    return f"unknown parameter {name!r}{guess} (searched: {searched})"
