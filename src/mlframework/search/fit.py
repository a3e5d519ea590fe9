"""What of a search does not fit together: what is refused before trial 0, and what is only said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlframework.config.base import Config
from mlframework.errors import MlframeworkError, StudyError
from mlframework.search.config import SearchConfig
from mlframework.search.parameters import Parameter
from mlframework.search.pruners import NoPruner, PatientPruner, WilcoxonPruner
from mlframework.search.samplers import SAMPLERS, Traits


def refuse_misfits(search: SearchConfig, seed: int, num_epochs: int, space: Mapping[str, Parameter]) -> None:
    """Build sampler and pruner once, so that what they lack is said before trial 0, all at once.

    Raises:
        MissingExtraError: a package is missing, and nothing else is wrong.
        StudyError: the sampler cannot search the space, or several things are wrong.
    """
    problems: list[MlframeworkError] = []
    traits = search.sampler.traits(space)
    refusal = traits.refusal
    if refusal is not None:
        problems.append(StudyError(f"search.sampler: {refusal}"))
    if search.objectives is not None and traits.one_objective:
        able = ", ".join(name for name, config in SAMPLERS.items() if not _one_only(config, name, space))
        problems.append(
            StudyError(
                f"search.sampler: {search.sampler.type} searches for one objective; for several there are {able}"
            )
        )
    try:
        # A sampler that cannot search the space may not be built for it; its package is asked for all the same.
        search.sampler.build(seed, 0, {} if refusal is not None else space)
    except MlframeworkError as error:
        problems.append(error)
    try:
        search.pruner.build(num_epochs)
    except MlframeworkError as error:
        problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise StudyError("\n".join(map(str, problems)))


def _one_only(config: type[Config], name: str, space: Mapping[str, Parameter]) -> bool:
    sampler: Any = config.model_validate({"type": name})
    traits: Traits = sampler.traits(space)
    return traits.one_objective or traits.refusal is not None


def cautions(search: SearchConfig, space: Mapping[str, Parameter], n_known: int, n_steps: int | None) -> list[str]:
    """Say what works, but hardly as it was meant.

    Args:
        search: the section.
        space: what is searched.
        n_known: imported trials, which spare the sampler as many random ones.
        n_steps: the last step that a trial may report; None where nobody knows.
    """
    sampler, pruner = search.sampler, search.pruner
    traits, found = sampler.traits(space), []
    if traits.ignores_pruned and not isinstance(pruner, NoPruner):
        own = (
            "sampler: {consider_pruned_trials: true}, or "
            if "consider_pruned_trials" in type(sampler).model_fields
            else ""
        )
        found.append(
            f"{sampler.type} learns from complete trials only, and {pruner.type} leaves it few of them; set {own}"
            "pruner: {type: none}, or take TPESampler, which learns from pruned trials, too"
        )
    if traits.at_random:
        found.append(
            f"{sampler.type} has no model of {', '.join(traits.at_random)} and always draws at random there; "
            "TPESampler and HyperoptSampler model every parameter"
        )
    if "sampler" in search.model_fields_set and traits.random_trials >= search.n_trials + n_known:
        setting = "population_size" if "population_size" in type(sampler).model_fields else "n_startup_trials"
        found.append(
            f"{sampler.type} learns after {traits.random_trials} random trials, so all {search.n_trials} will be random; "
            f"lower sampler.{setting}, or raise n_trials"
        )
    inner = pruner.wrapped if isinstance(pruner, PatientPruner) else pruner
    warm_up = getattr(inner, "n_warmup_steps", 0)
    if "pruner" in search.model_fields_set and n_steps is not None and 1 < n_steps <= warm_up:
        found.append(
            f"{inner.type} stops nothing before step {warm_up}, and a trial has {n_steps}, so that nothing is pruned; lower "
            "pruner.n_warmup_steps"
        )
    folds = search.cross_validation
    if folds.model_fields_set and "enabled" not in folds.model_fields_set:
        found.append(
            "search.cross_validation is written without enabled: true, so that each trial is trained once, on the one split; "
            "ml-train --cross-validate alone goes by it"
        )
    if isinstance(inner, WilcoxonPruner) and not search.cross_validation.enabled:
        found.append(
            "WilcoxonPruner compares folds, and cross-validation is off: the epochs of one training depend on one "
            "another, so its p-value says little; set cross_validation: {enabled: true}, or take MedianPruner"
        )
    return found
