"""Factorization machines for a tuner: the default space, and a function that trains one from a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlframework.config import yaml
from mlframework.config.decode import decode
from mlframework.config.override import apply, apply_to_document, get
from mlframework.config.yaml import Document
from mlframework.errors import ConfigError, Problem
from mlframework.registry import unknown
from mlframework.tuner.hyperparameters import Categorical, Hyperparameter, Int, LogUniform, Uniform

if TYPE_CHECKING:
    from mlframework.experiment import ExperimentConfig
    from mlframework.plans import Report

KEYS = {
    "embedding_dim": "model.embedding_dim",
    "learning_rate": "optimizer.lr",
    "batch_size": "training.batch_size",
    "weight_decay": "optimizer.weight_decay",
    "dropout_rate": "model.dropout",
    "optimizer": "optimizer.type",
    "lr_scheduler": "scheduler.type",
    "gradient_clipping": "training.gradient_clipping",
    "label_smoothing": "training.label_smoothing",
    "field_aware": "model.architecture",
    "epochs": "training.num_epochs",
}
"""Short name of a hyperparameter to the setting of a config that it is."""
HISTORY_COLUMNS = ("batch_size", "epochs", "learning_rate", "embedding_dim", "performance")
"""What the entries of a row of history are where nobody says."""


def fm_space() -> dict[str, Hyperparameter]:
    """Return the default space of a factorization machine, those first that matter most."""
    return {
        "embedding_dim": Hyperparameter(Int(8, 512, log=True), "number of factors: the capacity of the model"),
        "learning_rate": Hyperparameter(LogUniform(1e-5, 1e-1), "step size; often best around 0.001 to 0.01"),
        "batch_size": Hyperparameter(Int(256, 32000, log=True), "examples a step; larger is faster, up to a point"),
        "weight_decay": Hyperparameter(LogUniform(1e-6, 1e-2), "pulls weights towards 0, against overfitting"),
        "dropout_rate": Hyperparameter(Uniform(0.0, 0.5), "share of interactions left out, for large embeddings"),
        "optimizer": Hyperparameter(Categorical(["adam", "adamw", "sgd"]), "turns gradients into steps"),
        "lr_scheduler": Hyperparameter(
            Categorical(["none", "cosine", "step", "exponential"]), "how the learning rate falls"
        ),
        "gradient_clipping": Hyperparameter(Uniform(0.5, 5.0), "largest norm of a gradient: keeps training stable"),
        "label_smoothing": Hyperparameter(Uniform(0.0, 0.2), "softens the classes; not for a regression"),
        "field_aware": Hyperparameter(Categorical([False, True]), "other factors for each other column (ffm)"),
        "epochs": Hyperparameter(Int(5, 50), "passes over the training split"),
    }


def fm_defaults() -> dict[str, Any]:
    """Return the plainest point of the default space: what a run of old is taken to have had that says nothing else."""
    return {
        "embedding_dim": 16, "learning_rate": 1e-3, "batch_size": 1024, "weight_decay": 1e-6, "dropout_rate": 0.0,
        "optimizer": "adam", "lr_scheduler": "none", "gradient_clipping": 5.0, "label_smoothing": 0.0,
        "field_aware": False, "epochs": 10,
    }  # fmt: skip


@dataclass(frozen=True)
class FmObjective:
    """Trains a factorization machine, and returns the best epoch's metric on the val split; see `fm_objective`.

    Attributes:
        document: the config without a search.
        metric: what is returned.
    """

    document: Document = field(repr=False)
    metric: str

    @property
    def space(self) -> dict[str, Hyperparameter]:
        """The default space, without what means nothing to the data's task."""
        from mlframework.experiment import load_data

        # Classes are numbered; a table may leave it to its target what its task is.
        has_classes = load_data(self.config).train.targets.dtype.kind in "iu"
        return {name: each for name, each in fm_space().items() if has_classes or name != "label_smoothing"}

    @cached_property
    def config(self) -> ExperimentConfig:
        """The config as it is without hyperparameters."""
        return self._decoded({})[0]

    def __call__(self, params: Mapping[str, Any], report: Callable[[int, float], None] | None = None) -> float:
        """Train with these hyperparameters, by their short names or as dotted keys; the test split is not looked at.

        Raises:
            ConfigError: an unknown name, or a value that the config refuses.
            TrialPruned: `report` says that the trial promises nothing.
        """
        from mlframework.experiment import load_data, start_run
        from mlframework.plans import SingleSplit
        from mlframework.runs import RunDir

        config, tree = self._decoded(params)
        with TemporaryDirectory(prefix="mlframework-fm-") as folder:
            run = RunDir(Path(folder) / "run")
            start_run(run, tree)
            splits = load_data(config).without_test()
            return SingleSplit().evaluate(config, splits, run, _epochs(report), []).value

    def _decoded(self, params: Mapping[str, Any]) -> tuple[ExperimentConfig, dict[str, Any]]:
        from mlframework.experiment import ExperimentConfig

        settings = {}
        for name, value in params.items():
            if name not in KEYS and "." not in name:
                raise ConfigError([Problem("fm_objective", name, unknown(name, KEYS, "hyperparameter"))])
            key = KEYS.get(name, name)
            settings[key] = ("ffm" if value else "fm") if name == "field_aware" else value
        tree = apply(ExperimentConfig, self.document.tree, settings)[0]
        document = Document(tree, self.document.name, self.document.keys, self.document.values)
        return decode(ExperimentConfig, document), tree


def _epochs(report: Callable[[int, float], None] | None) -> Report:
    def told(step: int, value: float, _parts: Sequence[float] = (), /) -> None:
        if report is not None:
            report(step, value)

    return told


def fm_objective(
    config: str | Path | Mapping[str, Any], data_path: str | Path | None = None, metric: str = "val_rmse"
) -> FmObjective:
    """Return a function that a tuner can tune: it trains a factorization machine as a config describes it.

    Args:
        config: the YAML file, or a tree of one; its model is an fm or an ffm. Its `search:` section is left out.
        data_path: the data, where it is not the config's.
        metric: what is returned, such as `val_rmse`, `val_auc`, `val_ndcg_at_10`; `rmse` means `val_rmse`.

    Raises:
        ConfigError: the config, with `file:line:column` of every problem; or its model is another one.
        DataError: the data can't be used.
        TrainingError: the metric has no meaning for it.
    """
    from mlframework.experiment import ExperimentConfig, build_learner, load_data
    from mlframework.learners.base import resolve_threads

    document = Document(dict(config)) if isinstance(config, Mapping) else yaml.read(config)
    document = document.without("search")
    metric = metric if metric.startswith(("val_", "train_", "test_")) else f"val_{metric}"
    changes: dict[str, Any] = {"metric": metric, "tracking.tensorboard": False}
    if data_path is not None:
        changes["data.path"] = str(data_path)
    document, _ = apply_to_document(ExperimentConfig, document, changes, "fm_objective")
    architecture = get(document.tree, "model.architecture")
    if architecture not in ("fm", "ffm"):
        place = document.value_place(("model", "architecture"))
        what = f"{architecture} is no factorization machine; set fm or ffm"
        raise ConfigError([Problem(place, "model.architecture", what)])
    tree = resolve_threads(document.tree)
    objective = FmObjective(Document(tree, document.name, document.keys, document.values), metric)
    # What is wrong with config, data or metric is said now, and not by every trial.
    build_learner(objective.config, load_data(objective.config).without_test())
    return objective
