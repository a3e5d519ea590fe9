"""`ml-visualise`: draw what happened."""

from __future__ import annotations

from mlframework.cli import console
from mlframework.cli.options import Parser
from mlframework.errors import ConfigError, PlotError, Problem

PLOT_TYPES = (
    "optimization_history", "param_importances", "slice", "contour", "parallel_coordinate", "intermediate_values",
)  # fmt: skip


def main() -> None:
    """Entry point."""
    console.run(_main)


def _parser() -> Parser:
    parser = Parser("ml-visualise", "Draw a study: interactive HTML, and PNG, into the study's folder.")
    parser.add_argument("--mode", choices=["search"], required=True, help="what to draw: search, the trials of a study")
    parser.add_argument("--study-name", metavar="S", help="the study")
    parser.add_argument(
        "--plot-type", nargs="+", metavar="T", default=[], choices=PLOT_TYPES,
        help=f"default: all of {', '.join(PLOT_TYPES)}",
    )  # fmt: skip
    parser.add_argument(
        "--params", nargs="+", metavar="P", default=[], help="parameters by dotted key or last part: lr batch_size"
    )
    parser.add_argument(
        "--format", nargs="+", choices=["html", "png"], default=["html", "png"], help="default: html png"
    )
    parser.add_argument(
        "--storage", metavar="URL", help="the study's storage (default: the one that its folder records)"
    )
    return parser


def _main() -> None:
    arguments = _parser().parse_args()
    if arguments.study_name is None:
        raise ConfigError([Problem("ml-visualise", "--study-name", "is needed: the name of the study")])
    from mlframework.search.study import find_study
    from mlframework.visualise.draw_all import draw_all
    from mlframework.visualise.study_view import StudyView

    study, metric, _, folder = find_study(arguments.study_name, arguments.storage)
    view = StudyView.of(study, metric)
    outcomes = draw_all(view, arguments.plot_type, arguments.params, folder.plots, arguments.format)
    screen = console.out()
    reasons: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.paths:
            screen.print(f"{outcome.name}: {' '.join(str(path) for path in outcome.paths)}")
        if outcome.reason is not None:
            reasons.setdefault(outcome.reason, []).append(outcome.name)
    for reason, names in reasons.items():
        console.err().print(f"{', '.join(names)}: {reason}")
    if not any(outcome.paths for outcome in outcomes):
        raise PlotError("no plot could be drawn")
