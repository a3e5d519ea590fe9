"""From a config that was read to all that a search was asked to do."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlframework.config.override import get, override
from mlframework.errors import StudyError
from mlframework.plans import build_plan
from mlframework.search.config import SearchConfig
from mlframework.search.faults import FaultPolicy
from mlframework.search.feasibility import combinations, is_feasible
from mlframework.search.fit import cautions, refuse_misfits
from mlframework.search.head_start import HeadStart, imported_histories, read_head_start, seed_beside
from mlframework.search.parameters import Parameter
from mlframework.search.quiet import quiet_optuna
from mlframework.search.read import ReadConfig
from mlframework.search.samplers import GridSampler, grid_cells
from mlframework.search.space import Space
from mlframework.search.storage import translated
from mlframework.search.study import (
    STUDIES,
    SearchSpec,
    StudyFolder,
    stored_fingerprint,
    study_attributes,
)
from mlframework.search.warm_start import point

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def build_spec(read: ReadConfig, storage: BaseStorage, add_trials: int) -> SearchSpec:
    """Decide everything before trial 0.

    Raises:
        StudyError: no parameter exists, or the sampler cannot search them: a grid over one that has no end of values.
        MissingExtraError: the sampler's or the pruner's package is not installed.
    """
    config, search = read.config, read.config.search
    assert search is not None and read.space is not None
    name = config.study_name
    url = str(read.document.tree["search"].get("storage") or search.storage)
    space = _with_threads_of_study(read, stored_fingerprint(storage, name, url))
    if not space.parameters:
        raise StudyError(
            "search.search_space: no parameter exists with these settings, all trials would be the same; mend their `when:`"
        )
    num_epochs = _most_epochs(space.parameters, config.training.num_epochs)
    with quiet_optuna():
        refuse_misfits(search, config.seed, num_epochs, space.parameters)
    head_start = _head_start(search, space, config.search_metric, storage, name, url)
    for caution in cautions(search, space.parameters, head_start.n_known, _last_step(search, num_epochs)):
        warnings.warn(caution, UserWarning, stacklevel=2)
    is_grid = isinstance(search.sampler, GridSampler)
    # A grid has each combination once, whatever the setting says.
    on_duplicate = "resample" if is_grid else search.on_duplicate
    most = most_trials(space, is_grid) if on_duplicate == "resample" else None
    return SearchSpec(
        name=name,
        folder=StudyFolder(STUDIES / name),
        storage=url,
        goal=config.goal,
        n_trials=search.n_trials,
        add_trials=add_trials,
        most_trials=most,
        timeout=search.timeout,
        seed=seed_beside(config.seed, [history.title for history in search.warm_start]),
        num_epochs=num_epochs,
        space=space,
        sampler=search.sampler,
        pruner=search.pruner,
        plan=build_plan(search.cross_validation, search.repeats),
        lease_seconds=search.lease_seconds,
        storage_patience=search.storage_patience,
        fingerprint=_fingerprint(read, space),
        on_duplicate=on_duplicate,
        head_start=head_start,
        keep=search.keep,
        faults=FaultPolicy.of_search(search.retries, search.max_consecutive_failures),
        settings=_settings(read),
    )


_HELD = {"search_space", "constraints", "metric", "direction", "objectives", "cross_validation", "repeats", "algorithm"}
_SAID_ELSEWHERE = {"storage", "study_name", "warm_start", "enqueue"}


def _settings(read: ReadConfig) -> dict[str, Any]:
    """Return what may be other the next time: all that the fingerprint does not hold."""
    config, search = read.config, read.config.search
    assert search is not None
    own = config.model_dump(mode="json", include={"name", "device", "tracking"})
    return {**own, "search": search.model_dump(mode="json", exclude=_HELD | _SAID_ELSEWHERE)}


def _last_step(search: SearchConfig, num_epochs: int) -> int:
    """Return the last step that may be pruned: between folds and repeats another rule holds, with no warm-up."""
    return num_epochs if search.repeats == 1 and not search.cross_validation.enabled else sys.maxsize


def _head_start(
    search: SearchConfig, space: Space, metric: str, storage: BaseStorage, name: str, url: str
) -> HeadStart:
    with translated(url):
        known = imported_histories(study_attributes(storage, name) or {})
    points = [point(each, space, partial=True)[0] for each in search.enqueue]
    return read_head_start(search.warm_start, points, space, metric, known)


def most_trials(space: Space, is_grid: bool) -> int | None:
    """Return how many trials differ from one another, or None where there is no end of them."""
    cells = combinations(space)
    if cells is None and is_grid:
        cells = [cell for cell in grid_cells(space.parameters) if is_feasible(space, cell)]
    return None if cells is None else len(cells)


def _with_threads_of_study(read: ReadConfig, before: dict[str, Any] | None) -> Space:
    """Return the space, trained with as many threads as the study's other trials, unless the config says how many."""
    assert read.space is not None
    own = get(read.document.tree, "training.num_threads")
    if own is not None or before is None or "config" not in before:
        return read.space
    threads = get(before["config"], "training.num_threads")
    return replace(read.space, base=override(read.space.base, {"training.num_threads": threads}))


def _most_epochs(parameters: Any, num_epochs: int) -> int:
    searched: Parameter | None = parameters.get("training.num_epochs")
    if searched is None:
        return num_epochs
    return max(int(value) for value in searched.ends() if isinstance(value, int))


def _fingerprint(read: ReadConfig, space: Space) -> dict[str, Any]:
    """Return what the trials of one study must have in common: the config, the space, and how trials are judged."""
    search = read.config.search
    assert search is not None
    kept = {key: value for key, value in space.base.items() if key not in ("name", "tracking", "device")}
    constraints = {"constraints": [each.text for each in space.constraints]} if space.constraints else {}
    goal = read.config.goal
    several = [{"metric": each.metric, "direction": each.direction} for each in goal.objectives]
    return {
        **constraints,
        **({} if goal.is_single else {"objectives": several}),
        "metric": read.config.search_metric,
        "config": kept,
        "search_space": {key: parameter.model_dump() for key, parameter in space.parameters.items()},
        "cross_validation": search.cross_validation.model_dump(),
        **({"repeats": search.repeats} if search.repeats > 1 else {}),
    }
