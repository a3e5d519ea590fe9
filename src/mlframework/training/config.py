"""The `training:` and `tracking:` sections of the config."""

from typing import Annotated

from pydantic import Field

from mlframework.config.base import Config
from mlframework.learners.settings import StepSettings
from mlframework.training.tracking.mlflow.settings import MlflowConfig


class EarlyStopping(Config):
    """Ends a training whose metric no longer improves."""

    patience: Annotated[int, Field(gt=0)] = 5
    """Epochs without improvement after which the training ends."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Smallest change of the metric that counts as an improvement."""


class TrainingConfig(StepSettings):
    """How long, and with which steps, a model is trained."""

    num_epochs: Annotated[int, Field(gt=0)] = 10
    """Passes over the training split."""
    early_stopping: EarlyStopping | None = None
    """When to end before `num_epochs`; null: never."""
    num_threads: Annotated[int, Field(gt=0)] | None = None
    """CPU threads of one training: they change the last digits. null: as many as the variable OMP_NUM_THREADS says, else all
    cores; the run's config.yaml says how many."""


class TrackingConfig(Config):
    """Where a run is recorded besides its own folder."""

    tensorboard: bool = True
    """Write TensorBoard event files into the run's folder."""
    mlflow: MlflowConfig = MlflowConfig()
    """MLflow: a server, or a database in its place."""
