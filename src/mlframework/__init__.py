"""mlframework: train a model from one YAML file, search its hyperparameters, and see what happened.

The commands are `ml-init-config`, `ml-train`, `ml-search` and `ml-visualise`. From Python:

    run = mlframework.train("configs/digits.yaml", lr=0.01)
    mlframework.load(run.folder).predict("some_image.png")
    mlframework.search("configs/digits.yaml", n_trials=20).best_params

and for those who bring a training function of their own, `Tuner`.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlframework.errors import TrialPruned
    from mlframework.face import TrainedRun, load, load_config, open_run, train
    from mlframework.study import Study, open_study, search
    from mlframework.tuner.fm import fm_objective, fm_space
    from mlframework.tuner.hyperparameters import Categorical, Int, LogUniform, Uniform
    from mlframework.tuner.result import TuningResult
    from mlframework.tuner.tuner import Tuner

__all__ = [
    "Categorical", "Int", "LogUniform", "Study", "TrainedRun", "TrialPruned", "Tuner", "TuningResult", "Uniform",
    "fm_objective", "fm_space", "load", "load_config", "open_run", "open_study", "search", "train",
]  # fmt: skip

_AT = {
    "TrialPruned": "errors",
    "TrainedRun": "face", "load": "face", "load_config": "face", "open_run": "face", "train": "face",
    "Study": "study", "open_study": "study",
    "fm_objective": "tuner.fm", "fm_space": "tuner.fm",
    "Categorical": "tuner.hyperparameters", "Int": "tuner.hyperparameters", "LogUniform": "tuner.hyperparameters",
    "Uniform": "tuner.hyperparameters",
    "TuningResult": "tuner.result",
    "Tuner": "tuner.tuner",
}  # fmt: skip
"""Where a name is, which is imported when it is asked for."""


class _CallablePackage(ModuleType):
    """The package `mlframework.search`, which can be called: docs/decisions/0034 says why."""

    def __call__(self, config: Any, **options: Any) -> Any:
        """Search the hyperparameters that a config names; see `mlframework.study.search`."""
        from mlframework.study import search

        return search(config, **options)


importlib.import_module("mlframework.search").__class__ = _CallablePackage


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mlframework")
    if name not in _AT:
        raise AttributeError(f"module 'mlframework' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mlframework.{_AT[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
