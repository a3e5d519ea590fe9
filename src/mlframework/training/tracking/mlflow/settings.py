"""The `tracking.mlflow:` section of the config. MLflow is not imported here."""

from typing import Annotated

from pydantic import Field, field_validator

from mlframework.config.base import Config
from mlframework.config.secrets import masked

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


_known: dict[str, str] = {}


def recorded(uri: str) -> str:
    """Return an address as it is written into files: without its password, which this process remembers."""
    shown = masked(uri)
    _known.setdefault(shown, uri)
    return shown


def address(uri: str) -> str:
    """Return the address that a recorded one stands for; the same, where this process has not recorded it."""
    return _known.get(uri, uri)
