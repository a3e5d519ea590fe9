"""Hyperopt's tree-structured Parzen estimator, behind Optuna's interface.

It keeps no state: for each trial hyperopt's `Trials` are made anew from the study, so that the same study and seed give
the same suggestion, in whatever process. A space is flat for hyperopt: each parameter has its own estimator, fed by the
trials in which it exists, which is what hyperopt makes of nested choices, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mlframework.config.base import Config
from mlframework.search.faults import FAULT
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Scalar
from mlframework.search.samplers.base import Traits, require, trial_seed

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


class HyperoptSampler(Config):
    """Hyperopt's tree-structured Parzen estimator (Bergstra et al., 2013, https://proceedings.mlr.press/v28/bergstra13.html)."""

    type: Literal["HyperoptSampler"]
    n_startup_trials: Annotated[int, Field(ge=1)] = 20
    """Random trials before it learns from them; hyperopt calls them `n_startup_jobs`."""
    n_ei_candidates: Annotated[int, Field(gt=0)] = 24
    """Candidates of which the most promising is suggested; hyperopt's `n_EI_candidates`."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.25
    """How many trials count as good: gamma times the square root of their number, rounded up."""

    def build(self, study_seed: int, place: int, space: Mapping[str, Parameter]) -> BaseSampler:
        """Return the sampler for the trial at a place of the study.

        Raises:
            MissingExtraError: hyperopt is not installed.
        """
        require("hyperopt", "hyperopt", "HyperoptSampler")
        return hyperopt_sampler(self, space, trial_seed(study_seed, place))

    def traits(self, space: Mapping[str, Parameter]) -> Traits:
        """Say what the sampler can do with a space: anything."""
        return Traits(random_trials=self.n_startup_trials, one_objective=True)


def hyperopt_sampler(config: HyperoptSampler, space: Mapping[str, Parameter], seed: int) -> BaseSampler:
    """Return Optuna's sampler that asks hyperopt.

    Args:
        config: how hyperopt is asked.
        space: all parameters by dotted key.
        seed: hyperopt's, of this one suggestion.
    """
    from optuna.samplers import BaseSampler, RandomSampler

    class Hyperopt(BaseSampler):
        """Asks hyperopt for all parameters of a trial at once; those that do not exist in it are not asked for."""

        def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            """Return what hyperopt suggests: all but what has one value only."""
            found = {key: parameter.distribution() for key, parameter in space.items()}
            return {key: each for key, each in found.items() if not each.single()}

        def sample_relative(
            self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            """Return hyperopt's suggestion."""
            asked = {key: space[key] for key in search_space}
            return _suggest(config, asked, study, trial.number, seed) if asked else {}

        def sample_independent(
            self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            """Draw what is not in the space: the interface wants it, a trial of ours never does."""
            return RandomSampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)

    return Hyperopt()


def _suggest(
    config: HyperoptSampler, space: Mapping[str, Parameter], study: Study, number: int, seed: int
) -> dict[str, Scalar]:
    from hyperopt import tpe
    from hyperopt.base import Domain, trials_from_docs

    domain = Domain(lambda _: None, {key: hyperopt_parameter(key, parameter) for key, parameter in space.items()})
    history = [trial for trial in study.get_trials(deepcopy=False) if trial.number != number]
    losses = _losses(study, history)
    docs = [_doc(trial, losses[trial.number], space) for trial in history if trial.number in losses]
    (doc,) = tpe.suggest(
        [number], domain, trials_from_docs(docs, validate=False), seed, verbose=False,
        n_startup_jobs=config.n_startup_trials, n_EI_candidates=config.n_ei_candidates, gamma=config.gamma,
    )  # fmt: skip
    return {key: to_value(parameter, doc["misc"]["vals"][key][0]) for key, parameter in space.items()}


def _losses(study: Study, history: Sequence[FrozenTrial]) -> dict[int, float | None]:
    """Return the loss of each trial that hyperopt is told of, by number; None where it has none yet.

    A pruned trial counts with its last value, yet as no better than the worst complete one: values after fewer epochs
    say less, and the pruner has found it behind. A running one counts as hyperopt's own do: it is not to be repeated.
    A failed one is passed over.
    """
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
    complete = {t.number: sign * t.value for t in history if t.state == TrialState.COMPLETE and t.value is not None}
    found: dict[int, float | None] = dict(complete)
    for trial in history:
        if trial.state == TrialState.PRUNED:
            last = trial.intermediate_values[trial.last_step] if trial.last_step is not None else math.nan
            known = [*complete.values(), *([] if math.isnan(last) else [sign * last])]
            # What ran out of memory is as bad as the worst one, whatever it has reported.
            told = bool(complete) if FAULT in trial.user_attrs else not math.isnan(last)
            found[trial.number] = max(known) if told else None
        elif trial.state == TrialState.RUNNING and trial.params:
            found[trial.number] = None
    return found


def _doc(trial: FrozenTrial, loss: float | None, space: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return a trial as hyperopt writes it down: only parameters that exist in it have a value."""
    from hyperopt.base import JOB_STATE_DONE, STATUS_NEW, STATUS_OK, SONify

    number = trial.number
    there = {key: parameter for key, parameter in space.items() if key in trial.params}
    values = {key: [from_value(parameter, trial.params[key])] for key, parameter in there.items()}
    misc = {
        "tid": number,
        "cmd": None,
        "workdir": None,
        "idxs": {key: [number] if key in there else [] for key in space},
        "vals": {key: values.get(key, []) for key in space},
    }
    result = {"status": STATUS_NEW} if loss is None else {"status": STATUS_OK, "loss": loss}
    doc = {"tid": number, "spec": None, "result": result, "misc": misc, "state": JOB_STATE_DONE, "exp_key": None}
    return {**SONify(doc), "owner": None, "book_time": None, "refresh_time": None, "version": 0}


def hyperopt_parameter(key: str, parameter: Parameter) -> Any:
    """Return a parameter as hyperopt describes it: what is on a grid by its index, which is ordered, choices as choices."""
    from hyperopt import hp

    if isinstance(parameter, Categorical):
        return hp.choice(key, list(range(len(parameter.choices))))
    if isinstance(parameter, LogUniform) or (parameter.log and not isinstance(parameter, Int)):
        return hp.loguniform(key, math.log(parameter.low), math.log(parameter.high))
    if isinstance(parameter, Int):
        if parameter.log:
            # Each whole number has the room from half below it to half above it.
            return hp.qloguniform(key, math.log(parameter.low - 0.5), math.log(parameter.high + 0.5), 1)
        return hp.uniformint(key, 0, (parameter.high - parameter.low) // parameter.step)
    values = parameter.values()
    return hp.uniform(key, parameter.low, parameter.high) if values is None else hp.uniformint(key, 0, len(values) - 1)


def to_value(parameter: Parameter, found: float) -> Scalar:
    """Return what hyperopt found as a value of the parameter."""
    if isinstance(parameter, Categorical):
        return parameter.choices[int(found)]
    if isinstance(parameter, Int):
        value = int(found) if parameter.log else parameter.low + int(found) * parameter.step
        # The exponential of a logarithm may lie outside by a rounding.
        return min(max(value, parameter.low), parameter.high)
    values = parameter.values()
    return min(max(float(found), parameter.low), parameter.high) if values is None else values[int(found)]


def from_value(parameter: Parameter, value: Any) -> Any:
    """Return a value of the parameter as hyperopt knows it."""
    if isinstance(parameter, Categorical):
        return next(i for i, each in enumerate(parameter.choices) if (type(each), each) == (type(value), value))
    if isinstance(parameter, Int):
        return value if parameter.log else (value - parameter.low) // parameter.step
    if isinstance(parameter, LogUniform) or parameter.step is None:
        return value
    return round((value - parameter.low) / parameter.step)
