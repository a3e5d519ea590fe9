"""All that a run knows on one page, `report.html` in its folder: how it ended, its pictures, its settings, how to go on."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mlframework.runs import read_json, write_text
from mlframework.visualise.page.blocks import Block, heading, notice, page_of_blocks, paragraph, table
from mlframework.visualise.page.charts import chart_of, plain
from mlframework.visualise.run_outputs import owner_of
from mlframework.visualise.run_view import RunView, standing
from mlframework.visualise.wording import short, six_digits

if TYPE_CHECKING:
    import plotly.graph_objects as go

_Section: TypeAlias = tuple[str, list[Block]]


def write_run_report(
    view: RunView, plots: "Mapping[str, tuple[str, go.Figure]]", missing: Mapping[str, str], path: Path
) -> Path:
    """Write the page.

    Args:
        view: the run.
        plots: name of a plot to what it shows, and its figure.
        missing: name of a plot that could not be drawn to the reason.
        path: the file.

    Raises:
        RunError: it cannot be written.
    """
    sections = [_result(view), *_drawn(plots, missing), *_settings(view), _commands(view)]
    write_text(path, page_of_blocks(view.name, "Report of a run", [" · ".join(standing(view))], sections).html)
    return path


def _result(view: RunView) -> _Section:
    """Return the metrics of the best epoch, of the last one, and of the test split where it was opened."""
    result = view.run.read_result() or {}
    last = view.records[-1]
    best = next((each for each in view.records if view.best is not None and each.epoch == view.best.epoch), last)
    columns = {f"best epoch ({best.epoch})": best.metrics, f"last epoch ({last.epoch})": last.metrics}
    names = list(dict.fromkeys(name for metrics in columns.values() for name in metrics))
    decides = None if view.best is None else view.best.metric
    rows = [[name, *(_number(metrics.get(name)) for metrics in columns.values())] for name in names]
    blocks: list[Block] = [table(["metric", *columns], rows, "Metrics of the run", _of(names, decides), numbers=(1, 2))]
    test = result.get("test_metrics")
    if isinstance(test, Mapping) and test:
        rows = [[str(name), _number(value)] for name, value in test.items()]
        blocks.append(table(["metric", "test split"], rows, "Metrics of the test split", numbers=(1,)))
    return "How it ended", blocks


def _of(names: Sequence[str], decides: str | None) -> list[tuple[int, int]]:
    return [(names.index(decides), 1)] if decides in names else []


def _number(value: Any) -> str:
    return short(float(value)) if isinstance(value, int | float) else "–"


def _drawn(plots: "Mapping[str, tuple[str, go.Figure]]", missing: Mapping[str, str]) -> Iterator[_Section]:
    for name, (shows, figure) in plots.items():
        yield shows[:1].upper() + shows[1:], _shown(name, figure)
    if missing:
        by_reason: dict[str, list[str]] = {}
        for name, reason in missing.items():
            by_reason.setdefault(reason, []).append(name)
        yield "Not drawn", [notice(f"{', '.join(names)}: {reason}") for reason, names in by_reason.items()]


def _shown(name: str, figure: "go.Figure") -> list[Block]:
    """Return a chart; one that is a table is a table, which a phone can scroll and everybody can copy from."""
    if [trace.type for trace in figure.data] != ["table"]:
        return [chart_of(name, figure)]
    chart, drawn = chart_of(name, figure), figure.data[0]
    rows = [[plain(cell) for cell in row] for row in zip(*drawn.cells.values, strict=True)]
    numbers = [at for at, side in enumerate(drawn.cells.align) if side == "right"]
    header = [plain(text) for text in drawn.header.values]
    return [heading(chart.title), paragraph(chart.summary), table(header, rows, chart.title, numbers=numbers)]


def _settings(view: RunView) -> Iterator[_Section]:
    from mlframework.config import yaml
    from mlframework.errors import ConfigError

    owner = owner_of(view.run)
    try:
        tree = yaml.read(owner.config).tree
    except ConfigError as error:
        yield "Settings", [notice(str(error))]
        return
    settings = list(_leaves(tree, ""))
    rows = [(key, six_digits(value)) for key, value in settings]
    exact = {(at, 1): value for at, (_, value) in enumerate(settings) if rows[at][1] != value}
    blocks: list[Block] = [table(["setting", "value"], rows, "Settings of the run", titles=exact)]
    if owner.environment.is_file():
        about = read_json(owner.environment)
        told = [f"started {about['started']}"] if "started" in about else []
        told += [f"Python {about['python']}"] if "python" in about else []
        blocks.append(paragraph(" · ".join(told)))
    yield "Settings", blocks


def _leaves(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield (
                f"{above}{key}",
                value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str),
            )


def _commands(view: RunView) -> _Section:
    run, config = shlex.quote(str(view.run.path)), shlex.quote(str(owner_of(view.run).config))
    is_final = (view.run.path / "final.json").is_file()
    rows = [
        ("train it again", f"ml-train --config {config}"),
        ("with another learning rate", f"ml-train --config {config} --optimizer.lr 0.001"),
        ("draw it again, as PNG too", f"ml-visualise --mode run {run}"),
        ("see it beside others", f"tensorboard --logdir {shlex.quote(str(view.run.path.parent))}"),
    ]
    if not is_final:
        rows.insert(1, ("train on train and val, and test once", f"ml-train --config {config} --mode final"))
    is_own = owner_of(view.run) == view.run and not (view.run.path.parent / "study.json").is_file()
    if view.reason is None and is_own:
        rows.insert(0, ("go on with it", f"ml-train --resume {run}"))
    return "Go on", [table(["to", "command"], rows, "Commands")]
