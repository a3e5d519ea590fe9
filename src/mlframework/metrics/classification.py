"""Metrics of classifiers. `targets` is int64 (n,), `probabilities` is float (n, n_classes), its rows sum to 1.

A probability that is not a number makes every metric not a number, so that the trial fails.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Targets = NDArray[np.int64]
Probabilities = NDArray[np.floating]

_SMALLEST = 1e-12  # keeps the log finite where a model is certain and wrong


def accuracy(targets: Targets, probabilities: Probabilities) -> float:
    """Share of examples whose most probable class is the true one.

    Formula: 1/n · Σ [argmax p(x) = y]

    From: https://scikit-learn.org/stable/modules/model_evaluation.html#accuracy-score
    """
    if not np.isfinite(probabilities).all():
        return float("nan")
    return float(np.mean(_predicted(probabilities) == targets))


def log_loss(targets: Targets, probabilities: Probabilities) -> float:
    """Mean negative log of the true class's probability, in nats: no label smoothing, no class weights.

    Formula: -1/n · Σ ln p(y | x), each probability taken as 1e-12 at least

    From: Good 1952, https://doi.org/10.1111/j.2517-6161.1952.tb00104.x
    """
    true = np.take(probabilities, np.arange(len(targets)) * probabilities.shape[1] + targets).astype(np.float64)
    # Unlike some clipping, np.maximum leaves NaN what it is.
    return float(-np.mean(np.log(np.maximum(true, _SMALLEST))))


def f1(targets: Targets, probabilities: Probabilities) -> float:
    """Macro F1: the mean of the classes' harmonic means of precision and recall; 0 for a class never predicted.

    Formula: mean over classes of 2 · TP / (2 · TP + FP + FN)

    From: Sokolova and Lapalme 2009, https://doi.org/10.1016/j.ipm.2009.03.002
    """
    from sklearn.metrics import f1_score

    if not np.isfinite(probabilities).all():
        return float("nan")
    return float(f1_score(targets, _predicted(probabilities), average="macro", zero_division=0.0))


def auc(targets: Targets, probabilities: Probabilities) -> float:
    """Area under the ROC curve; for more than two classes the mean of one class against the rest.

    Formula: P(score of an example of the class > score of another), a tie counts 1/2

    From: Hanley and McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747

    Raises:
        ValueError: a class has no example among the targets, which leaves its curve undefined.
    """
    from sklearn import config_context
    from sklearn.metrics import auc as area

    missing = np.flatnonzero(np.bincount(targets, minlength=probabilities.shape[1]) == 0)
    if len(missing):
        raise ValueError(
            f"AUC is undefined: no example of class {missing[0]}; use the stratified split, or another metric"
        )
    if not np.isfinite(probabilities).all():
        return float("nan")
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    # `roc_auc_score` does the same, and looks at the targets several times before: half of a small split's time.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        curves = [_roc(targets == index, probabilities[:, index]) for index in classes]
        return float(np.mean([area(false, true) for false, true, _ in curves]))


def _roc(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> Any:
    """Return scikit-learn's curve: false and true positive rates, and their thresholds."""
    from sklearn.metrics import roc_curve

    # It sorts by a stable sort, which is done at once with what is sorted already: half of the time of the whole.
    order = np.argsort(scores)
    return roc_curve(positive[order].astype(np.int64), scores[order])


def _predicted(probabilities: Probabilities) -> NDArray[np.bool_ | np.intp]:
    """Return the most probable class of each example; of two, the first one where they are equal, as argmax does."""
    # numpy's argmax takes ten times as long for rows of two numbers.
    return probabilities[:, 1] > probabilities[:, 0] if probabilities.shape[1] == 2 else probabilities.argmax(axis=1)
