"""Searches whose trials are trained several times: on folds, or with several seeds."""

import json
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

import pytest

from mlframework.config import yaml
from mlframework.errors import ConfigError
from mlframework.experiment import ExperimentConfig
from mlframework.plans import Evaluation, Report
from mlframework.search.loop import search
from mlframework.search.results import TrialRecord
from mlframework.search.study import OpenStudy
from support.searches import Watched, _load, open_search, run_search

pytestmark = pytest.mark.usefixtures("here")

FOLDS: dict[str, Any] = {
    "search.cross_validation": {"enabled": True, "n_folds": 5},
    "search.pruner": {"type": "MedianPruner", "n_startup_trials": 1, "n_warmup_steps": 99},
}


class Scripted:
    """A plan whose folds have given values: those of one trial after another."""

    part, n_seeds = "fold", 1

    def __init__(self, values: list[list[float]]) -> None:
        self.values, self.n_parts, self.trained = values, len(values[0]), 0

    def last_step(self, config: ExperimentConfig) -> int:
        """Return the step of the last fold."""
        return self.n_parts

    def evaluate(self, config: ExperimentConfig, splits: Any, run: Any, report: Report, callbacks: Any) -> Evaluation:
        """Report the trial's folds."""
        values = self.values[int(run.path.name.removeprefix("trial_"))]
        for number, _ in enumerate(values, 1):
            self.trained += 1
            report(number, mean(values[:number]), values[:number] if number > 1 else ())
        runs = [_Result(value) for value in values]
        return Evaluation(mean(values), 1, {"val_loss": mean(values)}, runs)  # type: ignore[arg-type]


class _Result:
    seconds, n_parameters = 1.0, 10

    def __init__(self, value: float) -> None:
        self.value = value


def scripted(values: list[list[float]], **changes: Any) -> tuple[OpenStudy, list[TrialRecord], int]:
    study = open_search({**FOLDS, "search.n_trials": len(values), **changes})
    plan = Scripted(values)
    end = search(replace(study, spec=replace(study.spec, plan=plan)), _load, Watched())
    return study, end.records, plan.trained


def test_a_trial_is_stopped_where_it_is_behind_on_the_same_folds() -> None:
    """val_loss: less is better. The means alone would tell another story: the folds differ more than the trials."""
    values = [
        [0.5, 0.9, 0.4, 0.4, 0.4],  # complete
        [0.6, 1.0, 0.1, 0.1, 0.1],  # behind on both: stopped, whatever would have come
        [0.6, 0.8, 0.3, 0.3, 0.3],  # behind on the first, ahead on the second: goes on, and is the new best
        [0.55, 0.85, 0.2, 0.2, 0.2],  # behind the new best on one only
    ]
    _, records, trained = scripted(values)
    assert [record.state for record in records] == ["complete", "pruned", "complete", "complete"]
    assert records[1].reason == "pruned at fold 2/5: behind trial 0 on both"
    assert (records[1].parts, list(records[3].parts)) == ([0.6, 1.0], values[3])
    assert trained == 5 + 2 + 5 + 5


def test_the_first_trials_run_to_their_end() -> None:
    values = [[0.5, 0.5, 0.5], [0.6, 0.6, 0.6], [0.7, 0.7, 0.7], [0.8, 0.8, 0.8]]
    _, records, _ = scripted(values, **{"search.pruner.n_startup_trials": 3})
    assert [record.state for record in records] == ["complete", "complete", "complete", "pruned"]
    assert records[3].reason == "pruned at fold 2/3: behind trial 0 on both"


def test_without_a_pruner_nothing_is_stopped() -> None:
    values = [[0.5, 0.5, 0.5], [0.6, 0.6, 0.6]]
    _, records, trained = scripted(values, **{"search.pruner": {"type": "none"}})
    assert [record.state for record in records] == ["complete"] * 2 and trained == 6


def test_the_last_fold_stops_nothing() -> None:
    _, records, _ = scripted([[0.5, 0.5], [0.6, 0.6]])
    assert [record.state for record in records] == ["complete"] * 2


def test_the_spread_of_folds_is_reported() -> None:
    study, records, _ = scripted([[0.5, 0.9, 0.4], [0.6, 1.0, 0.1]])
    written = json.loads(study.spec.folder.results.read_text())["trials"]
    assert written[0]["parts"] == [0.5, 0.9, 0.4] and written[0]["std"] == pytest.approx(stdev([0.5, 0.9, 0.4]))
    assert records[1].state == "pruned" and written[1]["std"] is None


def test_repeats_train_with_other_seeds_on_the_same_split() -> None:
    study, end = run_search({"search.repeats": 3, "search.n_trials": 2})
    for record in end.records:
        run = study.spec.folder.trial(record.number)
        results = [json.loads((run.path / f"repeat_{n}/result.json").read_text()) for n in (1, 2, 3)]
        values = [result["value"] for result in results]
        assert list(record.parts) == values and len(set(values)) == 3
        assert record.value == pytest.approx(mean(values)) and record.std == pytest.approx(stdev(values))
        assert record.epochs == 3 + 2
    alone, once = run_search({"search.n_trials": 2, "search.study_name": "once"})
    assert [record.params for record in once.records] == [record.params for record in end.records]
    assert [record.value for record in once.records] == [record.parts[0] for record in end.records]
    assert alone.spec.plan.n_parts == 1


def test_a_second_seed_is_what_another_config_would_have_had() -> None:
    study, end = run_search({"search.repeats": 2, "search.n_trials": 1})
    tree = yaml.read(study.spec.folder.trial(0).config).tree
    assert tree["seed"] == 3
    changes = {"seed": 4, "data.split.seed": 3, "search.n_trials": 1, "search.study_name": "other"}
    space = {"optimizer.lr": {"type": "categorical", "choices": [end.records[0].params["optimizer.lr"]]}}
    _, other = run_search({**changes, "search_space": space})
    assert other.records[0].value == end.records[0].parts[1]


def test_repeats_stand_in_the_way_of_folds() -> None:
    with pytest.raises(ConfigError, match=r"repeats: 2 is for trials with one split; with folds set cross_validation"):
        open_search({**FOLDS, "search.repeats": 2})


def test_repeats_belong_to_what_trials_have_in_common() -> None:
    run_search({"search.repeats": 2, "search.n_trials": 1})
    with pytest.raises(Exception, match=r"repeats: 2 then, None now"):
        open_search({"search.n_trials": 1}, resume=True)


def test_a_replicate_takes_seeds_that_no_repeat_had() -> None:
    space = {"optimizer.lr": {"type": "categorical", "choices": [0.01]}}
    changes = {"search_space": space, "search.repeats": 2, "search.n_trials": 2, "search.on_duplicate": "replicate"}
    _, end = run_search(changes)
    assert [record.seed for record in end.records] == [None, 5]
    assert len({value for record in end.records for value in record.parts}) == 4


def test_an_interrupted_repeat_goes_on() -> None:
    changes = {"search.repeats": 3, "search.n_trials": 1}
    _, undisturbed = run_search({**changes, "search.study_name": "undisturbed"})

    def interrupt(_number: int, step: int, _value: float) -> None:
        if step == 4:  # the second repeat has ended
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(changes, watcher=Watched(interrupt))
    _, end = run_search(changes, resume=True)
    assert [(r.value, list(r.parts)) for r in end.records] == [(r.value, list(r.parts)) for r in undisturbed.records]


def test_who_was_condemned_and_let_finish_is_not_who_the_others_are_compared_with() -> None:
    pruner = {**FOLDS["search.pruner"], "audit_fraction": 1.0}
    values = [[1.0, 1.0, 1.0], [2.0, 2.0, -9.0], [1.5, 1.5, 1.5]]
    _, records, trained = scripted(values, **{"search.pruner": pruner})
    assert [record.state for record in records] == ["complete"] * 3 and trained == 9
    # The second one became the best; the third one, which is ahead of it on the first folds, is condemned as before.
    assert [record.audited for record in records] == [None, {"epoch": 2, "value": 2.0}, {"epoch": 2, "value": 1.5}]
