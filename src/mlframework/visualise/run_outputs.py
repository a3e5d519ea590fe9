"""Where the plots of a run have the model's outputs from: the run's folder, or, computed anew, its best checkpoint."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlframework.errors import MlframeworkError, PlotError, RunError
from mlframework.outputs import SavedOutputs, outputs_path, read_outputs, saved, write_outputs
from mlframework.runs import RunDir

if TYPE_CHECKING:
    from mlframework.data.splits import Splits
    from mlframework.experiment import ExperimentConfig

_PART = re.compile(r"(fold|repeat)_([1-9]\d*)")


def written(run: RunDir) -> Path | None:
    """Return the file that a run's outputs stand in, that of the test split before that of val, or None."""
    return next((path for split in ("test", "val") if (path := outputs_path(run, split)).is_file()), None)


def owner_of(run: RunDir) -> RunDir:
    """Return the run whose config.yaml a run goes by: itself, or of a fold or repeat the run that it is a part of."""
    is_part = not run.config.is_file() and _PART.fullmatch(run.path.resolve().name) is not None
    return RunDir(run.path.resolve().parent) if is_part else run


def must_compute(run: RunDir) -> bool:
    """Whether the outputs can be had only by building the model and its data anew."""
    return written(run) is None and _checkpoint(run).is_file()


def outputs_of(run: RunDir, keep: bool) -> SavedOutputs:
    """Return the outputs of a run, of the test split where it was opened, else of val.

    Args:
        run: its folder.
        keep: whether what had to be computed is written into the run's folder; not while the run goes on.

    Raises:
        PlotError: there are none, and none can be computed; with what to do.
        RunError: the file is damaged.
    """
    path = written(run)
    if path is not None:
        return read_outputs(path)
    if (owner_of(run).path / "final.json").is_file():
        raise PlotError(
            f"needs outputs_test.npz in {run.path}, which a final run writes when it opens the test split: "
            f"go on with ml-train --resume {run.path}, or train again"
        )
    if not _checkpoint(run).is_file():
        raise PlotError(
            f"needs outputs_val.npz in {run.path}, which a run writes at its end, or checkpoints/best.pt to compute it "
            f"from, and neither is there: {_remedy(run)}"
        )
    try:
        return _computed(run, keep)
    except (RunError, PlotError):
        raise
    except MlframeworkError as error:
        raise PlotError(f"needs outputs_val.npz in {run.path}, and it cannot be computed: {error}") from None


def _checkpoint(run: RunDir) -> Path:
    return run.checkpoints / "best.pt"


def _remedy(run: RunDir) -> str:
    """Say how to come by a run that has its outputs: of a trial or a fold, by training it."""
    owner = owner_of(run)
    if owner != run:
        count = len(list(owner.path.glob("fold_*")))
        folds = f" --cross-validate {count}" if count else ""
        return f"train it again, ml-train --config {owner.config}{folds}, and draw what that makes"
    if (run.path.parent / "study.json").is_file():
        return f"train the trial, ml-train --config {run.config}, and draw that run"
    return f"go on with ml-train --resume {run.path}, or train again: ml-train --config {run.config}"


def _computed(run: RunDir, keep: bool) -> SavedOutputs:
    """Build the data and the model, and pass the validation split through the best checkpoint."""
    from mlframework.config import yaml
    from mlframework.config.decode import decode
    from mlframework.experiment import ExperimentConfig, is_of_data, load_data, trained_learner
    from mlframework.learners.ranks import LIKE_STANDARD

    owner = owner_of(run)
    document = yaml.read(owner.config)
    config = decode(ExperimentConfig, document)
    if not is_of_data(owner, document.tree):
        raise PlotError(
            f"needs outputs_val.npz in {run.path}; it can't be computed, as {config.data.path} has changed since the run "
            f"was trained: put it back, or {_remedy(run)}"
        )
    # One process does, on what this machine has: the weights are the same, whatever they were trained on.
    training = config.training
    if training.trainer_type in LIKE_STANDARD:
        training = training.model_copy(update={"trainer_type": "standard"})
    config = config.model_copy(update={"device": "auto", "training": training})
    config, splits = _part(run, owner, config, load_data(config).without_test())
    learner, epoch = trained_learner(config, splits, run, "best")
    outputs = learner.outputs("val")
    if outputs is None:
        raise PlotError(
            "needs an output for each example, which a recommender has not: --plot-type recall_at_k shows it"
        )
    if keep:
        write_outputs(run, "val", epoch, outputs, splits.val, config.data)
    return saved("val", epoch, outputs, splits.val, config.data)


def _part(
    run: RunDir, owner: RunDir, config: "ExperimentConfig", splits: "Splits[Any]"
) -> "tuple[ExperimentConfig, Splits[Any]]":
    """Return the config and the splits of a fold or a repeat, or those given for a run of its own."""
    from itertools import islice

    from mlframework.folds import folds_of
    from mlframework.plans import marked_folds

    found = _PART.fullmatch(run.path.resolve().name) if owner != run else None
    if found is None:
        return config, splits
    number = int(found[2])
    if found[1] == "repeat":
        return config.model_copy(update={"seed": config.seed + number - 1}), splits
    plan = marked_folds(owner)
    if plan is None:
        raise PlotError(
            f"needs outputs_val.npz in {run.path}; how a trial's folds were cut is not in its folder: {_remedy(run)}"
        )
    return config, next(islice(folds_of(config, splits, plan.config), number - 1, None))
