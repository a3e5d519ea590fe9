"""The search space: checked against the config's schema before trial 0, and turned into trials' configs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.config import schema
from mlframework.config.decode import check
from mlframework.config.override import apply, get
from mlframework.config.yaml import Document
from mlframework.errors import Problem
from mlframework.experiment import ExperimentConfig
from mlframework.registry import nearest
from mlframework.search.parameters import Categorical, Parameter, Scalar

if TYPE_CHECKING:
    from optuna.trial import Trial

NOT_SEARCHABLE = ("data.type", "data.path", "data.split", "name", "device", "metric", "metrics", "tracking", "seed")


@dataclass(frozen=True)
class Space:
    """Parameters by dotted key, each after those that its `when` names, and the tree that they change."""

    base: Mapping[str, Any]
    parameters: Mapping[str, Parameter]

    def suggest(self, trial: "Trial") -> dict[str, Scalar]:
        """Ask the sampler for the parameters that exist in this trial."""
        params: dict[str, Scalar] = {}
        for key, parameter in self.parameters.items():
            if _exists(parameter, self.parameters, params, self.base):
                params[key] = parameter.suggest(trial, key)
        return params

    def tree(self, params: Mapping[str, Scalar]) -> dict[str, Any]:
        """Return the config tree of a trial."""
        return apply(ExperimentConfig, self.base, params)[0]

    def dropped(self) -> dict[str, list[str]]:
        """Return which of the base's settings some choice leaves without meaning: `{"optimizer.type: adam": [...]}`."""
        found: dict[str, list[str]] = {}
        for key, parameter in self.parameters.items():
            if key in schema.discriminators(ExperimentConfig) and isinstance(parameter, Categorical):
                for choice in parameter.choices:
                    lost = apply(ExperimentConfig, self.base, {key: choice})[1]
                    if lost:
                        found[f"{key}: {choice}"] = lost
        return found


def active(parameters: Mapping[str, Parameter], params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return those of the values whose parameters exist beside one another."""
    kept: dict[str, Scalar] = {}
    for key, parameter in parameters.items():
        if _exists(parameter, parameters, kept, None):
            kept[key] = params[key]
    return kept


def _exists(
    parameter: Parameter, space: Mapping[str, Parameter], params: Mapping[str, Scalar], base: Mapping[str, Any] | None
) -> bool:
    for key, wanted in parameter.when.items():
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if key in space:
            if key not in params or params[key] not in allowed:
                return False
        elif base is not None and _fixed_value(base, key) not in allowed:
            return False
    return True


def _fixed_value(base: Mapping[str, Any], key: str) -> Any:
    found = get(base, key, default=schema)
    if found is not schema:
        return found
    return next((leaf.default for leaf in schema.leaves(ExperimentConfig, base) if leaf.key == key), None)


def build_space(
    parameters: Mapping[str, Parameter], base: Mapping[str, Any], document: Document
) -> tuple[Space, list[Problem]]:
    """Return the space, and what is wrong with it.

    A parameter of a choice that is itself searched (`optimizer.momentum` beside `optimizer.type`) exists only with the
    choices that have it, also without a `when` that says so.

    Args:
        parameters: by dotted key, as written.
        base: the config tree without its search section.
        document: knows where each key stands.
    """
    problems: list[Problem] = []
    resolved: dict[str, Parameter] = {}
    for key, parameter in parameters.items():
        what, conditioned = _resolve(key, parameter, parameters, base)
        if what is not None:
            problems.append(Problem(document.key_place(("search", "search_space", key)), key, what))
        resolved[key] = conditioned
    ordered, cycle = _ordered(resolved)
    problems += [
        Problem(document.key_place(("search", "search_space", key, "when")), key, "its `when` leads back to itself")
        for key in cycle
    ]
    space = Space(base, ordered)
    if not problems:
        problems = _check_values(space, document)
    return space, problems


def _resolve(
    key: str, parameter: Parameter, parameters: Mapping[str, Parameter], base: Mapping[str, Any]
) -> tuple[str | None, Parameter]:
    """Say what is wrong with a parameter's key, and give the parameter the condition that follows from its section."""
    if any(key == fixed or key.startswith(fixed + ".") for fixed in NOT_SEARCHABLE):
        return "can't be searched: trials would not be comparable", parameter
    for named in parameter.when:
        if named not in parameters and not _known(named, base):
            return f"when: {named}: unknown setting", parameter
    tree = _tree_where(parameter, base)
    section, _, name = key.rpartition(".")
    field = next(
        (f for d, f in schema.discriminators(ExperimentConfig).items() if d.rpartition(".")[0] == section), None
    )
    discriminator = f"{section}.{field.discriminator}" if field is not None else ""
    chooser = parameters.get(discriminator)
    if (
        field is not None
        and isinstance(chooser, Categorical)
        and key != discriminator
        and discriminator not in parameter.when
    ):
        having = [
            choice
            for choice in chooser.choices
            if (cls := schema.chosen(field, {str(field.discriminator): choice})) is not None
            and name in cls.model_fields
        ]
        if having and having != chooser.choices:
            return None, parameter.model_copy(update={"when": {**parameter.when, discriminator: having}})
        if having:
            return None, parameter
    known = {leaf.key for leaf in schema.leaves(ExperimentConfig, tree)}
    if key in known:
        return None, parameter
    near = nearest(key, known) or nearest(name, [each for each in known if each.startswith(section)])
    if field is not None and any(name in cls.model_fields for cls in schema.members(field.annotation)):
        owners = [
            tag
            for cls in schema.members(field.annotation)
            if name in cls.model_fields
            for tag in schema.tags(cls, str(field.discriminator))
        ]
        return (
            f"{discriminator} is {get(tree, discriminator)!r}, which has no {name}; {', '.join(owners[:5])} would",
            parameter,
        )
    return "unknown setting" + (
        f"; did you mean {near!r}?" if near else "; --print-config lists the settings"
    ), parameter


def _known(key: str, base: Mapping[str, Any]) -> bool:
    if key in schema.discriminators(ExperimentConfig):
        return True
    section, _, name = key.rpartition(".")
    for discriminator, field in schema.discriminators(ExperimentConfig).items():
        if discriminator.rpartition(".")[0] == section:
            return any(name in cls.model_fields for cls in schema.members(field.annotation))
    return any(leaf.key == key for leaf in schema.leaves(ExperimentConfig, base))


def _tree_where(parameter: Parameter, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base tree in which a parameter's conditions hold."""
    conditions = {key: wanted[0] if isinstance(wanted, list) else wanted for key, wanted in parameter.when.items()}
    return apply(ExperimentConfig, base, conditions)[0]


def _ordered(parameters: Mapping[str, Parameter]) -> tuple[dict[str, Parameter], list[str]]:
    """Put each parameter after those that its `when` names; return also those that wait for one another."""
    waiting = dict(parameters)
    ordered: dict[str, Parameter] = {}
    while waiting:
        ready = [key for key, parameter in waiting.items() if not any(named in waiting for named in parameter.when)]
        if not ready:
            return ordered, list(waiting)
        for key in ready:
            ordered[key] = waiting.pop(key)
    return ordered, []


def _check_values(space: Space, document: Document) -> list[Problem]:
    """Decode the config with each bound and each choice: what a field refuses is said before trial 0."""
    problems: list[Problem] = []
    for key, parameter in space.parameters.items():
        tree = _tree_where(parameter, space.base)
        for value in parameter.ends():
            _, found = check(ExperimentConfig, Document(apply(ExperimentConfig, tree, {key: value})[0]))
            for problem in found[:1]:
                path = ("search", "search_space", key)
                problems.append(
                    Problem(document.key_place(path), key, f"{value!r} is refused: {problem.key}: {problem.what}")
                )
    return problems
