"""Comparisons of samplers: curves, ranks and verdicts from planted values, and real studies on equal budgets."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlframework.config import yaml
from mlframework.errors import ConfigError, StudyError
from mlframework.search.compare import Comparison, Curve, conclude, curve_of, verdicts
from mlframework.search.comparing import ComparePlan, build_plan, compare, open_studies
from mlframework.search.quiet import require_optuna
from mlframework.search.read import read_config
from mlframework.search.results import MERGED_HYPERPARAMETERS, TrialRecord
from mlframework.search.start import load as _load
from mlframework.search.statistics import friedman, mean_interval
from mlframework.search.storage import open_storage
from mlframework.search.study import OpenStudy
from support.searches import LR, Watched, write_config

pytestmark = pytest.mark.usefixtures("here")


def record(number: int, state: str, value: float | None = None) -> TrialRecord:
    return TrialRecord(number, state, value, {}, 1, 1, 1.5, None, {})


def curve(sampler: str, seed: int, *best: float | None) -> Curve:
    return Curve(sampler, seed, f"x-{sampler}-{seed}", best, len(best), len(best), 0, 1.0)


def finals(**values: Sequence[float | None]) -> Comparison:
    """Compare samplers by the final values of their seeds, to maximize."""
    curves = [[curve(name, seed, value) for seed, value in enumerate(each)] for name, each in values.items()]
    return conclude("x_compare", "val_acc", "maximize", curves)


# Curves


def test_the_best_so_far_goes_on_over_trials_that_failed_or_were_pruned() -> None:
    records = [
        record(0, "failed"), record(1, "complete", 0.5), record(2, "infeasible"), record(3, "pruned", 0.1),
        record(4, "complete", 0.7), record(5, "complete", 0.0), record(6, "complete", 0.2),
    ]  # fmt: skip
    down = curve_of("TPESampler", 1, "s", records, "minimize", 6)
    assert down.best_so_far == (None, 0.5, 0.5, 0.5, 0.0, 0.0)
    assert (down.trials, down.complete, down.best_trial, down.seconds) == (6, 4, 5, 10.5)
    up = curve_of("TPESampler", 1, "s", records, "maximize", 3)
    assert up.best_so_far == (None, 0.5, 0.5), "no more trials than the others have"


def test_of_equal_values_the_first_is_the_best_and_fewer_trials_leave_the_curve_level() -> None:
    found = curve_of("GridSampler", 1, "s", [record(0, "complete", -1.0), record(1, "complete", -1.0)], "maximize", 4)
    assert found.best_so_far == (-1.0, -1.0, -1.0, -1.0) and (found.best_trial, found.trials) == (0, 2)
    assert curve_of("GridSampler", 1, "s", [], "maximize", 2).final is None


def test_the_band_begins_when_every_seed_has_a_value() -> None:
    curves = [
        curve("TPESampler", 0, None, 0.2, 0.4),
        curve("TPESampler", 1, 0.6, 0.6, 0.8),
        curve("TPESampler", 2, None, None, None),
    ]
    found = conclude("x", "val_acc", "maximize", [curves, curves]).contenders[0]
    assert found.band.mean == (None, pytest.approx(0.4), pytest.approx(0.6))
    assert found.band.low == (None, pytest.approx(0.3), pytest.approx(0.5))
    assert found.band.high == (None, pytest.approx(0.5), pytest.approx(0.7))
    assert found.final == mean_interval([0.4, 0.8]), "the seed without a complete trial is in no mean"


# Ranks and tests


def test_ranks_are_of_the_final_values_of_each_seed() -> None:
    found = finals(A=[0.9, 0.8, 0.7], B=[0.5, 0.8, 0.9], C=[0.1, 0.1, 0.1])
    assert found.ranks.tolist() == [[1, 2, 3], [1.5, 1.5, 3], [2, 1, 3]]
    assert [each.mean_rank for each in found.contenders] == [1.5, 1.5, 3.0]
    assert found.friedman == friedman(-found.ranks * 0 + [[-0.9, -0.5, -0.1], [-0.8, -0.8, -0.1], [-0.7, -0.9, -0.1]])
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 1), (0, 2), (1, 2)]


def test_a_study_without_a_complete_trial_is_ranked_last_and_said() -> None:
    found = finals(A=[None, -0.8], B=[-5.0, -7.0], C=[-1000.0, -1.0])
    assert found.ranks.tolist() == [[3, 1, 2], [1, 3, 2]]
    assert found.contenders[0].final == mean_interval([-0.8])
    assert verdicts(found)[0] == "A, seed 0: no trial came to its end; ranked last, and in no mean"
    none = finals(A=[None, None], B=[0.1, 0.2])
    assert none.contenders[0].final is None and none.ranks.tolist() == [[2, 1], [2, 1]]


def test_with_few_seeds_no_pair_can_be_significant_and_it_is_said() -> None:
    better, worse, worst = [0.9, 0.91, 0.92, 0.93, 0.94], [0.5, 0.51, 0.52, 0.53, 0.54], [0.1, 0.2, 0.3, 0.25, 0.15]
    said = verdicts(finals(A=better, B=worse, C=worst))
    assert said == [
        "the samplers differ (Friedman's test over 5 seeds: chi-squared 10, p = 0.0067)",
        "with 5 seeds no pair can be significant: the signed-rank test's smallest p is 0.0625 before Holm for 3 pairs; it "
        "takes 7 seeds",
    ]
    two = finals(A=better, B=worse)
    assert two.friedman is None
    assert verdicts(two) == [
        "with 5 seeds no pair can be significant: the signed-rank test's smallest p is 0.0625; it takes 6 seeds"
    ]


def test_with_enough_seeds_the_better_one_is_named_or_that_there_is_none() -> None:
    seeds = [place / 100 for place in range(8)]
    said = verdicts(finals(A=[0.1 + each for each in seeds], B=[0.5 + 2 * each for each in seeds]))
    assert said == ["B is better than A: p = 0.0078"]
    mixed = verdicts(finals(A=[0.1] * 4 + [0.9] * 4, B=[0.5 + each for each in seeds]))
    assert len(mixed) == 1 and mixed[0].startswith("no two samplers can be told apart at 8 seeds: the smallest p is ")


def test_how_many_trials_it_took_to_be_as_good_as_random() -> None:
    tpe = [
        curve("TPESampler", 0, 0.1, 0.5, 0.9),
        curve("TPESampler", 1, None, 0.2, 0.3),
        curve("TPESampler", 2, 0.5, 0.5, 0.5),
    ]
    random = [
        curve("RandomSampler", 0, 0.2, 0.2, 0.5), curve("RandomSampler", 1, 0.4, 0.4, 0.4),
        curve("RandomSampler", 2, None, 0.1, 0.4),
    ]  # fmt: skip
    found = conclude("x", "val_acc", "maximize", [tpe, random]).contenders
    assert [each.reached for each in found] == [(2, None, 1), (3, 1, 3)]
    assert [each.median_reached for each in found] == [2, 3]
    assert conclude("x", "val_acc", "maximize", [tpe, tpe]).contenders[0].reached is None


def test_a_median_that_most_seeds_never_reached_is_none() -> None:
    tpe = [curve("TPESampler", seed, 0.1) for seed in range(3)]
    random = [curve("RandomSampler", 0, 0.1), curve("RandomSampler", 1, 0.2), curve("RandomSampler", 2, None)]
    found = conclude("x", "val_acc", "maximize", [tpe, random]).contenders[0]
    assert found.reached == (1, None, None) and found.median_reached is None


# Real studies


@dataclass
class Seen(Watched):
    """A watcher that remembers the studies, too."""

    studies: list[str] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def study_started(self, study: OpenStudy) -> None:
        self.studies.append(study.spec.name)

    def study_ended(self, curve: Curve) -> None:
        self.curves.append(curve)


def planned(
    changes: dict[str, Any] | None = None, names: Sequence[str] = ("TPESampler", "RandomSampler"), seeds: int = 2
) -> tuple[ComparePlan, Any]:
    require_optuna()
    read = read_config(str(write_config(changes)), {})
    storage = open_storage("sqlite:///compare.db")
    return build_plan(read, names, seeds, storage, "sqlite:///compare.db"), storage


def compared(plan: ComparePlan, storage: Any, resume: bool = False) -> tuple[Comparison, Seen]:
    seen = Seen()
    found = compare(plan, open_studies(plan, storage, resume), _load, seen, "ml-search --resume")
    assert found is not None
    return found, seen


def test_every_sampler_has_the_same_trainings_and_seeds_of_its_own() -> None:
    settings = {"search.sampler": {"type": "TPESampler", "n_startup_trials": 1}, "search.on_duplicate": "resample"}
    plan, storage = planned(settings)
    assert plan.samplers == ["TPESampler", "RandomSampler"] and plan.seeds == (3, 4)
    assert [spec.sampler.model_dump().get("n_startup_trials") for spec in plan.specs[:2]] == [1, None]
    found, seen = compared(plan, storage)
    assert seen.studies == [
        f"tiny_optimization_compare-{sampler}-{seed}" for seed in (3, 4) for sampler in ("TPESampler", "RandomSampler")
    ]
    rates = []
    for each in found.contenders:
        for one in each.curves:
            assert one.trials == 3
            for number in range(3):
                tree = yaml.read(Path(f"runs/optuna_studies/{one.study}/trial_{number:04d}/config.yaml")).tree
                assert tree["seed"] == 3, "trainings have the config's seed"
                rates.append(tree["optimizer"]["lr"])
            assert not list(Path(f"runs/optuna_studies/{one.study}").rglob("*.pt"))
    assert len(set(rates)) >= 9, "the seeds differ in what is suggested"
    assert not MERGED_HYPERPARAMETERS.exists(), "a comparison of samplers leaves the user's best hyperparameters alone"


def test_a_replicate_has_the_trainings_seed_and_split_not_the_suggestions() -> None:
    plan, storage = planned({
        "search.n_trials": 2, "search.on_duplicate": "replicate",
        "search_space": {"optimizer.lr": {"type": "categorical", "choices": [0.05]}},
    })  # fmt: skip
    compared(plan, storage)
    trees = [
        yaml.read(
            Path(f"runs/optuna_studies/tiny_optimization_compare-RandomSampler-{seed}/trial_0001/config.yaml")
        ).tree
        for seed in (3, 4)
    ]
    assert trees[0] == trees[1] and (trees[0]["seed"], trees[0]["data"]["split"]["seed"]) == (4, 3)


def test_what_is_finished_is_not_run_again_and_more_can_be_added() -> None:
    plan, storage = planned(names=("TPESampler", "RandomSampler"), seeds=2)
    first, _ = compared(plan, storage)
    again, seen = compared(*planned(), resume=True)
    assert seen.started == []
    assert [each.final for each in again.contenders] == [each.final for each in first.contenders]
    more, seen = compared(
        *planned({"search.n_trials": 4}, ("TPESampler", "RandomSampler", "QMCSampler"), 3), resume=True
    )
    # One trial more in four studies, and four in each of five new ones.
    assert len(seen.started) == 4 + 5 * 4 and more.n_trials == 4 and more.ranks.shape == (3, 3)
    fewer, seen = compared(*planned({"search.n_trials": 2}), resume=True)
    assert seen.started == [] and fewer.n_trials == 2


def test_a_comparison_that_is_there_is_not_mixed_with_another_one() -> None:
    compared(*planned())
    plan, storage = planned()
    with pytest.raises(StudyError, match=r"'tiny_optimization_compare' exists already: 4 of its studies .*--resume"):
        open_studies(plan, storage, resume=False)
    plan, storage = planned({"search.sampler": {"type": "TPESampler", "n_startup_trials": 4}})
    with pytest.raises(StudyError, match=r"sampler\.n_startup_trials: 10 then, 4 now"):
        open_studies(plan, storage, resume=True)


def test_the_files_say_what_was_found() -> None:
    plan, storage = planned({"search.constraints": ["optimizer.lr <= 0.05"]})
    found, _ = compared(plan, storage)
    content = json.loads((plan.folder / "compare.json").read_text())
    assert content["format"] == 1 and content["name"] == "tiny_optimization_compare" and content["seeds"] == [3, 4]
    assert content["verdicts"] == verdicts(found) and content["friedman"] is None
    [tpe, random] = content["samplers"]
    assert tpe["settings"]["n_startup_trials"] == 10 and random["sampler"] == "RandomSampler"
    for told, each in zip(content["samplers"], found.contenders, strict=True):
        for study, one in zip(told["studies"], each.curves, strict=True):
            kept = json.loads(Path(f"runs/optuna_studies/{study['study']}/results.json").read_text())
            assert study["best_value"] == kept["best_value"] == one.final and study["best_trial"] == kept["best_trial"]
            assert all(
                trial["params"]["optimizer.lr"] <= 0.05 for trial in kept["trials"] if trial["state"] == "complete"
            )
    with (plan.folder / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3
    assert float(rows[2]["best_so_far"]) == found.contenders[0].curves[0].final


def test_a_study_of_failures_only_is_compared_all_the_same() -> None:
    plan, storage = planned({
        "search.n_trials": 2, "search.sampler": {"type": "GridSampler"},
        "search_space": {"optimizer.lr": {"type": "categorical", "choices": [1e30, 1e31]}},
    }, ("GridSampler", "RandomSampler"))  # fmt: skip
    found, _ = compared(plan, storage)
    assert [each.final for each in found.contenders] == [None, None]
    assert found.ranks.tolist() == [[1.5, 1.5], [1.5, 1.5]]


# Bad input


def test_short_names_are_samplers_and_unknown_ones_are_said_at_once() -> None:
    plan, _ = planned(names=("optuna", "bayesian", "hyperopt"))
    assert plan.samplers == ["TPESampler", "GPSampler", "HyperoptSampler"]
    with pytest.raises(ConfigError) as error:
        planned(names=("TPESampl", "RandomSampler", "TPESampler", "optuna", "xyz"))
    said = str(error.value).splitlines()
    assert said[0].startswith("ml-search: --compare: unknown sampler 'TPESampl'; did you mean 'TPESampler'? (known: ")
    assert "unknown sampler 'xyz'" in said[1] and "TPESampler is named twice" in said[2] and len(said) == 3


def test_samplers_that_cannot_search_the_space_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hyperopt", None)
    with pytest.raises(StudyError) as error:
        planned({"search_space": {"optimizer.lr": LR}}, ("GridSampler", "HyperoptSampler", "RandomSampler"))
    said = str(error.value)
    assert "GridSampler needs a finite number of values" in said and "hyperopt, which is not installed" in said
    assert not Path("runs").exists()
