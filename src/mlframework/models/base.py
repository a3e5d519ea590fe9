"""What every model's config says of itself."""

from collections.abc import Mapping
from typing import ClassVar

from mlframework.config.base import Config
from mlframework.metrics import Task


class ModelSection(Config):
    """The `model:` section: the base of each architecture's config."""

    consumes: ClassVar[Mapping[str, tuple[Task, ...]]]
    """Type of data, and the tasks that the model can do with it."""
    imports: ClassVar[tuple[str, ...]] = ()
    """Modules that building and training it imports, for a process that imports them ahead."""
    short_names: ClassVar[Mapping[str, str]] = {}
    """Dotted key to the name that a setting has in best_hyperparameters.json: `{"training.num_epochs": "iterations"}`."""
