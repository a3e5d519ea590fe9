"""The suite's table, and its results as a page."""

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.table import Table

from measure import ROOT
from scores import Score

PACKAGES = ("mlframework", "torch", "torchvision", "numpy", "implicit", "optuna", "polars")


def table_of(scores: Sequence[Score]) -> Table:
    """Return the table that the suite prints."""
    table = Table(title="ours / by hand, lower is better", title_justify="left")
    for name in ("case", "by hand", "ours", "ratio (smallest..largest)", "bar", "met?"):
        table.add_column(name, justify="left" if name == "case" else "right")
    for score in scores:
        table.add_row(*_cells(score), style=None if score.is_met else "red")
        for side in score.sides:
            if score.rounds and side not in (score.case.ours, score.case.floor):
                table.add_row(f"  {side}", "", _value(score, side), _ratios(score, side), "", "", style="dim")
    return table


def _cells(score: Score) -> list[str]:
    case = score.case
    if not score.rounds:
        return [case.what, "", "", "", f"{case.bar:.2f}", "failed"]
    floor = _value(score, case.floor) if case.floor else ""
    bar = f"{case.bar:.2f}" if case.floor else f"{case.bar:g} {case.unit}".strip()
    met = "wrong" if score.problems else "to 0.05" if score.is_within else "yes" if score.is_met else "NO"
    return [case.what, floor, _value(score, case.ours), _ratios(score, case.ours), bar, met]


def _value(score: Score, side: str) -> str:
    value, unit = median(score.values(side)), score.case.unit
    if unit == "s" and value < 1:
        value, unit = 1000 * value, "ms"
    return f"{value:.3g} {unit}".strip() if value < 1000 else f"{value:.0f} {unit}".strip()


def _ratios(score: Score, side: str) -> str:
    ratios = score.ratios(side)
    return f"{median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def write_results(scores: Sequence[Score], path: Path) -> None:
    """Write the table, every round's ratios, and what they were measured with."""
    lines = [
        "# Results of the benchmark suite",
        "",
        "Written by `make bench`. Each side ran in a process of its own on one thread, in turn, round by round; the",
        "values are medians, a ratio is that of one round. What is fair about each case stands in [README.md](README.md).",
        "",
        *(f"- {name}: {what}" for name, what in surroundings().items()),
        "",
        "| case | by hand | ours | ratio (smallest..largest) | bar | met? |",
        "|---|---|---|---|---|---|",
        *("| " + " | ".join(_cells(score)) + " |" for score in scores),
        "",
        "## Round by round",
        "",
        "| case | side | median | processor s | whole process s | peak MB | ratio to by hand, each round |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_side_line(score, side) for score in scores if score.rounds for side in score.sides]
    problems = [f"- {score.case.name}: {problem.splitlines()[0]}" for score in scores for problem in score.problems]
    if problems:
        lines += ["", "## What went wrong", "", *problems]
    path.write_text("\n".join(lines) + "\n")


def _side_line(score: Score, side: str) -> str:
    runs = [each[side] for each in score.rounds]
    used = [f"{median(getattr(run, name) for run in runs):.2f}" for name in ("cpu", "wall")]
    ratios = " ".join(f"{ratio:.2f}" for ratio in score.ratios(side))
    cells = [score.case.name, side, _value(score, side), *used, f"{median(run.rss for run in runs):.0f}", ratios]
    return "| " + " | ".join(cells) + " |"


def surroundings() -> dict[str, str]:
    """Return what was measured with what, and when."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "processor": f"{_processor()}, {os.cpu_count()} cores",
    }


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
