"""What `ml-init-config` asks: it shows what suits the data, and lets the user say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from mlframework.cli import console
from mlframework.errors import MlframeworkError
from mlframework.registry import unknown

if TYPE_CHECKING:
    from mlframework.cli.suggestions import Facts, Plan
    from mlframework.data.inspect import TableFacts

T = TypeVar("T")


def ask_about(plan: Plan, target: str | None) -> Plan:
    """Show what was guessed, piece by piece, and return the plan with what the user says.

    Args:
        plan: what suits the data.
        target: the target column that the command line names; then it is not asked for.
    """
    from mlframework.cli.config_template import describe
    from mlframework.cli.suggestions import suggest
    from mlframework.data.inspect import TableFacts

    facts, name = plan.facts, plan.choices.name
    console.out().print(f"Found {describe(facts)}.", markup=False)
    if isinstance(facts, TableFacts) and target is None:
        facts = _ask_target(facts)
    architecture = ask("Model", suggest(facts, name).architecture, lambda text: _checked_model(facts, text))
    suits = suggest(facts, name, architecture)
    choices = replace(
        suits,
        num_epochs=ask("Epochs", str(suits.num_epochs), _checked_epochs),
        metric=ask("Metric", suits.metric, lambda text: _checked_metric(facts, architecture, text)),
    )
    search = plan.search or ask("Add a hyperparameter search?", "yes", _checked_yes_or_no)
    return replace(plan, facts=facts, choices=choices, search=search)


def ask(question: str, default: str, checked: Callable[[str], T]) -> T:
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


def _ask_target(facts: TableFacts) -> TableFacts:
    from mlframework.data.inspect import inspect_table

    def checked(text: str) -> TableFacts:
        return facts if text == facts.target else inspect_table(facts.path, text)

    return ask("Target column", facts.target, checked)


def _checked_model(facts: Facts, text: str) -> str:
    from mlframework.cli.suggestions import fitting_models

    fitting = fitting_models(facts)
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


def _checked_metric(facts: Facts, architecture: str, text: str) -> str:
    from mlframework import metrics
    from mlframework.cli.suggestions import tasks_for
    from mlframework.data.inspect_interactions import InteractionFacts

    tasks = tasks_for(facts, architecture)
    fitting = [name for name in metrics.names() if set(tasks) & set(metrics.tasks_of(name))]
    split, _, base = text.partition("_")
    key, k = metrics.key_of(base)
    if f"{split}_{metrics.shown(key)}" not in fitting:
        raise ValueError(unknown(text, fitting, f"metric of a {' or a '.join(tasks)}"))
    if isinstance(facts, InteractionFacts) and k is not None and k >= facts.liked.n_items:
        raise ValueError(f"{text}: the number should be less than {facts.liked.n_items:,}, the number of items")
    return text
