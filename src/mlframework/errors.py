"""Every exception that mlframework raises on purpose.

MlframeworkError            the user can mend it: one message, exit 2
├── ConfigError             a config file or an override; holds every problem found, each with its place
├── DataError               the data itself: missing, empty, unreadable, one class only
├── MissingExtraError       an optional package is not installed; the message has the install command
├── CheckpointError         a checkpoint that is not ours, or of another config
│   └── DamagedCheckpointError  one that is cut short, or whose bytes have changed
├── RunError                a run folder that is missing, read-only, or on a full disk
├── StorageError            a study's storage that cannot be opened or does not answer
├── StudyError              a study that exists already, or that does not exist
├── TrainingError           training went wrong in a way that the settings explain: a loss that is not a number
│   └── OutOfMemoryError    it needs more memory than there is
├── ReplayDiverged          a replay that came to something else than the run did: a finding
└── PlotError               a plot that cannot be drawn from these trials, with the reason

Stopped                     not an error: the work was asked to stop, and everything finished is saved
├── TrialPruned             the pruner condemned a trial
├── LeaseLost               another worker owns this trial now
└── Terminated              SIGTERM arrived: exit 143
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class MlframeworkError(Exception):
    """Base of every error that the user can mend. Its message says what is wrong and what to do."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config: where it stands, which key, what is wrong."""

    place: str
    key: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.key, self.what) if part)


class ConfigError(MlframeworkError):
    """A config that cannot be used; `problems` holds everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DataError(MlframeworkError):
    """Data that cannot be used for training."""


class MissingExtraError(MlframeworkError):
    """A package that an extra installs is missing."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs {package}, which is not installed: pip install "mlframework[{extra}]"')


class CheckpointError(MlframeworkError):
    """A checkpoint that cannot be resumed from."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is cut short, or whose bytes are not those that were written."""

    def __init__(self, message: str, folder: Path) -> None:
        self.folder = folder
        super().__init__(message)


class RunError(MlframeworkError):
    """A run folder that cannot be read or written."""


class StorageError(MlframeworkError):
    """A study's storage that cannot be opened or does not answer."""


class StudyError(MlframeworkError):
    """A study that exists already, or does not exist."""


class TrainingError(MlframeworkError):
    """Training that cannot go on with these settings."""


class OutOfMemoryError(TrainingError):
    """Training that needs more memory than there is."""


class ReplayDiverged(MlframeworkError):  # noqa: N818 - a finding, which the user asked for
    """A replay that came to something else than the run did."""


class PlotError(MlframeworkError):
    """A plot that cannot be drawn, with the reason."""


class Stopped(BaseException):  # not an error, and so, like KeyboardInterrupt, nothing that `except Exception` takes
    """The work was asked to stop; what is finished is saved."""


class TrialPruned(Stopped):
    """The pruner condemned this trial."""


class LeaseLost(Stopped):
    """Another worker has taken this trial over; this one lets go of it."""


class Terminated(Stopped):
    """SIGTERM arrived."""
