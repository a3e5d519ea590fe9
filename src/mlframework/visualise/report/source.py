"""What a report is made of: a study's trials, and what its storage and its folder say besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlframework.config.override import get
from mlframework.errors import RunError, StudyError
from mlframework.runs import read_json
from mlframework.search.commands import recorded_command
from mlframework.search.folder import StudyFolder
from mlframework.search.goal import Goal
from mlframework.search.recorded import Record
from mlframework.search.started import started_with
from mlframework.visualise.study_view import StudyView, is_finite

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from mlframework.search.confirm import Confirmation
    from mlframework.search.results import TrialRecord


FEWEST_TO_RANK = 5
"""Finished trials below which nothing is said of importances: any order would be chance, and to find it takes a second."""


@dataclass(frozen=True)
class Source:
    """What a report is made of.

    Attributes:
        view: the study's trials, as every plot sees them.
        folder: the study's.
        began: what the study was started with: config, space, how trials are judged; empty for a study of others.
        record: its data, versions and settings; None where what was recorded is damaged.
        written: what study.json says; empty where there is none.
        results: what results.json says; empty where there is none.
        confirmation: what further seeds said of the best trials, or None.
        command: that goes on with the search, or None where it was not recorded.
        params: the parameters that are shown, by dotted key; none: each chart's own choice.
    """

    view: StudyView
    folder: StudyFolder
    began: Mapping[str, Any]
    record: Record | None
    written: Mapping[str, Any]
    results: Mapping[str, Any]
    confirmation: Confirmation | None
    command: str | None
    params: Sequence[str] = ()

    @classmethod
    def of(
        cls, study: Study, folder: StudyFolder, goal: Goal, metric: str | None = None, params: Sequence[str] = ()
    ) -> Source:
        """Read all that there is to know of a study; what is damaged besides its trials is left out.

        Args:
            study: Optuna's study.
            folder: the study's.
            goal: what it was searched for.
            metric: of several objectives the one that is shown; None: the one that trials report.
            params: the parameters to show, by dotted key or last part.

        Raises:
            PlotError: the metric or a parameter is unknown.
        """
        from mlframework.search.confirm import read_confirmation
        from mlframework.visualise.study_view import resolve_params

        view = StudyView.of(study, metric or goal.main, goal)
        attributes = study.user_attrs
        return cls(
            view=view,
            folder=folder,
            began=_or_none(lambda: started_with(attributes, view.name)) or {},
            record=_or_none(lambda: Record.of(attributes)),
            written=_or_none(lambda: read_json(folder.study)) or {},
            results=_or_none(lambda: read_json(folder.results)) or {},
            confirmation=_or_none(lambda: read_confirmation(folder.path)) if goal.is_single else None,
            command=recorded_command(attributes),
            params=resolve_params(view, params),
        )

    @cached_property
    def own(self) -> list[TrialRecord]:
        """The study's trials: neither imported ones, nor draws that took no place of it."""
        return [record for record in self.view.records if record.counts]

    @cached_property
    def trained(self) -> list[TrialRecord]:
        """Those that were trained, to their end or a part of it."""
        return [record for record in self.own if record.same_as is None]

    @cached_property
    def ranked(self) -> list[TrialRecord]:
        """The complete trials, the best first."""
        return self.view.goal.ranked(self.view.records)

    @cached_property
    def picked(self) -> int | None:
        """Number of the trial that further seeds picked, where that counts."""
        confirmed = self.results.get("confirmed") or {}
        number = confirmed.get("trial") if isinstance(confirmed, Mapping) else None
        return number if number is not None and not confirmed.get("outdated") else None

    @cached_property
    def chosen(self) -> TrialRecord | None:
        """The trial of best_config.yaml: picked by further seeds, or the best; None where none is complete."""
        best = self.ranked[0] if self.ranked else None
        return next((record for record in self.ranked if record.number == self.picked), best)

    @cached_property
    def order(self) -> list[str]:
        """The parameters that are asked for, else all, the most important first where enough trials say which those are."""
        if self.params:
            return list(self.params)
        if len(self.view.complete) < FEWEST_TO_RANK:
            return self.view.params
        from mlframework.visualise.search_plots.param_importances import ranked

        return ranked(self.view)

    @cached_property
    def by_number(self) -> dict[int, FrozenTrial]:
        """Optuna's trials, of several objectives with the value of the metric alone."""
        return {trial.number: trial for trial in self.view.trials}

    @cached_property
    def median(self) -> TrialRecord | None:
        """The complete trial in the middle, or None where there are fewer than three."""
        valued = sorted(
            (record for record in self.ranked if is_finite(self.value(record))),
            key=lambda record: self.view.badness(self.value(record)),
        )
        return valued[len(valued) // 2] if len(valued) > 2 else None

    @cached_property
    def first(self) -> TrialRecord | None:
        """The complete trial with the lowest number."""
        return min(self.ranked, key=lambda record: record.number, default=None)

    @cached_property
    def default(self) -> TrialRecord | None:
        """A complete trial with just the values that the config has, or None."""
        config = self.began.get("config", {})
        known = [record for record in self.ranked if record.params]
        return next(
            (each for each in known if all(get(config, key) == value for key, value in each.params.items())), None
        )

    def value(self, record: TrialRecord) -> float | None:
        """Return a trial's value of the metric that is shown."""
        return self.by_number[record.number].value if record.state == "complete" else record.value

    @property
    def last_epoch(self) -> int | None:
        """The epochs of a training by the config, where that is known."""
        found = get(self.began.get("config", {}), "training.num_epochs")
        return found if isinstance(found, int) else None


def _or_none(read: Any) -> Any:
    """Return what is read, or None where it is missing or damaged: a report shows what there is."""
    try:
        return read()
    except (RunError, StudyError):
        return None
