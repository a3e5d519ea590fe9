"""Runs notebooks/optuna_tuning.ipynb and keeps what it shows: `python scripts/notebook.py` (`make notebook`).

It runs in a temporary folder, so that it starts without a study. What is too large for a repository (the report, which
brings its own plotly.js) is left out of the file; who runs the cell sees it.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "optuna_tuning.ipynb"
_LARGEST = 300_000  # characters of an output that is kept
_ONE_BROWSER = """import kaleido as _kaleido, warnings as _warnings
_warnings.filterwarnings("ignore", "The kopts argument is ignored")
_kaleido.start_sync_server(silence_warnings=True)"""
"""What the kernel runs first: one browser draws all pictures, where plotly starts one for each."""


def run(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run all cells in a folder; the outputs are put into the notebook.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an exception.
    """
    # The commands that cells call, and a kernel whose threads do not fight for the cores.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=[f"--InteractiveShellApp.exec_lines={_ONE_BROWSER}"],
    ).execute()


def without_large_outputs(notebook: nbformat.NotebookNode) -> None:
    """Take outputs out that are too large for a repository, and what differs from one run to the next."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if len(str(output.get("data", {}))) > _LARGEST:
                output["data"] = {"text/plain": "(a page of several megabytes; run the cell to see it)"}


def main() -> None:
    """Run the notebook and write it back."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        run(notebook, Path(folder))
    without_large_outputs(notebook)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
