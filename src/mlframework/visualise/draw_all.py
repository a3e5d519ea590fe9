"""Drawing the plots that were asked for: one that cannot be drawn does not keep the others from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlframework.errors import PlotError, RunError
from mlframework.registry import lookup
from mlframework.visualise.export import FORMATS, Format, write
from mlframework.visualise.run_plots import RUN_PLOTS, RunPlot
from mlframework.visualise.run_report import write_run_report
from mlframework.visualise.run_view import RunView
from mlframework.visualise.search_plots import PLOTS, Plot
from mlframework.visualise.study_view import StudyView, resolve_params

if TYPE_CHECKING:
    import plotly.graph_objects as go

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What became of one plot.

    Attributes:
        name: the plot's name, as in `PLOTS` or `RUN_PLOTS`.
        paths: the files that were written.
        reason: why it, or its PNG, could not be drawn, with what to do; else None.
    """

    name: str
    paths: tuple[Path, ...]
    reason: str | None


def draw_all(
    view: StudyView,
    names: Sequence[str],
    params: Sequence[str],
    folder: Path,
    formats: Sequence[Format] = FORMATS,
) -> list[Outcome]:
    """Draw plots of a study into `<folder>/<plot>.html` and `.png`.

    Args:
        view: the study.
        names: names from `PLOTS`; none: all that fit the study, but for those that take long.
        params: the parameters to show, as dotted keys or their last parts; none: each plot's own choice.
        folder: where to.
        formats: which of "html" and "png".

    Returns:
        One outcome a plot, in the order asked for.

    Raises:
        PlotError: a plot, parameter or format is unknown, or none of the plots makes use of parameters.
        MissingExtraError: plotly or kaleido is not installed.
        RunError: the folder cannot be written.
    """
    plots = _chosen(PLOTS, names or [name for name, plot in PLOTS.items() if plot.by_default and plot.fits(view)])
    keys = resolve_params(view, params)
    if keys and not any(plot.uses_params for plot in plots.values()):
        using = ", ".join(name for name, plot in PLOTS.items() if plot.uses_params)
        raise PlotError(f"{' and '.join(plots)} shows no parameters; --params is for {using}")

    def figure(plot: Plot) -> "go.Figure":
        return plot.draw(plot.compute(view, keys))

    return _draw({name: partial(figure, plot) for name, plot in plots.items()}, folder, formats)


def study_figure(view: StudyView, name: str, params: Sequence[str]) -> "go.Figure":
    """Return one plot of a study, without writing it.

    Raises:
        PlotError: the plot or a parameter is unknown, or the study does not have what it shows.
        MissingExtraError: plotly is not installed.
    """
    plot = _chosen(PLOTS, [name])[name]
    return plot.draw(plot.compute(view, resolve_params(view, params)))


def run_figure(view: RunView, name: str) -> "go.Figure":
    """Return one plot of a run, without writing it.

    Raises:
        PlotError: the plot is unknown.
        RunError: the run does not have what it shows.
        MissingExtraError: plotly is not installed.
    """
    plot = _chosen(RUN_PLOTS, [name])[name]
    return plot.draw(plot.compute(view))


def draw_run(
    view: RunView, names: Sequence[str], folder: Path, formats: Sequence[Format] = FORMATS, report: Path | None = None
) -> list[Outcome]:
    """Draw plots of a run into `<folder>/<plot>.html` and `.png`.

    Args:
        view: the run.
        names: names from `RUN_PLOTS`; none: all that fit the run.
        folder: where to.
        formats: which of "html" and "png".
        report: where a page with all of them is written; None: nowhere.

    Returns:
        One outcome a plot, in the order asked for, and where a page is asked for one named "report".

    Raises:
        PlotError: a plot or format is unknown.
        MissingExtraError: plotly or kaleido is not installed.
        RunError: the folder cannot be written.
    """
    plots = _chosen(RUN_PLOTS, names)
    if not names:
        plots = {name: plot for name, plot in plots.items() if plot.fits(view)}

    def figure(plot: RunPlot) -> "go.Figure":
        return plot.draw(plot.compute(view))

    figures, reasons = _figures({name: partial(figure, plot) for name, plot in plots.items()})
    outcomes = _written(list(plots), figures, reasons, folder, formats)
    if report is not None:
        shown = {name: (plots[name].shows, each) for name, each in figures.items()}
        outcomes.append(Outcome("report", (write_run_report(view, shown, reasons, report),), None))
    return outcomes


def _chosen(table: Mapping[str, T], names: Sequence[str]) -> dict[str, T]:
    try:
        return {name: lookup(table, name, "plot") for name in names or table}
    except KeyError as error:
        raise PlotError(error.args[0]) from error


def _draw(plots: "Mapping[str, Callable[[], go.Figure]]", folder: Path, formats: Sequence[Format]) -> list[Outcome]:
    """Make the figures and write them."""
    return _written(list(plots), *_figures(plots), folder, formats)


def _figures(plots: "Mapping[str, Callable[[], go.Figure]]") -> "tuple[dict[str, go.Figure], dict[str, str]]":
    """Make the figures one by one, and note why one cannot be drawn."""
    figures: dict[str, go.Figure] = {}
    reasons: dict[str, str] = {}
    for name, figure in plots.items():
        try:
            figures[name] = figure()
        except (PlotError, RunError) as error:
            reasons[name] = str(error)
    return figures, reasons


def _written(
    names: Sequence[str], figures: "Mapping[str, go.Figure]", reasons: Mapping[str, str], folder: Path,
    formats: Sequence[Format],
) -> list[Outcome]:  # fmt: skip
    """Write the figures, and say what became of each plot."""
    written = write(figures, folder, formats)
    return [
        Outcome(
            name,
            tuple(path for path in written.paths if path.stem == name),
            reasons.get(name, written.reason),
        )
        for name in names
    ]
