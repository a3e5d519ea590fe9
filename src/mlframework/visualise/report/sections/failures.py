"""Why trials failed, by reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlframework.search.failed_trials import grouped
from mlframework.visualise.page.words import count_of, percent
from mlframework.visualise.report.source import Source


@dataclass(frozen=True)
class FailuresData:
    """What the section shows: a sentence, and a line a reason, the most frequent first."""

    said: str
    reasons: Sequence[str]


def compute(source: Source) -> FailuresData:
    """Group the failed trials by their reasons."""
    failed = [record for record in source.own if record.state == "failed"]
    if not failed:
        return FailuresData("No trial has failed.", [])
    share = percent(len(failed) / len(source.own))
    memory = sum(record.fault == "out_of_memory" for record in failed)
    of_memory = f", {memory} of them for want of memory" if memory else ""
    return FailuresData(f"{count_of(len(failed), 'trial')} failed ({share}){of_memory}.", grouped(failed))
