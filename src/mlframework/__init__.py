"""mlframework: train a model from one YAML file, search its hyperparameters, and see what happened.

The commands are `ml-init-config`, `ml-train`, `ml-search` and `ml-visualise`. From Python:

    run = mlframework.train("configs/digits.yaml", lr=0.01)
    mlframework.load(run.folder).predict("some_image.png")
    mlframework.search("configs/digits.yaml", n_trials=20).best_params

and for those who bring a training function of their own, `Tuner`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlframework.errors import TrialPruned
    from mlframework.face import TrainedRun, load_config, open_run, train
    from mlframework.learners.base import Predictor
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
    "TrainedRun": "face", "load_config": "face", "open_run": "face", "train": "face",
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
    if name not in _AT:
        raise AttributeError(f"module 'mlframework' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mlframework.{_AT[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load(run: str | Path) -> Predictor:
    """Return the predictor of a run.

    Args:
        run: a run's folder, such as `runs/digits`.

    Raises:
        RunError: it is no run folder, or it has no artifact: the run did not end; or the artifact is damaged.
        ConfigError: its config does not decode.
    """
    from mlframework.config import yaml
    from mlframework.config.decode import decode
    from mlframework.errors import MlframeworkError, RunError
    from mlframework.experiment import ExperimentConfig
    from mlframework.runs import RunDir

    folder = RunDir.open(Path(run))
    if (folder.path.parent / "study.json").is_file() or (folder.path / "cross_validation.json").is_file():
        raise RunError(
            f"{run}: a trial or a cross-validation keeps no model; train one by: ml-train --config {folder.config}"
        )
    if not (folder.artifacts / "model_meta.json").is_file():
        raise RunError(
            f"{run}: there is no trained model in it (no artifacts/); train it to its end by: ml-train --resume {run}"
        )
    model = decode(ExperimentConfig, yaml.read(folder.config)).model
    try:
        return model.predictor(folder.artifacts)
    except MlframeworkError:
        raise
    except Exception as error:
        # Whoever wrote these files, they hold numbers and text only: what is wrong with them can do no harm, and is open-ended.
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise RunError(
            f"{folder.artifacts}: is damaged, or is not what ml-train wrote ({type(error).__name__}: {reason}); train the "
            "model again"
        ) from error
