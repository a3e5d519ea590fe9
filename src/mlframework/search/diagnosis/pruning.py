"""Why hardly any trial came to its end, and whether the pruner judged by what tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from mlframework.config.override import get
from mlframework.search.audit import Audit, audit_of
from mlframework.search.diagnosis.case import Case
from mlframework.search.diagnosis.findings import Change, Finding
from mlframework.search.goal import Goal
from mlframework.search.pruners import NoPruner, PatientPruner, ThresholdPruner
from mlframework.search.results import TrialRecord

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TOO_MANY = 0.8
"""Share of pruned trials from which on that is worth a word, where few are complete."""
FAR_TOO_MANY = 0.95
FEW_COMPLETE = 5
_FEWEST = 5
_TELLS = 0.5  # rank correlation of a step's values with the final ones, below which the step tells little
_NEVER = 20  # trials without a pruned one before that is worth a word


def look_at_pruning(case: Case) -> list[Finding]:
    """Say what was pruned at which step, and what to change where that was too much, or by what does not tell."""
    pruned, complete = case.of("pruned"), case.of("complete")
    n = len(case.counted)
    if isinstance(case.pruner, NoPruner) or n < _FEWEST:
        return []
    if not pruned:
        return _never(case, complete)
    share = len(pruned) / n
    by_number = {trial.number: trial for trial in case.trials}
    steps = Counter(max(by_number[each.number].intermediate_values, default=0) for each in pruned)
    common = steps.most_common(1)[0][0]
    told = tells([by_number[each.number] for each in complete], common)
    audit = audit_of(Goal.single(case.metric, case.direction), case.records, 0.0)
    by_luck = audit is not None and _is_by_luck(audit, len(complete))
    too_many = share >= FAR_TOO_MANY or (share >= TOO_MANY and len(complete) < FEW_COMPLETE)
    if not too_many and not by_luck and (told is None or told >= _TELLS or share < 1 / 3):
        return []
    shown = ", ".join(f"{count} at {_named(case, step)}" for step, count in sorted(steps.items()))
    says = f"{len(pruned)} of {n} trials were pruned ({shown}), {len(complete)} are complete"
    if told is not None and told < _TELLS:
        says += (
            f"; the values of step {common} tell little of the final ones (rank correlation {told:.2f} among the complete "
            "trials), so the pruner goes by luck there"
        )
    if audit is not None:
        luck = "as if they had been condemned by luck" if by_luck else "fewer than by luck"
        says += (
            f"; of {len(audit.trials)} that were condemned and let finish {audit.among_best} came among the best {audit.top} of "
            f"{len(complete)}, {luck}"
        )
    evidence: dict[str, Any] = {
        "pruned": len(pruned), "trials": n, "complete": len(complete),
        "steps": {str(step): count for step, count in sorted(steps.items())}, "rank_correlation": told,
        "audit": audit.told() if audit is not None else None,
    }  # fmt: skip
    remedy, changes = _remedy(case, common, pruned, by_number)
    return [Finding("pruning", says, remedy, evidence, changes)]


def _is_by_luck(audit: Audit, n_complete: int) -> bool:
    """Whether as many of the condemned trials came among the best as of all, where enough of them were let finish."""
    n = len(audit.trials)
    return n >= _FEWEST and audit.among_best / n >= audit.top / n_complete


def tells(complete: Sequence[FrozenTrial], step: int) -> float | None:
    """Return Spearman's rank correlation of the values at a step with the trials' own, or None of too few trials."""
    from scipy.stats import spearmanr

    pairs = [
        (trial.intermediate_values[step], trial.value)
        for trial in complete
        if step in trial.intermediate_values and trial.value is not None
    ]
    if len(pairs) < _FEWEST or any(len(set(column)) < 2 for column in zip(*pairs, strict=True)):
        return None
    early, final = zip(*pairs, strict=True)
    return float(spearmanr(early, final).statistic)


def _remedy(
    case: Case, step: int, pruned: Sequence[TrialRecord], trials: Mapping[int, FrozenTrial]
) -> tuple[str, list[Change]]:
    """Return what lets trials train longer before they are judged, for each kind of pruner."""
    pruner = case.pruner
    prefix = "pruner."
    inner: Any = pruner
    if isinstance(pruner, PatientPruner):
        prefix, inner = "pruner.wrapped.", pruner.wrapped
    last = _most_epochs(case)
    changes: list[Change] = []
    why = f"{len(pruned)} of {len(case.counted)} trials were pruned, most often at {_named(case, step)}"

    def raised(name: str, new: Any) -> None:
        if new != getattr(inner, name):
            changes.append(Change("search", f"{prefix}{name}", "", new, getattr(inner, name), why))

    fields = type(inner).model_fields
    if isinstance(inner, ThresholdPruner):
        changes += _loosened(case, inner, prefix, pruned, trials, why)
    # The steps after the last epoch are finished folds or repeats, which no warm-up reaches.
    in_epochs = step <= last
    if "n_warmup_steps" in fields and in_epochs:
        # Longer, never shorter: a trial that is judged sooner is judged on less.
        raised(
            "n_warmup_steps",
            max(inner.n_warmup_steps, min(max(2 * inner.n_warmup_steps, step + 1, last // 2), last - 1)),
        )
    if "n_startup_trials" in fields:
        raised("n_startup_trials", max(10, 2 * inner.n_startup_trials))
    if "min_resource" in fields and in_epochs:
        raised("min_resource", max(inner.min_resource, min(max(2 * inner.min_resource, last // 3), last)))
    if "p_threshold" in fields:
        raised("p_threshold", inner.p_threshold / 2)
    shown = ", ".join(f"{change.key} {change.value} in place of {change.before}" for change in changes)
    if not changes:
        return "take pruner: {type: none}: there is no step at which it could judge later", [
            Change("search", "pruner", "", {"type": "none"}, pruner.model_dump(), why)
        ]
    return (
        f"let trials train longer before they are judged: {shown}; see also whether most of the space learns nothing",
        changes,
    )


def _loosened(
    case: Case, pruner: ThresholdPruner, prefix: str, pruned: Sequence[TrialRecord], trials: Mapping[int, FrozenTrial],
    why: str,
) -> list[Change]:  # fmt: skip
    """Return bounds with which half of the trials that left them would have gone on."""
    values = [
        trial.intermediate_values[max(trial.intermediate_values)]
        for trial in (trials[each.number] for each in pruned)
        if trial.intermediate_values
    ]
    changes = []
    for name, left in (
        ("lower", [value for value in values if pruner.lower is not None and value < pruner.lower]),
        ("upper", [value for value in values if pruner.upper is not None and value > pruner.upper]),
    ):
        if left:
            new = float(f"{median(left):.3g}")
            changes.append(Change("search", f"{prefix}{name}", "", new, getattr(pruner, name), why))
    return changes


def _never(case: Case, complete: Sequence[TrialRecord]) -> list[Finding]:
    """Say that a pruner stopped nothing, and why it could not, where that is plain."""
    inner: Any = case.pruner.wrapped if isinstance(case.pruner, PatientPruner) else case.pruner
    warm_up, last = getattr(inner, "n_warmup_steps", 0), _most_epochs(case)
    if len(complete) < _NEVER or not case.is_recorded or isinstance(inner, ThresholdPruner) or warm_up < last - 1:
        return []
    says = (
        f"{case.pruner.type} stopped none of {len(complete)} trials: its warm-up of {warm_up} steps is as long as "
        f"a training of {last} epochs"
    )
    key = "pruner.wrapped.n_warmup_steps" if isinstance(case.pruner, PatientPruner) else "pruner.n_warmup_steps"
    new = max(1, last // 3)
    changes = [Change("search", key, "", new, warm_up, says)] if new < warm_up else []
    return [Finding("pruning", says, f"lower n_warmup_steps to {new}, or take pruner: {{type: none}}", {}, changes)]


def _named(case: Case, step: int) -> str:
    """Return a step as people know it: after the epochs of the first fold each step is a fold, or a repeat."""
    part = step - _most_epochs(case) + 1
    if part < 2 or not _is_in_parts(case):
        return f"step {step}"
    return f"{'fold' if case.search['cross_validation']['enabled'] else 'repeat'} {part}"


def _is_in_parts(case: Case) -> bool:
    """Tell whether a trial is trained several times."""
    return bool(case.search.get("cross_validation", {}).get("enabled")) or case.search.get("repeats", 1) > 1


def _most_epochs(case: Case) -> int:
    """Return the most epochs that a trial of the study may have."""
    key = "training.num_epochs"
    searched = case.space.parameters.get(key)
    values = searched.ends() if searched is not None else [get(case.tree, key, 10)]
    return max(int(value) for value in values if isinstance(value, int))
