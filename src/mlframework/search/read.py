"""Reading a whole config file with the command line's overrides: every problem of it at once."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mlframework.config import schema, yaml
from mlframework.config.decode import check, expanded, reading_order
from mlframework.config.override import apply_options, apply_to_document, get, override, without
from mlframework.config.secrets import masked
from mlframework.config.wording import COMMAND_LINE, Wording
from mlframework.config.yaml import Document
from mlframework.errors import ConfigError, Problem, RunError
from mlframework.learners.base import resolve_threads
from mlframework.metrics import RESOURCES, direction_of, names
from mlframework.models import MODELS
from mlframework.read_run import ReadRun
from mlframework.runs import read_json
from mlframework.search.config import ConfigFile
from mlframework.search.feasibility import build_constraints, is_feasible
from mlframework.search.objectives import main_metric, objective_metrics
from mlframework.search.parameters import Parameter
from mlframework.search.space import Space, build_space, undecided
from mlframework.search.warm_start import point
from mlframework.training.tracking.mlflow.settings import unused


@dataclass(frozen=True)
class ReadConfig(ReadRun):
    """A config file that decodes.

    Attributes:
        config: what it says.
        dropped: dotted keys that a changed choice left without meaning.
        space: what is searched, or None without a search section.
        hyperparameters: dotted key to value, as a best_hyperparameters.json gave them.
        conflicts: what the overrides leave wrong with a search space that is right without them; a training run has no
            need of the space, so only a search refuses them.
    """

    config: ConfigFile
    dropped: list[str]
    space: Space | None
    hyperparameters: Mapping[str, Any]
    conflicts: list[Problem]

    def resolved(self) -> dict[str, Any]:
        """Return every setting with its value, defaults included; `${VAR}` stays as written."""
        tree = self.config.model_dump(exclude_none=False)
        if tree["search"] is None:
            del tree["search"]
        tree = without(tree, schema.excluded(ConfigFile, tree))
        resolved = _unexpanded(tree, self.document.tree)
        assert isinstance(resolved, dict)
        return resolved


def read_config(
    path: str | Document, options: Mapping[str, str], hyperparameters: str | None = None, at_once: int = 1,
    threads: int | None = None, wording: Wording = COMMAND_LINE,
) -> ReadConfig:  # fmt: skip
    """Read a config file.

    Args:
        path: of the YAML file, or what was read from one.
        options: overrides as the command line gave them: `{"lr": "0.01"}`.
        hyperparameters: a best_hyperparameters.json whose values come before the overrides.
        at_once: how many trials are trained at once on this machine: they share its threads.
        threads: of each, where the config says neither by `training.num_threads` nor by `search.resources`.
        wording: how it is told what is wrong with the overrides.

    Raises:
        ConfigError: with every problem of the file, of the overrides and of the search space.
    """
    written = document = path if isinstance(path, Document) else yaml.read(path)
    lost: list[str] = []
    found: dict[str, Any] = {}
    if hyperparameters is not None:
        model = options.get("model.architecture") or options.get("architecture")
        found = _hyperparameters(hyperparameters, model or str(get(document.tree, "model.architecture")))
        document, lost = apply_to_document(ConfigFile, document, found, hyperparameters)
    document, overrides, dropped = apply_options(ConfigFile, document, options, wording)
    config, problems = check(ConfigFile, document)
    parameters = _parameters(document, problems)
    base = _base(document) if config is None else resolve_threads(_with_threads(document, config, threads), at_once)
    space, in_space = _space(parameters, base, document, problems)
    conflicts = in_space if in_space and not _in_space_as_written(written, overrides) else []
    if config is None or in_space != conflicts:
        raise ConfigError(sorted([*problems, *_contradiction(document, problems), *in_space], key=reading_order))
    if idle_tracking := unused(overrides, config.tracking.mlflow, wording):
        raise ConfigError(idle_tracking)
    # Where the overrides leave the space without meaning, nothing of it is idle by itself.
    idle = [] if conflicts else [f"search.search_space.{key}" for key in parameters if key not in space.parameters]
    conflicts += [
        Problem(
            wording.place,
            key,
            "is searched, so this value would be used by no trial; leave it out, or search other values",
        )
        for key in overrides
        if key in parameters
    ]
    return ReadConfig(
        document, overrides, config, [*lost, *dropped, *idle], space if parameters else None, found, conflicts
    )


def _space(
    parameters: Mapping[str, Parameter], base: Mapping[str, Any], document: Document, problems: Sequence[Problem]
) -> tuple[Space, list[Problem]]:
    """Return the space with its constraints, and what is wrong with both."""
    space, in_space = build_space(parameters, base, document)
    written = get(expanded(ConfigFile, document)[0], "search.constraints")
    wrong = {problem.key for problem in (*problems, *in_space)}
    space, in_constraints = build_constraints(written, space, document, wrong)
    unsure = [*problems, *in_space, *in_constraints]
    return space, [*in_space, *in_constraints, *([] if unsure else _unfit_points(document, space))]


def _unfit_points(document: Document, space: Space) -> list[Problem]:
    """Return what is wrong with the settings that are to be tried first."""
    found: list[Problem] = []
    for number, written in enumerate(get(expanded(ConfigFile, document)[0], "search.enqueue") or ()):
        params, reason = point(written, space, partial=True)
        whole = point(written, space)[1] is None
        if reason is None and whole and not is_feasible(space, params):
            reason = "it breaks a constraint"
        if reason is not None:
            found.append(document.problem(("search", "enqueue", number), reason))
    return found


def _in_space_as_written(written: Document, overrides: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the search space where the training run is as the file has it."""
    of_search = {key: value for key, value in overrides.items() if key.startswith("search.")}
    document, _ = apply_to_document(ConfigFile, written, of_search, "command line:")
    return _space(_parameters(document, []), _base(document), document, [])[1]


def _contradiction(document: Document, problems: Sequence[Problem]) -> list[Problem]:
    """Return a direction that contradicts its metric: pydantic comes to that only once every other key is right."""
    metric, direction = str(_base(document)["metric"]), get(document.tree, "search.direction")
    place = ("search", "direction")
    said = any(problem.key in ("search.direction", "search.metric", "metric") for problem in problems)
    if said or direction not in ("maximize", "minimize") or metric not in names() or direction_of(metric) == direction:
        return []
    return [
        document.problem(place, f"{direction} contradicts metric: {metric}, which one has to {direction_of(metric)}")
    ]


def _base(document: Document) -> dict[str, Any]:
    """Return the tree that trials change: the metric in force is written into it, and what other objectives measure."""
    tree = document.without("search").tree
    names = [metric for metric in objective_metrics(get(document.tree, "search.objectives")) if metric not in RESOURCES]
    metric = get(document.tree, "search.prune_by") if names else get(document.tree, "search.metric")
    metric = metric or main_metric(names) or tree.get("metric") or ConfigFile.model_fields["metric"].default
    others = [name for name in names if name not in (metric, *(tree.get("metrics") or []))]
    return {**tree, "metric": metric, **({"metrics": [*(tree.get("metrics") or []), *others]} if others else {})}


def _with_threads(document: Document, config: ConfigFile, threads: int | None) -> dict[str, Any]:
    """Return the base with the threads of a worker in it, where the file says how many cores that has."""
    base = _base(document)
    if config.search is not None and config.search.resources is not None:
        threads = config.search.resources.cpu
    if threads is None or get(base, "training.num_threads") is not None:
        return base
    return override(base, {"training.num_threads": threads})


def _parameters(document: Document, problems: Sequence[Problem]) -> dict[str, Parameter]:
    """Return the search space's parameters, without those that the problems found so far leave undecided."""
    written = get(expanded(ConfigFile, document)[0], "search.search_space")
    wrong = {problem.key.removeprefix("search.search_space.") for problem in problems}
    found: dict[str, Parameter] = {}
    for key, raw in written.items() if isinstance(written, dict) else ():
        with suppress(ValidationError):
            parameter = TypeAdapter[Parameter](Parameter).validate_python(raw)
            if not any(undecided(named, wrong) for named in (key, *parameter.when)):
                found[key] = parameter
    return found


def _hyperparameters(path: str, model: str) -> dict[str, Any]:
    """Return the file's values for the config's model: `{"resnet18": {"optimizer.lr": 0.01}}`."""
    by_model = read_json_or_config_error(path)
    if model not in by_model:
        known = ", ".join(sorted(by_model)) or "none"
        raise ConfigError(
            [Problem(path, model, f"there are no hyperparameters of this model (there: {known}); ml-search finds some")]
        )
    found: Any = by_model[model]
    if not isinstance(found, dict):
        raise ConfigError([Problem(path, model, f"should be an object of settings and their values, got {found!r}")])
    # The file has a model's own names for its settings: `iterations` for ALS's `training.num_epochs`.
    keys = {name: key for key, name in MODELS[model].short_names.items()} if model in MODELS else {}
    return {keys.get(str(name), str(name)): value for name, value in found.items()}


def read_json_or_config_error(path: str) -> dict[str, Any]:
    """Read a JSON file that the user named.

    Raises:
        ConfigError: it is missing or damaged.
    """
    try:
        return read_json(Path(path))
    except RunError as error:
        raise ConfigError([Problem("", "", f"{error}; ml-search writes it")]) from None


def _unexpanded(value: Any, raw: Any) -> Any:
    """Put back what stood in the file where that was a `${VAR}`."""
    if isinstance(raw, str) and "${" in raw:
        return raw
    if isinstance(value, dict):
        return {key: _unexpanded(inner, schema.child(raw, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_unexpanded(inner, schema.child(raw, index)) for index, inner in enumerate(value)]
    return value


def print_config(read: ReadConfig) -> str:
    """Return the resolved config as YAML."""
    return yaml.dump(_without_passwords(read.resolved()))


def _without_passwords(tree: Any) -> Any:
    """Return a tree with every `storage` and `tracking_uri` masked: what is printed ends up in the log of a cluster's job."""
    if isinstance(tree, Mapping):
        return {
            key: masked(inner)
            if key in ("storage", "tracking_uri") and isinstance(inner, str)
            else _without_passwords(inner)
            for key, inner in tree.items()
        }
    return [_without_passwords(inner) for inner in tree] if isinstance(tree, list | tuple) else tree
