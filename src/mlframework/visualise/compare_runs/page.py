"""A comparison as a page, and as files."""

import re
from collections.abc import Sequence
from pathlib import Path

from mlframework.errors import PlotError
from mlframework.runs import write_text
from mlframework.visualise.compare_runs import curves
from mlframework.visualise.compare_runs.curves import Overlaid
from mlframework.visualise.compare_runs.differences import Comparison, Row
from mlframework.visualise.compare_runs.sides import Side
from mlframework.visualise.export import Format, Written, write
from mlframework.visualise.page.blocks import Block, notice, page_of_blocks, paragraph, table
from mlframework.visualise.page.charts import Chart, chart_of
from mlframework.visualise.wording import count_of

_LONGEST = 100  # characters of a folder's name


def folder_name(names: Sequence[str]) -> str:
    """Return the name of a comparison's folder: those of its runs, as many as there is room for."""
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", name) for name in names]
    kept = plain[:1]
    for name in plain[1:]:
        if len("_".join([*kept, name])) > _LONGEST:
            break
        kept.append(name)
    rest = len(plain) - len(kept)
    return "_".join(kept)[:_LONGEST] + (f"_and_{rest}_more" if rest else "")


def write_comparison(
    comparison: Comparison, overlaid: Overlaid | None, folder: Path, formats: Sequence[Format]
) -> Written:
    """Write `comparison.html` and the curves' `curves.png`.

    Args:
        comparison: what differs.
        overlaid: the curves; None where there are none to lay over one another.
        folder: where to; made where it is missing.
        formats: which of "html" and "png".

    Raises:
        MissingExtraError: plotly or kaleido is not installed.
        RunError: the folder cannot be written.
    """
    figures = {} if overlaid is None else {"curves": curves.draw(overlaid)}
    written: tuple[Path, ...] = ()
    if "html" in formats:
        path = folder / "comparison.html"
        charts = [chart_of(name, figure) for name, figure in figures.items()]
        write_text(path, _page(comparison, charts, () if overlaid is None else overlaid.left_out))
        written = (path,)
    drawn = write(figures, folder, [name for name in formats if name == "png"])
    return Written((*written, *drawn.paths), drawn.reason)


def overlay(sides: Sequence[Side]) -> tuple[Overlaid | None, str | None]:
    """Return the curves of runs, or why there are none."""
    try:
        return curves.compute(sides), None
    except PlotError as error:
        return None, str(error)


def _page(comparison: Comparison, charts: Sequence[Chart], left_out: Sequence[str]) -> str:
    drawn: list[Block] = [*charts] or [paragraph("The runs have no metric in common.")]
    if left_out:
        drawn.append(paragraph(f"Only one run has: {', '.join(left_out)}."))
    said = f"{count_of(len(comparison.settings), 'setting')} that are not the same in all runs, defaults included."
    sections: list[tuple[str, list[Block]]] = [
        ("Results", [*map(notice, comparison.notes), _table(comparison, comparison.results, "results")]),
        ("Curves", drawn),
        (
            "What is set differently",
            [paragraph(said), _table(comparison, comparison.settings, "settings that differ")]
            if comparison.settings
            else [paragraph("Nothing: all settings are the same.")],
        ),
        (
            "Data and versions",
            [_table(comparison, comparison.surroundings, "data and versions that differ")]
            if comparison.surroundings
            else [paragraph("The same data, versions and machine, as far as they were recorded.")],
        ),
    ]
    names = comparison.names
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return page_of_blocks(f"Comparison of {count_of(len(names), 'run')}", "Runs side by side", [listed], sections).html


def _table(comparison: Comparison, rows: Sequence[Row], caption: str) -> str:
    strong = {(at, 1 + run) for at, row in enumerate(rows) for run in row.best}
    exact = {
        (at, run): value
        for at, row in enumerate(rows)
        for run, (value, text) in enumerate(zip(row.values, row.texts(), strict=True), 1)
        if isinstance(value, str) and value != text
    }
    return table(
        ["", *comparison.names], [[row.key, *row.texts()] for row in rows], caption, strong,
        numbers=range(1, len(comparison.names) + 1), titles=exact,
    )  # fmt: skip
