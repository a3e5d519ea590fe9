"""`search.objectives`: what may stand in it, and what does not go together with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator, model_validator

from mlframework import metrics
from mlframework.config.base import Config
from mlframework.metrics import RESOURCES, Direction
from mlframework.registry import unknown
from mlframework.search.goal import KNEE, Objective
from mlframework.search.pruners import NoPruner

if TYPE_CHECKING:
    from mlframework.search.pruners import PrunerConfig

OTHER_NAMES = {"train_seconds": "fit_seconds", "training_seconds": "fit_seconds", "seconds": "fit_seconds",
               "n_params": "n_parameters", "num_parameters": "n_parameters", "parameters": "n_parameters"}  # fmt: skip


class ObjectiveConfig(Config):
    """One of several objectives."""

    metric: str
    """A metric such as `val_loss`; or what a training takes: `fit_seconds`, `n_parameters`."""
    direction: Literal["maximize", "minimize"] | None = None
    """Has to agree with the metric, which knows it; may be left out."""

    @field_validator("metric")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name in OTHER_NAMES:
            raise ValueError(f"{name} is called {OTHER_NAMES[name]} here")
        if name in RESOURCES:
            return name
        if name.startswith("test_"):
            instead = name.replace("test", "val", 1)
            raise ValueError(f"{name} would search on the test split; use {instead}")
        try:
            metrics.direction_of(name)
        except ValueError:
            raise ValueError(unknown(name, [*metrics.names(), *RESOURCES], "objective")) from None
        return name

    @model_validator(mode="after")
    def _direction_agrees(self) -> ObjectiveConfig:
        known = direction_of(self.metric)
        if self.direction not in (None, known):
            raise ValueError(f"direction: {self.direction} contradicts metric: {self.metric}, which one has to {known}")
        return self

    @property
    def objective(self) -> Objective:
        """The objective, its direction known."""
        return Objective(self.metric, direction_of(self.metric))


def direction_of(name: str) -> Direction:
    """Return which direction of an objective is better."""
    return RESOURCES[name] if name in RESOURCES else metrics.direction_of(name)


def main_metric(names: Iterable[str]) -> str | None:
    """Return the first objective that has epochs."""
    return next((name for name in names if name not in RESOURCES), None)


def objective_metrics(written: Any) -> list[str]:
    """Return what a config's `search.objectives` names, as far as it is right."""
    entries = written if isinstance(written, list) else []
    found = [entry.get("metric") for entry in entries if isinstance(entry, dict)]
    return [name for name in found if isinstance(name, str)]


def check_objectives(
    objectives: Sequence[ObjectiveConfig] | None, prefer: str, prune_by: str | None, *,
    metric: str | None, direction: str | None, pruner: PrunerConfig,
) -> str | None:  # fmt: skip
    """Return what does not fit together, or None."""
    if objectives is None:
        alone = "prune_by" if prune_by is not None else "prefer" if prefer != KNEE else None
        return f"{alone}: means nothing without objectives:; take it out, or list two objectives" if alone else None
    names = [each.metric for each in objectives]
    quality = [name for name in names if name not in RESOURCES]
    given = " and ".join(key for key, value in (("metric", metric), ("direction", direction)) if value is not None)
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if given:
        return f"{given}: is for one objective, and objectives: lists {', '.join(names)}; take out one of both"
    if twice is not None:
        return f"objectives: {twice} stands there twice; once is enough"
    if not quality:
        return f"objectives: {', '.join(names)} say nothing of how good a model is; add a metric such as val_loss"
    if prefer not in (KNEE, *names):
        return f"prefer: {prefer!r} is neither {KNEE} nor one of the objectives: {', '.join(names)}"
    if prune_by is not None and prune_by not in quality:
        return f"prune_by: {prune_by} is none of the objectives that have epochs: {', '.join(quality)}"
    if prune_by is None and not isinstance(pruner, NoPruner):
        return (
            f"pruner: {pruner.type} cannot prune by several objectives at once; name the one to prune by, as in "
            f"prune_by: {quality[0]}, or set pruner: {{type: none}}"
        )
    return None
