"""`ml-init-config`: looks at data, and writes a config that trains on it, with a comment on every line."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlframework.cli import console
from mlframework.cli.options import Parser
from mlframework.cli.questions import ask, ask_about
from mlframework.errors import ConfigError, DataError, MlframeworkError, Problem, RunError

if TYPE_CHECKING:
    from mlframework.cli.suggestions import Facts, Plan
    from mlframework.data.inspect import TableFacts

FOLDER = Path("configs")
NAME = re.compile(r"[A-Za-z0-9._-]+")


def main() -> None:
    """Run the command of the console script."""
    console.run(command)


def command() -> None:
    """Look at the data, ask, and write the config.

    Raises:
        MlframeworkError: the data cannot be trained with, the config cannot be written, or nothing can be asked.
    """
    given = _parser().parse_args()
    from mlframework.cli.suggestions import suggested

    if not given.yes and not sys.stdin.isatty():
        raise MlframeworkError("there is no terminal to ask in: add --yes to take what suits the data")
    data = Path(given.data)
    name = _checked_name(default_name(data) if given.name is None else given.name)
    if given.yes:
        path = _free_path(given.output, name, given.force)
        plan = suggested(look(data, given.target), name, given.optuna)
    else:
        facts = look(data, given.target)
        name = ask("Name", name, _checked_name)
        path = _free_path(given.output, name, given.force)
        plan = ask_about(suggested(facts, name, given.optuna), given.target)
    write_config(plan, path)
    _print_summary(plan, path)


def _parser() -> Parser:
    parser = Parser(
        "ml-init-config", "Look at data, and write a config that trains on it, with a comment on every line."
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a folder with a folder of images for each class, a table's file, or a log of users and items",
    )
    parser.add_argument("--optuna", action="store_true", help="add a search block, for ml-search")
    parser.add_argument("--yes", "-y", action="store_true", help="ask nothing, take what suits the data")
    parser.add_argument("--output", metavar="F", type=Path, help="file to write (configs/<name>_config.yaml)")
    parser.add_argument("--target", metavar="COLUMN", help="column that is to be predicted: the file is a table")
    parser.add_argument("--name", metavar="N", help="name of the runs and the study (that of the data)")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    return parser


def look(data: Path, target: str | None) -> Facts:
    """Find out what the data is.

    Raises:
        DataError: it is missing, or cannot be trained with.
    """
    from mlframework.data.inspect import inspect_image_folder, inspect_table
    from mlframework.data.inspect_interactions import inspect_interactions

    if not data.exists():
        raise DataError(f"{data}: there is no such file or folder; name the data to look at")
    if not data.is_dir():
        log = inspect_interactions(data) if target is None else None
        return inspect_table(data, target) if log is None else log
    if target is not None:
        raise DataError(f"--target names a column of a table, but {data} is a folder of images; leave it out")
    return inspect_image_folder(data)


def default_name(data: Path) -> str:
    """Return the name that a path suggests: `data/digits` is digits, `data/breast_cancer.csv.gz` breast_cancer."""
    stem = Path(os.path.realpath(data)).name  # Path.resolve raises where links lead to one another
    if not data.is_dir():
        stem = re.sub(r"\.(csv|tsv|parquet|data|inter|dat|txt)(\.gz)?$", "", stem, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-") or "data"


def write_config(plan: Plan, path: Path) -> None:
    """Write the config, and the JSON Schema beside it where there is none.

    Raises:
        ConfigError: the choices do not make a config; nothing is written then.
        RunError: the folder cannot be written to.
    """
    from mlframework.cli.config_template import config_text
    from mlframework.cli.schema_file import SCHEMA, write_schema
    from mlframework.cli.search_template import search_text
    from mlframework.config import yaml
    from mlframework.config.decode import decode
    from mlframework.runs import write_text
    from mlframework.search.config import ConfigFile

    text = config_text(plan.facts, plan.choices, f"./{SCHEMA}")
    if plan.search:
        text += search_text(plan.facts, plan.choices)
    decode(ConfigFile, yaml.parse(text, str(path)))
    write_text(path, text)
    if not (path.parent / SCHEMA).exists():
        write_schema(path.parent)


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        what = f"{name!r} cannot name files; use letters, digits, '.', '_' and '-'"
        raise ConfigError([Problem("--name", "", what)])
    return name


def _free_path(output: Path | None, name: str, force: bool) -> Path:
    path = FOLDER / f"{name}_config.yaml" if output is None else output
    if path.is_dir():
        raise RunError(f"{path}: is a folder; name the file to write in it with --output")
    if path.exists() and not force:
        raise RunError(f"{path}: exists already; replace it with --force, or name another file with --output")
    return path


def _print_summary(plan: Plan, path: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for what, text in _summary(plan, path):
        table.add_row(what, Text(text))
    out = console.out()
    out.print(table)
    out.print("\nNext:")
    for line in _next_commands(plan, path):
        out.print(f"  {line}", markup=False, soft_wrap=True)


def _summary(plan: Plan, path: Path) -> list[tuple[str, str]]:
    from mlframework.cli.config_template import describe
    from mlframework.cli.search_template import N_TRIALS
    from mlframework.cli.suggestions import image_size
    from mlframework.data.inspect import ImageFolderFacts

    choices = plan.choices
    size = f" at {image_size(plan.facts)} pixels" if isinstance(plan.facts, ImageFolderFacts) else ""
    rows = [
        ("Found", describe(plan.facts)),
        *_more_of_the_data(plan),
        ("Model", f"{choices.architecture}{size}, {choices.num_epochs} epochs, the best by {choices.metric}"),
    ]
    if plan.search:
        rows.append(("Search", f"study {plan.study}, {N_TRIALS} trials"))
    return [*rows, ("Wrote", str(path))]


def _more_of_the_data(plan: Plan) -> list[tuple[str, str]]:
    from mlframework.cli.recommender_template import left_out
    from mlframework.data.inspect import ImageFolderFacts, TableFacts
    from mlframework.data.inspect_interactions import MIN_OF_USER

    facts = plan.facts
    if isinstance(facts, ImageFolderFacts):
        unreadable = f"{', '.join(facts.unreadable)}: left out in training"
        return [("Unreadable", unreadable)] if facts.unreadable else []
    if isinstance(facts, TableFacts):
        rows = [("Target", f"{facts.target}: {facts.target_reason}; --target names another"), *_lacking(plan, facts)]
        unused = facts.dropped
    else:
        other = "--target COLUMN makes it a table"
        rows = [("Data", f"interactions, as it {facts.reason}; {other}")]
        unused = facts.unused
        if few := left_out(facts, plan.choices):
            rows.append(("Left out", f"{few}, who have fewer than {MIN_OF_USER} interactions to learn from"))
    if unused:
        rows.append(("Not used", ", ".join(f"{name} ({why})" for name, why in unused.items())))
    return rows


def _lacking(plan: Plan, facts: TableFacts) -> list[tuple[str, str]]:
    """Say which rows have no target and which values are missing, and what training does with them."""
    from mlframework.cli.config_template import becomes_of_missing

    rows = []
    if facts.n_without_target:
        total = facts.n_rows + facts.n_without_target
        rows.append(
            ("Left out", f"{facts.n_without_target:,} of {total:,} rows, which have no value of {facts.target}")
        )
    if facts.missing:
        most = sorted(facts.missing.items(), key=lambda each: -each[1])
        named = ", ".join(f"{name} {count:,}" for name, count in most[:4]) + (", ..." if len(most) > 4 else "")
        what = "; ".join(f"{kind} {said}" for kind, said in becomes_of_missing(facts, plan.choices).items())
        n_columns = len(facts.numeric) + len(facts.categorical)
        n = sum(facts.missing.values())
        rows.append(("Missing", f"{n:,} values in {len(most)} of {n_columns} columns ({named}): {what}"))
    return rows


def _next_commands(plan: Plan, path: Path) -> list[str]:
    from mlframework.cli.recommender_template import next_in_python
    from mlframework.data.inspect import ImageFolderFacts
    from mlframework.data.inspect_interactions import InteractionFacts

    config = shlex.quote(str(path))
    log = isinstance(plan.facts, InteractionFacts)
    untested = isinstance(plan.facts, ImageFolderFacts) and plan.facts.splits and "test" not in plan.facts.splits
    final = "" if untested else " --mode final"
    python = next_in_python(plan.facts, plan.choices) if isinstance(plan.facts, InteractionFacts) else None
    use = [f"python -c {shlex.quote(python)}"] if python is not None else []
    if not plan.search:
        return [f"ml-train --config {config}{final if log else ''}", "tensorboard --logdir runs", *use]
    return [
        f"ml-search --config {config}",
        f"ml-visualise --mode search --study-name {plan.study}",
        f"ml-train --config runs/optuna_studies/{plan.study}/best_config.yaml{final}",
        *use,
    ]
