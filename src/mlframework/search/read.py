"""Reading a whole config file with the command line's overrides: every problem of it at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlframework.config import yaml
from mlframework.config.decode import check
from mlframework.config.override import apply_to_document, get, read_with_overrides
from mlframework.config.yaml import Document
from mlframework.errors import ConfigError, Problem
from mlframework.experiment import resolve_threads
from mlframework.runs import read_json
from mlframework.search.config import ConfigFile
from mlframework.search.space import Space, build_space


@dataclass(frozen=True)
class ReadConfig:
    """A config file that decodes.

    Attributes:
        document: the file with the overrides in it; `${VAR}` stays as written.
        config: what it says.
        overrides: dotted key to value, as the command line gave them.
        dropped: dotted keys that a changed choice left without meaning.
        space: what is searched, or None without a search section.
    """

    document: Document
    config: ConfigFile
    overrides: Mapping[str, Any]
    dropped: list[str]
    space: Space | None

    @property
    def tree(self) -> dict[str, Any]:
        """The training run's tree: without the search, the thread count written out."""
        return resolve_threads(self.document.without("search").tree)

    def resolved(self) -> dict[str, Any]:
        """Return every setting with its value, defaults included; `${VAR}` stays as written."""
        tree = self.config.model_dump(exclude_none=False)
        if tree["search"] is None:
            del tree["search"]
        resolved = _unexpanded(tree, self.document.tree)
        assert isinstance(resolved, dict)
        return resolved


def read_config(path: str, options: Mapping[str, str], hyperparameters: str | None = None) -> ReadConfig:
    """Read a config file.

    Args:
        path: of the YAML file.
        options: overrides as the command line gave them: `{"lr": "0.01"}`.
        hyperparameters: a best_hyperparameters.json whose values come before the overrides.

    Raises:
        ConfigError: with every problem of the file, of the overrides and of the search space.
    """
    document, overrides, dropped = read_with_overrides(ConfigFile, path, options)
    if hyperparameters is not None:
        found = _hyperparameters(hyperparameters, document)
        kept = {key: value for key, value in found.items() if key not in overrides}
        document, lost = apply_to_document(ConfigFile, document, kept, hyperparameters)
        dropped = [*dropped, *lost]
    config, problems = check(ConfigFile, document)
    space = None
    if config is not None and config.search is not None:
        base = {**document.without("search").tree, "metric": config.search_metric}
        space, problems = build_space(config.search.search_space, resolve_threads(base), document)
    if config is None or problems:
        raise ConfigError(problems)
    return ReadConfig(document, config, overrides, dropped, space)


def _hyperparameters(path: str, document: Document) -> dict[str, Any]:
    """Return the file's values for the config's model: `{"resnet18": {"optimizer.lr": 0.01}}`."""
    by_model = read_json_or_config_error(path)
    model = str(get(document.tree, "model.architecture"))
    if model not in by_model:
        known = ", ".join(sorted(by_model)) or "none"
        raise ConfigError(
            [Problem(path, model, f"there are no hyperparameters of this model (there: {known}); ml-search finds some")]
        )
    found: dict[str, Any] = by_model[model]
    return found


def read_json_or_config_error(path: str) -> dict[str, Any]:
    """Read a JSON file that the user named.

    Raises:
        ConfigError: it is missing or damaged.
    """
    from pathlib import Path

    from mlframework.errors import RunError

    try:
        return read_json(Path(path))
    except RunError as error:
        raise ConfigError([Problem("", "", f"{error}; ml-search writes it")]) from None


def _unexpanded(value: Any, raw: Any) -> Any:
    """Put back what stood in the file where that was a `${VAR}`."""
    if isinstance(raw, str) and "${" in raw:
        return raw
    if isinstance(value, dict):
        return {
            key: _unexpanded(inner, raw.get(key) if isinstance(raw, Mapping) else None) for key, inner in value.items()
        }
    return value


def print_config(read: ReadConfig) -> str:
    """Return the resolved config as YAML."""
    return yaml.dump(read.resolved())
