"""Files: written whole, works offline, one plot's failure is not another's."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mlframework.errors import MissingExtraError, PlotError, RunError
from mlframework.visualise import export, style
from mlframework.visualise.draw_all import draw_all
from mlframework.visualise.search_plots import PLOTS
from mlframework.visualise.study_view import StudyView

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def test_html_works_offline_and_png_is_sharp(view: StudyView, tmp_path: Path) -> None:
    if not any(shutil.which(name) for name in BROWSERS):
        pytest.skip("no Chrome or Chromium on the PATH")
    [history, importances] = draw_all(view, ["optimization_history", "param_importances"], [], tmp_path / "plots")
    assert (history.reason, importances.reason) == (None, None)
    assert history.paths == (
        tmp_path / "plots/optimization_history.html",
        tmp_path / "plots/optimization_history.png",
    )
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "optimization_history.html",
        "optimization_history.png",
        "param_importances.html",
        "param_importances.png",
    ]
    with Image.open(history.paths[1]) as picture:
        assert picture.size == (2300, 1120)
        colours = {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=10**6)}
    assert (213, 94, 0) in colours  # the best trial's vermillion
    page = history.paths[0].read_text(encoding="utf-8")
    assert "<script src=" not in page and len(page) > 3_000_000
    assert '"modeBarButtonsToRemove": ["sendChartToCloud"' in page  # nothing is uploaded by a click


def test_what_cannot_be_drawn_does_not_keep_the_others_from_it(single: StudyView, tmp_path: Path) -> None:
    outcomes = {outcome.name: outcome for outcome in draw_all(single, [], [], tmp_path, ["html"])}
    assert list(outcomes) == [name for name, plot in PLOTS.items() if plot.by_default and plot.fits(single)]
    failed = {name for name, outcome in outcomes.items() if outcome.reason}
    assert failed == {"param_importances", "contour"}
    for name, outcome in outcomes.items():
        assert outcome.paths == (() if name in failed else (tmp_path / f"{name}.html",))
        assert (tmp_path / f"{name}.html").exists() == (name not in failed)
    assert "needs 2 finished trials" in str(outcomes["contour"].reason)


def test_parameters_by_their_short_names(view: StudyView, tmp_path: Path) -> None:
    [outcome] = draw_all(view, ["contour"], ["lr", "batch_size"], tmp_path, ["html"])
    assert outcome.reason is None
    assert "val_acc over lr and batch_size" in outcome.paths[0].read_text(encoding="utf-8")


def test_what_is_asked_for_wrongly_is_said_before_anything_is_drawn(view: StudyView, tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="unknown plot 'contuor'; did you mean 'contour'"):
        draw_all(view, ["contuor"], [], tmp_path)
    with pytest.raises(PlotError, match="unknown parameter 'lrr'; did you mean 'lr'"):
        draw_all(view, ["contour"], ["lrr"], tmp_path)
    with pytest.raises(PlotError, match="optimization_history shows no parameters; --params is for param_importances"):
        draw_all(view, ["optimization_history"], ["lr"], tmp_path)
    with pytest.raises(PlotError, match="unknown format 'pdf'"):
        draw_all(view, ["slice"], [], tmp_path, ["pdf"])  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


def test_without_a_browser_the_html_is_kept(view: StudyView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from plotly.io._kaleido import PLOTLY_GET_CHROME_ERROR_MSG  # what plotly really says

    def no_browser(**given: object) -> None:
        raise RuntimeError(PLOTLY_GET_CHROME_ERROR_MSG)

    monkeypatch.setattr("plotly.io.write_images", no_browser)
    [outcome] = draw_all(view, ["optimization_history"], [], tmp_path)
    assert outcome.paths == (tmp_path / "optimization_history.html",)
    assert outcome.reason == export.NO_BROWSER
    assert "apt-get install chromium" in export.NO_BROWSER and "plotly_get_chrome" in export.NO_BROWSER
    assert [path.name for path in tmp_path.iterdir()] == ["optimization_history.html"]


def test_a_browser_that_fails_leaves_old_pictures_alone(
    view: StudyView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slice.png").write_bytes(b"old")

    def half_way(*, file: list[Path], **given: object) -> None:
        file[0].write_bytes(b"half")
        raise TimeoutError("the page did not answer\nsecond line")

    monkeypatch.setattr("plotly.io.write_images", half_way)
    [outcome] = draw_all(view, ["slice"], [], tmp_path, ["png"])
    assert outcome.paths == ()
    assert outcome.reason == "no PNG: the browser did not draw it (TimeoutError: the page did not answer)"
    assert (tmp_path / "slice.png").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["slice.png"]


STUMBLING = """
import logging
from pathlib import Path
import plotly.graph_objects
import plotly.io
from mlframework.visualise import export

def stumble(*, file, **given):
    for library in ("choreographer.channels.pipe", "kaleido.kaleido"):
        try:
            raise ValueError("half a message")
        except ValueError:
            logging.getLogger(library).exception("ignored")
    file[0].write_bytes(b"drawn")

plotly.io.write_images = stumble
written = export.write({"one": plotly.graph_objects.Figure()}, Path("plots"), ["png"])
assert (written.paths, written.reason) == ((Path("plots/one.png"),), None)
"""


def test_what_the_browsers_libraries_get_past_is_not_shown(here: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STUMBLING], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_folder_that_cannot_be_made(view: StudyView, tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("in the way")
    with pytest.raises(RunError, match="a file stands"):
        draw_all(view, ["slice"], [], tmp_path / "plots", ["html"])


def test_missing_plotly_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(MissingExtraError, match=r"drawing plots needs plotly.*mlframework\[optuna\]"):
        style.plotly()


def test_missing_kaleido_names_the_extra(view: StudyView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(MissingExtraError, match=r"needs kaleido.*mlframework\[optuna\]"):
        draw_all(view, ["slice"], [], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_importing_is_cheap() -> None:
    code = (
        "import sys, mlframework.visualise.draw_all\n"
        "print([name for name in ('plotly', 'optuna', 'kaleido', 'polars', 'scipy', 'sklearn', 'torch') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
