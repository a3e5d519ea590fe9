"""Trials with one value, and metrics that can get no better: what tells such trials apart."""

from __future__ import annotations

from collections.abc import Sequence

from mlframework.metrics import SPLITS, direction_of, key_of, tasks_of
from mlframework.search.results import TrialRecord
from mlframework.visualise.page.words import short

_UP_TO_ONE = frozenset(
    ("acc", "f1", "auc", "r2", "precision_at_K", "recall_at_K", "ndcg_at_K", "map_at_K", "mrr"),
)
_DOWN_TO_ZERO = frozenset(("loss", "log_loss", "rmse", "mae"))
_NAMED = 12  # trials of a tie


def bound_of(metric: str) -> float | None:
    """Return the best value that a metric such as `val_acc` can have; None where none is known."""
    split, _, base = metric.partition("_")
    key, _ = key_of(base)
    if split not in SPLITS:
        return None
    return 1.0 if key in _UP_TO_ONE else 0.0 if key in _DOWN_TO_ZERO else None


def is_at_bound(metric: str, value: float | None) -> bool:
    """Whether a metric can get no better than this value."""
    bound = bound_of(metric)
    return bound is not None and value is not None and abs(value - bound) < 1e-12


def no_better(metric: str) -> str:
    """Say that a metric cannot pass its bound: `val_acc cannot be above 1`."""
    return f"{metric} cannot be {'above' if direction_of(metric) == 'maximize' else 'below'} {short(bound_of(metric))}"


def finer(metric: str) -> str:
    """Return a metric that tells trials apart whose values of this one are all at its bound; empty where there is none."""
    split, _, base = metric.partition("_")
    other = f"{split}_loss"
    return other if base not in _DOWN_TO_ZERO and "classification" in tasks_of(metric) else ""  # an r2 of 1 has no loss


def equals(best: TrialRecord, ranked: Sequence[TrialRecord]) -> list[int]:
    """Return the other trials with the value of the best one, by number."""
    return sorted(each.number for each in ranked if each.value == best.value and each.number != best.number)


def said_of_ties(metric: str, best: TrialRecord, ranked: Sequence[TrialRecord]) -> str:
    """Say which others have the best one's value, and at a bound what would tell them apart; empty where none has."""
    numbers = equals(best, ranked)
    if not numbers:
        return ""
    named = ", ".join(map(str, numbers[:_NAMED])) + (", …" if len(numbers) > _NAMED else "")
    who = f"1 other reached the same: trial {named}" if len(numbers) == 1 else None
    who = who or f"{len(numbers)} others reached the same: trials {named}"
    taken = "; the first is taken" if best.number == ranked[0].number else ""
    if not is_at_bound(metric, best.value):
        return f" {who}{taken}."
    other = finer(metric)
    remedy = f": search.metric {other} would tell them apart" if other else ""
    return f" {who}{taken}. {no_better(metric)}{remedy}."
