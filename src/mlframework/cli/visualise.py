"""`ml-visualise`: draw what happened. What a mode does stands in `cli/modes/`, a file each."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlframework.cli import console
from mlframework.cli.options import Parser
from mlframework.cli.serving import port_number
from mlframework.errors import ConfigError, Problem
from mlframework.imports import preload
from mlframework.registry import nearest

PLOT_TYPES = (
    "optimization_history", "param_importances", "importance_significance", "folds", "slice", "contour", "parallel_coordinate",
    "intermediate_values", "pareto_front", "confirm",
)  # fmt: skip
RUN_PLOT_TYPES = (
    "curves", "confusion_matrix", "calibration", "roc", "precision_recall", "residuals", "mistakes", "recall_at_k",
    "ranking_at_k", "user_hits", "popularity",
)  # fmt: skip
FORMATS = ("html", "png")


@dataclass(frozen=True)
class Mode:
    """What `--mode` chooses.

    Attributes:
        shows: what it shows, for the help.
        given: what stands on the command line without an option: "RUN", "CONFIG", or None for nothing.
        about: what that is.
        at_least: how many of them it takes at least; one, unless it takes several, or can do without.
        options: the options that it has a use for, by their name in the arguments; every other one is refused.
        needs: what cannot be left out, and what it is.
        plots: what `--plot-type` may name.
    """

    shows: str
    given: str | None = None
    about: str = ""
    at_least: int = 1
    options: tuple[str, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()
    plots: tuple[str, ...] = ()


MODES = {
    "search": Mode(
        "the trials of a study",
        options=("study_name", "plot_type", "params", "metric", "format", "storage", "report"),
        needs=(("study_name", "the name of the study"),),
        plots=PLOT_TYPES,
    ),
    "run": Mode(
        "one run", given="RUN", about="the run's folder", options=("run", "plot_type", "format"), plots=RUN_PLOT_TYPES
    ),
    "compare": Mode(
        "what differs between runs or trials, and their curves", given="RUN", at_least=2, options=("output", "format"),
        about="folders of two runs or more; a trial as STUDY/NUMBER",
    ),
    "data": Mode(
        "what a config is trained on, and what its splits share", given="CONFIG", about="the config's file",
        options=("samples", "output", "format"),
    ),
    "predictions": Mode(
        "what a run's model says of examples", given="RUN", about="the run's folder",
        options=("run", "input", "users", "k", "items", "samples", "output", "format"),
    ),
    "launch": Mode(
        "all that there is, live in TensorBoard",
        given="RUN",
        about="a study's folder or any folder of runs, too (default: runs)",
        at_least=0,
        options=("run", "port"),
    ),
    "dashboard": Mode("a study's storage, live in optuna-dashboard", options=("study_name", "storage", "port")),
}  # fmt: skip
"""Name to mode; `cli/modes/<name>.py` has its `show(arguments)`."""


def main() -> None:
    """Entry point."""
    console.run(_main)


def _parser() -> Parser:
    parser = Parser("ml-visualise", "Draw a study or a run: interactive HTML, and PNG, into its folder.")
    parser.usage = (
        "%(prog)s --mode search --study-name S [options]\n       %(prog)s --mode run RUN [options]\n"
        "       %(prog)s --mode compare RUN RUN ... [options]\n       %(prog)s --mode data CONFIG [options]\n"
        "       %(prog)s --mode predictions RUN [options]"
    )
    about = "; ".join(f"{name}, {mode.about}" for name, mode in MODES.items() if mode.given is not None)
    parser.add_argument("given", nargs="*", metavar="RUN", help=f"by mode: {about}")
    parser.add_argument(
        "--mode", choices=list(MODES), required=True,
        help="what to draw: " + "; ".join(f"{name}, {mode.shows}" for name, mode in MODES.items()),
    )  # fmt: skip
    parser.add_argument("--run", metavar="RUN", help="the same as RUN")
    parser.add_argument("--study-name", metavar="S", help=f"with --mode {_modes_with('study_name')}: the study")
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
        default=[],
        type=_one_of(FORMATS),
        help="html, png (default: both)",
    )
    parser.add_argument(
        "--report", action="store_const", const=True,
        help="with --mode search: write report.html, one page with everything; with --plot-type the plots as well",
    )  # fmt: skip
    parser.add_argument(
        "--storage", metavar="URL",
        help=f"with --mode {_modes_with('storage')}: the study's storage (default: the one that its folder records)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=port_number, metavar="P",
        help=f"with --mode {_modes_with('port')}: where to serve the pages (default: the usual one, or the next that is free)",
    )  # fmt: skip
    _add_page_options(parser)
    return parser


def _add_page_options(parser: Parser) -> None:
    """Add the options of the modes that write a page of their own."""
    parser.add_argument(
        "--output", metavar="D",
        help="the folder to write into (default: compare, runs/comparisons/<their names>; data, runs/data/<the config's "
        "name>; predictions, RUN/predictions)",
    )  # fmt: skip
    parser.add_argument(
        "--samples", metavar="N", type=_whole_number,
        help="how many examples the page shows (default: data, 8 images; predictions, 24, of which a recommender shows 12 "
        "users)",
    )  # fmt: skip
    parser.add_argument(
        "--input", nargs="+", metavar="F", default=[],
        help="with --mode predictions: image files or a folder of them, a table, or a file of users; without it and --users, "
        "a part of the validation split is shown with its truth",
    )  # fmt: skip
    parser.add_argument(
        "--users", nargs="+", metavar="U", default=[],
        help="with --mode predictions of a recommender: the users to recommend to, by id",
    )  # fmt: skip
    parser.add_argument(
        "--k", metavar="K", type=_whole_number,
        help="with --mode predictions of a recommender: how many items each user is recommended (default: 10)",
    )  # fmt: skip
    parser.add_argument(
        "--items", metavar="F",
        help="with --mode predictions of a recommender: a table of the items, for their names (default: the config's "
        "data.item_features)",
    )  # fmt: skip


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"should be a whole number from 1, got {text!r}")
    return int(text)


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


def _modes_with(option: str) -> str:
    return " or ".join(name for name, mode in MODES.items() if option in mode.options)


def _main() -> None:
    arguments = _parser().parse_args()
    _check(arguments)
    arguments.given += [arguments.run] if arguments.run is not None else []
    arguments.format = arguments.format or list(FORMATS)
    mode = f"mlframework.cli.modes.{arguments.mode}"
    preload(mode)
    importlib.import_module(mode).show(arguments)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what the mode has no use for.

    Raises:
        ConfigError: with everything that is wrong.
    """
    mode = MODES[arguments.mode]
    problems = [
        Problem("ml-visualise", _option(name), f"is for --mode {_modes_with(name)} only")
        for name, value in vars(arguments).items()
        if name not in ("mode", "given", *mode.options) and value not in (None, [])
    ]
    problems += [
        Problem("ml-visualise", _option(name), f"is needed: {what}")
        for name, what in mode.needs
        if getattr(arguments, name) is None
    ]
    problems += _about_given(arguments, mode)
    if arguments.report and arguments.format and not arguments.plot_type:
        what = "is of plots, and --report is a page: name plots by --plot-type, or leave it out"
        problems.append(Problem("ml-visualise", "--format", what))
    problems += [
        Problem("ml-visualise", "--plot-type", f"{name} is a plot of --mode {_modes_that_draw(name)}; this mode has "
                f"{', '.join(mode.plots)}")
        for name in arguments.plot_type
        if name not in mode.plots and mode.plots
    ]  # fmt: skip
    if problems:
        raise ConfigError(problems)


def _about_given(arguments: argparse.Namespace, mode: Mode) -> list[Problem]:
    """Check what was given without an option, and `--run`, which says the same."""
    count = len(arguments.given) + ("run" in mode.options and arguments.run is not None)
    if mode.given is None:
        others = " or ".join(name for name, other in MODES.items() if other.given is not None)
        return [Problem("ml-visualise", "RUN", f"is for --mode {others} only")] if arguments.given else []
    if count < mode.at_least:
        return [Problem("ml-visualise", mode.given, f"is needed: {mode.about}")]
    if count > 1 and mode.at_least <= 1:
        both = len(arguments.given) == 1
        what = "and --run say the same: give one of them" if both else f"one is drawn at a time, got {count}"
        return [Problem("ml-visualise", mode.given, what)]
    return []


def _modes_that_draw(plot: str) -> str:
    return " or ".join(name for name, mode in MODES.items() if plot in mode.plots)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
