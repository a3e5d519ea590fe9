"""`ml-visualise`: draw what happened."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlframework.cli import console
from mlframework.cli.options import Parser
from mlframework.errors import ConfigError, PlotError, Problem
from mlframework.registry import nearest

if TYPE_CHECKING:
    from mlframework.visualise.draw_all import Outcome

PLOT_TYPES = (
    "optimization_history", "param_importances", "importance_significance", "folds", "slice", "contour", "parallel_coordinate",
    "intermediate_values", "pareto_front", "confirm",
)  # fmt: skip
RUN_PLOT_TYPES = ("curves", "recall_at_k", "popularity")
FORMATS = ("html", "png")


def main() -> None:
    """Entry point."""
    console.run(_main)


def _parser() -> Parser:
    parser = Parser("ml-visualise", "Draw a study or a run: interactive HTML, and PNG, into its folder.")
    parser.usage = "%(prog)s --mode search --study-name S [options]\n       %(prog)s --mode run RUN [options]"
    parser.add_argument("run", nargs="?", metavar="RUN", help="with --mode run: the run's folder")
    parser.add_argument(
        "--mode", choices=["search", "run"], required=True,
        help="what to draw: search, the trials of a study; run, one run",
    )  # fmt: skip
    parser.add_argument("--run", dest="run_option", metavar="RUN", help="the same as RUN")
    parser.add_argument("--study-name", metavar="S", help="with --mode search: the study")
    parser.add_argument(
        "--plot-type", nargs="+", metavar="T", default=[], type=_one_of((*PLOT_TYPES, *RUN_PLOT_TYPES)),
        help=f"search: {', '.join(PLOT_TYPES)} (default: all that fit the study but folds, and "
        "importance_significance, which takes a minute); "
        f"run: {', '.join(RUN_PLOT_TYPES)} (default: all that fit the run)",
    )  # fmt: skip
    parser.add_argument(
        "--params", nargs="+", metavar="P", default=[],
        help="with --mode search: parameters by dotted key or last part: lr batch_size",
    )  # fmt: skip
    parser.add_argument(
        "--metric", metavar="M",
        help="with --mode search, of a study with several objectives: the one to show, in a folder of its own "
        "(default: the one that trials report)",
    )  # fmt: skip
    parser.add_argument(
        "--format",
        nargs="+",
        metavar="F",
        default=list(FORMATS),
        type=_one_of(FORMATS),
        help="html, png (default: both)",
    )
    parser.add_argument(
        "--storage", metavar="URL",
        help="with --mode search: the study's storage (default: the one that its folder records)",
    )  # fmt: skip
    return parser


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    """Return a reader of one of `names`; these options take several values, and so a RUN that stands after them."""

    def read(text: str) -> str:
        if text in names:
            return text
        near = nearest(text, names)
        guess = f"; did you mean {near!r}?" if near else ""
        run = "; RUN stands before this option, or after --run" if Path(text).is_dir() else ""
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r}{guess or run} (known: {', '.join(names)})")

    return read


def _main() -> None:
    arguments = _parser().parse_args()
    _check(arguments)
    outcomes = _draw_study(arguments) if arguments.mode == "search" else _draw_run(arguments)
    _report(outcomes, asked=bool(arguments.plot_type))


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what the mode has no use for.

    Raises:
        ConfigError: with everything that is wrong.
    """
    of_study = {
        "--study-name": arguments.study_name is not None,
        "--params": bool(arguments.params),
        "--metric": arguments.metric is not None,
        "--storage": arguments.storage is not None,
    }
    of_run = {"RUN": arguments.run is not None, "--run": arguments.run_option is not None}
    searching = arguments.mode == "search"
    other, mode = ("run", of_run) if searching else ("search", of_study)
    problems = [Problem("ml-visualise", name, f"is for --mode {other} only") for name, given in mode.items() if given]
    if searching and not of_study["--study-name"]:
        problems.append(Problem("ml-visualise", "--study-name", "is needed: the name of the study"))
    if not searching and sum(of_run.values()) != 1:
        what = "and --run say the same: give one of them" if all(of_run.values()) else "is needed: the run's folder"
        problems.append(Problem("ml-visualise", "RUN", what))
    known = PLOT_TYPES if searching else RUN_PLOT_TYPES
    problems += [
        Problem("ml-visualise", "--plot-type", f"{name} is a plot of --mode {other}; this mode has {', '.join(known)}")
        for name in arguments.plot_type
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)


def _draw_study(arguments: argparse.Namespace) -> list[Outcome]:
    from mlframework.search.lookup import find_study, goal_of
    from mlframework.visualise.draw_all import draw_all
    from mlframework.visualise.study_view import StudyView

    study, metric, _, folder = find_study(arguments.study_name, arguments.storage)
    goal = goal_of(study, metric, folder)
    view = StudyView.of(study, arguments.metric or goal.main, goal)
    plots = folder.plots if view.metric == goal.main else folder.plots / view.metric
    return draw_all(view, arguments.plot_type, arguments.params, plots, arguments.format)


def _draw_run(arguments: argparse.Namespace) -> list[Outcome]:
    from mlframework.visualise.draw_all import draw_run
    from mlframework.visualise.run_view import RunView

    view = RunView.of(Path(arguments.run or arguments.run_option))
    return draw_run(view, arguments.plot_type, view.run.path / "plots", arguments.format)


def _report(outcomes: Sequence[Outcome], asked: bool) -> None:
    """Print what was written, and why the rest was not.

    Raises:
        PlotError: nothing was drawn, or not all that was asked for by name.
    """
    screen = console.out()
    reasons: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.paths:
            screen.print(f"{outcome.name}: {' '.join(str(path) for path in outcome.paths)}")
        if outcome.reason is not None:
            reasons.setdefault(outcome.reason, []).append(outcome.name)
    for reason, names in reasons.items():
        console.err().print(f"{', '.join(names)}: {reason}")
    missing = [outcome.name for outcome in outcomes if not outcome.paths]
    if len(missing) == len(outcomes):
        raise PlotError("no plot could be drawn")
    if asked and missing:
        raise PlotError(f"not drawn: {', '.join(missing)}")
