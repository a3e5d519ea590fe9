"""mlframework: train a model from one YAML file, search its hyperparameters, and see what happened.

The commands are `ml-init-config`, `ml-train`, `ml-search` and `ml-visualise`. From Python, `load` gives the trained model
of a run:

    predictor = mlframework.load("runs/digits")
    predictor.predict("some_image.png")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlframework.learners.base import Predictor

__all__ = ["load"]


def load(run: str | Path) -> Predictor:
    """Return the predictor of a run.

    Args:
        run: a run's folder, such as `runs/digits`.

    Raises:
        RunError: it is no run folder, or it has no artifact: the run did not end.
        ConfigError: its config does not decode.
    """
    from mlframework.config import yaml
    from mlframework.config.decode import decode
    from mlframework.errors import RunError
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
    return decode(ExperimentConfig, yaml.read(folder.config)).model.predictor(folder.artifacts)
