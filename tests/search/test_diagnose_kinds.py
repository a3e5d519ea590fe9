"""Diagnoses of studies that are not plain: with folds, imported trials, several objectives, a range that is too narrow."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.stats import f_oneway, rankdata

from mlframework.search.diagnose import diagnose
from mlframework.search.diagnosis import idle
from mlframework.search.diagnosis.case import Case, read_case
from mlframework.search.diagnosis.draws import look_at_draws
from mlframework.search.diagnosis.explained import explained
from mlframework.search.diagnosis.failures import look_for_failures
from mlframework.search.diagnosis.pruning import look_at_pruning
from mlframework.search.duplicates import IMPORTED
from mlframework.search.importance import Repeats
from mlframework.search.study import STARTED_WITH
from support.cases import Params, Planted, complete, draws, empty_case, with_trials

LR = {"optimizer.lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2}}
DROPOUT = {"model.dropout": {"type": "uniform", "low": 0.0, "high": 0.5}}
BATCHES = {"training.batch_size": {"type": "categorical", "choices": [8, 16, 32]}}


@pytest.fixture(autouse=True)
def few_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "REPEATS", Repeats(20, 99))


def case_of(*spaces: Mapping[str, Any], **changes: Any) -> Case:
    return empty_case({"search_space": {key: each for space in spaces for key, each in space.items()}, **changes})


def log_lr(params: Params) -> float:
    return float(np.log10(float(params["optimizer.lr"] or 0.0)))


def test_what_one_choice_explains_is_an_analysis_of_variance(here: Path) -> None:
    rng = np.random.default_rng(0)
    case = complete(case_of(BATCHES), 30, lambda params: float(params["training.batch_size"] or 0) / 16 + rng.normal())
    found = explained(case, ["training.batch_size"])["training.batch_size"]
    ranks = rankdata([record.value for record in case.ranked])
    sizes = np.array([record.params["training.batch_size"] for record in case.ranked])
    exact = f_oneway(*(ranks[sizes == size] for size in (8, 16, 32)))
    assert found.p == pytest.approx(exact.pvalue, rel=1e-6)
    between = sum((sizes == size).sum() * (ranks[sizes == size].mean() - ranks.mean()) ** 2 for size in (8, 16, 32))
    assert found.share == pytest.approx(between / ((ranks - ranks.mean()) ** 2).sum()) and found.share < found.high


def test_what_a_parameter_explains_is_beside_the_others(here: Path) -> None:
    """The dropout goes along with the rate, which alone decides: by itself it would seem to matter, beside it it does not."""
    case = case_of(LR, DROPOUT)
    rng = np.random.default_rng(1)
    together = [
        {**params, "model.dropout": float(np.clip(0.25 + 0.1 * (log_lr(params) + 3) + rng.normal() / 20, 0, 0.5))}
        for params in draws(case.space, 40)
    ]
    study = with_trials(case, [Planted(params, log_lr(params)) for params in together])
    found = explained(study, ["optimizer.lr", "model.dropout"])
    assert idle.rank_p(study, ["model.dropout"])["model.dropout"] < 1e-6
    assert found["model.dropout"].p > 0.05 and found["model.dropout"].high < 0.05
    assert found["optimizer.lr"].p < 1e-6 and found["optimizer.lr"].share > 0.2
    assert explained(with_trials(case, study_of(6, case)), ["optimizer.lr", "model.dropout"]) == {}


def study_of(n: int, case: Case) -> list[Planted]:
    return [Planted(params, log_lr(params)) for params in draws(case.space, n)]


def test_useless_parameters_are_found_beside_a_strong_one(here: Path) -> None:
    """In each of six studies two of three parameters do nothing: most are found, and never the one that decides."""
    case = case_of(LR, DROPOUT, BATCHES)
    found = [
        change.key
        for seed in range(6)
        for finding in idle.look_for_idle(complete(case, 40, lambda params: (log_lr(params) + 2.5) ** 2, seed))[0]
        for change in finding.changes
    ]
    assert "optimizer.lr" not in found and len(found) >= 8


def test_nothing_is_fixed_while_better_trials_may_lie_beyond_a_bound(here: Path) -> None:
    study = complete(case_of(LR, DROPOUT), 60, lambda params: -log_lr(params), seed=1)
    found = diagnose(study)
    assert [finding.topic for finding in found.findings] == ["idle", "bounds"]
    assert "leave it for now" in found.findings[0].remedy and found.suggestion is not None
    assert [(change.key, change.field) for change in found.suggestion.changes] == [("optimizer.lr", "high")]


@pytest.mark.filterwarnings("ignore:TPESampler learns after")
def test_imported_trials_are_none_of_the_study_and_teach_its_sampler(here: Path) -> None:
    case = case_of(LR, **{"search.sampler": {"type": "TPESampler"}})
    imported = [Planted(params, -9.0, marks={IMPORTED: "history.csv:2"}) for params in draws(case.space, 12)]
    study = with_trials(case, [*imported, *study_of(6, case)])
    assert len(study.counted) == len(study.ranked) == 6 and study.ranked[0].value != -9.0
    assert diagnose(study).counts == {"imported": 12, "complete": 6}
    assert look_at_draws(study) == [] and len(look_at_draws(with_trials(case, study_of(6, case)))) == 1


@pytest.mark.filterwarnings("ignore:TPESampler learns after")
def test_of_trials_that_all_failed_only_that_is_said(here: Path) -> None:
    case = case_of(LR, **{"optimizer.lr": 0.5, "search.sampler": {"type": "TPESampler"}})
    study = with_trials(case, [Planted(p, state="FAIL", reason="train_loss is nan") for p in draws(case.space, 5)])
    (finding,) = look_for_failures(study)
    assert "its optimizer.lr, 0.5, lies outside 0.0001 to 0.01" in finding.remedy
    assert look_at_draws(study) == []


def test_folds_are_named_and_kept(here: Path) -> None:
    """A training has 4 epochs, so that step 5 is the second fold, which no warm-up reaches."""
    folds = {"enabled": True, "n_folds": 3}
    median = {"type": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 1}
    case = case_of(LR, **{"search.cross_validation": folds, "search.pruner": median, "training.num_epochs": 4})
    steps = [0.5] * 5
    study = with_trials(case, [Planted(params, 0.5, steps, "PRUNED") for params in draws(case.space, 8)])
    (finding,) = look_at_pruning(study)
    assert "8 of 8 trials were pruned (8 at fold 2), 0 are complete" in finding.says
    assert [change.key for change in finding.changes] == ["pruner.n_startup_trials"]
    found = diagnose(study).suggestion
    assert found is not None and "cross_validation: {" in found.text and "n_folds: 3" in found.text


def test_repeats_are_kept(here: Path) -> None:
    found = diagnose(case_of(LR, **{"search.repeats": 2}))
    assert found.suggestion is not None and "\n  repeats: 2\n" in found.suggestion.text


def test_several_objectives_are_judged_by_the_first(here: Path) -> None:
    case = case_of(LR)
    study = optuna.create_study(study_name="both", directions=["minimize", "maximize"])
    started = {"config": dict(case.space.base), "search_space": LR, "metric": "val_loss",
               "objectives": [{"metric": "n_parameters", "direction": "maximize"},
                              {"metric": "val_loss", "direction": "minimize"}]}  # fmt: skip
    study.set_user_attr(STARTED_WITH, json.dumps(started))
    study.optimize(lambda trial: (7.0, trial.suggest_float("optimizer.lr", 1e-4, 1e-2, log=True)), n_trials=3)
    read = read_case(study, "val_loss", "minimize", case.folder)
    assert [record.value for record in read.records] == [trial.params["optimizer.lr"] for trial in study.trials]
    assert any("val_loss is looked at alone, of n_parameters, val_loss" in text for text in diagnose(read).untold)


def test_the_suggested_name_is_free(here: Path) -> None:
    case = case_of(LR)
    assert case.search["study_name"] == "tiny_optimization-2"
    case.folder.path.with_name("tiny_optimization-2").mkdir()
    assert case_of(LR, **{"search.study_name": "other"}).search["study_name"] == "other-2"
    assert case_of(LR, **{"search.study_name": "tiny_optimization-2b"}).search["study_name"] == "tiny_optimization-2b-2"
    assert case_of(LR, **{"search.study_name": "tiny_optimization-3"}).search["study_name"] == "tiny_optimization-4"
