"""The report of a study: read it, make the page, write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlframework.runs import write_text
from mlframework.visualise.page import Page, page_of
from mlframework.visualise.report.sections import SECTIONS
from mlframework.visualise.report.source import Source
from mlframework.visualise.wording import standing

if TYPE_CHECKING:
    from optuna import Study

    from mlframework.search.folder import StudyFolder
    from mlframework.search.goal import Goal


def build(study: Study, folder: StudyFolder, goal: Goal, metric: str | None = None, params: Sequence[str] = ()) -> Page:
    """Make the report of a study; it is in `html`, and its sections one by one in `parts`.

    Args:
        study: Optuna's study.
        folder: the study's.
        goal: what it was searched for.
        metric: of several objectives the one that is shown; None: the one that trials report.
        params: the parameters that slices, contours and parallel coordinates show; none: the most important.

    Raises:
        PlotError: the metric or a parameter is unknown.
        MissingExtraError: plotly or jinja2 is not installed.
    """
    source = Source.of(study, folder, goal, metric, params)
    view = source.view
    return page_of(
        title=view.name,
        subtitle="Report of a hyperparameter search",
        sections=SECTIONS,
        source=source,
        lead=[goal.describe(), standing(view)],
        templates="mlframework.visualise.report",
    )


def write_report(
    study: Study, folder: StudyFolder, goal: Goal, metric: str | None = None, params: Sequence[str] = ()
) -> Path:
    """Write the report of a study into its folder: report.html, or report_METRIC.html of another objective.

    Raises:
        PlotError: the metric or a parameter is unknown.
        MissingExtraError: plotly or jinja2 is not installed.
        RunError: the folder cannot be written.
    """
    page = build(study, folder, goal, metric, params)
    path = folder.report if metric in (None, goal.main) else folder.path / f"report_{metric}.html"
    write_text(path, page.html)
    return path
