"""Writing figures to files: interactive HTML that works offline, and PNG by way of a browser."""

import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from mlframework.errors import MissingExtraError, PlotError
from mlframework.registry import unknown
from mlframework.runs import make_folder, write_text, writing

if TYPE_CHECKING:
    import plotly.graph_objects as go

Format: TypeAlias = Literal["html", "png"]
FORMATS: tuple[Format, ...] = ("html", "png")

_PNG_WIDTH = 1150  # pixels, doubled by the scale; a page's plot takes the page's width instead
_PNG_SCALE = 2

# Since plotly 7 a button of the toolbar uploads the chart to plotly's cloud: nobody's results leave by accident.
PAGE_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d"],
    "plotlyServerURL": "",
}
"""Settings of every plot in a page, for plotly's `to_html(config=...)`."""

NO_BROWSER = (
    "no PNG: it takes Chrome or Chromium, and none was found. Install one (Debian, Ubuntu: apt-get install chromium; "
    "anywhere: plotly_get_chrome), or name its program in BROWSER_PATH"
)


_SILENT = logging.NullHandler()


@dataclass(frozen=True)
class Written:
    """What `write` wrote.

    Attributes:
        paths: the files, in the order of the figures, HTML before PNG.
        reason: why there is no PNG where one was asked for, with what to do; else None.
    """

    paths: tuple[Path, ...]
    reason: str | None


def write(figures: "Mapping[str, go.Figure]", folder: Path, formats: Sequence[Format] = FORMATS) -> Written:
    """Write `<name>.html` and `<name>.png` for each figure. Each file appears whole or not at all.

    Args:
        figures: name to figure.
        folder: where to; made where it is missing.
        formats: which of "html" and "png".

    Raises:
        PlotError: a format is unknown.
        MissingExtraError: kaleido, which PNG needs, is not installed; nothing is written.
        RunError: the folder cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise PlotError(unknown(name, FORMATS, "format"))
    if "png" in formats and importlib.util.find_spec("kaleido") is None:
        raise MissingExtraError("kaleido", "optuna", "drawing PNG files")
    html, png = {}, {}
    reason = None
    if "html" in formats:
        html = {name: _write_html(figure, folder / f"{name}.html") for name, figure in figures.items()}
    if "png" in formats and figures:
        try:
            png = _write_png(figures, folder)
        except _BrowserError as error:
            reason = str(error)
    paths = [path for name in figures for path in (html.get(name), png.get(name)) if path is not None]
    return Written(tuple(paths), reason)


class _BrowserError(Exception):
    """The browser is missing, or did not do its work."""


def _write_html(figure: "go.Figure", path: Path) -> Path:
    write_text(path, figure.to_html(include_plotlyjs=True, config=PAGE_CONFIG))
    return path


def _write_png(figures: "Mapping[str, go.Figure]", folder: Path) -> dict[str, Path]:
    """Draw all figures with one browser: starting it takes longer than a picture does."""
    import plotly.io

    # Without a handler Python prints their warnings, with tracebacks, on stderr: what they stumble over and get past
    # is no user's matter, and what ends the drawing comes as an exception.
    for library in ("choreographer", "kaleido"):
        logging.getLogger(library).addHandler(_SILENT)
    with writing(folder):
        make_folder(folder)
        drafts = Path(tempfile.mkdtemp(dir=folder, prefix=".plots."))
    try:
        files = {name: drafts / f"{name}.png" for name in figures}
        try:
            plotly.io.write_images(
                fig=list(figures.values()),
                file=list(files.values()),
                format="png",
                width=[figure.layout.width or _PNG_WIDTH for figure in figures.values()],
                height=[figure.layout.height for figure in figures.values()],
                scale=_PNG_SCALE,
            )
        except Exception as error:
            # The browser is another program: what it and the two libraries that drive it raise is open-ended (a time
            # out, a closed channel, a protocol error). Whatever it was, the HTML stays and the reason is told.
            raise _BrowserError(_why(error)) from error
        with writing(folder):
            for name, file in files.items():
                os.replace(file, folder / f"{name}.png")
        return {name: folder / f"{name}.png" for name in figures}
    finally:
        shutil.rmtree(drafts, ignore_errors=True)


def _why(error: Exception) -> str:
    if "requires Google Chrome" in str(error) or type(error).__name__ == "ChromeNotFoundError":
        return NO_BROWSER
    said = str(error.args[0] if error.args else "").strip().splitlines()
    return f"no PNG: the browser did not draw it ({type(error).__name__}: {said[0] if said else 'no message'})"
