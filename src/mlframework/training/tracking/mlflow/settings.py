"""The `tracking.mlflow:` section of the config. MLflow is not imported here."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from mlframework.config.base import Config
from mlframework.config.secrets import masked
from mlframework.config.wording import COMMAND_LINE, Wording
from mlframework.errors import Problem

_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")


class MlflowConfig(Config):
    """Whether and where a run is recorded in MLflow."""

    enabled: bool = False
    """Record runs in MLflow; needs the extra `mlflow`."""
    experiment: Annotated[str, Field(min_length=1, max_length=250)] | None = None
    """MLflow's experiment; null: the config's `name`."""
    tracking_uri: str = "sqlite:///mlflow.db"
    """A server, `http://host:5000`, or a database of its own, `sqlite:///mlflow.db`. Write a password in it as `${VAR}`."""
    register_model: bool = False
    """Put the final model into MLflow's Model Registry, with the alias `champion`."""
    registered_name: Annotated[str, Field(pattern=r"^[^/:]+$", max_length=250)] | None = None
    """The model's name there; null: the config's `name`."""

    @field_validator("tracking_uri")
    @classmethod
    def _has_a_scheme(cls, uri: str) -> str:
        scheme = uri.partition(":")[0].partition("+")[0]
        if uri != "databricks" and ("://" not in uri or scheme not in _SCHEMES):
            raise ValueError(
                f"{masked(uri)!r} is no tracking server; write http://host:5000, or sqlite:///mlflow.db for a file "
                "(MLflow has given up its plain folders)"
            )
        return uri


def unused(overrides: Mapping[str, Any], settings: MlflowConfig, wording: Wording = COMMAND_LINE) -> list[Problem]:
    """Return what is wrong with overrides of this section where nothing is recorded: they would do nothing.

    Args:
        overrides: dotted key to value. What stands in a file may be prepared there, and is none.
        settings: what they come to.
        wording: in which this is told.
    """
    if settings.enabled:
        return []
    option = "" if wording.is_python else "add --mlflow-tracking, or "
    what = f"is MLflow's, and nothing is recorded there; {option}set tracking.mlflow.enabled to true"
    named = (key for key in _keys(overrides) if key.startswith("tracking.mlflow.") and key != "tracking.mlflow.enabled")
    return [Problem(wording.place, key, what) for key in named]


def _keys(overrides: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of overrides; of this section as a whole, those in it."""
    for key, value in overrides.items():
        if key in ("tracking", "tracking.mlflow") and isinstance(value, Mapping):
            yield from _keys({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            yield key


_known: dict[str, str] = {}


def recorded(uri: str) -> str:
    """Return an address as it is written into files: without its password, which this process remembers."""
    shown = masked(uri)
    _known.setdefault(shown, uri)
    return shown


def address(uri: str) -> str:
    """Return the address that a recorded one stands for; the same, where this process has not recorded it."""
    return _known.get(uri, uri)
