"""Comparing the epochs of a run with those of its replay: identical, within noise, or diverged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from mlframework.training.callbacks import GRADIENTS, TIMES

RELATIVE, ABSOLUTE = 1e-5, 1e-8
"""How far apart two values of a metric may be and still differ by noise: what float32's sums in another order come to.

A value counts as the same where |then - now| <= ABSOLUTE + RELATIVE * the larger of the two, as numpy.allclose has it.
"""
PASSED_OVER = ("epoch", *GRADIENTS, *TIMES)

Epochs: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
"""Lines as metrics.jsonl has them, by the part that they are of: "" of a run with one training, `fold_2`, `repeat_1`."""


@dataclass(frozen=True)
class Difference:
    """A value that is not the same to the last digit.

    Attributes:
        part: of which training, "" where there is one.
        epoch: at which epoch.
        name: of the metric, or `lr`.
        then: the stored value, None where it was no number, or the epoch or metric was not there.
        now: that of the replay.
    """

    part: str
    epoch: int
    name: str
    then: float | None
    now: float | None

    @property
    def size(self) -> float:
        """How far apart they are; infinite where one of them is no number."""
        return float("inf") if self.then is None or self.now is None else abs(self.then - self.now)

    @property
    def is_noise(self) -> bool:
        """Whether it is small enough to come of sums in another order."""
        if self.then is None or self.now is None:
            return False
        return self.size <= ABSOLUTE + RELATIVE * max(abs(self.then), abs(self.now))

    @property
    def at(self) -> str:
        """Where it is, in words: `epoch 4`, or `fold 2, epoch 4`."""
        return f"{self.part.replace('_', ' ')}, epoch {self.epoch}" if self.part else f"epoch {self.epoch}"


@dataclass(frozen=True)
class Comparison:
    """What came of comparing.

    Attributes:
        n_epochs: how many were compared.
        differences: all values that are not the same to the last digit, in the order of time.
        missing: what one of the two has and the other has not, in words: an epoch, a fold.
        missing_at: where that is.
    """

    n_epochs: int
    differences: Sequence[Difference] = field(default_factory=list)
    missing: str | None = None
    missing_at: str | None = None

    @property
    def verdict(self) -> Literal["identical", "within noise", "diverged"]:
        """What it comes to."""
        if self.diverged is not None or self.missing is not None:
            return "diverged"
        return "within noise" if self.differences else "identical"

    @property
    def largest(self) -> Difference | None:
        """The largest difference."""
        return max(self.differences, key=lambda each: each.size, default=None)

    @property
    def diverged(self) -> Difference | None:
        """The first difference that is no noise: of the epoch's metrics the first one in the file."""
        return next((each for each in self.differences if not each.is_noise), None)


def compare(then: Epochs, now: Epochs, is_cut_short: bool = False) -> Comparison:
    """Compare stored epochs with those of a replay.

    Args:
        then: what was stored; metrics that only the replay has are passed over.
        now: what the replay has.
        is_cut_short: whether the replay may have more epochs than were stored: the run failed, and is seen not to now.
    """
    differences: list[Difference] = []
    n_epochs = 0
    for part, lines in then.items():
        others = now.get(part, [])
        for former, present in zip(lines, others, strict=False):
            n_epochs += 1
            differences += _of_epoch(part, former, present)
        if len(others) < len(lines) or (len(others) > len(lines) and not is_cut_short):
            what = f"{part.replace('_', ' ')} has" if part else "it has"
            at = f"epoch {min(len(lines), len(others)) + 1}"
            missing = f"{what} {len(lines)} epochs then, {len(others)} now"
            return Comparison(n_epochs, differences, missing, f"{part.replace('_', ' ')}, {at}" if part else at)
    return Comparison(n_epochs, differences)


def _of_epoch(part: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for name, value in then.items():
        # A metric that was no number was written as null: it is the same where it is again.
        if name not in PASSED_OVER and (name not in now or value != now[name]):
            yield Difference(part, int(then["epoch"]), name, value, now.get(name))
