"""From a table's rows to what a network takes; everything that is learnt comes from the training split."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlframework.data.table_schema import TableExamples


@dataclass(frozen=True)
class TableEncoder:
    """Medians, means, spreads and categories of a training split."""

    median: tuple[float, ...]
    """What a missing value is replaced by, for each numeric column; 0 where training had no value at all."""
    mean: tuple[float, ...]
    """Mean of each numeric column, its missing values replaced."""
    std: tuple[float, ...]
    """Standard deviation of each numeric column, its missing values replaced; 1 for a constant one."""
    flagged: tuple[int, ...]
    """Numeric columns that had missing values in training: each gets a 0/1 column behind the numeric ones."""
    codes: tuple[tuple[int, ...], ...]
    """For each categorical column the input of each of its vocabulary's codes: 1, 2, ... or 0 if unseen in training."""

    @classmethod
    def fit(cls, train: TableExamples) -> Self:
        """Learn from the training rows, and from nothing else."""
        missing = np.isnan(train.numeric)
        flagged = np.flatnonzero(missing.any(axis=0))
        values = train.numeric.astype(np.float64)
        median = np.zeros(values.shape[1])
        for i in range(values.shape[1]):
            present = values[~missing[:, i], i]
            if len(present):
                median[i] = np.median(present)
        values = np.where(missing, median, values)
        low, high = values.min(axis=0), values.max(axis=0)
        constant = low == high
        codes = []
        for i, name in enumerate(train.schema.categorical):
            seen = np.unique(train.categorical[:, i])
            inputs = np.zeros(len(train.schema.vocabulary[name]), dtype=np.int64)
            inputs[seen[seen >= 0]] = np.arange(1, np.count_nonzero(seen >= 0) + 1)
            codes.append(tuple(inputs.tolist()))
        return cls(
            median=tuple(median.tolist()),
            # The mean of equal numbers may be a last digit off them, and divided by 1 that would stay harmless; so may
            # their spread, and divided by that it would not.
            mean=tuple(np.where(constant, low, values.mean(axis=0)).tolist()),
            std=tuple(np.where(constant, 1.0, values.std(axis=0)).tolist()),
            flagged=tuple(flagged.tolist()),
            codes=tuple(codes),
        )

    @property
    def numeric_width(self) -> int:
        """The number of columns of the numeric input, the 0/1 columns of missing values among them."""
        return len(self.median) + len(self.flagged)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """For each categorical column the number of its inputs: categories seen in training, and the 0."""
        return tuple(1 + max(codes, default=0) for codes in self.codes)

    def transform(self, examples: TableExamples) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the inputs of a network.

        Returns:
            numeric float32 (n, numeric_width): standardised, missing values replaced by the median, then the 0/1
            columns; categorical int64 (n, q): 1 and up, 0 where the category is missing or was not seen in training.

        Raises:
            ValueError: the examples have other columns than those that were learnt from.
        """
        if (examples.numeric.shape[1], examples.categorical.shape[1]) != (len(self.median), len(self.codes)):
            raise ValueError(
                f"learnt from {len(self.median)} numeric and {len(self.codes)} categorical columns, but got "
                f"{examples.numeric.shape[1]} and {examples.categorical.shape[1]}"
            )
        p = len(self.median)
        missing = np.isnan(examples.numeric)
        numeric = np.empty((len(examples), self.numeric_width), dtype=np.float32)
        filled = np.where(missing, np.array(self.median), examples.numeric)
        numeric[:, :p] = (filled - np.array(self.mean)) / np.array(self.std)
        numeric[:, p:] = missing[:, list(self.flagged)]
        categorical = np.empty(examples.categorical.shape, dtype=np.int64)
        for i, codes in enumerate(self.codes):
            # The code -1, missing or unseen, finds the 0 at the end.
            categorical[:, i] = np.array((*codes, 0), dtype=np.int64)[examples.categorical[:, i]]
        return numeric, categorical

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as plain JSON."""
        return {
            name: [list(value) if isinstance(value, tuple) else value for value in values]
            for name, values in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """Return the encoder that `to_dict` wrote."""
        return cls(
            median=tuple(tree["median"]),
            mean=tuple(tree["mean"]),
            std=tuple(tree["std"]),
            flagged=tuple(tree["flagged"]),
            codes=tuple(tuple(codes) for codes in tree["codes"]),
        )
