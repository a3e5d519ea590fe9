"""`ml-search --diagnose`: look at a study from all sides, and suggest the next search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlframework.errors import ConfigError
from mlframework.runs import FORMAT, write_json, write_text
from mlframework.search.diagnosis.bounds import look_at_bounds
from mlframework.search.diagnosis.case import FEWEST_WINNERS, Case
from mlframework.search.diagnosis.draws import look_at_draws
from mlframework.search.diagnosis.failures import look_for_failures
from mlframework.search.diagnosis.findings import Finding
from mlframework.search.diagnosis.idle import look_for_idle
from mlframework.search.diagnosis.pruning import look_at_pruning
from mlframework.search.diagnosis.suggestion import Suggestion, suggest

LOOKS = ("failures", "pruning", "draws", "idle", "bounds")
"""What is looked at, the gravest first: where two findings would change the same, the first one does."""


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter with a study.

    Attributes:
        case: the study.
        findings: what was found, the gravest first.
        untold: what cannot be said, and why.
        suggestion: the next search, or None where the study's config does not read any more.
        no_suggestion: why there is none.
    """

    case: Case
    findings: Sequence[Finding]
    untold: Sequence[str]
    suggestion: Suggestion | None
    no_suggestion: str | None

    @property
    def json_path(self) -> Path:
        """Where diagnosis.json goes."""
        return self.case.folder.path / "diagnosis.json"

    @property
    def suggestion_path(self) -> Path:
        """Where suggested_search.yaml goes."""
        return self.case.folder.path / "suggested_search.yaml"

    @property
    def counts(self) -> dict[str, int]:
        """How many trials ended how."""
        return dict(Counter(record.state for record in self.case.records))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of diagnosis.json."""
        best = self.case.ranked[0] if self.case.ranked else None
        suggestion = self.suggestion
        return {
            "format": FORMAT,
            "study_name": self.case.name,
            "metric": self.case.metric,
            "direction": self.case.direction,
            "trials": self.counts,
            "best_trial": best.number if best is not None else None,
            "best_value": best.value if best is not None else None,
            "findings": [finding.to_dict() for finding in self.findings],
            "untold": list(self.untold),
            "suggested": [change.to_dict() for change in suggestion.changes] if suggestion is not None else None,
            "refused": [
                {**change.to_dict(), "reason": reason}
                for change, reason in (suggestion.refused if suggestion is not None else ())
            ],
        }


def diagnose(case: Case, on_look: Callable[[str], None] = lambda _: None) -> Diagnosis:
    """Look at a study from all sides.

    Args:
        case: the study.
        on_look: told what is looked at now, one of `LOOKS`.
    """
    findings: list[Finding] = []
    untold: list[str] = []
    for topic in LOOKS:
        on_look(topic)
        if topic == "failures":
            findings += look_for_failures(case)
        elif topic == "pruning":
            findings += look_at_pruning(case)
        elif topic == "draws":
            findings += look_at_draws(case)
        elif topic == "idle":
            idle, missing = look_for_idle(case)
            findings += idle
            untold += missing
        else:
            settled = {change.key for finding in findings for change in finding.changes if change.kind == "fix"}
            findings += look_at_bounds(case, settled)
    if len(case.ranked) < 2 * FEWEST_WINNERS:
        what = f"{len(case.ranked)} complete trials, it takes {2 * FEWEST_WINNERS}"
        untold.append(f"too few trials to tell where the best ones lie: {what}")
    if not case.is_recorded:
        untold.append(
            "the study's folder does not say with which sampler and pruner it was searched; defaults are assumed"
        )
    if several := case.objectives:
        untold.append(f"anything about the other objectives: {case.metric} is looked at alone, of {', '.join(several)}")
    findings = _nothing_shut_too_early(findings)
    changes = [change for finding in findings for change in finding.changes]
    try:
        return Diagnosis(case, findings, untold, suggest(case, changes), None)
    except ConfigError as error:
        return Diagnosis(case, findings, untold, None, str(error.problems[0].what))


def _nothing_shut_too_early(findings: Sequence[Finding]) -> list[Finding]:
    """Take back what would fix or narrow a parameter by what good trials did, while better ones may lie beyond a bound."""
    wider = [change.key for finding in findings for change in finding.changes if change.widens]
    if not wider:
        return list(findings)
    remedy = f"leave it for now: what matters may be another thing beyond the present range of {wider[0]}"
    return [
        replace(finding, remedy=remedy, changes=())
        if finding.topic in ("idle", "bounds") and finding.changes and not any(each.widens for each in finding.changes)
        else finding
        for finding in findings
    ]


def write(diagnosis: Diagnosis) -> None:
    """Write diagnosis.json, and suggested_search.yaml where there is one.

    Raises:
        RunError: the study's folder cannot be written.
    """
    write_json(diagnosis.json_path, diagnosis.to_dict())
    if diagnosis.suggestion is not None:
        write_text(diagnosis.suggestion_path, diagnosis.suggestion.text)
