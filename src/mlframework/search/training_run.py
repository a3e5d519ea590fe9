"""What a trial of a config trains: the config with the trial's parameters in it, in a run folder of the study."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlframework.config.decode import decode
from mlframework.config.yaml import Document
from mlframework.data.splits import Splits
from mlframework.errors import CheckpointError, DamagedCheckpointError
from mlframework.experiment import ExperimentConfig, is_of_data, start_run
from mlframework.plans import Evaluation, Plan, Report
from mlframework.runs import RunDir
from mlframework.search.keep import remove_checkpoints
from mlframework.search.study import SearchSpec
from mlframework.training.checkpoint import Checkpoints

LoadSplits = Callable[[ExperimentConfig], Splits[Any]]
"""Gives the splits of a trial's config; there is no test split in them."""


@dataclass(frozen=True)
class TrainingRun:
    """A trial's training run.

    Attributes:
        config: with the trial's parameters in it.
        tree: the same, as it is written.
        plan: how it is judged.
        run: its folder.
        load: gives its data.
    """

    config: ExperimentConfig
    tree: Mapping[str, Any]
    plan: Plan
    run: RunDir
    load: LoadSplits

    @property
    def num_epochs(self) -> int:
        """How many epochs it has."""
        return self.config.training.num_epochs

    @property
    def last_step(self) -> int:
        """The step of its last report."""
        return self.plan.last_step(self.config)

    def evaluate(self, report: Report) -> Evaluation:
        """Train by the plan, or go on with it."""
        if not self.run.config.is_file():
            start_run(self.run, self.tree)
        elif not is_of_data(self.run, self.tree):
            # Begun on other data: a checkpoint of that is none of this training.
            remove_checkpoints(self.run)
            start_run(self.run, self.tree)
        splits = self.load(self.config)
        while True:
            try:
                return self.plan.evaluate(self.config, splits, self.run, report, [])
            except DamagedCheckpointError as error:
                # The epochs before a kill cannot be had back from damaged files: the same training begins again.
                _say_again(error.folder.parent, "its checkpoints are damaged")
                Checkpoints(error.folder, "").remove()
            except CheckpointError:
                _say_again(self.run.path, "its checkpoints are of other settings")
                remove_checkpoints(self.run)
                return self.plan.evaluate(self.config, splits, self.run, report, [])


def _say_again(folder: Path, why: str) -> None:
    warnings.warn(f"{folder}: {why}; it is trained again from its first epoch", UserWarning, stacklevel=3)


def trainer_of_configs(load: LoadSplits) -> Callable[[SearchSpec, int, Mapping[str, Any], int | None], TrainingRun]:
    """Return what makes a training run of a trial."""

    def trainer(spec: SearchSpec, number: int, params: Mapping[str, Any], seed: int | None) -> TrainingRun:
        return training_run(spec, f"trial {number}", spec.folder.trial(number), spec.tree(params, seed), load)

    return trainer


def training_run(spec: SearchSpec, name: str, run: RunDir, tree: Mapping[str, Any], load: LoadSplits) -> TrainingRun:
    """Return the training run of a tree in a folder, judged by the study's plan; errors call it by its name.

    Raises:
        ConfigError: the settings do not fit together.
    """
    config = decode(ExperimentConfig, Document(dict(tree), name))
    return TrainingRun(config, tree, spec.plan, run, load)
