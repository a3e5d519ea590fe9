"""What lies where in the folder of a study."""

from dataclasses import dataclass
from pathlib import Path

from mlframework.runs import RunDir

STUDIES = Path("runs/optuna_studies")


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study: results, the best config, a run folder a trial, plots."""

    path: Path

    @property
    def study(self) -> Path:
        return self.path / "study.json"

    @property
    def best_config(self) -> Path:
        return self.path / "best_config.yaml"

    @property
    def best_hyperparameters(self) -> Path:
        return self.path / "best_hyperparameters.json"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def trials(self) -> Path:
        return self.path / "trials.csv"

    @property
    def pareto_csv(self) -> Path:
        return self.path / "pareto.csv"

    @property
    def pareto(self) -> Path:
        return self.path / "pareto"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def worker_log(self, number: int) -> Path:
        """Return the file of what a worker wrote to stderr."""
        return self.path / "workers" / f"worker_{number}.log"

    def trial(self, number: int) -> RunDir:
        """Return the run folder of a trial."""
        return RunDir(self.path / f"trial_{number:04d}")
