"""`ml-init-config`: looks at data, and writes a config that trains on it, with a comment on every line."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlframework.cli import console
from mlframework.cli.options import Parser
from mlframework.errors import ConfigError, DataError, MlframeworkError, Problem, RunError
from mlframework.registry import unknown

if TYPE_CHECKING:
    from mlframework.cli.suggestions import Choices, Facts
    from mlframework.data.inspect import TableFacts

T = TypeVar("T")

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
    if not given.yes and not sys.stdin.isatty():
        raise MlframeworkError("there is no terminal to ask in: add --yes to take what suits the data")
    data = Path(given.data)
    name = _checked_name(default_name(data) if given.name is None else given.name)
    if given.yes:
        path = _free_path(given.output, name, given.force)
        plan = suggested(look(data, given.target), name, given.optuna)
    else:
        facts = look(data, given.target)
        name = _asked("Name", name, _checked_name)
        path = _free_path(given.output, name, given.force)
        plan = _ask(suggested(facts, name, given.optuna), given.target)
    write_config(plan, path)
    _print_summary(plan, path)


def _parser() -> Parser:
    parser = Parser(
        "ml-init-config", "Look at data, and write a config that trains on it, with a comment on every line."
    )
    parser.add_argument(
        "data", metavar="DATA", help="a folder with a folder of images for each class, or a table's file"
    )
    parser.add_argument("--optuna", action="store_true", help="add a search block, for ml-search")
    parser.add_argument("--yes", "-y", action="store_true", help="ask nothing, take what suits the data")
    parser.add_argument("--output", metavar="F", type=Path, help="file to write (configs/<name>_config.yaml)")
    parser.add_argument("--target", metavar="COLUMN", help="column of a table that is to be predicted")
    parser.add_argument("--name", metavar="N", help="name of the runs and the study (that of the data)")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    return parser


@dataclass(frozen=True)
class Plan:
    """What is to be written."""

    facts: Facts
    choices: Choices
    search: bool

    @property
    def study(self) -> str:
        """Name of the study, where there is a search."""
        return f"{self.choices.name}_optimization"


def look(data: Path, target: str | None) -> Facts:
    """Find out what the data is.

    Raises:
        DataError: it is missing, or cannot be trained with.
    """
    from mlframework.data.inspect import inspect_image_folder, inspect_table

    if not data.exists():
        raise DataError(f"{data}: there is no such file or folder; name the data to look at")
    if not data.is_dir():
        return inspect_table(data, target)
    if target is not None:
        raise DataError(f"--target names a column of a table, but {data} is a folder of images; leave it out")
    return inspect_image_folder(data)


def default_name(data: Path) -> str:
    """Return the name that a path suggests: `data/digits` is digits, `data/breast_cancer.csv.gz` breast_cancer."""
    stem = data.resolve().name
    if not data.is_dir():
        stem = re.sub(r"\.(csv|tsv|parquet)(\.gz)?$", "", stem, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-") or "data"


def suggested(facts: Facts, name: str, search: bool) -> Plan:
    """Return the plan that suits the data."""
    from mlframework.cli.suggestions import suggest

    return Plan(facts, suggest(facts, name), search)


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
    if not (path.parent / SCHEMA).exists():
        write_schema(path.parent)
    write_text(path, text)


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


def _ask(plan: Plan, target: str | None) -> Plan:
    """Show what was guessed, piece by piece, and let the user say otherwise."""
    from mlframework.cli.config_template import describe
    from mlframework.data.inspect import TableFacts

    console.out().print(f"Found {describe(plan.facts)}.", markup=False)
    if isinstance(plan.facts, TableFacts) and target is None:
        facts = _ask_target(plan.facts)
        plan = suggested(facts, plan.choices.name, plan.search)
    suits = plan.choices
    choices = replace(
        suits,
        architecture=_asked("Model", suits.architecture, lambda text: _checked_model(plan.facts, text)),
        num_epochs=_asked("Epochs", str(suits.num_epochs), _checked_epochs),
        metric=_asked("Metric", suits.metric, lambda text: _checked_metric(plan.facts, text)),
    )
    search = plan.search or _asked("Add a hyperparameter search?", "yes", _checked_yes_or_no)
    return replace(plan, choices=choices, search=search)


def _ask_target(facts: TableFacts) -> TableFacts:
    from mlframework.data.inspect import inspect_table

    def checked(text: str) -> TableFacts:
        return facts if text == facts.target else inspect_table(facts.path, text)

    return _asked("Target column", facts.target, checked)


def _asked(question: str, default: str, checked: Callable[[str], T]) -> T:
    """Ask until the answer passes the check; an empty answer is the default."""
    while True:
        try:
            answer = input(f"{question} [{default}]: ").strip()
        except EOFError:
            raise KeyboardInterrupt from None
        try:
            return checked(answer or default)
        except (MlframeworkError, ValueError) as error:
            console.err().print(f"  {error}", markup=False)


def _checked_model(facts: Facts, text: str) -> str:
    from mlframework.data.inspect import ImageFolderFacts
    from mlframework.models import MODELS

    kind = "image_folder" if isinstance(facts, ImageFolderFacts) else "table"
    fitting = [name for name, config in MODELS.items() if getattr(config, "consumes", None) == kind]
    if text not in fitting:
        raise ValueError(unknown(text, fitting, "model for this data"))
    return text


def _checked_epochs(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError(f"should be a whole number above 0, got {text!r}")
    return int(text)


def _checked_yes_or_no(text: str) -> bool:
    if text.lower() not in ("y", "yes", "n", "no"):
        raise ValueError(f"should be yes or no, got {text!r}")
    return text.lower().startswith("y")


def _checked_metric(facts: Facts, text: str) -> str:
    from mlframework import metrics
    from mlframework.data.inspect import ImageFolderFacts

    task = "classification" if isinstance(facts, ImageFolderFacts) else facts.task
    fitting = [name for name in metrics.names() if task in metrics.tasks_of(name)]
    if text not in fitting:
        raise ValueError(unknown(text, fitting, f"metric of a {task}"))
    return text


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

    rows = [("Found", describe(plan.facts))]
    if isinstance(plan.facts, ImageFolderFacts):
        if plan.facts.unreadable:
            rows.append(("Unreadable", f"{', '.join(plan.facts.unreadable)}: left out in training"))
    else:
        rows.append(("Target", f"{plan.facts.target}: {plan.facts.target_reason}; --target names another"))
        if plan.facts.dropped:
            rows.append(("Not used", ", ".join(f"{name} ({why})" for name, why in plan.facts.dropped.items())))
    choices = plan.choices
    size = f" at {image_size(plan.facts)} pixels" if isinstance(plan.facts, ImageFolderFacts) else ""
    rows.append(("Model", f"{choices.architecture}{size}, {choices.num_epochs} epochs, the best by {choices.metric}"))
    if plan.search:
        rows.append(("Search", f"study {plan.study}, {N_TRIALS} trials"))
    return [*rows, ("Wrote", str(path))]


def _next_commands(plan: Plan, path: Path) -> list[str]:
    config = shlex.quote(str(path))
    if not plan.search:
        return [f"ml-train --config {config}", "tensorboard --logdir runs"]
    return [
        f"ml-search --config {config}",
        f"ml-visualise --mode search --study-name {plan.study}",
        f"ml-train --config runs/optuna_studies/{plan.study}/best_config.yaml",
    ]
