"""`--mlflow-tracking --experiment-name E`: the settings of `tracking.mlflow` by the names that commands have for them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlframework.cli import console
from mlframework.errors import ConfigError

if TYPE_CHECKING:
    from mlframework.config.yaml import Document
    from mlframework.experiment import ExperimentConfig
    from mlframework.runs import RunDir
    from mlframework.training.config import TrackingConfig

_ENABLED, _EXPERIMENT = "tracking.mlflow.enabled", "tracking.mlflow.experiment"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add both options to a command."""
    parser.add_argument(
        "--mlflow-tracking", action="store_true", help="record in MLflow, where tracking.mlflow.tracking_uri says"
    )
    parser.add_argument(
        "--experiment-name",
        metavar="E",
        help="MLflow's experiment (default: tracking.mlflow.experiment, or the config's name)",
    )


def add_overrides(arguments: argparse.Namespace, overrides: dict[str, str]) -> None:
    """Turn the options into overrides of the config."""
    if arguments.mlflow_tracking:
        overrides[_ENABLED] = "true"
    if arguments.experiment_name is not None:
        overrides[_EXPERIMENT] = json.dumps(arguments.experiment_name)


def check(overrides: Mapping[str, str], tracking: TrackingConfig) -> None:
    """Refuse settings of MLflow where nothing is recorded, as `read_config` does where there is a config to read.

    Raises:
        ConfigError: MLflow is not asked for.
    """
    from mlframework.training.tracking.mlflow.settings import unused

    if problems := unused(overrides, tracking.mlflow):
        raise ConfigError(problems)


def send_missed(config: ExperimentConfig, run: RunDir, is_final: bool, command: str) -> None:
    """Send what MLflow has missed of a run that is finished, and say what that was.

    Args:
        config: the run's.
        run: its folder.
        is_final: whether its model is the final one.
        command: that sends what is left then.
    """
    from mlframework.training.tracking.start import publish_run

    if not config.tracking.mlflow.enabled:
        return
    from mlframework.training.tracking.mlflow.told import unsent
    from mlframework.training.tracking.mlflow.tracker import Target

    target = Target.of(config.tracking.mlflow, config.name)
    before = unsent(target, run.path)
    publish_run(config, config.tracking, run, is_final)
    n_sent = before - unsent(target, run.path)
    if n_sent > 0:
        console.out().print(f"MLflow: sent {n_sent} entries of {run.path} that it had missed", soft_wrap=True)
    say_recorded(config.name, config.tracking, command, run.path)


def say_recorded(name: str, tracking: TrackingConfig, command: str, *folders: Path) -> None:
    """Say where a run or studies were recorded, and where its model is registered; nothing where it is not to be.

    Args:
        name: the config's.
        tracking: its section on tracking.
        command: that sends what is left.
        folders: of the run, or of the studies.
    """
    if not tracking.mlflow.enabled:
        return
    from mlframework.training.tracking.mlflow.told import recorded_lines
    from mlframework.training.tracking.mlflow.tracker import Target

    for line in recorded_lines(Target.of(tracking.mlflow, name), folders, command):
        console.out().print(line, soft_wrap=True)


def with_tracking(document: Document, overrides: Mapping[str, str]) -> Document:
    """Return a run's config with other settings of `tracking:`, which may change from one call to the next.

    Raises:
        ConfigError: there is no such setting.
    """
    from mlframework.config.override import apply_options
    from mlframework.experiment import ExperimentConfig

    asked = {key: value for key, value in overrides.items() if key.startswith("tracking.")}
    return apply_options(ExperimentConfig, document, asked)[0] if asked else document
