"""The sections of a study's report: one line of `SECTIONS` each; a file of data functions, and a template each."""

from collections.abc import Callable
from typing import TypeVar

from mlframework.visualise.page import Section
from mlframework.visualise.report.sections import (
    certainty,
    commands,
    cost,
    drawn,
    environment,
    failures,
    found,
    importance,
    parallel,
    pruning,
    searched,
    trials,
)
from mlframework.visualise.report.source import Source

T = TypeVar("T")


def _of_finished(compute: Callable[[Source], T]) -> Callable[[Source], T | None]:
    """Leave a section out as long as no trial has finished: that is said once, by what was found."""
    return lambda source: compute(source) if source.view.complete else None


SECTIONS = (
    Section("found", "What was found", found.compute, found.charts),
    Section("certainty", "How sure that is", certainty.compute, certainty.charts),
    Section("pareto", "The Pareto front", drawn.pareto, drawn.charts),
    Section("searched", "What was searched", searched.compute),
    Section("history", "How the search went", _of_finished(drawn.history), drawn.charts),
    Section("curves", "Learning curves", drawn.curves, drawn.charts),
    Section("importance", "What mattered", _of_finished(importance.compute), importance.charts),
    Section("slices", "Parameter by parameter", _of_finished(drawn.slices), drawn.charts),
    Section("contours", "Parameters in pairs", _of_finished(drawn.contours), drawn.charts),
    Section("parallel", "All parameters at once", _of_finished(parallel.compute), script="parallel.js"),
    Section("cost", "What it cost", cost.compute, cost.charts),
    Section("pruning", "What was pruned", pruning.compute, pruning.charts),
    Section("failures", "What failed", failures.compute),
    Section("trials", "All trials", trials.compute, script="table.js"),
    Section("commands", "Reproduce it, and go on", commands.compute),
    Section("environment", "What it ran on", environment.compute),
)
