"""suggested_search.yaml: the study's config with what a diagnosis would have otherwise, and a comment on each change."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlframework.config import yaml
from mlframework.config.commented import flow, one_line
from mlframework.config.override import apply, get, override
from mlframework.errors import ConfigError
from mlframework.experiment import ExperimentConfig
from mlframework.search.diagnosis.case import Case
from mlframework.search.diagnosis.findings import Change
from mlframework.search.parameters import Parameter, Scalar
from mlframework.search.read import read_config

_COLUMN = 44
_WIDE = 90  # of a line after which its comment goes above it


@dataclass(frozen=True)
class Suggestion:
    """The config of the next search.

    Attributes:
        text: the YAML.
        changes: what of the suggested changes is in it.
        refused: what is not, as the config would not be right with it, each with the reason.
    """

    text: str
    changes: Sequence[Change]
    refused: Sequence[tuple[Change, str]]


@dataclass(frozen=True)
class _Draft:
    tree: Mapping[str, Any]
    search: Mapping[str, Any]
    space: Mapping[str, Mapping[str, Any]]
    changes: tuple[Change, ...] = ()


def suggest(case: Case, changes: Sequence[Change]) -> Suggestion:
    """Return the config with as many of the changes as can be made together.

    Each is tried on what those before it left, by the reader that reads every config.

    Raises:
        ConfigError: the study's own config does not read any more: a file or a variable is gone.
    """
    space = {key: _written(parameter) for key, parameter in case.space.parameters.items()}
    draft = _Draft(case.tree, case.search, space)
    _check(_text(case, draft))
    refused: list[tuple[Change, str]] = []
    for change in changes:
        if any((done.key, done.field) == (change.key, change.field) for done in draft.changes):
            refused.append((change, "another finding changes the same"))
            continue
        if change.kind != "search" and change.key not in draft.space:
            refused.append((change, "the parameter is not searched any more"))
            continue
        try:
            changed = _with(draft, change)
            _check(_text(case, changed))
        except ConfigError as error:
            refused.append((change, error.problems[0].what))
        else:
            draft = changed
    return Suggestion(_text(case, draft), draft.changes, refused)


def _written(parameter: Parameter) -> dict[str, Any]:
    """Return a parameter as one writes it: without what it has by default."""
    return parameter.model_dump(exclude_defaults=True)


def _with(draft: _Draft, change: Change) -> _Draft:
    done = (*draft.changes, change)
    if change.kind == "search":
        return replace(draft, search=override(draft.search, {change.key: change.value}), changes=done)
    if change.kind == "space":
        changed = {**draft.space[change.key], change.field: change.value}
        return replace(draft, space={**draft.space, change.key: changed}, changes=done)
    tree, _ = apply(ExperimentConfig, draft.tree, {change.key: change.value})
    return replace(draft, tree=tree, space={k: v for k, v in draft.space.items() if k != change.key}, changes=done)


def _check(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "suggested_search.yaml")
        path.write_text(text, encoding="utf-8")
        read_config(str(path), {})


def _text(case: Case, draft: _Draft) -> str:
    best = case.ranked[0] if case.ranked else None
    value = f", best {case.metric} {best.value:.6g} in trial {best.number}" if best is not None else ""
    head = [f"# Suggested by ml-search --diagnose {case.name}: {len(case.counted)} trials{value}.",
            f"# {_counted(len(draft.changes))}. It has nothing of confirm, warm_start, enqueue, timeout."]  # fmt: skip
    comments = {(change.kind, change.key, change.field): change for change in draft.changes}
    lines = ["search:"]
    for key, written in draft.search.items():
        if written in ([], None) or _is_default(key, written):
            continue
        whys = [
            each for (kind, name, _), each in comments.items() if kind == "search" and f"{name}.".startswith(f"{key}.")
        ]
        lines += _line(f"  {key}: {flow(written)}", [_was(each) for each in whys])
    lines.append("  search_space:")
    for key in case.space.parameters:
        whys = [each for (_, name, _), each in comments.items() if name == key]
        if key in draft.space:
            lines += _line(
                f"    {key}: {flow(draft.space[key])}", [_was(each) for each in whys if each.kind == "space"]
            )
        else:
            lines += [f"    # {key} is {flow(get(draft.tree, key))} now, above: {one_line(each.why)}" for each in whys]
    return "\n".join(head) + "\n" + yaml.dump(dict(draft.tree)) + "\n".join(lines) + "\n"


def _is_default(key: str, written: Any) -> bool:
    """Tell whether a setting that few change is as it is without being named."""
    return (key == "on_duplicate" and written == "resample") or (key == "cross_validation" and not written["enabled"])


def _counted(n: int) -> str:
    if n == 0:
        return "Nothing is changed but the study's name"
    return "1 change; it has a comment" if n == 1 else f"{n} changes; each has a comment"


def _was(change: Change) -> str:
    name = change.field or change.key.rpartition(".")[2]
    return one_line(f"{name} was {_shown(change.before)}: {change.why}")


def _shown(value: Scalar | Mapping[str, Any] | Sequence[Any]) -> str:
    return flow(dict(value) if isinstance(value, Mapping) else value)


def _line(text: str, comments: Sequence[str]) -> list[str]:
    """Return a line with its comment behind it, or above it where several belong to it or it is long."""
    if not comments:
        return [text]
    indent = " " * (len(text) - len(text.lstrip()))
    if len(comments) == 1 and len(text) < _WIDE:
        return [f"{text.ljust(_COLUMN)}  # {comments[0]}"]
    return [*(f"{indent}# {comment}" for comment in comments), text]
