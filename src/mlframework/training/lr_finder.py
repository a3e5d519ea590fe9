"""The learning-rate range test: a short sweep from a tiny learning rate to a huge one, and what it suggests.

Smith, "Cyclical learning rates for training neural networks", 2017, https://arxiv.org/abs/1506.01186, section 3.3; the
exponential sweep, the smoothing and the stop are those of fastai (Howard and Gugger, 2020, https://arxiv.org/abs/2002.04688).
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlframework.errors import TrainingError
from mlframework.learners.base import Learner, Steps, ignore_batches
from mlframework.runs import FORMAT

RULE = "steepest"
"""Which of the suggestions is the one that is made; docs/decisions/0021 has the figures."""
_DIVERGED = 4.0  # times the best smoothed loss
_FEWEST = 20
_LUCK = 6.0  # standard deviations; the moving average of nothing but noise falls by 4 to 7 of them


@dataclass(frozen=True)
class Sweep:
    """Learning rates from `low` to `high`, each the same factor above the one before.

    Attributes:
        low: the first; small enough to change nothing.
        high: the last, unless the loss diverges before.
        num_steps: how many.

    Raises:
        TrainingError: a sweep that goes nowhere, or is too short to be smoothed.
    """

    low: float = 1e-7
    high: float = 10.0
    num_steps: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise TrainingError(f"the sweep goes from {self.low:g} to {self.high:g}; it must rise, from above 0")
        if self.num_steps < _FEWEST:
            raise TrainingError(f"the sweep has {self.num_steps} steps; at least {_FEWEST} are needed")

    @property
    def lrs(self) -> list[float]:
        """The learning rates."""
        return [float(lr) for lr in np.geomspace(self.low, self.high, self.num_steps)]

    @property
    def beta(self) -> float:
        """How much of the smoothed loss is kept at each step.

        The moving average lags by about 1 / (1 - beta) steps: here a tenth of the sweep. fastai's 0.98 is that of 500 steps;
        in a sweep of 100 it would lag by half of it.
        """
        return 1 - 10 / self.num_steps


@dataclass(frozen=True)
class Finding:
    """What a sweep found: the content of lr_finder.json.

    Attributes:
        lrs: the learning rate of each step.
        losses: the mean loss of each step's examples, before the step.
        smoothed: their moving average.
        stopped_why: why the sweep ended.
        suggestions: learning rate by rule, in two digits.
        doubt: why they may be luck, with what to do, or None.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    stopped_why: str
    suggestions: Mapping[str, float]
    doubt: str | None

    @property
    def suggested(self) -> float:
        """The suggestion."""
        return self.suggestions[RULE]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of lr_finder.json."""
        return {
            "format": FORMAT,
            "suggested": self.suggested,
            "suggestions": dict(self.suggestions),
            "stopped_why": self.stopped_why,
            "doubt": self.doubt,
            "lrs": list(self.lrs),
            "losses": list(self.losses),
            "smoothed": list(self.smoothed),
        }


def find_lr(learner: Learner, sweep: Sweep, on_step: Callable[[int, int], None] = ignore_batches) -> Finding:
    """Sweep the learning rate, one step each, and leave the learner as it was, bit for bit.

    Args:
        learner: what would be trained; it must offer `Steps`.
        sweep: the learning rates.
        on_step: told of progress: steps taken, and how many there are at most.

    Raises:
        TrainingError: the learner takes no steps, its loss is no number from the beginning, or did not fall.
    """
    if not isinstance(learner, Steps):
        raise TrainingError("the model takes no optimizer steps, so there is no learning rate to find")
    before = copy.deepcopy(learner.state_dict())
    try:
        losses, smoothed, why = _losses(learner, sweep, on_step)
    finally:
        learner.load_state_dict(before)
    lrs = sweep.lrs[: len(losses)]
    suggested, doubt = suggestions(lrs, smoothed, sweep.beta), _doubt(losses, smoothed, sweep.beta)
    return Finding(tuple(lrs), tuple(losses), tuple(smoothed), why, suggested, doubt)


def _losses(learner: Steps, sweep: Sweep, on_step: Callable[[int, int], None]) -> tuple[list[float], list[float], str]:
    """Return each step's loss, their moving average with the bias of its start corrected, and why it ended."""
    losses: list[float] = []
    smoothed: list[float] = []
    average, beta = 0.0, sweep.beta
    for step, (lr, loss) in enumerate(zip(sweep.lrs, learner.steps(sweep.lrs), strict=False), 1):
        if not math.isfinite(loss):
            if not losses:
                raise TrainingError(
                    f"the loss is {loss} at the first step, before any learning rate could matter: look for values in the "
                    "data that are huge or no numbers, or use training.trainer_type: standard"
                )
            return losses, smoothed, f"the loss is {loss} at lr {lr:.2g}"
        average = beta * average + (1 - beta) * loss
        losses.append(loss)
        smoothed.append(average / (1 - beta**step))
        on_step(step, sweep.num_steps)
        if smoothed[-1] > _DIVERGED * min(smoothed):
            return losses, smoothed, f"the smoothed loss is more than {_DIVERGED:g} times its best at lr {lr:.2g}"
    return losses, smoothed, f"all {sweep.num_steps} steps taken"


def suggestions(lrs: Sequence[float], smoothed: Sequence[float], beta: float) -> dict[str, float]:
    """Return the learning rates that a sweep suggests, in two digits.

    `steepest`: the middle of the decade before the minimum in which the smoothed loss falls fastest over log lr, by least
    squares; between two neighbours it is the luck of a batch that would be found. `minimum_tenth`: a tenth of where the
    smoothed loss is smallest.

    Args:
        lrs: (n,) rising by the same factor.
        smoothed: (n,) the smoothed losses.
        beta: what they were smoothed with; the average is still rough in its first 1 / (1 - beta) steps.

    Raises:
        TrainingError: the loss did not fall.
    """
    width = max(3, round(1 / math.log10(lrs[1] / lrs[0]))) if len(lrs) > 1 else 3
    first = round(1 / (1 - beta))
    lowest = first + int(np.argmin(smoothed[first:])) if len(smoothed) > first else 0
    if lowest - first < width - 1:
        raise TrainingError(
            f"the loss did not fall between the learning rates {lrs[0]:.2g} and {lrs[-1]:.2g}: try a lower --find-lr-low, "
            "a higher --find-lr-high, or more --find-lr-steps"
        )
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(smoothed[first : lowest + 1]), width)
    steepest = int((windows @ (np.arange(width) - (width - 1) / 2)).argmin())
    found = {"steepest": lrs[first + steepest + width // 2], "minimum_tenth": lrs[lowest] / 10}
    return {rule: float(f"{lr:.2g}") for rule, lr in found.items()}


def _doubt(losses: Sequence[float], smoothed: Sequence[float], beta: float) -> str | None:
    """Say whether the moving average fell by no more than noise alone might have let it fall."""
    lowest = int(np.argmin(smoothed))
    # Neighbours differ by noise: the median is not moved by the few steps in which the loss moves itself.
    noise = float(np.median(np.abs(np.diff(losses[: lowest + 1])))) / (0.6745 * math.sqrt(2)) if lowest else 0.0
    if max(smoothed[: lowest + 1]) - smoothed[lowest] > _LUCK * noise * math.sqrt((1 - beta) / (1 + beta)):
        return None
    return "the loss fell hardly more than it differs from batch to batch; take more --find-lr-steps to be sure"
