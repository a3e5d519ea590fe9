"""What is best in several objectives: fronts, layers, and the trial that is chosen."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.metrics import Direction
from mlframework.plans import Evaluation
from mlframework.search.goal import Goal, Objective, dominates, number, to_ideal
from mlframework.search.results import TrialRecord
from mlframework.training.result import RunResult

Values = Sequence[tuple[float, ...]]

# Few different numbers, so that many are equal; and any at all.
VALUE = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False, allow_infinity=False))


def tables(width: int) -> st.SearchStrategy[list[tuple[float, ...]]]:
    return st.lists(st.tuples(*[VALUE] * width), max_size=25)


TABLES = st.integers(1, 4).flatmap(tables)


def goal_for(width: int, directions: Sequence[Direction] | None = None, prefer: str = "knee") -> Goal:
    chosen = directions or ["minimize"] * width
    return Goal(tuple(Objective(f"m{at}", each) for at, each in enumerate(chosen)), "m0", prefer)


def trial(number: int, values: Sequence[float | None], state: str = "complete", **changes: Any) -> TrialRecord:
    named = {f"m{at}": value for at, value in enumerate(values) if value is not None}
    return TrialRecord(number, state, values[0], {}, 1, 1, 1.0, None, {}, values=named, **changes)


def trials(values: Values) -> list[TrialRecord]:
    return [trial(at, row) for at, row in enumerate(values)]


def numbers(found: Sequence[TrialRecord]) -> list[int]:
    return [each.number for each in found]


def test_a_front_by_hand() -> None:
    """More accuracy, fewer parameters: 2 is worse than 1 in both, 4 as good as 3 and larger, 5 the same as 0."""
    values = [(0.90, 100.0), (0.95, 300.0), (0.94, 400.0), (0.97, 900.0), (0.97, 1000.0), (0.90, 100.0)]
    goal = goal_for(2, ["maximize", "minimize"])
    assert numbers(goal.front(trials(values))) == [0, 1, 3, 5]
    # Scaled to the front's range: 0 and 5 are (1, 0), 1 is (2/7, 1/4), 3 is (0, 1).
    points = [(-accuracy, size) for accuracy, size in (values[0], values[1], values[3])]
    assert to_ideal(points) == pytest.approx([1.0, math.hypot(2 / 7, 1 / 4), 1.0])
    assert numbers(goal.ranked(trials(values))) == [1, 0, 3, 5, 2, 4]
    best = goal.best(trials(values))
    assert best is not None and best.number == 1


@pytest.mark.parametrize(("prefer", "number"), [("m0", 3), ("m1", 0)])
def test_the_best_in_one_objective_may_be_preferred(prefer: str, number: int) -> None:
    values = [(0.90, 100.0), (0.95, 300.0), (0.94, 400.0), (0.97, 900.0), (0.97, 1000.0), (0.90, 100.0)]
    best = goal_for(2, ["maximize", "minimize"], prefer).best(trials(values))
    assert best is not None and best.number == number


@given(TABLES)
def test_no_point_of_the_front_is_dominated_and_every_other_is_by_one_of_the_front(values: Values) -> None:
    goal = goal_for(len(values[0]) if values else 2)
    everybody = trials(values)
    front = set(numbers(goal.front(everybody)))
    assert bool(front) == bool(values)
    for each in everybody:
        beaten = any(dominates(values[other], values[each.number]) for other in front)
        assert beaten == (each.number not in front)


@given(TABLES)
def test_each_layer_is_the_front_of_what_the_former_ones_left(values: Values) -> None:
    goal = goal_for(len(values[0]) if values else 2)
    left = trials(values)
    for layer in goal._layers(left):
        assert numbers(goal.front(left)) == sorted(numbers(layer))
        left = [each for each in left if each not in layer]
    assert left == []


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[st.integers(-50, 50)] * width), max_size=20)))
def test_a_scale_that_keeps_the_order_keeps_the_front(values: Sequence[tuple[int, ...]]) -> None:
    goal = goal_for(len(values[0]) if values else 2)
    scales = (lambda x: x / 7, lambda x: x**3 + 2.0, math.exp, math.atan)
    scaled = [tuple(float(scales[at](value)) for at, value in enumerate(row)) for row in values]
    plain = [tuple(map(float, row)) for row in values]
    assert numbers(goal.front(trials(scaled))) == numbers(goal.front(trials(plain)))


@given(TABLES, st.lists(st.booleans(), min_size=4, max_size=4))
def test_to_maximize_is_to_minimize_the_negative(values: Values, flips: list[bool]) -> None:
    width = len(values[0]) if values else 2
    directions: list[Direction] = ["maximize" if flip else "minimize" for flip in flips[:width]]
    flipped = [tuple(-value if flip else value for value, flip in zip(row, flips, strict=False)) for row in values]
    plain = goal_for(width).ranked(trials(values))
    assert numbers(goal_for(width, directions).ranked(trials(flipped))) == numbers(plain)


@given(TABLES)
def test_the_best_is_on_the_front_and_the_nearest_to_the_ideal(values: Values) -> None:
    goal = goal_for(len(values[0]) if values else 2)
    front, best = goal.front(trials(values)), goal.best(trials(values))
    if best is None:
        assert not values
        return
    distances = dict(zip(numbers(front), to_ideal([values[each.number] for each in front]), strict=True))
    assert all(0 <= distance <= math.sqrt(len(values[0])) + 1e-9 for distance in distances.values())
    nearest = min(distances.values())
    assert best.number == min(number for number, distance in distances.items() if distance == nearest)


@given(st.lists(VALUE, max_size=20), st.sampled_from(["maximize", "minimize"]))
def test_one_objective_is_a_case_of_several(values: list[float], direction: Direction) -> None:
    goal = Goal.single("m0", direction)
    ranked = goal.ranked(trials([(value,) for value in values]))
    sign = -1 if direction == "maximize" else 1
    assert numbers(ranked) == sorted(range(len(values)), key=lambda at: (sign * values[at], at))
    assert goal.best(ranked) == (ranked[0] if ranked else None)
    assert {values[each.number] for each in goal.front(ranked)} == ({values[ranked[0].number]} if ranked else set())


def test_what_is_not_complete_or_was_not_trained_is_on_no_front() -> None:
    best = (0.0, 0.0)
    others = [
        trial(0, best, "pruned"),
        trial(1, best, "failed"),
        trial(2, best, "running"),
        trial(3, best, "infeasible"),
        trial(4, best, same_as=9),
        trial(5, (0.0, None)),
        trial(6, (math.inf, 0.0)),
        trial(7, (0.0, math.nan)),
    ]
    goal = goal_for(2)
    assert (goal.front(others), goal.ranked(others), goal.best(others)) == ([], [], None)
    assert numbers(goal.front([*others, trial(8, (5.0, 5.0))])) == [8]


def test_zeros_and_negative_values_are_values() -> None:
    values = [(0.0, -1.0), (-0.5, 0.0), (0.0, 0.0), (-0.5, -1.0)]
    assert numbers(goal_for(2).front(trials(values))) == [3]
    assert numbers(goal_for(2, ["maximize", "maximize"]).front(trials(values))) == [2]


def run(seconds: float, n_parameters: int, **metrics: float) -> RunResult:
    return RunResult("val_loss", "minimize", 1, metrics, 1, metrics, seconds, "", n_parameters)


def test_an_evaluation_is_measured_in_every_objective() -> None:
    runs = [run(1.0, 10, val_loss=0.5, val_acc=0.7), run(2.0, 12, val_loss=0.9, val_acc=0.9)]
    evaluation = Evaluation(0.9, 1, {"val_loss": 0.7, "val_acc": 0.8}, runs)
    names = [
        ("val_acc", "maximize"),
        ("val_loss", "minimize"),
        ("fit_seconds", "minimize"),
        ("n_parameters", "minimize"),
    ]
    objectives = tuple(Objective(name, direction) for name, direction in names)  # type: ignore[arg-type]
    goal = Goal(objectives, "val_loss", aggregation="worst")
    # val_loss is the evaluation's own; val_acc is put together in the same way, by its own direction.
    assert goal.measured(evaluation) == {"val_acc": 0.7, "val_loss": 0.9, "fit_seconds": 3.0, "n_parameters": 12.0}


@pytest.mark.parametrize(
    ("value", "text"), [(302.0, "302"), (11_689_512.0, "11689512"), (0.0, "0"), (-2.0, "-2"), (0.12345678, "0.123457")]
)
def test_whole_numbers_are_shown_in_full(value: float, text: str) -> None:
    assert number(value) == text
