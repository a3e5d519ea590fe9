"""Cross-validation: its config, and how folds are cut. The splitters are scikit-learn's."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from mlframework.config.base import Config
from mlframework.data.splits import Splits
from mlframework.errors import DataError
from mlframework.experiment import ExperimentConfig

Aggregation = Literal["mean", "median", "worst"]
FoldStrategy = Literal["kfold", "stratified", "group", "time_series"]
_AS_SPLIT: Mapping[str, FoldStrategy] = {
    "random": "kfold",
    "stratified": "stratified",
    "group": "group",
    "time": "time_series",
}


class CrossValidation(Config):
    """Train on several folds instead of one validation split."""

    enabled: bool = False
    """Whether each trial is trained once a fold."""
    n_folds: Annotated[int, Field(ge=2)] = 5
    """Parts that train and val together are cut into; each is validated on once."""
    strategy: FoldStrategy | None = None
    """How folds are cut: kfold (at random), stratified (every class keeps its share), group (rows of one
    `data.group_column` stay together) or time_series (validated on what comes after all that is trained on); null: as
    `data.split` would be."""
    aggregation: Aggregation = "mean"
    """How the folds' values make the trial's."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """How often all folds are cut anew and trained; not for time_series, which can be cut in one way only."""

    @property
    def n_parts(self) -> int:
        """Trainings in all."""
        return self.n_folds * self.repeats

    @model_validator(mode="after")
    def _cuts_differ(self) -> "CrossValidation":
        if self.strategy == "time_series" and self.repeats > 1:
            raise ValueError(
                f"repeats: {self.repeats} would train the same folds again: time_series cuts in one way only"
            )
        return self


def folds_of(config: ExperimentConfig, splits: Splits[Any], plan: CrossValidation) -> Iterator[Splits[Any]]:
    """Cut the folds as the plan says, or as the data's config would cut its splits.

    Raises:
        DataError: the data cannot be cut so.
    """
    cut, data = config.data.split, config.data
    has_time = data.type == "table" and data.time_column is not None
    has_groups = data.type == "table" and data.group_column is not None
    drawn = cut.strategy or ("group" if has_groups else "time" if has_time else None)
    strategy = plan.strategy
    if strategy is None:
        if drawn == "leave_one_out":
            raise DataError(
                "data.split.strategy is leave_one_out, which makes no folds; set cross_validation.strategy to kfold, or "
                "data.split.strategy to random or time"
            )
        strategy = _AS_SPLIT[drawn] if drawn is not None else None
    elif strategy == "time_series" and drawn != "time":
        raise DataError(
            "cross_validation.strategy is time_series, but the test split is not cut by time: name a data.time_column, and "
            "set data.split.strategy to time"
        )
    if plan.repeats > 1 and strategy == "time_series":
        raise DataError("cross_validation.repeats: folds in the order of time can be cut in one way only; set it to 1")
    seed = config.seed if cut.seed is None else cut.seed
    for repeat in range(plan.repeats):
        yield from cut_folds(splits, plan.n_folds, strategy, seed + repeat)


def cut_folds(splits: Splits[Any], n_folds: int, strategy: FoldStrategy | None, seed: int) -> Iterator[Splits[Any]]:
    """Yield splits whose val is one fold of train and val together, and which have no test split.

    Args:
        splits: of which train and val are cut; those of a time_series have to be in the order of time.
        n_folds: how many.
        strategy: scikit-learn's KFold, StratifiedKFold, StratifiedGroupKFold (GroupKFold in a regression) or
            TimeSeriesSplit; None: stratified for classes, else kfold.
        seed: of the draw.

    Raises:
        DataError: there are fewer examples, fewer of a class, or fewer groups, than folds; or no classes, or no groups.
    """
    together = splits.refit().train
    classes = together.targets.dtype.kind in "iu"
    strategy = strategy or ("stratified" if classes else "kfold")
    groups: Any = getattr(together, "groups", None)
    if strategy == "stratified" and not classes:
        raise DataError("cross_validation.strategy is stratified, but the target is a number; set it to kfold")
    if strategy == "group" and groups is None:
        raise DataError("cross_validation.strategy is group, but the data has no groups; name a data.group_column")
    if strategy == "group":
        smallest, what = len(np.unique(groups)), "groups"
    elif strategy == "stratified":
        counts = np.bincount(together.targets)
        smallest, what = int(counts[counts > 0].min()), "examples of the smallest class"
    else:
        smallest, what = len(together), "examples"
    if smallest < n_folds + (strategy == "time_series"):
        raise DataError(f"cross_validation.n_folds: {n_folds} is too many for the {smallest} {what}")
    splitter = _splitter(strategy, n_folds, seed, classes)
    for train_rows, val_rows in splitter.split(np.zeros(len(together)), together.targets, groups):
        yield Splits(together.take(np.asarray(train_rows)), together.take(np.asarray(val_rows)), None)


def _splitter(strategy: FoldStrategy, n_folds: int, seed: int, classes: bool) -> Any:
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit

    if strategy == "time_series":
        return TimeSeriesSplit(n_folds)
    if strategy == "group":
        kind = StratifiedGroupKFold if classes else GroupKFold
    else:
        kind = StratifiedKFold if strategy == "stratified" else KFold
    return kind(n_folds, shuffle=True, random_state=seed)
