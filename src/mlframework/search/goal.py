"""What a search is for: one objective or several, which trials are best in them, and which one is chosen.

With several objectives a trial dominates another one where it is no worse in any of them and better in one. The trials that
none dominates are the Pareto front. With one objective the front is the trials with the best value, so one code serves both.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from mlframework.folds import Aggregation
    from mlframework.metrics import Direction
    from mlframework.plans import Evaluation
    from mlframework.training.result import RunResult

KNEE = "knee"
Point = tuple[float, ...]
"""Losses of a trial, one an objective: the smaller the better, whatever the objective's direction."""


class Scored(Protocol):
    """What a goal has to know of a trial; `TrialRecord` is one."""

    @property
    def number(self) -> int:
        """Number of the trial."""

    @property
    def state(self) -> str:
        """`complete`, or another word."""

    @property
    def value(self) -> float | None:
        """The metric that it was trained by."""

    @property
    def values(self) -> Mapping[str, float]:
        """Value by objective, where there are several."""

    @property
    def same_as(self) -> int | None:
        """The trial whose outcome it took over, if it was not trained."""


T = TypeVar("T", bound=Scored)


@dataclass(frozen=True)
class Objective:
    """One thing that a search is for.

    Attributes:
        metric: `val_loss`, `n_parameters`.
        direction: which direction of it is better.
    """

    metric: str
    direction: Direction

    def loss(self, value: float) -> float:
        """Return a number that is smaller the better the value is."""
        return -value if self.direction == "maximize" else value


@dataclass(frozen=True)
class Goal:
    """All that a search is for.

    Attributes:
        objectives: one or more.
        main: the metric that trainings report and choose their best epoch by; one of the objectives.
        prefer: `knee`, or the objective by which one trial of the front is chosen.
        aggregation: how the values of several trainings make a trial's.
    """

    objectives: tuple[Objective, ...]
    main: str
    prefer: str = KNEE
    aggregation: Aggregation = "mean"

    @classmethod
    def single(cls, metric: str, direction: Direction) -> Goal:
        """Return the goal of a search for one objective."""
        return cls((Objective(metric, direction),), metric)

    @property
    def is_single(self) -> bool:
        """Whether there is one objective."""
        return len(self.objectives) == 1

    @property
    def metrics(self) -> list[str]:
        """The objectives' names."""
        return [each.metric for each in self.objectives]

    @property
    def main_objective(self) -> Objective:
        """The objective that trainings report."""
        return self.objectives[self.metrics.index(self.main)]

    @property
    def rule(self) -> str:
        """How one trial is chosen, in words."""
        if self.is_single:
            return f"best {self.main}"
        return "knee of the Pareto front" if self.prefer == KNEE else f"best {self.prefer} of the Pareto front"

    def describe(self) -> str:
        """Return what is searched for: `maximize val_acc, minimize n_parameters`."""
        return ", ".join(f"{each.direction} {each.metric}" for each in self.objectives)

    def shown(self, trial: Scored) -> str:
        """Return a trial's values as text: `0.91`, or `val_acc 0.91, n_parameters 302`."""
        if self.is_single:
            return f"{trial.value:.6g}" if trial.value is not None else "-"
        return ", ".join(f"{name} {number(trial.values[name])}" for name in self.metrics if name in trial.values) or "-"

    def measured(self, evaluation: Evaluation) -> dict[str, float]:
        """Return the value of each objective in what a trial's trainings found."""
        return {each.metric: self._measured(each, evaluation) for each in self.objectives}

    def _measured(self, objective: Objective, evaluation: Evaluation) -> float:
        from mlframework.metrics import RESOURCES
        from mlframework.plans import aggregate

        if objective.metric == self.main:
            return evaluation.value
        if objective.metric in RESOURCES:
            return resources(evaluation.runs)[objective.metric]
        found = [run.best_metrics[objective.metric] for run in evaluation.runs]
        return aggregate(found, self.aggregation, objective.direction)

    def front(self, trials: Iterable[T]) -> list[T]:
        """Return the trials that no other dominates, by number; equals are all in it.

        Only complete trials that were trained, with finite values, are looked at.
        """
        layers = self._layers(trials)
        return sorted(layers[0], key=lambda trial: trial.number) if layers else []

    def ranked(self, trials: Iterable[T]) -> list[T]:
        """Return the complete trials that were trained, the best first.

        The front comes first, then what is the front without it, and so on; each is in the order of preference.
        """
        return [trial for layer in self._layers(trials) for trial in self._by_preference(layer)]

    def best(self, trials: Iterable[T]) -> T | None:
        """Return the trial that is chosen from the front, the first of equals; None where none is complete."""
        layers = self._layers(trials)
        return self._by_preference(layers[0])[0] if layers else None

    def point(self, trial: Scored) -> Point | None:
        """Return a trial's losses, or None where it has no place among the best: not complete, not trained, not finite."""
        if trial.state != "complete" or trial.same_as is not None:
            return None
        found = [trial.value] if self.is_single else [trial.values.get(name) for name in self.metrics]
        losses = tuple(
            each.loss(value) for each, value in zip(self.objectives, found, strict=True) if value is not None
        )
        return losses if len(losses) == len(found) and all(map(math.isfinite, losses)) else None

    def _layers(self, trials: Iterable[T]) -> list[list[T]]:
        """Sort trials into layers: the front, what is the front without it, and so on.

        It is the efficient non-dominated sort of Zhang et al. (2015, https://doi.org/10.1109/TEVC.2014.2308305): in the order
        of their losses, a trial is dominated by former ones only, and it belongs to the first layer that has none of these.
        """
        placed = [(point, trial) for trial in trials if (point := self.point(trial)) is not None]
        points: list[list[Point]] = []
        layers: list[list[T]] = []
        for point, trial in sorted(placed, key=lambda pair: (pair[0], pair[1].number)):
            # Whoever dominates it in a layer is dominated in each layer before, so that it can be looked for by halves.
            at = bisect_left(points, True, key=lambda layer: not any(dominates(other, point) for other in layer))
            if at == len(layers):
                points.append([])
                layers.append([])
            points[at].append(point)
            layers[at].append(trial)
        return layers

    def _by_preference(self, layer: Sequence[T]) -> list[T]:
        """Sort trials that do not dominate one another."""
        points = {trial.number: self.point(trial) or () for trial in layer}
        if self.prefer in self.metrics:
            at = self.metrics.index(self.prefer)
            return sorted(layer, key=lambda trial: (points[trial.number][at], trial.number))
        distances = dict(zip(points, to_ideal(list(points.values())), strict=True))
        return sorted(layer, key=lambda trial: (distances[trial.number], trial.number))


def dominates(one: Point, other: Point) -> bool:
    """Whether a point is no worse than another in any loss, and better in one."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def to_ideal(points: Sequence[Point]) -> list[float]:
    """Return how far each point is from the ideal one, which has the best of each loss.

    Each loss is scaled to the points' range, 0 the best and 1 the worst; one that is the same everywhere has no bearing.
    """
    axes = list(zip(*points, strict=True))
    spans = [(min(axis), max(axis)) for axis in axes]
    return [math.hypot(*(_share(loss, *span) for loss, span in zip(point, spans, strict=True))) for point in points]


def _share(loss: float, low: float, high: float) -> float:
    # Halves, since the range of very large numbers of both signs would be infinite.
    span = high / 2 - low / 2
    return (loss / 2 - low / 2) / span if span else 0.0


def number(value: float) -> str:
    """Return a value as text: whole numbers, such as a count of parameters, in full."""
    return str(int(value)) if abs(value) < 1e15 and float(value).is_integer() else f"{value:.6g}"


def resources(runs: Sequence[RunResult]) -> dict[str, float]:
    """Return what trainings took: the seconds of all of them, and the parameters of the largest model; {} of none."""
    if not runs:
        return {}
    return {
        "fit_seconds": sum(run.seconds for run in runs),
        "n_parameters": float(max(run.n_parameters for run in runs)),
    }
