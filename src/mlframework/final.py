"""The final run: refit on train and val for the epochs that a selecting run found best, then test once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlframework.artifact import describe_artifact
from mlframework.data.splits import Splits
from mlframework.experiment import ExperimentConfig, evaluate_test, export, refit
from mlframework.runs import FORMAT, RunDir, read_json, write_json
from mlframework.training.callbacks import Callback
from mlframework.training.result import RunResult
from mlframework.training.tracking.start import publish_run


@dataclass(frozen=True)
class FinalResult:
    """How the final run ended."""

    result: RunResult
    test_metrics: Mapping[str, float]


def mark_final(run: RunDir, num_epochs: int, selected_by: RunDir) -> None:
    """Write into a run's folder that it is a final one, so that a resume knows."""
    content = {"format": FORMAT, "num_epochs": num_epochs, "selected_by": str(selected_by.path)}
    write_json(run.path / "final.json", content)


def final_epochs(run: RunDir) -> int | None:
    """Return the epochs of a final run, or None for another run."""
    path = run.path / "final.json"
    return int(read_json(path)["num_epochs"]) if path.is_file() else None


def run_final(
    config: ExperimentConfig, splits: Splits[Any], run: RunDir, num_epochs: int, callbacks: Sequence[Callback]
) -> FinalResult:
    """Train on train and val together, write the artifact, and open the test split.

    Raises:
        TrainingError: there is no test split.
    """
    result = refit(config, splits.without_test(), run, num_epochs, callbacks)
    together = splits.refit()
    export(config, together, run, "last")
    test_metrics = evaluate_test(config, together, run, "last")
    describe_artifact(run)
    publish_run(config, config.tracking, run, is_final=True)
    return FinalResult(result, test_metrics)
