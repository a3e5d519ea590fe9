"""What came of a case: whether its sides agree, its ratios round by round, and whether its bar is met."""

import math
from collections.abc import Mapping
from statistics import median

from case_table import Case
from measure import Measured

_FINEST = 0.05


class Score:
    """The rounds of a case.

    Args:
        case: what was run.
        with_peers: whether the other frameworks are among its sides.
    """

    def __init__(self, case: Case, with_peers: bool = False) -> None:
        self.case = case
        self.sides = case.sides if with_peers else tuple(side for side in case.sides if side not in case.peers)
        self.rounds: list[Mapping[str, Measured]] = []
        self.problems: list[str] = []

    def add(self, found: Mapping[str, Measured]) -> None:
        """Take a round, and note where its results are not what they should be."""
        self.rounds.append(found)
        self.problems += disagreements(self.case, found)

    def values(self, side: str) -> list[float]:
        """Return what was measured of a side, round by round."""
        return [each[side].value(self.case.measure) for each in self.rounds]

    def ratios(self, side: str) -> list[float]:
        """Return a side's value by that of the floor of the same round; without a floor its values."""
        if self.case.floor is None:
            return self.values(side)
        return [mine / floor for mine, floor in zip(self.values(side), self.values(self.case.floor), strict=True)]

    @property
    def median(self) -> float:
        """The median of what is judged; not a number where nothing was measured."""
        return median(self.ratios(self.case.ours)) if self.rounds else math.nan

    @property
    def is_met(self) -> bool:
        """Whether the results agree and the bar is met; a ratio is judged to the nearest 0.05, no more finely.

        The same code varies by more than that from round to round.
        """
        if not self.rounds or self.problems:
            return False
        value = self.median if self.case.floor is None else round(self.median / _FINEST) * _FINEST
        return value <= self.case.bar + 1e-9

    @property
    def is_within(self) -> bool:
        """Whether the bar is met by what the rounding gives alone."""
        return self.is_met and round(self.median, 2) > self.case.bar


def disagreements(case: Case, found: Mapping[str, Measured]) -> list[str]:
    """Return where a round's results are not what they should be."""
    ours, problems = found[case.ours].result, []
    if case.floor is not None:
        floor = found[case.floor].result
        for key, tolerance in case.agree.items():
            if not _agree(ours[key], floor[key], tolerance):
                problems.append(
                    f"{key}: {case.ours} {ours[key]!r}, {case.floor} {floor[key]!r}: they should agree to {tolerance:g}"
                )
    for side in [each for each in found if each not in (case.ours, case.floor)]:
        for key, tolerance in case.near.items():
            other = found[side].result[key]
            if not _agree(ours[key], other, tolerance):
                problems.append(
                    f"{key}: {case.ours} {ours[key]!r}, {side} {other!r}: they should agree to {tolerance:g}"
                )
    if ours.get("data") == "movielens":
        problems += [
            f"{key}: {ours[key]!r} should be at least {least}"
            for key, least in case.at_least.items()
            if not ours[key] >= least
        ]
    return problems


def _agree(one: object, two: object, tolerance: float) -> bool:
    if isinstance(one, int | float) and isinstance(two, int | float):
        return abs(one - two) <= tolerance
    return one == two
