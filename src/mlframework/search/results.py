"""What a study found: results.json, trials.csv, the best config and the best hyperparameters."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Any

from mlframework.config import yaml
from mlframework.config.override import get
from mlframework.experiment import without_password
from mlframework.models import MODELS
from mlframework.runs import FORMAT, read_json, write_json, write_text
from mlframework.search.audit import AUDITED, audit_fraction, audit_of
from mlframework.search.confirm import Candidate, read_confirmation
from mlframework.search.duplicates import (
    IMPORTED,
    PARTS,
    REDRAWN_STATES,
    SAME_AS,
    SEED,
    Point,
    point_of,
)
from mlframework.search.faults import FAULT, state_of
from mlframework.search.goal import Goal
from mlframework.search.interrupted import UNFINISHED, WORKED
from mlframework.search.study import REASON, OpenStudy, SearchSpec

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MERGED_HYPERPARAMETERS = Path("models/best_hyperparameters.json")
BEST_EPOCH, METRICS = "mlframework:best_epoch", "mlframework:metrics"
TOOK = "mlframework:resources"
VALUE, VALUES = "mlframework:value", "mlframework:values"
"""Attributes of a trial with several objectives: the main one's value, and each one's by name."""


@dataclass(frozen=True)
class TrialRecord:
    """A trial, as results.json and trials.csv tell of it.

    Attributes:
        number: Optuna's number of the trial.
        state: complete, pruned, failed, running, waiting, or, where that was looked up, interrupted: it is not over, and nobody
            works on it; what is none of the study's trials is imported, or infeasible,
            duplicate or superseded (by another space) where its place drew again.
        value: the best epoch's metric, which with several objectives is the main one; a pruned trial's last report; None for
            others.
        params: dotted key to value.
        best_epoch: of a complete trial.
        epochs: how many were reported.
        seconds: wall time from start to end, of one that was interrupted that of its epochs; None while it is not over.
        reason: why it failed or was pruned, or was not trained; where it comes from.
        metrics: of the best epoch.
        same_as: the trial with the same parameters whose outcome was taken over without training.
        seed: what it was trained with, where that is not the config's seed.
        parts: the value of each fold or repeat that it has finished; empty where it is trained once.
        values: value by objective, of a complete trial; empty where there is one objective.
        resources: what its trainings took, `fit_seconds` and `n_parameters`; empty where nothing was trained to its end.
        fault: why it failed: `settings` or data explain it, an `error` that nobody expected, the `death` of its process, or
            `out_of_memory`.
        audited: at which `epoch`, and with which `value`, the pruner condemned a trial that was let finish.
    """

    number: int
    state: str
    value: float | None
    params: Mapping[str, Any]
    best_epoch: int | None
    epochs: int
    seconds: float | None
    reason: str | None
    metrics: Mapping[str, float]
    same_as: int | None = None
    seed: int | None = None
    parts: Sequence[float] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)
    fault: str | None = None
    audited: Mapping[str, float] | None = None

    @property
    def audited_at(self) -> int | None:
        """The epoch at which a trial was condemned that was let finish."""
        return int(self.audited["epoch"]) if self.audited is not None else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the folds or repeats of a complete trial, None where there is one training."""
        return stdev(self.parts) if self.state == "complete" and len(self.parts) > 1 else None

    @property
    def counts(self) -> bool:
        """Whether it is one of the study's trials."""
        return self.state not in (*REDRAWN_STATES, "imported")

    @property
    def has_ended(self) -> bool:
        """Whether it is one of the study's trials, and done with."""
        return self.counts and self.state not in UNFINISHED

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialRecord:
        """Return the record of one of Optuna's trials."""
        state = state_of(trial)
        return cls(
            number=trial.number,
            state=state,
            value=_value_of(trial) if trial.state.name in ("COMPLETE", "PRUNED") and state != "failed" else None,
            params=dict(trial.params),
            best_epoch=trial.user_attrs.get(BEST_EPOCH),
            epochs=len(trial.intermediate_values),
            seconds=trial.user_attrs.get(WORKED, trial.duration.total_seconds())
            if trial.duration is not None
            else None,
            reason=trial.user_attrs.get(REASON, trial.user_attrs.get(IMPORTED)),
            metrics=trial.user_attrs.get(METRICS, {}),
            same_as=trial.user_attrs.get(SAME_AS),
            seed=trial.user_attrs.get(SEED),
            parts=trial.user_attrs.get(PARTS, ()),
            values=trial.user_attrs.get(VALUES, {}),
            resources=trial.user_attrs.get(TOOK, {}),
            fault=trial.user_attrs.get(FAULT) if state == "failed" else None,
            audited=trial.user_attrs.get(AUDITED),
        )


def _value_of(trial: FrozenTrial) -> float | None:
    """Return a trial's one value; among several the main one, which is marked, or a pruned trial's last report."""
    if trial.values is not None and len(trial.values) == 1:
        return trial.value
    last = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None
    found: float | None = trial.user_attrs.get(VALUE, last)
    return found


def candidates(spec: SearchSpec, records: Sequence[TrialRecord], top_k: int) -> list[TrialRecord]:
    """Return the best trials, the best first; of several with the same parameters only the best."""
    found: dict[Point, TrialRecord] = {}
    for record in spec.goal.ranked(records):
        found.setdefault(point_of(spec.space.parameters, record.params), record)
    return list(found.values())[:top_k]


@dataclass(frozen=True)
class Pick:
    """The trial that best_config.yaml is written from.

    Attributes:
        record: the trial.
        confirmed: what its further seeds gave, where it was picked by those.
        search_best: the trial with the best value in the search.
        outdated: why a confirmation that there was does not count (any more).
    """

    record: TrialRecord
    confirmed: Candidate | None
    search_best: int
    outdated: str | None


def pick(spec: SearchSpec, records: Sequence[TrialRecord]) -> Pick | None:
    """Return the trial that was confirmed as the best, else the one with the best value; None where none is complete.

    A confirmation counts as long as the trials that it compared are the study's best.
    """
    best = spec.goal.best(records)
    if best is None:
        return None
    confirmation = read_confirmation(spec.folder.path) if spec.goal.is_single else None
    if confirmation is None:
        return Pick(best, None, best.number, None)
    now = {record.number: record for record in candidates(spec, records, confirmation.top_k)}
    compared = {each.number for each in confirmation.candidates}
    picked = confirmation.picked
    if entered := sorted(now.keys() - compared):
        those = f"trial {entered[0]} has" if len(entered) == 1 else f"trials {', '.join(map(str, entered))} have"
        return Pick(best, None, best.number, f"{those} come among the best {confirmation.top_k} since")
    if picked is None or picked.number not in now:
        return Pick(best, None, best.number, "in each of its trials a training failed" if picked is None else
                    f"trial {picked.number} is none of the study's best")  # fmt: skip
    return Pick(now[picked.number], picked, best.number, None)


def write_best(study: OpenStudy, records: Sequence[TrialRecord]) -> None:
    """Write best_config.yaml and best_hyperparameters.json, and merge the latter into models/ by model.

    A study that searches over models writes the hyperparameters of each model's best trial. Where the best trials were
    confirmed, the picked one comes before all others.
    """
    folder, spec = study.spec.folder, study.spec
    chosen = pick(spec, records)
    assert chosen is not None  # the caller has seen a complete trial
    best = chosen.record
    values = f"{spec.metric} {best.value}" if spec.goal.is_single else f"{spec.goal.shown(best)}: {spec.goal.rule}"
    header = f"# Best of study {spec.name}: trial {best.number}, {values}\n"
    if chosen.confirmed is not None and chosen.confirmed.interval is not None:
        interval = chosen.confirmed.interval
        header += (
            f"# Picked by its mean over {interval.n} further seeds, {interval.mean}; its own value does not count.\n"
        )
    write_text(folder.best_config, header + yaml.dump(without_password(tree_of(study, best))))
    by_model: dict[str, list[TrialRecord]] = {}
    for record in spec.goal.ranked(records):
        by_model.setdefault(_model(spec, record), []).append(record)
    bests = {model: spec.goal.ranked(of_model)[0] for model, of_model in by_model.items()}
    bests[_model(spec, best)] = best
    named = {model: _named(model, record.params) for model, record in bests.items()}
    write_json(folder.best_hyperparameters, named)
    if not spec.shares_best:
        return
    merged = read_json(MERGED_HYPERPARAMETERS) if MERGED_HYPERPARAMETERS.is_file() else {}
    write_json(MERGED_HYPERPARAMETERS, {**merged, **named})


def tree_of(study: OpenStudy, record: TrialRecord) -> dict[str, Any]:
    """Return the config tree that a trial was trained with."""
    written = study.spec.folder.trial(record.number).config
    return yaml.read(written).tree if written.is_file() else study.spec.tree(record.params, record.seed)


def _model(spec: SearchSpec, record: TrialRecord) -> str:
    return str(record.params.get("model.architecture", get(spec.space.base, "model.architecture")))


def _named(model: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters by the names that best_hyperparameters.json has for them: the model's own, or dotted keys."""
    names = MODELS[model].short_names
    return {names.get(key, key): value for key, value in params.items() if key != "model.architecture"}


def write_results(study: OpenStudy, records: Sequence[TrialRecord], checkpoints: Mapping[str, Any]) -> None:
    """Write results.json and trials.csv.

    Args:
        study: whose results they are.
        records: of its trials.
        checkpoints: what is told of them.
    """
    spec = study.spec
    chosen = pick(spec, records)
    best = chosen.record if chosen is not None else None
    audit = audit_of(spec.goal, records, audit_fraction(spec.pruner))
    content = {
        "format": FORMAT,
        "study_name": spec.name,
        "metric": spec.metric,
        "direction": spec.direction,
        "best_trial": best.number if best is not None else None,
        "best_value": best.value if best is not None else None,
        "best_params": dict(best.params) if best is not None else None,
        "confirmed": _confirmed(chosen),
        **_about_front(spec.goal, records),
        "audit": audit.told() if audit is not None else None,
        "checkpoints": dict(checkpoints),
        **study.record().told(),
        "trials": [_as_dict(record) for record in records],
    }
    write_json(spec.folder.results, content)
    columns = ["number", "state", "value", "std", "best_epoch", "epochs", "seconds", "reason", "fault", "audited_at"]
    write_csv(spec.folder.trials, spec.goal, records, columns)


def _about_front(goal: Goal, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return what results.json says of several objectives; nothing where there is one."""
    if goal.is_single:
        return {}
    best = goal.best(records)
    return {
        "objectives": [{"metric": each.metric, "direction": each.direction} for each in goal.objectives],
        "prefer": goal.prefer,
        "best_values": dict(best.values) if best is not None else None,
        "pareto_front": [record.number for record in goal.front(records)],
    }


def _confirmed(chosen: Pick | None) -> dict[str, Any] | None:
    """Return what results.json tells of a confirmation; None where there was none."""
    if chosen is None or (chosen.confirmed is None and chosen.outdated is None):
        return None
    found = chosen.confirmed
    interval = found.interval if found is not None else None
    return {
        "trial": found.number if found is not None else None,
        **{key: getattr(interval, key, None) for key in ("mean", "std", "low", "high")},
        "seeds": [training.seed for training in found.trainings] if found is not None else [],
        "search_best": chosen.search_best,
        "outdated": chosen.outdated,
    }


def _as_dict(record: TrialRecord) -> dict[str, Any]:
    mappings = {name: dict(getattr(record, name)) for name in ("params", "metrics", "values", "resources")}
    audited = dict(record.audited) if record.audited is not None else None
    return {**record.__dict__, **mappings, "parts": list(record.parts), "std": record.std, "audited": audited}


def write_csv(path: Path, goal: Goal, records: Sequence[TrialRecord], columns: Sequence[str]) -> None:
    """Write a row a trial: what is asked for, the value of each of several objectives, and the parameters."""
    keys = sorted({key for record in records for key in record.params})
    names = [] if goal.is_single else goal.metrics
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*columns, *names, *keys])
    for record in records:
        told = [getattr(record, column) for column in columns]
        writer.writerow([*told, *map(record.values.get, names), *map(record.params.get, keys)])
    write_text(path, buffer.getvalue())
