"""Commands under torchrun: the first process runs the command, the others follow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mlframework.errors import ConfigError, Problem
from mlframework.learners.ranks import LIKE_STANDARD, place

if TYPE_CHECKING:
    from mlframework.config.yaml import Document


def led(command: Callable[[], None]) -> Callable[[], None]:
    """Return what this process is to run of a command: all of it, unless it is one of several that torchrun started."""
    here = place()
    if here is None or here.world == 1:
        return command
    if here.rank:
        return _follow

    def leading() -> None:
        try:
            command()
        finally:
            from mlframework.learners.team import dismiss

            dismiss()

    return leading


def with_processes(document: Document, overrides: Mapping[str, str]) -> Document:
    """Return a run's config with the `trainer_type` that a resume asks for: one process may go on for several, and back.

    Raises:
        ConfigError: it is one that computes in another way.
    """
    from mlframework.config.override import get, override

    key = "training.trainer_type"
    asked = overrides.get(key, overrides.get("trainer_type"))
    if asked is None:
        return document
    own = get(document.tree, key) or "standard"
    if asked != own and not {asked, own} <= set(LIKE_STANDARD):
        what = f"a run of trainer_type: {own} cannot go on with {asked}; only standard and distributed train the same"
        raise ConfigError([Problem("ml-train", "--trainer_type", what)])
    return replace(document, tree=override(document.tree, {key: asked}))


def in_these_processes(document: Document, trainer_type: str) -> Document:
    """Return a config with the `trainer_type` of the command that trains it, where its own one trains the same."""
    from mlframework.config.override import get, override

    key = "training.trainer_type"
    own = get(document.tree, key) or "standard"
    if own == trainer_type or not {own, trainer_type} <= set(LIKE_STANDARD):
        return document
    return replace(document, tree=override(document.tree, {key: trainer_type}))


def require_one_process(option: str) -> None:
    """Refuse an option under torchrun, whose processes all train the same trial.

    Raises:
        ConfigError: torchrun started this process.
    """
    if place() is not None:
        what = (
            "starts processes of its own, one a trial, and torchrun has started some already: leave it out, and all of those "
            "train each trial together (training.trainer_type: distributed); or leave out torchrun (trainer_type: standard)"
        )
        raise ConfigError([Problem("ml-search", option, what)])


def _follow() -> None:
    from mlframework.learners.follower import follow

    follow()
