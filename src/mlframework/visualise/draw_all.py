"""Drawing the plots of a study that were asked for: one that cannot be drawn does not keep the others from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlframework.errors import PlotError
from mlframework.registry import lookup
from mlframework.visualise.export import FORMATS, Format, write
from mlframework.visualise.search_plots import PLOTS, Plot
from mlframework.visualise.study_view import StudyView, resolve_params


@dataclass(frozen=True)
class Outcome:
    """What became of one plot.

    Attributes:
        name: the plot's name, as in `PLOTS`.
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
    """Draw plots into `<folder>/<plot>.html` and `.png`.

    Args:
        view: the study.
        names: names from `PLOTS`; none: all of them.
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
    plots = _plots(names)
    keys = resolve_params(view, params)
    if keys and not any(plot.uses_params for plot in plots.values()):
        using = ", ".join(name for name, plot in PLOTS.items() if plot.uses_params)
        raise PlotError(f"{' and '.join(plots)} shows no parameters; --params is for {using}")
    figures: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, plot in plots.items():
        try:
            figures[name] = plot.draw(plot.compute(view, keys))
        except PlotError as error:
            reasons[name] = str(error)
    written = write(figures, folder, formats)
    return [
        Outcome(
            name,
            tuple(path for path in written.paths if path.stem == name),
            reasons.get(name, written.reason),
        )
        for name in plots
    ]


def _plots(names: Sequence[str]) -> dict[str, Plot]:
    try:
        return {name: lookup(PLOTS, name, "plot") for name in names or PLOTS}
    except KeyError as error:
        raise PlotError(error.args[0]) from error
