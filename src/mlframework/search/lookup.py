"""Finding a study that is there, to read it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlframework.errors import StudyError
from mlframework.metrics import Direction
from mlframework.registry import nearest
from mlframework.runs import read_json
from mlframework.search.confirm import Candidate, read_confirmation
from mlframework.search.goal import KNEE, Goal, Objective
from mlframework.search.quiet import require_optuna
from mlframework.search.started import started_with
from mlframework.search.storage import file_of, masked, open_storage, translated
from mlframework.search.study import STUDIES, StudyFolder
from mlframework.search.versions import latest, original_name

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage

    from mlframework.search.results import TrialRecord

_MANY, _FEW = 10, 5  # where there are more than so many studies, a message names the few nearest


def find_study(name: str, storage_url: str | None) -> tuple[Study, str, Direction, StudyFolder]:
    """Open a study for reading.

    Args:
        name: of the study.
        storage_url: its storage, or None for the one that the study's folder records.

    Returns:
        Optuna's study, the metric (of several objectives the one that trials report), its direction, and the study's folder.

    Raises:
        StudyError: there is no such study; the message names those that are there.
    """
    require_optuna()
    import optuna

    if Path(name).name != name:
        raise StudyError(f"the study's name {name!r} leads out of {STUDIES}, where its pictures go; a name has no '/'")
    folder = StudyFolder(STUDIES / name)
    recorded = _recorded(folder)
    url = storage_url or recorded.get("storage")
    if url is None:
        known = sorted(path.parent.name for path in STUDIES.glob("*/study.json"))
        raise StudyError(_no_study(name, f"in {STUDIES}", known))
    storage = open_there(url)
    with translated(url):
        try:
            study = optuna.load_study(study_name=latest(storage, name), storage=storage)
        except KeyError:
            known = sorted({original_name(study.study_name) for study in storage.get_all_studies()})
            raise StudyError(_no_study(name, f"in {masked(url)}", known)) from None
        found = started_with(study.user_attrs, name)
    metric = recorded.get("metric") or found.get("metric") or "value"
    return study, metric, goal_of(study, metric, folder).main_objective.direction, folder


def open_there(url: str) -> BaseStorage:
    """Open a storage that is there: one to be read is not made.

    Raises:
        StudyError: its file does not exist.
        StorageError: it cannot be opened, or does not answer.
    """
    with suppress(KeyError):  # a variable that is not set: opening says so
        file = file_of(url)
        if file is not None and not file.is_file():
            raise StudyError(f"{url}: there is no such file; give the study's storage with --storage")
    return open_storage(url)


def goal_of(study: Study, metric: str, folder: StudyFolder) -> Goal:
    """Return what a study that is read was searched for.

    Args:
        study: Optuna's study.
        metric: what its trials report, as `find_study` found it.
        folder: the study's; which trial is preferred stands there, and is the knee where it does not exist.
    """
    found = started_with(study.user_attrs, study.study_name)
    names = [each["metric"] for each in found.get("objectives") or []] or [metric]
    if len(names) != len(study.directions):
        names = [f"value {number}" for number in range(1, len(study.directions) + 1)]
    directions: list[Direction] = ["maximize" if each.name == "MAXIMIZE" else "minimize" for each in study.directions]
    objectives = tuple(Objective(*pair) for pair in zip(names, directions, strict=True))
    recorded = _recorded(folder)
    return Goal(objectives, metric if metric in names else names[0], recorded.get("prefer", KNEE))


def recorded_pick(
    folder: StudyFolder, goal: Goal, records: Sequence[TrialRecord]
) -> tuple[TrialRecord | None, Candidate | None]:
    """Return the best trial of a study that is read: the confirmed one, as results.json has it, or the one by its value.

    Args:
        folder: the study's.
        goal: what it was searched for.
        records: its trials.

    Returns:
        The trial, None where none is complete; and what further seeds said of it, None where it was not picked by those.

    Raises:
        RunError: results.json or confirm.json is damaged.
    """
    best = goal.best(records)
    recorded = read_json(folder.results).get("confirmed") if folder.results.is_file() else None
    confirmation = read_confirmation(folder.path) if recorded and recorded.get("trial") is not None else None
    if confirmation is None or confirmation.picked is None:
        return best, None
    picked = confirmation.picked
    found = [record for record in records if record.number == picked.number]
    return (found[0], picked) if found else (best, None)


def _recorded(folder: StudyFolder) -> dict[str, Any]:
    """Return what study.json says, where there is one: its values that are read here are texts."""
    recorded = read_json(folder.study) if folder.study.is_file() else {}
    for key in ("storage", "metric", "prefer"):
        if not isinstance(recorded.get(key, ""), str):
            raise StudyError(f"{folder.study}: is damaged: {key} should be a text, got {recorded[key]!r}")
    return recorded


def _no_study(name: str, where: str, known: list[str]) -> str:
    folder = STUDIES / name
    if (folder / "compare.json").is_file():
        return f"{name!r} is no study but a comparison of samplers: its pictures are in {folder}/plots"
    if not known:
        return f"there is no study {name!r} {where}: there is none at all; ml-search makes one"
    near = nearest(name, known)
    guess = f"; did you mean {near!r}?" if near else ""
    known = [each if each.isprintable() else repr(each) for each in known]
    shown = sorted(known) if len(known) <= _MANY else get_close_matches(name, known, _FEW, cutoff=0)
    more = f", and {len(known) - len(shown)} more" if len(shown) < len(known) else ""
    return f"there is no study {name!r} {where}{guess} (there: {', '.join(shown)}{more})"
