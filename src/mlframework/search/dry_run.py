"""`ml-search --dry-run`: what a search would take, from one batch at each corner of its space."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean

import numpy as np

from mlframework.errors import DataError, StudyError
from mlframework.experiment import ExperimentConfig
from mlframework.plans import build_plan
from mlframework.search.config import ConfigFile, SearchConfig
from mlframework.search.corners import Corner, Corners, corners
from mlframework.search.feasibility import combinations, draw, is_feasible
from mlframework.search.fit import refuse_misfits
from mlframework.search.keep import Keep
from mlframework.search.parameters import Scalar
from mlframework.search.probe import Measured, Prober
from mlframework.search.quiet import quiet_optuna, require_optuna
from mlframework.search.read import ReadConfig
from mlframework.search.space import Space

DRAWS = 300
CHECKPOINTS = 2  # a run keeps the best and the last
WHILE_TRAINING = 2  # more: the one before, and the one that is being written
FILES = 30_000
"""Bytes of a trial's other files, about: config, metrics, environment, events."""
_KEY = "training.num_epochs"


@dataclass(frozen=True)
class DryRun:
    """What was tried, and what a search would take.

    Attributes:
        corners: what was tried and what was not.
        measured: of each corner that was tried.
        n_trials: of the search.
        n_trainings: of a trial: one, or one a fold or a repeat.
        startup_seconds: until the first trial can begin.
        mean_seconds: of a trial, on average over random draws of the space; None where no corner trains.
        keep: whose checkpoints are kept.
    """

    corners: Corners
    measured: Sequence[Measured]
    n_trials: int
    n_trainings: int
    startup_seconds: float
    mean_seconds: float | None
    keep: Keep = field(default_factory=Keep)

    @property
    def good(self) -> list[Measured]:
        """The corners that train."""
        return [each for each in self.measured if each.error is None]

    @property
    def trial_seconds(self) -> tuple[float, float]:
        """The shortest and the longest trial of a corner."""
        found = [self.n_trainings * each.training_seconds for each in self.good]
        return min(found), max(found)

    @property
    def search_seconds(self) -> tuple[float, float]:
        """All trials one after another, with the start: as expected, and if all were the longest of a corner."""
        assert self.mean_seconds is not None
        trials = self.n_trials * self.mean_seconds, self.n_trials * self.trial_seconds[1]
        return self.seconds_before + trials[0], self.seconds_before + trials[1]

    @property
    def seconds_before(self) -> float:
        """Until the first trial trains: imports, and the data."""
        return self.startup_seconds + max(each.load_seconds for each in self.good)

    @property
    def disk_bytes(self) -> int:
        """The most that the study's folder may come to: the checkpoints that are kept, those of a running trial, and files."""
        one = max(each.checkpoint_bytes for each in self.good)
        of_trial = CHECKPOINTS * one * self.n_trainings
        kept = min(min(self.n_trials - 1, self.keep.top_k) * of_trial, self.keep.max_bytes)
        return int(kept) + of_trial + WHILE_TRAINING * one + self.n_trials * self.n_trainings * FILES


def dry_run(read: ReadConfig, on_corner: Callable[[int, Corners], None]) -> DryRun:
    """Try the corners of a config's search space; no study is made, and no run folder.

    Args:
        read: the config, which has a search section.
        on_corner: told before each corner: how many were tried, and all of them.

    Raises:
        StudyError: no parameter exists, or the sampler cannot search them.
        MissingExtraError: the sampler's or the pruner's package is not installed.
        DataError: the data cannot be used, whatever the corner.
    """
    config, search, space = read.config, read.config.search, read.space
    assert search is not None and space is not None
    if not space.parameters:
        raise StudyError("search.search_space: no parameter exists with these settings; mend their `when:`")
    require_optuna()
    with quiet_optuna():
        refuse_misfits(search, config.seed, config.training.num_epochs, space.parameters)
    found = corners(space)
    prober = Prober(_needs_torch(config, space))
    measured: list[Measured] = []
    for number, corner in enumerate(found.tried):
        on_corner(number, found)
        result = prober.try_out(space.tree(corner.params))
        if result.is_data and not any(key.startswith("data.") for key in space.parameters):
            raise DataError(str(result.error))
        measured.append(result)
    on_corner(len(found.tried), found)
    n_trainings = build_plan(search.cross_validation, search.repeats).n_parts
    average = mean_seconds(space, found.tried, measured)
    seconds = None if average is None else n_trainings * average
    n_trials = _n_trials(search, space)
    return DryRun(found, measured, n_trials, n_trainings, prober.startup_seconds, seconds, search.keep)


def _n_trials(search: SearchConfig, space: Space) -> int:
    """Return how many trials there will be: a small space has no more than its combinations, unless they are repeated."""
    cells = combinations(space) if search.on_duplicate == "resample" else None
    return search.n_trials if cells is None else min(search.n_trials, len(cells))


def _needs_torch(config: ExperimentConfig, space: Space) -> bool:
    return "model.architecture" in space.parameters or "optimizer" not in type(config.model).excludes


def mean_seconds(space: Space, tried: Sequence[Corner], measured: Sequence[Measured]) -> float | None:
    """Return the seconds of a training, on average over random draws of the space.

    What an epoch takes is put together from the corners in which one parameter is not in the middle: each has a factor,
    which between its ends is interpolated on the parameter's scale. No draw is expected to take more than the dearest
    corner, or less than the cheapest. Epochs are those of the draw.

    Args:
        space: what is searched.
        tried: the corners, the middle first.
        measured: of each.
    """
    good = {corner.name: each for corner, each in zip(tried, measured, strict=True) if each.error is None}
    if not good:
        return None
    middle = good.get("middle") or next(iter(good.values()))
    effects = _effects(tried, good, math.log(middle.epoch_seconds))
    rng = np.random.default_rng(0)
    draws: list[Mapping[str, Scalar]] = [
        params for params in (draw(space, rng) for _ in range(DRAWS)) if is_feasible(space, params)
    ]
    cheapest, dearest = (edge(each.epoch_seconds for each in good.values()) for edge in (min, max))
    found = []
    for params in draws or [corner.params for corner in tried if corner.name in good]:
        epoch = math.exp(math.log(middle.epoch_seconds) + sum(_effect(effects, k, v) for k, v in params.items()))
        epochs = params.get(_KEY, middle.num_epochs)
        assert isinstance(epochs, int)
        expected = replace(middle, num_epochs=epochs, epoch_seconds=min(max(epoch, cheapest), dearest))
        found.append(expected.training_seconds)
    return mean(found)


Effects = Mapping[str, Sequence[tuple[Scalar, float]]]


def _effects(tried: Sequence[Corner], good: Mapping[str, Measured], middle: float) -> Effects:
    """Return by parameter the values that were tried, each with the logarithm of its factor; the middle has none."""
    found: dict[str, list[tuple[Scalar, float]]] = {}
    centre = tried[0].params
    for corner in tried:
        key = corner.varied
        if key is None or corner.name not in good:
            continue
        others = sum(_effect(found, name, value) for name, value in corner.params.items() if name != key)
        effect = math.log(good[corner.name].epoch_seconds) - middle - others
        found.setdefault(key, [(centre[key], 0.0)] if key in centre else []).append((corner.params[key], effect))
    return found


def _effect(effects: Effects, key: str, value: Scalar) -> float:
    known = effects.get(key, ())
    numbers = [each for each, _ in known if isinstance(each, int | float) and not isinstance(each, bool)]
    if not isinstance(value, int | float) or isinstance(value, bool) or len(numbers) < len(known) or not known:
        return next((effect for each, effect in known if each == value and type(each) is type(value)), 0.0)
    # Costs that are products of sizes are straight lines on two logarithmic scales.
    log = min(*numbers, value) > 0
    points = sorted((math.log(each) if log else each, effect) for each, (_, effect) in zip(numbers, known, strict=True))
    at, found = [place for place, _ in points], [effect for _, effect in points]
    return float(np.interp(math.log(value) if log else value, at, found))


def conditions(config: ConfigFile) -> list[str]:
    """Say what a prediction takes for granted."""
    search = config.search
    assert search is not None
    found = ["no trial is pruned or fails", "one process searches, on a machine as busy as now"]
    if config.training.early_stopping is not None:
        found.append("no training is stopped early")
    if search.cross_validation.enabled:
        found.append(f"each of {search.cross_validation.n_parts} folds takes as long as a single training")
    if search.confirm is not None:
        found.append(
            f"the best are not confirmed yet, which takes {search.confirm.top_k * search.confirm.seeds} trials more"
        )
    return found
