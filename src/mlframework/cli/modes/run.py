"""`ml-visualise --mode run RUN`: draw one run."""

from __future__ import annotations

import argparse
from pathlib import Path

from mlframework.cli.modes.drawn import report


def show(arguments: argparse.Namespace) -> None:
    """Draw a run's plots into its folder."""
    from mlframework.visualise.draw_all import draw_run
    from mlframework.visualise.run_view import RunView

    view = RunView.of(Path(arguments.given[0]))
    outcomes = draw_run(view, arguments.plot_type, view.run.path / "plots", arguments.format)
    report(outcomes, asked=bool(arguments.plot_type))
