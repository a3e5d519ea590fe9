"""The search space: checked against the config's schema before trial 0, and turned into trials' configs."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic.fields import FieldInfo

from mlframework.config import schema
from mlframework.config.decode import check
from mlframework.config.override import apply, get
from mlframework.config.yaml import Document
from mlframework.errors import Problem
from mlframework.experiment import ExperimentConfig
from mlframework.registry import nearest
from mlframework.search.constraints import Constraint
from mlframework.search.parameters import Categorical, Parameter, Scalar

if TYPE_CHECKING:
    from optuna.trial import Trial

NOT_SEARCHABLE = ("data.type", "data.path", "data.split", "name", "device", "metric", "metrics", "tracking", "seed")


@dataclass(frozen=True)
class Space:
    """Parameters by dotted key, each after those that its `when` names, the tree that they change, and what is to be kept."""

    base: Mapping[str, Any]
    parameters: Mapping[str, Parameter]
    constraints: tuple[Constraint, ...] = ()

    def suggest(self, trial: "Trial") -> dict[str, Scalar]:
        """Ask the sampler for the parameters that exist in this trial."""
        params: dict[str, Scalar] = {}
        for key, parameter in self.parameters.items():
            if _exists(parameter, params):
                params[key] = parameter.suggest(trial, key)
        return params

    def tree(self, params: Mapping[str, Scalar]) -> dict[str, Any]:
        """Return the config tree of a trial."""
        return apply(ExperimentConfig, self.base, params)[0]

    def violations(self, params: Mapping[str, Scalar]) -> dict[str, float]:
        """Return by how much a trial misses each constraint, 0 or less where it keeps it: `{"a <= b": -3.0}`.

        Raises:
            ConfigError: a setting's value is of another kind than a constraint needs.
        """
        if not self.constraints:
            return {}
        values = {**self._settled(params), **params}
        return {constraint.text: constraint.violation(values) for constraint in self.constraints}

    def _settled(self, params: Mapping[str, Scalar]) -> dict[str, Any]:
        """Return the constraints' settings that a trial has, defaults included, but for the searched ones."""
        choices = schema.discriminators(ExperimentConfig)
        # Only choices and the presence of parameters decide which settings there are; decoding takes a millisecond.
        situation = tuple((key, value if key in choices else None) for key, value in params.items())
        if situation not in self._situations:
            tree = self.tree(params)
            config, _ = check(ExperimentConfig, Document(tree))
            without = schema.excluded(ExperimentConfig, tree)
            keys = {key for each in self.constraints for key in each.settings() if not schema.excluder(without, key)}
            self._situations[situation] = {key: value for key in keys for value in _decoded(config, key)}
        return self._situations[situation]

    @cached_property
    def _situations(self) -> dict[tuple[tuple[str, Scalar], ...], dict[str, Any]]:
        return {}

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


def _decoded(config: object, key: str) -> list[Any]:
    """Return the value of a setting, alone in a list; no value where the config does not have the setting."""
    for part in key.split("."):
        if config is None or not hasattr(config, part):
            return []
        config = getattr(config, part)
    return [config]


def active(parameters: Mapping[str, Parameter], params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return those of the values whose parameters exist beside one another."""
    kept: dict[str, Scalar] = {}
    for key, parameter in parameters.items():
        if _exists(parameter, kept):
            kept[key] = params[key]
    return kept


def _exists(parameter: Parameter, params: Mapping[str, Scalar]) -> bool:
    return all(key in params and params[key] in _listed(wanted) for key, wanted in parameter.when.items())


def _listed(wanted: Scalar | list[Scalar]) -> list[Scalar]:
    return wanted if isinstance(wanted, list) else [wanted]


def build_space(
    parameters: Mapping[str, Parameter], base: Mapping[str, Any], document: Document
) -> tuple[Space, list[Problem]]:
    """Return the space, and what is wrong with it.

    A parameter of a choice that is itself searched (`optimizer.momentum` beside `optimizer.type`) exists only with the
    choices that have it, also without a `when` that says so. In the space `when` names searched keys only: what it says
    of fixed ones is decided here, and a parameter for which it does not hold is left out.

    Args:
        parameters: by dotted key, as written.
        base: the config tree without its search section.
        document: knows where each key stands.
    """
    conditioned = {key: _conditioned(key, parameter, parameters) for key, parameter in parameters.items()}
    ordered, cycle = in_order(conditioned)
    found = [(key, "its `when` leads back to itself") for key in cycle]
    for key, parameter in ordered.items():
        found += [(key, what) for what in _wrong(key, parameter, ordered, base)]
    problems = [Problem(document.key_place(("search", "search_space", key)), key, what) for key, what in found]
    return Space(base, {} if problems else _existing(ordered, base)), problems


def _conditioned(key: str, parameter: Parameter, parameters: Mapping[str, Parameter]) -> Parameter:
    """Return the parameter with the conditions that follow from searched choices: which of them have such a setting."""
    when = dict(parameter.when)
    for discriminator, field in schema.discriminators(ExperimentConfig).items():
        chooser = parameters.get(discriminator)
        if not isinstance(chooser, Categorical) or discriminator == key or discriminator in when:
            continue
        having = [choice for choice in chooser.choices if _has(discriminator, field, choice, key)]
        if having and having != chooser.choices:
            when[discriminator] = having
    return parameter if when == parameter.when else parameter.model_copy(update={"when": when})


def _has(discriminator: str, field: FieldInfo, choice: Scalar, key: str) -> bool:
    """Whether a config with a choice has a setting: in the choice's own section, or in one that it does not exclude."""
    section, _, tag = discriminator.rpartition(".")
    cls = schema.chosen(schema.admitted(field), {tag: choice})
    if cls is None:
        return False
    inside = key.rpartition(".")[0] == section
    return (
        key.rpartition(".")[2] in cls.model_fields
        if inside
        else schema.excluder(dict.fromkeys(cls.excludes, ""), key) is None
    )


def _choice_of(key: str) -> tuple[str, Any]:
    """Return the setting that chooses what the key's section holds, and what it chooses from; empty where nothing does."""
    section = key.rpartition(".")[0]
    for discriminator, field in schema.discriminators(ExperimentConfig).items():
        if discriminator.rpartition(".")[0] == section:
            return discriminator, schema.admitted(field)
    return "", None


def in_order(parameters: Mapping[str, Parameter]) -> tuple[dict[str, Parameter], list[str]]:
    """Put each parameter after those that its `when` names; return also those that wait for one another."""
    waiting = dict(parameters)
    ordered: dict[str, Parameter] = {}
    while ready := [key for key, each in waiting.items() if not waiting.keys() & each.when.keys()]:
        ordered.update((key, waiting.pop(key)) for key in ready)
    # What merely comes after a cycle is not to blame for it.
    while blameless := [key for key in waiting if not any(key in each.when for each in waiting.values())]:
        for key in blameless:
            del waiting[key]
    return ordered, list(waiting)


def undecided(key: str, wrong: Set[str]) -> bool:
    """Whether problems at other keys leave open what the config has at a key: its section, or what chooses that."""
    choice = _choice_of(key)[0]
    beside = choice and choice != key and any(f"{other}.".startswith(f"{choice}.") for other in wrong)
    return bool(beside) or any(key.startswith(f"{other}.") for other in wrong)


def _wrong(key: str, parameter: Parameter, space: Mapping[str, Parameter], base: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with a parameter: its key, its conditions, or the values that its field would refuse."""
    if any(key == fixed or key.startswith(fixed + ".") for fixed in NOT_SEARCHABLE):
        return ["can't be searched: trials would not be comparable"]
    conditions = _conditions(key, parameter, space)
    for named, wanted in parameter.when.items():
        what = _wrong_condition(named, wanted, space, base)
        if what is None and not conditions[named]:
            what = f"{named} never has such a value where the parameters exist that this one depends on"
        if what is not None:
            return [f"when: {what}"]
    first: dict[str, Any] = {named: values[0] for named, values in conditions.items()}
    situations = [first, *({**first, named: value} for named, values in conditions.items() for value in values[1:])]
    refused: dict[tuple[Any, ...], str] = {}
    for situation in situations:
        tree = apply(ExperimentConfig, base, situation)[0]
        if (unknown := _unknown_key(key, tree)) is not None:
            return [unknown]
        before = _complaints(tree)
        for value in parameter.ends():
            after = _complaints(apply(ExperimentConfig, tree, {key: value})[0])
            new = next((complaint for complaint in after if complaint not in before), None)
            if new is not None:
                refused.setdefault((type(value), value), f"{value!r} is refused: {new}")
    return list(refused.values())


def _conditions(key: str, parameter: Parameter, space: Mapping[str, Parameter]) -> dict[str, list[Scalar]]:
    """Return the values that settings may have where a parameter exists, searched choices that decide on it included."""
    found: dict[str, list[Scalar]] = {}
    for named, wanted in parameter.when.items():
        inherited = _conditions(named, space[named], space) if named in space else {}
        for other, values in {**inherited, named: _listed(wanted)}.items():
            found[other] = [value for value in values if value in found.get(other, values)]
    for discriminator, field in schema.discriminators(ExperimentConfig).items():
        chooser = space.get(discriminator)
        if not isinstance(chooser, Categorical) or discriminator in (key, *found):
            continue
        own = discriminator == _choice_of(key)[0]
        if own or not any(_has(discriminator, field, choice, key) for choice in chooser.choices):
            found[discriminator] = chooser.choices
    return found


def _wrong_condition(
    named: str, wanted: Scalar | list[Scalar], space: Mapping[str, Parameter], base: Mapping[str, Any]
) -> str | None:
    if named in space:
        if any(may_be(space[named], value) for value in _listed(wanted)):
            return None
        return f"{named} is never {' or '.join(map(repr, _listed(wanted)))}; it is {space[named].describe()}"
    if not _known(named, base):
        return f"{named}: {_unknown(named, base)}"
    before = _complaints(base)
    for value in _listed(wanted):
        after = _complaints(apply(ExperimentConfig, base, {named: value})[0])
        refused = next((each for each in after if each not in before and each.startswith(f"{named}:")), None)
        if refused is not None:
            return refused
    return None


def may_be(parameter: Parameter, value: Scalar) -> bool:
    if isinstance(parameter, Categorical):
        return value in parameter.choices
    return isinstance(value, int | float) and parameter.low <= value <= parameter.high


def _complaints(tree: Mapping[str, Any]) -> list[str]:
    problems = check(ExperimentConfig, Document(dict(tree)))[1]
    return [": ".join(part for part in (problem.key, problem.what) if part) for problem in problems]


def _unknown_key(key: str, tree: Mapping[str, Any]) -> str | None:
    """Say that a tree has no such setting, and which choice would have it or what it may have been meant to be."""
    if any(leaf.key == key for leaf in schema.leaves(ExperimentConfig, tree)):
        return None
    if (choice := schema.excluder(schema.excluded(ExperimentConfig, tree), key)) is not None:
        return f"means nothing to {choice}"
    discriminator, annotation = _choice_of(key)
    name = key.rpartition(".")[2]
    if owners := schema.owners(annotation, name):
        have = f"{', '.join(owners[:5])} would"
        return f"{discriminator} is {_fixed_value(tree, discriminator)!r}, which has no {name}; {have}"
    return _unknown(key, tree)


def _unknown(key: str, tree: Mapping[str, Any]) -> str:
    known = {leaf.key for leaf in schema.leaves(ExperimentConfig, tree)}
    section, _, name = key.rpartition(".")
    beside = {each.rpartition(".")[2]: each for each in known if each.rpartition(".")[0] == section}
    same_name = [each for each in known if each.rpartition(".")[2] == name]
    inner = nearest(name, beside)
    near = beside[inner] if inner else next(iter(sorted(same_name)), None) or nearest(key, known)
    return "unknown setting" + (f"; did you mean {near!r}?" if near else "; --print-config lists the settings")


def unknown_setting(key: str, parameters: Mapping[str, Parameter], base: Mapping[str, Any]) -> str | None:
    """Say that no trial's config has such a setting, and what it may have been meant to be."""
    choosers = {name: parameters[name] for name in schema.discriminators(ExperimentConfig) if name in parameters}
    chosen = [{name: choice} for name, each in choosers.items() for choice in each.ends()]
    if any(_known(key, tree) for tree in (base, *(apply(ExperimentConfig, base, choice)[0] for choice in chosen))):
        return None
    return _unknown(key, base)


def _known(key: str, base: Mapping[str, Any]) -> bool:
    return _unknown_key(key, base) is None or bool(schema.owners(_choice_of(key)[1], key.rpartition(".")[2]))


def _existing(ordered: Mapping[str, Parameter], base: Mapping[str, Any]) -> dict[str, Parameter]:
    """Decide the conditions on fixed settings."""
    kept: dict[str, Parameter] = {}
    for key, parameter in ordered.items():
        fixed = {named: wanted for named, wanted in parameter.when.items() if named not in ordered}
        searched = {named: wanted for named, wanted in parameter.when.items() if named in ordered}
        if searched.keys() <= kept.keys() and all(_fixed_value(base, n) in _listed(w) for n, w in fixed.items()):
            kept[key] = parameter.model_copy(update={"when": searched}) if fixed else parameter
    return kept


def _fixed_value(base: Mapping[str, Any], key: str) -> Any:
    default = next((leaf.default for leaf in schema.leaves(ExperimentConfig, base) if leaf.key == key), None)
    return get(base, key, default=default)
