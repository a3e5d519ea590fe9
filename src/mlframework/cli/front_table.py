"""What `ml-search` says of several objectives: how one trial is chosen, and the Pareto front as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from mlframework.search.goal import number
from mlframework.search.results import TrialRecord

if TYPE_CHECKING:
    from rich.console import Console

    from mlframework.search.study import SearchSpec

_MOST_ROWS = 30
_WIDTH_OF_VALUES = 12  # of a number with its space


def about_choice(spec: SearchSpec) -> str:
    """Say what a trial is trained by, and which one becomes best_config.yaml."""
    return f"each trial keeps its epoch with the best {spec.metric}; best_config.yaml is the {spec.goal.rule}"


def print_front(console: Console, spec: SearchSpec, records: Sequence[TrialRecord], labels: Mapping[str, str]) -> None:
    """Print the front, best first in the first objective, the chosen trial marked.

    Args:
        console: where to.
        spec: what was searched for.
        records: all trials.
        labels: dotted keys of the parameters to show, and what to call them; as many as there is room for are shown.
    """
    from rich.table import Table

    goal = spec.goal
    front, best = goal.front(records), goal.best(records)
    first = goal.objectives[0]
    front.sort(key=lambda record: (first.loss(record.values[first.metric]), record.number))
    n_complete = sum(goal.point(record) is not None for record in records)
    keys = _that_fit(labels, console.width - sum(_width(name) for name in ("* trial", *goal.metrics)))
    console.print(f"Pareto front: {len(front)} of {n_complete} complete trials")
    table = Table("", "trial", *goal.metrics, *(labels[key] for key in keys), box=None, padding=(0, 1))
    for record in front[:_MOST_ROWS]:
        chosen = best is not None and record.number == best.number
        values = (number(record.values[name]) for name in goal.metrics)
        params = (_text(record.params[key]) if key in record.params else "" for key in keys)
        table.add_row("*" if chosen else "", str(record.number), *values, *params, style="bold green" if chosen else "")
    console.print(table)
    if len(front) > _MOST_ROWS:
        console.print(f"  and {len(front) - _MOST_ROWS} more, see {spec.folder.pareto_csv}")
    elif len(keys) < len(labels):
        console.print(f"  all parameters are in {spec.folder.pareto_csv}")
    console.print(f"  * the {goal.rule}: best_config.yaml")


def _that_fit(labels: Mapping[str, str], room: int) -> list[str]:
    """Return the first keys whose columns there is room for, one at least."""
    keys = list(labels)
    widths = list(accumulate(_width(labels[key]) for key in keys))
    return [key for key, width in zip(keys, widths, strict=True) if width <= room or key == keys[0]]


def _width(label: str) -> int:
    return max(_WIDTH_OF_VALUES, len(label) + 2)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "null" if value is None else str(value)
