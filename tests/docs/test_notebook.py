"""notebooks/optuna_tuning.ipynb runs from its first cell to its last, shows its plots, and says what is true."""

import base64
import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from PIL import Image

from mlframework.runs import read_json

sys.path.append(str(Path(__file__).parents[1]))

from support.browser import PROGRAM, chromium, opened

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebook", ROOT / "scripts" / "notebook.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()
COMMITTED = nbformat.read(SCRIPT.NOTEBOOK, as_version=4)


def kinds(cell: nbformat.NotebookNode) -> set[str]:
    """Return the kinds of what a cell shows."""
    return {kind for output in cell.outputs for kind in output.get("data", {output.output_type: None})}


def text(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


FEWER = {'"n_trials": 30': '"n_trials": 12', '"num_epochs": 20': '"num_epochs": 8', '"seeds": 5': '"seeds": 3'}
"""What the notebook says, and what is as true and quicker."""


@pytest.fixture(scope="module", params=[FEWER, pytest.param({}, marks=pytest.mark.slow)], ids=["fewer", "whole"])
def played(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[nbformat.NotebookNode, Path]:
    """The notebook, run, and the folder in which it was: with fewer trials, epochs and seeds, or as it stands."""
    if PROGRAM is None:
        pytest.skip("there is no Chromium or Chrome to draw the pictures")
    notebook = nbformat.read(SCRIPT.NOTEBOOK, as_version=4)
    for cell in code(notebook):
        cell.outputs = []
    for stands, fewer in request.param.items():
        (cell,) = (each for each in code(notebook) if stands in each.source)
        cell.source = cell.source.replace(stands, fewer)
    folder = tmp_path_factory.mktemp("notebook")
    SCRIPT.run(notebook, folder)
    return notebook, folder


@pytest.fixture
def ran(played: tuple[nbformat.NotebookNode, Path]) -> nbformat.NotebookNode:
    return played[0]


@pytest.fixture
def folder(played: tuple[nbformat.NotebookNode, Path]) -> Path:
    return played[1]


def test_every_plot_is_a_picture(ran: nbformat.NotebookNode) -> None:
    plots = [cell for cell in code(ran) if ".plot(" in cell.source]
    assert len(plots) >= 6
    for cell in plots:
        (output,) = cell.outputs
        picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
        assert picture.width >= 600 and len(picture.convert("RGB").getcolors(1 << 20) or ()) > 20, cell.source


def test_config_run_and_study_show_themselves(ran: nbformat.NotebookNode) -> None:
    shown = {
        cell.source.splitlines()[-1]: cell.outputs[-1].data
        for cell in code(ran)
        if cell.outputs
        if "data" in cell.outputs[-1]
    }
    for name in ("config", "first", "study"):
        assert "<table" in shown[name]["text/html"], name
    assert not any(output.get("name") == "stderr" for cell in code(ran) for output in cell.outputs)


def test_what_it_says_is_in_the_files(ran: nbformat.NotebookNode, folder: Path) -> None:
    results = read_json(folder / "runs/optuna_studies/tumours_tpe/results.json")
    said = "".join(text(cell) for cell in code(ran))
    assert f"picked: trial {results['best_trial']}" in said
    assert f"its value in the search:        {results['best_value']:.4f}" in said
    assert f"further seeds:     {results['confirmed']['mean']:.4f}, 95 % interval" in said
    test = read_json(folder / "runs/tumours-3-final/result.json")["test_metrics"]
    assert f"test_auc {test['test_auc']:.6g}"[:14] in said
    assert len((folder / "runs/tumours-3-final/test_ledger.jsonl").read_text().splitlines()) == 1


def test_the_report_is_drawn_inline(ran: nbformat.NotebookNode, folder: Path) -> None:
    page = folder / "inline.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8>{code(ran)[-1].outputs[-1].data['text/html']}", encoding="utf-8"
    )
    with chromium() as browser, opened(browser, page.as_uri()) as seen:
        frame = seen.page.frame_locator("iframe")
        frame.locator("h1").first.wait_for()
        assert "tumours_tpe" in frame.locator("body").inner_text()
        frame.locator(".js-plotly-plot").first.wait_for()
        assert (seen.errors, seen.requests) == ([], [])


def test_the_committed_notebook_was_run() -> None:
    for cell in code(COMMITTED):
        assert cell.execution_count is not None, cell.source
        if ".plot(" in cell.source:
            assert "image/png" in kinds(cell), cell.source
    assert SCRIPT.NOTEBOOK.stat().st_size < 2_000_000
    everything = SCRIPT.NOTEBOOK.read_text(encoding="utf-8")
    assert str(ROOT) not in everything and "/tmp/" not in everything
