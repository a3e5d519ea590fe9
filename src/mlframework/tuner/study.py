"""From what a tuner was asked to do to an open study: the same one as a config's, over a space of free names."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlframework.config.decode import decode
from mlframework.config.yaml import Document
from mlframework.errors import ConfigError, Problem, StudyError
from mlframework.metrics import Direction
from mlframework.plans import SingleSplit
from mlframework.registry import unknown
from mlframework.search.config import SearchConfig
from mlframework.search.duplicates import IMPORTED
from mlframework.search.fit import cautions, refuse_misfits
from mlframework.search.goal import Goal
from mlframework.search.head_start import HeadStart, add_row
from mlframework.search.pruners import HyperbandPruner, NoPruner, PatientPruner
from mlframework.search.quiet import quiet_optuna
from mlframework.search.samplers import ALGORITHMS, SAMPLERS, GridSampler
from mlframework.search.setup import most_trials
from mlframework.search.space import Space
from mlframework.search.storage import masked
from mlframework.search.study import OpenStudy, SearchSpec, StudyFolder, stored_fingerprint
from mlframework.search.versions import changes_of_space
from mlframework.search.warm_start import Row

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

SCORE = "score"
"""What the value of a trial is called."""


def read_settings(
    space: Space, algorithm: str | Mapping[str, Any], pruner: str | Mapping[str, Any] | None, reports: bool,
    settings: Mapping[str, Any],
) -> SearchConfig:  # fmt: skip
    """Return what was asked for as the `search:` section of a config would have it.

    Args:
        space: what is searched.
        algorithm: a short name, a sampler's name, or a sampler with its settings.
        pruner: a pruner's name, one with its settings, or None for the default: MedianPruner where there are reports and
            the sampler learns from trials that were pruned.
        reports: whether trials report.
        settings: other keys of the section.

    Raises:
        ConfigError: with everything that is wrong.
    """
    if isinstance(algorithm, str) and algorithm not in (*ALGORITHMS, *SAMPLERS):
        what = unknown(algorithm, (*ALGORITHMS, *SAMPLERS), "algorithm")
        raise ConfigError([Problem("Tuner.optimize", "algorithm", what)])
    sampler = {"type": ALGORITHMS.get(algorithm, algorithm)} if isinstance(algorithm, str) else dict(algorithm)
    tree = {
        **settings,
        "sampler": sampler,
        "pruner": {"type": pruner or "none"} if isinstance(pruner, str | None) else dict(pruner),
        "search_space": {name: parameter.model_dump() for name, parameter in space.parameters.items()},
    }
    search = decode(SearchConfig, Document(tree, "Tuner.optimize"))
    if pruner is None and reports and not search.sampler.traits(space.parameters).ignores_pruned:
        search = decode(SearchConfig, Document({**tree, "pruner": {"type": "MedianPruner"}}, "Tuner.optimize"))
    return search


def check_settings(
    search: SearchConfig, space: Space, seed: int, n_steps: int | None, reports: bool, n_known: int
) -> None:
    """Refuse what does not fit together, and warn of what hardly does.

    Raises:
        MlframeworkError: the sampler cannot search the space, a package is missing, the pruner lacks a number of steps.
    """
    inner = search.pruner.wrapped if isinstance(search.pruner, PatientPruner) else search.pruner
    if isinstance(inner, HyperbandPruner) and inner.max_resource is None and n_steps is None:
        what = "needs to know the last step that train_fn reports; give Tuner(..., n_steps=20), or max_resource"
        raise ConfigError([Problem("Tuner.optimize", "pruner", f"{inner.type} {what}")])
    with quiet_optuna():
        refuse_misfits(search, seed, n_steps or 1, space.parameters)
    found = cautions(search, space.parameters, n_known, n_steps)
    if not reports and not isinstance(search.pruner, NoPruner):
        found = [f"{search.pruner.type} prunes nothing, since train_fn takes no report; give it a second parameter"]
    for caution in found:
        warnings.warn(caution, UserWarning, stacklevel=4)


def spec_of(
    search: SearchConfig, space: Space, folder: StudyFolder, direction: Direction, seed: int, n_steps: int | None
) -> SearchSpec:
    """Return all that the search was asked to do."""
    assert search.study_name is not None
    return SearchSpec(
        name=search.study_name,
        folder=folder,
        storage=search.storage,
        goal=Goal.single(SCORE, direction),
        n_trials=search.n_trials,
        add_trials=0,
        most_trials=most_trials(space, isinstance(search.sampler, GridSampler)),
        timeout=search.timeout,
        seed=seed,
        num_epochs=n_steps or 1,
        space=space,
        sampler=search.sampler,
        pruner=search.pruner,
        plan=SingleSplit(),
        lease_seconds=search.lease_seconds,
        storage_patience=search.storage_patience,
        fingerprint={
            "metric": SCORE,
            "direction": direction,
            "search_space": {name: parameter.model_dump() for name, parameter in space.parameters.items()},
        },
        on_duplicate="resample",
        head_start=HeadStart({}),
    )


def refuse_other_study(spec: SearchSpec, storage: BaseStorage, resume: bool) -> None:
    """Refuse to go on with a study that is not this one.

    Raises:
        StudyError: it exists and `resume` is false, or it was started with another space (that has not only grown) or direction.
    """
    before = stored_fingerprint(storage, spec.name, spec.storage)
    if before is None:
        return
    if not resume:
        raise StudyError(
            f"the study {spec.name!r} exists already in {masked(spec.storage)}; go on with it by "
            "Tuner(..., resume=True), or start another one by study_name="
        )
    if not before:  # its maker has not come further than making it
        return
    now = json.loads(json.dumps(spec.fingerprint))
    _, changed = changes_of_space(before.get("search_space", {}), now["search_space"])
    changed += [
        f"{key}: {before.get(key)} before, {now[key]} now"
        for key in ("metric", "direction")
        if before.get(key) != now[key]
    ]
    if changed:
        listed = "".join(f"\n  {line}" for line in changed)
        raise StudyError(
            f"the study {spec.name!r} was started with other settings, its trials would not be comparable:{listed}\n"
            "make another Tuner with another study_name, and load_history what this one found"
        )


def import_rows(study: OpenStudy, rows: Sequence[Row]) -> None:
    """Give the study the trials of a history, those that it does not have yet."""
    there = [trial for trial in study.trials() if IMPORTED in trial.user_attrs]
    known = [(trial.user_attrs[IMPORTED], trial.params, trial.value) for trial in there]
    for row in rows:
        if (row.source, row.params, row.value) not in known:
            add_row(study.study, row, study.spec.space)
