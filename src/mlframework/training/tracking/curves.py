"""Numbers for the trackers: precision and recall at thresholds, ROC curves, and of which classes they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES = 10
"""Of how many classes curves are shown: more are no picture any more."""
N_THRESHOLDS = 101
"""At how many thresholds precision and recall are taken, from 0 to 1."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RocCurve:
    """How many of the others are taken for the class, for how many of the class being found.

    Attributes:
        false_positive_rate: of each corner of the curve, from 0 to 1.
        true_positive_rate: the same.
    """

    false_positive_rate: Floats
    true_positive_rate: Floats

    @property
    def area(self) -> float:
        """The area under it: how often an example of the class has a higher score than one of the others."""
        return float(np.trapezoid(self.true_positive_rate, self.false_positive_rate))


def shown_classes(targets: NDArray[np.integer], class_names: Sequence[str]) -> list[int]:
    """Return the classes that curves are shown of, in their order.

    Of two classes the second one: the other's curves say the same. Of many those with the most examples. A class without
    an example, or with all of them, has no curve.
    """
    counts = np.bincount(targets, minlength=len(class_names))
    found = [index for index in range(len(class_names)) if 0 < counts[index] < len(targets)]
    if len(class_names) == 2:
        return [1] if 1 in found else []
    most = sorted(found, key=lambda index: -counts[index])[:MOST_CLASSES]
    return sorted(most)


def precision_recall(is_class: NDArray[np.bool_], scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Count, at each threshold, what is taken for the class: everything whose score is at least that.

    Args:
        is_class: which examples are of the class, (n,).
        scores: from 0 to 1, (n,).

    Returns:
        float32 (6, N_THRESHOLDS), as TensorBoard has it: true positives, false positives, true negatives, false negatives,
        precision and recall; precision is 0 where nothing is taken for the class.
    """
    # A score of 0.3 counts at the threshold 0.3, whatever float32 makes of it.
    levels = np.floor(np.clip(scores.astype(np.float64), 0, 1) * (N_THRESHOLDS - 1) + 1e-6).astype(np.int64)
    n_of_class, n_of_others = (
        np.bincount(levels[chosen], minlength=N_THRESHOLDS)[::-1].cumsum()[::-1] for chosen in (is_class, ~is_class)
    )
    true_positives, false_positives = n_of_class.astype(np.float64), n_of_others.astype(np.float64)
    taken = true_positives + false_positives
    return np.stack(
        [
            true_positives,
            false_positives,
            (~is_class).sum() - false_positives,
            is_class.sum() - true_positives,
            true_positives / np.maximum(taken, 1),
            true_positives / max(int(is_class.sum()), 1),
        ]
    ).astype(np.float32)


def roc(is_class: NDArray[np.bool_], scores: NDArray[np.floating]) -> RocCurve:
    """Return the curve over all thresholds; examples of the same score are taken together.

    Args:
        is_class: which examples are of the class, (n,); some are, and some are not.
        scores: (n,).
    """
    order = np.argsort(-scores, kind="stable")
    found, ranked = is_class[order], scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true_positives, false_positives = (np.cumsum(each)[ends] for each in (found, ~found))
    return RocCurve(
        np.concatenate([[0.0], false_positives / false_positives[-1]]),
        np.concatenate([[0.0], true_positives / true_positives[-1]]),
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers within a range, at steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not (np.isfinite(span) and span > 0):
        return [low]
    raw = span / about
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = int(np.ceil(low / step - 1e-9))
    return [float(number * step) for number in range(first, int(np.floor(high / step + 1e-9)) + 1)]
