"""Tuner: the hyperparameters of a Python function, searched in the study that `ml-search` searches."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlframework.errors import ConfigError, Problem, StudyError
from mlframework.metrics import Direction
from mlframework.registry import unknown
from mlframework.search.duplicates import REDRAWN_STATES
from mlframework.search.head_start import seed_beside
from mlframework.search.lines import watcher_of
from mlframework.search.loop import run_trials
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Uniform
from mlframework.search.quiet import require_optuna
from mlframework.search.results import TrialRecord
from mlframework.search.start import require_best
from mlframework.search.storage import open_storage
from mlframework.search.study import STUDIES, OpenStudy, StudyFolder, open_study
from mlframework.search.warm_start import Imported, Row, judge
from mlframework.tuner.fm import HISTORY_COLUMNS, fm_defaults, fm_space
from mlframework.tuner.function import TrainFunction, how_called, trainer_of
from mlframework.tuner.history import rows_of
from mlframework.tuner.hyperparameters import Hyperparameter, free_space
from mlframework.tuner.memory import MEMORY, open_memory
from mlframework.tuner.result import TuningResult
from mlframework.tuner.study import SCORE, check_settings, import_rows, read_settings, refuse_other_study, spec_of

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


class Tuner:
    """Searches the hyperparameters of a function.

    The function is called as `train_fn(params)`, or as `train_fn(params, report)` where it takes `report`. It returns the
    trial's value. `report(step, value)` tells how far it has come, and raises `TrialPruned` where the trial promises
    nothing: let that pass (`except Exception` does not take it). What it raises otherwise, and a value that is not a
    finite number (-inf, nan), is a failed trial: recorded with its reason, never the best, and the search goes on.

    Each algorithm has a study of its own, so that several can be compared. Without a storage the studies end with the
    tuner; with one they are those of `ml-search`: `ml-visualise --mode search --study-name tuning-TPESampler` draws them.

    Args:
        train_fn: what is tuned.
        maximize: whether a larger value is better.
        seed: seeds the suggestions: with the same seed and the same values come the same trials.
        space: what is searched to begin with, by name; None: what is added, or where nothing is, the function's own
            `space` where it has one, else `fm_space()`, with a warning.
        study_name: stem of the studies' names.
        storage: where trials are kept: `sqlite:///file.db`, `journal:///file.log`, `postgresql://...`; None: in memory.
        resume: go on with studies that the storage has already, or join them while other processes search.
        n_steps: the last step that the function reports, where that is known; HyperbandPruner needs it.
        progress: write a line a trial to stdout.

    Raises:
        ConfigError: `train_fn` takes other arguments, or the space is none.
    """

    def __init__(
        self, train_fn: TrainFunction, *, maximize: bool = True, seed: int = 42,
        space: Mapping[str, Parameter | Hyperparameter] | None = None, study_name: str = "tuning",
        storage: str | None = None, resume: bool = False, n_steps: int | None = None, progress: bool = False,
    ) -> None:  # fmt: skip
        self._reports = how_called(train_fn) != "params"
        self._train_fn, self._n_steps, self._seed, self._progress = train_fn, n_steps, seed, progress
        self._direction: Direction = "maximize" if maximize else "minimize"
        self._stem, self._url, self._resume = study_name, storage or MEMORY, resume
        self._own: dict[str, Hyperparameter] | None = None
        self._history: list[Row] = []
        self._storage: BaseStorage | None = None
        self._folder: TemporaryDirectory[str] | None = None
        self._studies: dict[str, OpenStudy] = {}
        for name, each in (space or {}).items():
            self.add_hyperparameter(name, each)

    @property
    def hyperparameters(self) -> Mapping[str, Hyperparameter]:
        """What is searched, by name."""
        if self._own is not None:
            return self._own
        default: Mapping[str, Hyperparameter] | None = getattr(self._train_fn, "space", None)
        return fm_space() if default is None else default

    def add_hyperparameter(self, name: str, parameter: Parameter | Hyperparameter, description: str = "") -> None:
        """Search one more: `tuner.add_hyperparameter("lr", LogUniform(1e-5, 1e-1), "step size")`.

        Raises:
            ConfigError: the name is taken or no name, or `parameter` is none.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _wrong("add_hyperparameter", f"{name!r} is no name; use letters, digits and _, as for a variable")
        if self._own is not None and name in self._own:
            raise _wrong("add_hyperparameter", f"{name} is there already; remove_hyperparameter({name!r}) first")
        plain = parameter.parameter if isinstance(parameter, Hyperparameter) else parameter
        if isinstance(parameter, Hyperparameter):
            description = description or parameter.description
        if not isinstance(plain, Categorical | Uniform | LogUniform | Int):
            what = f"{name} should be Uniform, LogUniform, Int or Categorical, got {parameter!r}"
            raise _wrong("add_hyperparameter", what)
        self._own = {**(self._own or {}), name: Hyperparameter(plain, description)}

    def remove_hyperparameter(self, name: str) -> None:
        """Search one less.

        Raises:
            ConfigError: there is none of that name.
        """
        there = self.hyperparameters
        if name not in there:
            what = unknown(name, there, "hyperparameter")
            if self._own is not None and name in fm_space():
                what += "; the default space is left out once one is added: Tuner(..., space=fm_space()) adds to it"
            raise _wrong("remove_hyperparameter", what)
        self._own = {other: each for other, each in there.items() if other != name}

    def load_history(
        self, rows: str | Path | Sequence[Sequence[Any] | Mapping[str, Any]], columns: Sequence[str | None] | None = None,
        fixed: Mapping[str, Any] | None = None,
    ) -> Imported:  # fmt: skip
        """Let the algorithms learn from trials of other days.

        What is accepted is given to each study as an imported trial: it teaches, it takes none of `n_trials`, and it is
        never the best. The rows are looked at again by `optimize`, with the space that is searched then.

        Args:
            rows: a csv file; dicts; or lists of values as `columns` names them. A dict, a column or an entry called
                `score`, `value` or `performance` has the value.
            columns: names of the entries of a list, None for one to leave out. Where it is not given they are `batch_size,
                epochs, learning_rate, embedding_dim, performance`, and what else the default FM space has is taken to
                have been at its plainest (`fm_defaults()`).
            fixed: what the trials had where a row says nothing.

        Returns:
            The accepted rows, and the rejected ones, each with its reason.

        Raises:
            StudyError: the file can't be read, or no row is accepted; the message has the reasons.
        """
        plain = {name: value for name, value in fm_defaults().items() if name in self.hyperparameters}
        lists = not isinstance(rows, str | Path) and all(not isinstance(row, Mapping) for row in rows)
        given = {**(plain if columns is None and lists else {}), **(fixed or {})}
        found = rows_of(rows, columns or HISTORY_COLUMNS, given)
        imported = judge(found, free_space(self.hyperparameters))
        if not imported.accepted:
            reasons = "".join(f"\n  {row.source}: {reason}" for row, reason in imported.rejected[:10])
            raise StudyError(f"load_history: there is no usable row of {len(imported.rejected)}{reasons}")
        self._history += found
        return imported

    def optimize(
        self, algorithm: str | Mapping[str, Any] = "optuna", n_trials: int = 100, timeout: float | None = None,
        pruner: str | Mapping[str, Any] | None = None,
    ) -> TuningResult:  # fmt: skip
        """Search until the algorithm's study has `n_trials` trials.

        The same algorithm with a larger `n_trials` goes on where it was. A search that is interrupted (Ctrl-C) keeps what is
        finished: `result` returns it, and another call goes on.

        Args:
            algorithm: `optuna` (TPE), `bayesian` (Gaussian process), `hyperopt`; a sampler's name, as `RandomSampler`; or a
                sampler with its settings: `{"type": "TPESampler", "n_startup_trials": 20}`.
            n_trials: trials of the study in all.
            timeout: seconds after which no further trial is started.
            pruner: a pruner's name, or one with its settings; `none` prunes nothing. None: MedianPruner where the function
                reports and the algorithm learns from trials that were pruned.

        Raises:
            ConfigError: an unknown algorithm or pruner, or settings that are wrong.
            StudyError: the algorithm can't search the space, or the storage has such a study already.
            TrainingError: no trial came to its end; the message has the reasons.
            MissingExtraError: a package is not installed.
        """
        require_optuna()
        if self._own is None and getattr(self._train_fn, "space", None) is None:
            what = "the default space, that of factorization machines, is searched"
            remedy = "add_hyperparameter adds one's own; Tuner(..., space=fm_space()) means this one"
            warnings.warn(f"{what}: {', '.join(self.hyperparameters)}; {remedy}", UserWarning, stacklevel=2)
        study = self._open(algorithm, n_trials, timeout, pruner)
        label = algorithm if isinstance(algorithm, str) else study.spec.sampler.type
        self._studies[label] = self._studies[study.spec.sampler.type] = study
        run_trials(study, trainer_of(self._train_fn, self._n_steps), watcher_of(study, self._progress))
        return self.result(label)

    def result(self, algorithm: str = "optuna") -> TuningResult:
        """Return what an algorithm has found so far.

        Raises:
            StudyError: it was not asked yet.
            TrainingError: no trial came to its end.
        """
        if algorithm not in self._studies:
            asked = ", ".join(self._studies) or "none"
            raise StudyError(f"{algorithm!r} has searched nothing yet (asked so far: {asked}); call optimize first")
        study = self._studies[algorithm]
        everything = [TrialRecord.of(trial) for trial in study.trials()]
        # A draw that was made again was never trained: it is no trial of the function.
        records = [record for record in everything if record.state not in REDRAWN_STATES]
        best = require_best(records, study.spec.goal)
        assert best.value is not None
        return TuningResult(algorithm, study.spec.name, self._direction, dict(best.params), best.value, records)

    def __repr__(self) -> str:
        """Return what is searched, a line each."""
        lines = [f"Tuner: {self._direction} {SCORE} of {getattr(self._train_fn, '__name__', self._train_fn)}"]
        for name, each in self.hyperparameters.items():
            when = "".join(f", when {other} is {wanted}" for other, wanted in each.parameter.when.items())
            lines.append(
                f"  {name}: {each.parameter.describe()}{when}" + f"  # {each.description}" * bool(each.description)
            )
        return "\n".join(lines)

    def _open(
        self, algorithm: str | Mapping[str, Any], n_trials: int, timeout: float | None,
        pruner: str | Mapping[str, Any] | None,
    ) -> OpenStudy:  # fmt: skip
        space = free_space(self.hyperparameters)
        if not space.parameters:
            raise _wrong("optimize", "there is no hyperparameter left; add_hyperparameter adds one")
        settings = {"n_trials": n_trials, "timeout": timeout, "study_name": self._stem, "storage": self._url}
        search = read_settings(space, algorithm, pruner, self._reports, settings)
        known_rows = judge(self._history, space).accepted
        check_settings(search, space, self._seed, self._n_steps, self._reports, len(known_rows))
        search = search.model_copy(update={"study_name": f"{self._stem}-{search.sampler.type}"})
        storage = self._opened_storage()
        seed = seed_beside(self._seed, [f"{row.params} {row.value}" for row in known_rows])
        spec = spec_of(search, space, self._study_folder(search.study_name), self._direction, seed, self._n_steps)
        known = any(study.spec.name == spec.name for study in self._studies.values())
        refuse_other_study(spec, storage, self._resume or known)
        study = open_study(spec, storage, resume=True)
        import_rows(study, known_rows)
        return study

    def _opened_storage(self) -> BaseStorage:
        if self._storage is None:
            self._storage = open_memory() if self._url == MEMORY else open_storage(self._url)
        return self._storage

    def _study_folder(self, name: str | None) -> StudyFolder:
        if self._url != MEMORY:
            return StudyFolder(STUDIES / str(name))
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="mlframework-tuner-")
        return StudyFolder(Path(self._folder.name) / str(name))


def _wrong(method: str, what: str) -> ConfigError:
    return ConfigError([Problem(f"Tuner.{method}", "", what)])
