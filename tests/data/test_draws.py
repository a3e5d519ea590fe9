"""The draws of splits, held against scikit-learn's."""

import numpy as np
import pytest
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from mlframework.data.draws import draw, draw_of_classes
from mlframework.data.group_splits import draw_groups

SIZES = [(2, 1), (3, 2), (10, 3), (97, 96), (1797, 359)]


@pytest.mark.parametrize(("n", "n_out"), SIZES)
def test_rows_are_drawn_as_scikit_learn_draws_them(n: int, n_out: int) -> None:
    for seed in (0, 42, 2**32 - 1):
        kept, drawn = train_test_split(np.arange(n), test_size=n_out, random_state=seed)
        assert (draw(n, n_out, seed) == np.sort(drawn)).all()
        assert len(kept) + n_out == n


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("kind", ["even", "skewed", "just two"])
def test_classes_keep_their_shares_as_with_scikit_learn(n_classes: int, kind: str) -> None:
    rng = np.random.RandomState(n_classes)
    sizes = {"even": [20] * n_classes, "skewed": 2 + 5 * np.arange(n_classes) ** 2, "just two": [2] * n_classes}[kind]
    labels = rng.permutation(np.repeat(np.arange(n_classes) * 3, sizes))
    for n_out in {n_classes, len(labels) // 3, len(labels) - n_classes}:
        for seed in range(4) if n_out >= n_classes else ():
            _, drawn = train_test_split(np.arange(len(labels)), test_size=n_out, random_state=seed, stratify=labels)
            assert (draw_of_classes(labels, n_out, seed) == np.sort(drawn)).all(), (n_out, seed)


@pytest.mark.parametrize("test_fraction", [0.0, 0.2])
def test_groups_are_drawn_as_scikit_learn_draws_them(test_fraction: float) -> None:
    groups = np.random.RandomState(0).randint(0, 30, 200).astype(np.int64) * 7
    n, rest, test = len(np.unique(groups)), np.arange(200), np.arange(0)
    for seed in (0, 9):
        rest, test = np.arange(200), np.arange(0)
        if test_fraction:
            rest, test = next(
                GroupShuffleSplit(1, test_size=round(0.2 * n), random_state=seed).split(rest, groups=groups)
            )
        kept, drawn = next(
            GroupShuffleSplit(1, test_size=round(0.3 * n), random_state=seed).split(rest, groups=groups[rest])
        )
        found = draw_groups(groups, 0.3, test_fraction, seed)
        for ours, theirs in zip(found, (rest[kept], rest[drawn], test), strict=True):
            assert ours.tolist() == sorted(theirs.tolist())
