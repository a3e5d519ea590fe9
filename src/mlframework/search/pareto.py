"""The Pareto front of a study in its folder: pareto.csv, and a config for each of its points."""

from collections.abc import Sequence
from contextlib import suppress

from mlframework.config import yaml
from mlframework.runs import write_text, writing
from mlframework.search.results import TrialRecord, tree_of, write_csv
from mlframework.search.study import OpenStudy


def write_front(study: OpenStudy, records: Sequence[TrialRecord]) -> None:
    """Write the front, and remove the configs of trials that have left it; nothing where there is one objective.

    Raises:
        RunError: the study's folder cannot be written.
    """
    spec, folder = study.spec, study.spec.folder
    if spec.goal.is_single:
        return
    front = spec.goal.front(records)
    write_csv(folder.pareto_csv, spec.goal, front, ["number"])
    wanted = {folder.pareto / f"trial_{record.number:04d}.yaml": record for record in front}
    for path, record in wanted.items():
        if not path.is_file():  # a trial's config and values do not change any more
            header = f"# Trial {record.number} of study {spec.name}: {spec.goal.shown(record)}\n"
            write_text(path, header + yaml.dump(tree_of(study, record)))
    with writing(folder.pareto):
        for path in folder.pareto.glob("trial_*.yaml"):
            if path not in wanted:
                with suppress(FileNotFoundError):  # another process was faster
                    path.unlink()
