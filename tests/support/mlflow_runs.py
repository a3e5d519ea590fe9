"""What MLflow has of runs, asked of MLflow itself; and databases that are made in no time."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from mlframework.training.tracking.mlflow.sender import Sender
from mlframework.training.tracking.mlflow.tracker import require_mlflow

_templates: list[Path] = []


def database(folder: Path, scratch: Path) -> str:
    """Return the address of an empty MLflow database in a folder: a copy, since making one takes seconds.

    Args:
        folder: where.
        scratch: where the first one is made.
    """
    if not _templates:
        require_mlflow()
        MlflowClient(f"sqlite:///{scratch / 'template.db'}").search_experiments()
        _templates.append(scratch / "template.db")
    shutil.copy(_templates[0], folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


@dataclass(frozen=True)
class Recorded:
    """A tracking server, as a test reads it."""

    uri: str

    @property
    def client(self) -> MlflowClient:
        """MLflow's client."""
        return MlflowClient(self.uri, self.uri)

    def runs(self, experiment: str) -> list[Run]:
        """Return the runs of an experiment, in the order of their names."""
        found = self.client.get_experiment_by_name(experiment)
        assert found is not None, [each.name for each in self.client.search_experiments()]
        runs: list[Run] = list(self.client.search_runs([found.experiment_id], max_results=1000))
        return sorted(runs, key=lambda run: str(run.info.run_name))

    def run(self, experiment: str, name: str) -> Run:
        """Return the one run of a name."""
        (found,) = [run for run in self.runs(experiment) if run.info.run_name == name]
        return found

    def curve(self, run: Run, metric: str) -> list[tuple[int, float]]:
        """Return all points of a curve, in their order."""
        return [(point.step, point.value) for point in self.client.get_metric_history(run.info.run_id, metric)]

    def artifacts(self, run: Run) -> set[str]:
        """Return the paths of a run's artifacts."""
        return {each.path for each in self.client.list_artifacts(run.info.run_id)}

    def has_the_curves_of(self, run: Run, metrics: Path, part: str = "") -> bool:
        """Whether MLflow's curves are those of a metrics.jsonl: every point of it, each once, and no other."""
        written: dict[str, list[tuple[int, float]]] = {}
        for line in metrics.read_text().splitlines():
            record: dict[str, Any] = json.loads(line)
            for name in record.keys() - {"epoch"} - {name for name, value in record.items() if value is None}:
                written.setdefault(name, []).append((record["epoch"], record[name]))
        found = {name: self.curve(run, f"{part}{name}") for name in written}
        assert found == written
        return True


def state_of(run: Run) -> tuple[str, str]:
    """Return MLflow's status of a run, and ours."""
    return run.info.status, run.data.tags["mlframework.state"]


def settled(sender: Sender) -> None:
    """Wait until everything is sent."""
    assert sender.flush(20) == []
