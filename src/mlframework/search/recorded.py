"""What a study records of the data, the versions and the settings that it is searched with, and what has changed since.

The data and the versions are recorded when the study is made. Data that changes is recorded anew with the first trial
that is trained on it, so that each trial's data is known. Settings that may change are those of the last call.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlframework.config.override import get, override
from mlframework.data.fingerprint import Fingerprint, fingerprint_of
from mlframework.environment import differences, environment
from mlframework.errors import DataError, StudyError
from mlframework.learners.ranks import comparable
from mlframework.search.duplicates import REDRAWN
from mlframework.search.lease import is_dead
from mlframework.search.ledgers import open_ledger
from mlframework.search.storage import masked
from mlframework.search.versions import UNFINISHED, changes_of_space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage

DATA, ENVIRONMENT, SETTINGS = "mlframework:data", "mlframework:environment", "mlframework:settings"
_LONGEST = 60


@dataclass(frozen=True)
class Record:
    """What a study has recorded.

    Attributes:
        data: the fingerprints, the latest last, each with the number of the first trial that was trained on it.
        environment: versions and machine when the study was made.
        settings: what may change, at the last call.
    """

    data: tuple[tuple[int, Fingerprint], ...]
    environment: Mapping[str, Any]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Record:
        """Return what stands in the attributes of a study; one from before there were fingerprints has nothing.

        Raises:
            StudyError: it is damaged.
        """
        try:
            data = json.loads(attributes.get(DATA, "[]"))
            return cls(
                tuple((int(each["from_trial"]), Fingerprint.from_dict(each)) for each in data),
                dict(json.loads(attributes.get(ENVIRONMENT, "{}"))),
                dict(json.loads(attributes.get(SETTINGS, "{}"))),
            )
        except (KeyError, TypeError, ValueError, DataError, RecursionError):
            what = "the storage's record of what the study was searched with is damaged; start another study by --study-name"
            raise StudyError(what) from None

    def data_of(self, number: int) -> Fingerprint | None:
        """Return the data that a trial was trained on, None where it was not recorded."""
        return next((data for first, data in reversed(self.data) if first <= number), None)

    def told(self) -> dict[str, Any]:
        """Return what results.json says: each data with its first trial; nothing where that was not recorded."""
        entries = [{"from_trial": first, **data.to_dict()} for first, data in self.data]
        return {"data": entries} if entries else {}

    @property
    def latest(self) -> Fingerprint | None:
        """The data of the next trial."""
        return self.data[-1][1] if self.data else None


def paths_that_may_change(before: Record, data: Fingerprint | None, accept_change: bool) -> dict[str, str]:
    """Return the settings that may name another path than before, each with what to say where it does.

    What trials of a study must have in common is the content: where it is the same, or its change accepted, it may lie
    at another path, as it does on another machine.
    """
    if before.latest is None or data is None:
        return {}
    then = {source.setting: source for source in before.latest.sources}
    found = {}
    for now in data.sources:
        former = then.get(now.setting)
        if former is None or not (accept_change or former.is_same(now)):
            continue
        moved = former.is_same(now) and former.path != now.path
        found[now.setting] = f"{now.setting}: {former.path} then, {now.path} now: the same content" if moved else ""
    return found


def refuse_other_data(name: str, before: Record, data: Fingerprint | None, accept_change: bool) -> list[str]:
    """Return what has changed in the data where that is accepted.

    Raises:
        StudyError: it has changed, and that is not accepted.
    """
    if before.latest is None or data is None:
        return []
    changed = before.latest.changes(data)
    if changed and not accept_change:
        listed = "\n".join(f"  {line}" for line in changed)
        raise StudyError(
            f"the data of the study {name!r} has changed, values of trials before and after would not be comparable:\n"
            f"{listed}\nput the former data back, start another study by --study-name, or go on all the same by "
            "--accept-data-change (in Python accept_data_change=True)"
        )
    return changed


def refuse_data_changed_meanwhile(name: str, study: Study, base: Mapping[str, Any]) -> None:
    """Refuse to begin another trial of a running search on other data than its trials were trained on.

    Raises:
        StudyError: the data has changed since the study was opened.
        DataError: it is not there any more.
    """
    data = fingerprint_of(base)
    if data is not None:
        refuse_other_data(name, Record.of(study.user_attrs), data, accept_change=False)


def refuse_other_settings(
    name: str, before: Mapping[str, Any], fingerprint: Mapping[str, Any], moved: Collection[str]
) -> list[str]:
    """Return how the search space has grown; nothing else may have changed, but for the paths of data that has `moved`.

    Raises:
        StudyError: other settings have changed, or the space has so that old trials may lie outside.
    """
    before, now = (_in_any_processes(each) for each in (before, json.loads(json.dumps(fingerprint))))
    may_change = tuple(f"config.{setting}: " for setting in moved)
    changed = sorted(line for line in _other(before, now, "") if not line.startswith(may_change))
    if changed and all(line.startswith("search_space.") for line in changed):
        safe, unsafe = changes_of_space(before["search_space"], now["search_space"])
        if not unsafe:
            return [f"search space changed, finished trials are kept: {line}" for line in safe]
        listed = "\n".join(f"  {line}" for line in unsafe)
        raise StudyError(
            f"the search space of the study {name!r} has changed, its trials would not be comparable:\n{listed}\n"
            "a range may be widened and a choice added; set the rest back, or start another study by --study-name, which "
            "can learn from this one by search.warm_start"
        )
    if changed:
        listed = "\n".join(f"  {line}" for line in changed[:20])
        raise StudyError(
            f"the study {name!r} was started with other settings, its trials would not be comparable:\n{listed}\n"
            "set them back, or start another study by --study-name"
        )
    return []


def _in_any_processes(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fingerprint without the number of processes that train: trials are the same in one and in several."""
    training = get(fingerprint, "config.training")
    return dict(fingerprint) if not training else override(fingerprint, {"config.training": comparable(training)})


def _other(before: Any, now: Any, key: str) -> list[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        inner = dict.fromkeys([*before, *now])
        return [line for k in inner for line in _other(before.get(k), now.get(k), f"{key}.{k}".strip("."))]
    return [] if before == now else [f"{key}: {before!r} then, {now!r} now"]


def supersede_interrupted(study: Study, storage: BaseStorage) -> list[int]:
    """End the trials that were begun on other data and never finished: their places are drawn again.

    Raises:
        StudyError: another process is training one of them.
    """
    from optuna.trial import TrialState

    from mlframework.search.study import REASON

    leases = {lease.trial: lease for lease in open_ledger(storage, study._study_id).read()}
    unfinished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "RUNNING"]
    now = time.time()
    living = [each.number for each in unfinished if each.number in leases and not is_dead(leases[each.number], now)]
    if living:
        raise StudyError(
            f"the data of {study.study_name!r} has changed, and another process is searching it on the former data: trial "
            f"{living[0]} is being trained; end that process, then --resume --accept-data-change"
        )
    for trial in unfinished:
        storage.set_trial_user_attr(trial._trial_id, REASON, "it was begun on other data")
        storage.set_trial_user_attr(trial._trial_id, REDRAWN, UNFINISHED)
        storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    return [trial.number for trial in unfinished]


def record(study: Study, before: Record, data: Fingerprint | None, settings: Mapping[str, Any]) -> list[str]:
    """Record what is new, and return what has changed since: a line for settings, versions, and what was not recorded."""
    n_trials = len(study.get_trials(deepcopy=False))
    lines = []
    # Another worker may have made the study, and recorded the same, since it was first looked at.
    before = Record.of(study.user_attrs) if before.latest is None else before
    if data is not None and (before.latest is None or before.latest.digest != data.digest):
        entries = replace(before, data=(*before.data, (n_trials, data))).told()["data"]
        study.set_user_attr(DATA, json.dumps(entries))
    if n_trials and data is not None and before.latest is None:
        lines.append("data: not recorded when the study was made; recorded now")
    present = dict(environment())
    if not before.environment:
        study.set_user_attr(ENVIRONMENT, json.dumps(present))
        lines += ["versions: not recorded when the study was made; recorded now"] if n_trials else []
    else:
        lines += differences(before.environment, present)
    shown = _masked(settings)
    if settings and before.settings != shown:
        study.set_user_attr(SETTINGS, json.dumps(shown))
    return [*_differences(before.settings, shown, ""), *lines]


def _differences(before: Any, now: Any, key: str) -> list[str]:
    """Say which settings have another value; what was not recorded is passed over."""
    if isinstance(before, Mapping) and isinstance(now, Mapping) and before.get("type") == now.get("type"):
        known = [name for name in before if name in now]
        return [line for name in known for line in _differences(before[name], now[name], f"{key}.{name}".strip("."))]
    return [] if before == now else [f"{key} {_brief(before)} -> {_brief(now)}"]


def _brief(value: Any) -> str:
    if isinstance(value, Mapping) and "type" in value:
        return str(value["type"])
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _masked(value: Any) -> Any:
    """Return settings as they may be written: without the password of a URL."""
    if isinstance(value, Mapping):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_masked(inner) for inner in value]
    return masked(value) if isinstance(value, str) else value
