"""`ml-visualise --mode search`: draw the trials of a study."""

from __future__ import annotations

import argparse

from mlframework.cli import console
from mlframework.cli.modes.drawn import drawing, report


def show(arguments: argparse.Namespace) -> None:
    """Draw a study's plots into its folder, or write its report there, or both."""
    from mlframework.search.lookup import find_study, goal_of
    from mlframework.visualise.draw_all import draw_all
    from mlframework.visualise.study_view import StudyView

    study, metric, _, folder = find_study(arguments.study_name, arguments.storage)
    goal = goal_of(study, metric, folder)
    if arguments.report:
        from mlframework.visualise.report import write_report

        with drawing():
            path = write_report(study, folder, goal, arguments.metric, arguments.params)
        console.out().print(f"report: {path}", soft_wrap=True)
        if not arguments.plot_type:
            return
    view = StudyView.of(study, arguments.metric or goal.main, goal)
    plots = folder.plots if view.metric == goal.main else folder.plots / view.metric
    with drawing():
        outcomes = draw_all(view, arguments.plot_type, arguments.params, plots, arguments.format)
    report(outcomes, asked=bool(arguments.plot_type))
