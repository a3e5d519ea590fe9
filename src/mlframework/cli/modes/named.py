"""The folder that a RUN on the command line names: of a run, a fold, or a trial as STUDY/NUMBER."""

from __future__ import annotations

import re
from pathlib import Path

from mlframework.errors import RunError
from mlframework.registry import nearest


def run_folder(target: str, mode: str) -> Path:
    """Return the folder of one run for a `--mode` that shows one.

    Raises:
        RunError: it is a study's folder, or a trial that is not there; whether another one is a run's is not looked at.
    """
    path = Path(target)
    study, number = _trial(target)
    if (path / "study.json").is_file() and not (path / "config.yaml").is_file():
        name = path.resolve().name
        trials = sorted(path.glob("trial_*"))
        or_trial = f", or one of its trials by --mode {mode} {trials[0]}" if trials else ""
        raise RunError(
            f"{path}: is the folder of a study, not of a run; draw the study by --mode search --study-name {name}{or_trial}"
        )
    found = folder_of(target)
    if found is None and number is not None and (_study(study) is not None or _near(study) is not None):
        raise RunError(missing(target))
    return path if found is None else found


def folder_of(target: str) -> Path | None:
    """Return the folder of a run, a fold, or a trial: STUDY/NUMBER, where STUDY is a study's name or folder."""
    from mlframework.search.folder import STUDIES, StudyFolder

    path = Path(target)
    if path.is_dir():
        return path
    study, number = _trial(target)
    if number is None:
        return None
    trial = StudyFolder(_study(study) or STUDIES / study).trial(number).path
    return trial if trial.is_dir() else None


def missing(target: str) -> str:
    """Say that there is no such run or trial, and what there is."""
    study, last = _parts(target)
    folder = _study(study)
    if folder is not None:
        numbers = sorted(int(path.name[6:]) for path in folder.glob("trial_*") if path.name[6:].isdigit())
        there = (
            f"; there are {', '.join(map(str, numbers[:20]))}{' ...' if len(numbers) > 20 else ''}" if numbers else ""
        )
        return f"{target}: study {folder.name} has no folder of a trial {last}{there}"
    near = _near(study) if _trial(target)[1] is not None else None
    if near is not None:
        return f"{target}: there is no study {Path(study).name!r}; did you mean {near}/{last}?"
    others = sorted(str(found.parent) for found in Path(target).parent.glob("*/config.yaml"))
    listed = f"; runs there: {', '.join(others[:10])}" if others else ""
    return f"{target}: there is no such run, and no trial (named as STUDY/NUMBER: digits_optimization/23){listed}"


def _parts(target: str) -> tuple[str, str]:
    study, _, last = target.rstrip("/").rpartition("/")
    return study, last


def _trial(target: str) -> tuple[str, int | None]:
    """Return the study and the number of what is named as a trial is; None where it is not."""
    study, last = _parts(target)
    number = re.fullmatch(r"(?:trial_)?(\d+)", last, re.ASCII)
    return study, int(number[1]) if study and number is not None else None


def _study(study: str) -> Path | None:
    from mlframework.search.folder import STUDIES

    folders = (Path(study), STUDIES / study) if study else ()
    return next((folder for folder in folders if (folder / "study.json").is_file()), None)


def _near(study: str) -> str | None:
    """Return the study whose name or folder `study` most likely misspells, written as it was."""
    from mlframework.search.folder import STUDIES

    above = Path(study).parent if "/" in study else STUDIES
    near = nearest(Path(study).name, (found.parent.name for found in above.glob("*/study.json")))
    return str(above / near) if near is not None and "/" in study else near
