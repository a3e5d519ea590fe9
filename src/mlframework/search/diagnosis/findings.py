"""What a diagnosis is made of: findings, and the changes that they suggest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlframework.search.parameters import Parameter


@dataclass(frozen=True)
class Change:
    """One thing that the next search should have otherwise.

    Attributes:
        kind: `space` changes a field of a searched parameter, `fix` takes a parameter out of the space and gives it a value,
            `search` changes another setting of the section.
        key: dotted: of the parameter, or of the setting below `search`.
        field: of the parameter: `low`, `high` or `choices`; empty for the other kinds.
        value: the new one.
        before: the old one; None where there was none.
        why: in a few words.
    """

    kind: Literal["space", "fix", "search"]
    key: str
    field: str
    value: Any
    before: Any
    why: str

    @property
    def widens(self) -> bool:
        """Whether it lets trials go where none could go before."""
        if self.kind != "space":
            return False
        if self.field == "choices":
            return len(self.value) > len(self.before)
        return bool(self.value < self.before if self.field == "low" else self.value > self.before)

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain JSON."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Finding:
    """One thing that is the matter with a study.

    Attributes:
        topic: bounds, idle, failures, pruning or draws.
        says: what was seen, in one or two sentences.
        remedy: what to do.
        evidence: the numbers behind it, by name.
        changes: what the suggested config has otherwise because of it.
    """

    topic: Literal["bounds", "idle", "failures", "pruning", "draws"]
    says: str
    remedy: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    changes: Sequence[Change] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON."""
        changes = [change.to_dict() for change in self.changes]
        return {**self.__dict__, "evidence": dict(self.evidence), "changes": changes}


def bound(key: str, parameter: Parameter, side: str, value: Any, why: str) -> Change:
    """Return the change of one end of a parameter, or of its choices."""
    return Change("space", key, side, value, getattr(parameter, side), why)


def p_text(p: float) -> str:
    """Return a p-value for people: `p 0.03`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p {p:.2g}"
