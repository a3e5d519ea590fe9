"""`ml-visualise --mode run RUN`: draw one run."""

from __future__ import annotations

import argparse

from mlframework.cli import console
from mlframework.cli.modes.drawn import drawing, report
from mlframework.cli.modes.named import run_folder


def show(arguments: argparse.Namespace) -> None:
    """Draw a run's plots into its folder, and unless some are named a page with all of them."""
    from mlframework.visualise.draw_all import draw_run
    from mlframework.visualise.run_outputs import must_compute
    from mlframework.visualise.run_plots import uses_outputs
    from mlframework.visualise.run_view import RunView

    view = RunView.of(run_folder(arguments.given[0], "run"))
    if uses_outputs(view, arguments.plot_type) and must_compute(view.run):
        console.err().print(
            f"{view.run.path} has no outputs_val.npz: the model and its data are built anew to compute it, which takes longer"
        )
    page = view.run.path / "report.html" if "html" in arguments.format and not arguments.plot_type else None
    with drawing():
        outcomes = draw_run(view, arguments.plot_type, view.run.path / "plots", arguments.format, page)
    report(outcomes, asked=bool(arguments.plot_type))
