"""A study as Python has it: what `search` returns, and what `open_study` finds."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlframework import markup
from mlframework.config.wording import PYTHON
from mlframework.errors import ConfigError, Problem
from mlframework.heap import given_back
from mlframework.runs import write_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from mlframework.metrics import Direction
    from mlframework.search.config import ConfigFile
    from mlframework.search.confirm import Candidate
    from mlframework.search.goal import Goal
    from mlframework.search.results import TrialRecord
    from mlframework.visualise.page import Page
    from mlframework.visualise.study_view import StudyView

_OWN = (
    "resume", "add_trials", "accept_data_change", "workers", "launcher", "ray_address", "storage_proxy", "progress",
)  # fmt: skip
"""What `search` takes besides settings."""
_SHOWN = 5  # trials that a notebook shows without a click


@dataclass(frozen=True)
class Study:
    """What a search found. In a notebook it shows itself.

    Attributes:
        study_name: of the study.
        folder: of the study: results.json, trials.csv, a run folder a trial.
        goal: what is searched for.
        trials: all of them.
        why: how the search ended: `done`, `timeout`, or `others` while other processes still train the last trials; `read`
            of a study that was opened.
        best: the best trial: the one that was picked, where the best were confirmed, and of several objectives the one
            that `search.prefer` chooses; None where no trial is complete.
        confirmed: what further seeds said of the best trial; None without `search.confirm`.
        storage: the URL of its storage.
    """

    study_name: str
    folder: Path
    goal: Goal
    trials: Sequence[TrialRecord] = field(repr=False)
    why: str
    best: TrialRecord | None
    confirmed: Candidate | None
    storage: str | None = field(repr=False)

    @property
    def metric(self) -> str:
        """What was searched for; of several objectives the one that trials report."""
        return self.goal.main

    @property
    def direction(self) -> Direction:
        """Which direction of it is better."""
        return self.goal.main_objective.direction

    @property
    def best_params(self) -> Mapping[str, Any]:
        """The parameters of the best trial, by dotted key.

        Raises:
            TrainingError: no trial came to its end; the message has the reasons.
        """
        return dict(self._best.params)

    @property
    def best_value(self) -> float:
        """The best trial's value of `metric` in the search.

        Raises:
            TrainingError: no trial came to its end; the message has the reasons.
        """
        value = self._best.value
        assert value is not None  # it is complete
        return value

    @property
    def best_config(self) -> Path:
        """The file that trains the best trial."""
        return self.folder / "best_config.yaml"

    @property
    def front(self) -> Sequence[TrialRecord]:
        """The trials that none of the others is better than in every objective; of one objective those with the best value."""
        return self.goal.front(self.trials)

    def plot(self, name: str, *params: str) -> go.Figure:
        """Return one of the study's plots, as `ml-visualise --mode search --plot-type NAME --params ...` draws it.

        Args:
            name: of the plot: `optimization_history`, `slice`, `contour` ...
            params: the parameters to show, by dotted key or last part; none: the plot's own choice.

        Raises:
            PlotError: there is no such plot or parameter, or the study does not have what it shows.
            MissingExtraError: plotly is not installed.
        """
        from mlframework.visualise.draw_all import study_figure

        return study_figure(self._view(), name, params)

    def report(self) -> Page:
        """Write the study's report, `report.html` in its folder, and return it: a notebook draws it where it is called.

        Raises:
            MissingExtraError: plotly or jinja2 is not installed.
            RunError: the folder cannot be written.
        """
        from mlframework.search.lookup import find_study
        from mlframework.visualise.report import build

        study, _, _, folder = find_study(self.study_name, self.storage)
        page = build(study, folder, self.goal)
        write_text(folder.report, page.html)
        return page

    def _view(self) -> StudyView:
        from mlframework.search.lookup import find_study
        from mlframework.visualise.study_view import StudyView

        study, _, _, _ = find_study(self.study_name, self.storage)
        return StudyView.of(study, self.goal.main, self.goal)

    @property
    def _best(self) -> TrialRecord:
        from mlframework.search.start import require_best

        return self.best or require_best(self.trials, self.goal)

    def _repr_html_(self) -> str:
        """Return it for a notebook: how the trials ended, the best value so far, the best trial, and the best few."""
        counts = Counter(record.state for record in self.trials)
        ended = ", ".join(f"{count} {state}" for state, count in counts.items()) or "no trials"
        parts = []
        if self.best is not None:
            title = f"best trial: {self.best.number}, {_values(self.goal, self.best)}"
            parts = [
                f"<div>{markup.curve(*_so_far(self.goal, self.trials))}</div>",
                markup.table(self.best.params.items(), ("parameter", title)),
                markup.folded(f"the best {_SHOWN} trials", _best_few(self.goal, self.trials)),
            ]
        return markup.card(self.study_name, f"{self.goal.describe()} · {ended} · {self.folder}", *parts)


def _values(goal: Goal, record: TrialRecord) -> str:
    return f"{goal.main} {markup.short(record.value)}" if goal.is_single else goal.shown(record)


def _so_far(goal: Goal, trials: Sequence[TrialRecord]) -> tuple[list[float], int, str]:
    """Return the best value of the main objective after each complete trial, where the best came, and that in words."""
    values = [record.value for record in trials if record.state == "complete" and record.value is not None]
    better = max if goal.main_objective.direction == "maximize" else min
    so_far = [better(values[: number + 1]) for number in range(len(values))]
    first = so_far.index(so_far[-1])
    words = f"{goal.main}, best so far: from {markup.short(so_far[0])} to {markup.short(so_far[-1])}"
    return so_far, first, f"{words} in {len(so_far)} complete trials"


def _best_few(goal: Goal, trials: Sequence[TrialRecord]) -> str:
    ranked = goal.ranked(trials)[:_SHOWN]
    keys = list(dict.fromkeys(key for record in ranked for key in record.params))
    rows = [(record.number, record.value, *map(record.params.get, keys)) for record in ranked]
    return markup.table(rows, ("trial", goal.main, *keys), marked=0)


def open_study(name: str, storage: str | None = None) -> Study:
    """Return a study that is there, for reading.

    Args:
        name: of the study.
        storage: the URL of its storage; None: the one that its folder under `runs/optuna_studies/` records.

    Raises:
        StudyError: there is no such study; the message names those that are there.
        StorageError: the storage does not answer.
    """
    from mlframework.search.lookup import find_study, goal_of, recorded_pick
    from mlframework.visualise.study_view import StudyView

    study, metric, _, folder = find_study(name, storage)
    view = StudyView.of(study, metric, goal_of(study, metric, folder))
    best, confirmed = recorded_pick(folder, view.goal, view.records)
    return Study(view.name, folder.path, view.goal, view.records, "read", best, confirmed, storage)


def search(
    config: str | Path | Mapping[str, Any] | ConfigFile, *, resume: bool = False, add_trials: int = 0,
    accept_data_change: bool = False, workers: int | None = None, launcher: str = "local", ray_address: str | None = None,
    storage_proxy: bool = False, progress: bool = False, **overrides: Any,
) -> Study:  # fmt: skip
    """Search the hyperparameters that a config's `search:` section names, as `ml-search` does.

    Args:
        config: the YAML file, a tree of one, or what `load_config` returned.
        resume: go on with the study where it exists, or join it while other processes search.
        add_trials: with `resume`: so many trials more than the study has.
        accept_data_change: with `resume`: go on although the data is other than the study's trials were trained on.
        workers: how many processes search; None: this one alone, or two with Ray.
        launcher: `local` starts workers on this machine, `ray` as tasks of a Ray cluster.
        ray_address: with Ray: of the cluster, `auto` for the one that runs here; None: a Ray of its own on this machine.
        storage_proxy: with Ray: let the workers reach the study's database through this process alone.
        progress: write a line a trial to stdout.
        overrides: settings by their dotted key or their last part: `lr=0.1`, `n_trials=20`, `**{"optimizer.lr": 0.1}`.

    Raises:
        ConfigError: the config or an override; with `file:line:column` of every problem.
        StudyError: the study exists and `resume` is false, or it was started with other settings or on other data.
        TrainingError: no trial came to its end.
        MlframeworkError: the data or the storage can't be used.
    """
    if add_trials and (not resume or "n_trials" in overrides):
        what = "adds to a study that exists: give resume=True with it, and leave out n_trials"
        raise ConfigError([Problem("search", "add_trials", what)])
    from mlframework.search.workers.launch import Workers, search_as

    asked = Workers.asked_for(workers, launcher, ray_address, storage_proxy, PYTHON)
    with given_back(), asked.prepared() as group:
        # Here, for what workers import is imported at the same time.
        from mlframework.search.lines import watcher_of
        from mlframework.search.results import pick
        from mlframework.search.resume_plan import resume_plan
        from mlframework.search.start import load, open_search, read_any, require_best, require_search
        from mlframework.search.tracking import tracked

        read = read_any(config, overrides, group.at_once, group.threads, _OWN)
        require_search(read)
        group.check(read)
        group.prepare_for(read)
        study = open_search(read, resume, add_trials, accept_data_change)
        if progress:
            sys.stdout.write("".join(f"{line}\n" for line in (*study.news, *resume_plan(study).lines())))
        with tracked(study, read.config.tracking, read.config.name, "the same search with resume=True") as told:
            end = search_as(study, read, group, load, told(watcher_of(study, progress)))
            spec = study.spec
            require_best(end.records, spec.goal)
            assert read.config.search is not None
            if end.why == "done" and read.config.search.confirm is not None:
                from mlframework.search.confirming import confirm
                from mlframework.search.lines import RetrainingLines

                confirm(study, read.config.search.confirm, load, RetrainingLines(spec.metric, progress))
    chosen = pick(spec, end.records)
    assert chosen is not None  # there is a best one
    return Study(
        spec.name, spec.folder.path, spec.goal, end.records, end.why, chosen.record, chosen.confirmed, spec.storage
    )
