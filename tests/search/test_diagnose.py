"""Diagnoses of studies of which it is known what is the matter with them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import fisher_exact, mannwhitneyu

from mlframework import Tuner
from mlframework.errors import StudyError
from mlframework.search import diagnose as module
from mlframework.search.diagnose import Diagnosis, diagnose, write
from mlframework.search.diagnosis import idle
from mlframework.search.diagnosis.bounds import look_at_bounds, van_elteren
from mlframework.search.diagnosis.case import Case, read_case
from mlframework.search.diagnosis.draws import look_at_draws
from mlframework.search.diagnosis.failures import best_cut, cuts_of, kind_of, look_for_failures
from mlframework.search.diagnosis.idle import look_for_idle
from mlframework.search.diagnosis.pruning import look_at_pruning
from mlframework.search.diagnosis.scales import edge, position, widened
from mlframework.search.importance import Repeats
from mlframework.search.lookup import find_study
from mlframework.search.parameters import Int, LogUniform, Uniform
from mlframework.search.read import read_config
from mlframework.search.study import REASON
from support.cases import Params, Planted, complete, draws, empty_case, with_trials

SPACE = {
    "optimizer.lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
    "optimizer.momentum": {"type": "uniform", "low": 0.0, "high": 0.9},
    "model.hidden_size": {"type": "int", "low": 2, "high": 32},
    "training.batch_size": {"type": "categorical", "choices": [8, 16, 32]},
    "model.dropout": {"type": "uniform", "low": 0.0, "high": 0.5},
}
CHOICE = {
    "optimizer.type": {"type": "categorical", "choices": ["sgd", "adam"]},
    "optimizer.lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
    "optimizer.momentum": {"type": "uniform", "low": 0.0, "high": 0.9},
}
PRUNER = {"type": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 1, "interval_steps": 1}


@pytest.fixture
def case(here: Path) -> Case:
    return empty_case({"search_space": SPACE})


@pytest.fixture
def few_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "REPEATS", Repeats(60, 99))


def lr_of(params: Params) -> float:
    value = params["optimizer.lr"]
    assert isinstance(value, float)
    return value


def log_lr(params: Params) -> float:
    return float(np.log10(lr_of(params)))


def only(case: Case) -> Any:
    (finding,) = look_at_bounds(case, set())
    (change,) = finding.changes
    return change


# Where the best trials lie


def test_a_position_is_on_the_parameters_own_scale() -> None:
    lr = LogUniform(type="loguniform", low=1e-4, high=1e-2)
    assert position(lr, 1e-3) == pytest.approx(0.5) and edge(lr, "high")[0] == pytest.approx(10**-2.2)
    assert position(Uniform(type="uniform", low=-2, high=2), -1) == pytest.approx(0.25)
    # Of four values one is the end, and a draw at random has it once in four times.
    assert edge(Int(type="int", low=1, high=4), "high") == (4, 0.25)
    assert edge(Int(type="int", low=10, high=50, step=2), "low") == (12, pytest.approx(2 / 21))
    threshold, share = edge(Int(type="int", low=1, high=1000, log=True), "low")
    inside = np.round(np.exp(np.random.default_rng(0).uniform(np.log(0.5), np.log(1000.5), 40_000))) <= threshold
    assert inside.mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("metric", ["val_loss", "val_acc"])
def test_winners_at_a_bound_widen_it(here: Path, metric: str) -> None:
    """Values at and below 0 included."""
    case = empty_case({"search_space": SPACE, "metric": metric})
    sign = -1 if metric == "val_loss" else 1
    change = only(complete(case, 40, lambda params: sign * (log_lr(params) + 2)))
    assert (change.key, change.field, change.value, change.before) == ("optimizer.lr", "high", 0.1, 0.01)
    change = only(complete(case, 40, lambda params: -sign * (log_lr(params) + 2)))
    assert (change.field, change.value) == ("low", 1e-5)


def test_a_bound_is_widened_as_far_as_the_setting_admits(case: Case) -> None:
    assert widened(case.space, "optimizer.momentum", "high") == 0.99
    assert widened(case.space, "optimizer.momentum", "low") is None
    assert widened(case.space, "model.hidden_size", "high") == 47
    assert widened(case.space, "model.hidden_size", "low") is None, "1 for 2 is hardly more"
    assert widened(case.space, "model.dropout", "high") == 0.75
    (finding,) = look_at_bounds(complete(case, 40, lambda params: float(params["model.dropout"] or 0)), set())
    assert finding.remedy == "nothing: the setting admits hardly any lower value" and not finding.changes


def test_winners_with_the_largest_choice_add_one(case: Case) -> None:
    change = only(complete(case, 40, lambda params: -float(params["training.batch_size"] or 0) + 1e-3 * lr_of(params)))
    assert (change.key, change.value) == ("training.batch_size", [8, 16, 32, 64])


def test_winners_together_in_the_middle_narrow_the_range(case: Case) -> None:
    change = look_at_bounds(complete(case, 60, lambda params: abs(log_lr(params) + 3)), set())[0].changes
    ends = {each.field: each.value for each in change}
    assert 1e-4 < ends["low"] < 1e-3 < ends["high"] < 1e-2


def test_noise_has_no_place_where_winners_are_gathered(case: Case) -> None:
    rng = np.random.default_rng(0)
    found = [look_at_bounds(complete(case, 40, lambda _: float(rng.normal()), seed), set()) for seed in range(20)]
    assert sum(map(len, found)) <= 2  # one in twenty by chance


def test_equal_values_have_no_winners(case: Case) -> None:
    assert look_at_bounds(complete(case, 40, lambda _: 0.0), set()) == []


def test_van_elterens_test_is_mann_whitneys_in_one_block() -> None:
    rng = np.random.default_rng(0)
    values, chosen = rng.normal(size=40), np.arange(40) < 12
    values[chosen] -= 0.6
    expected = mannwhitneyu(
        values[chosen], values[~chosen], alternative="less", use_continuity=False, method="asymptotic"
    )
    assert van_elteren(values, chosen, np.zeros(40, dtype=np.int64)) == pytest.approx(float(expected.pvalue))


def test_van_elterens_test_is_not_misled_by_a_trend() -> None:
    """Late values are smaller, and the chosen ones are late: in their own blocks they are as the others."""
    rng = np.random.default_rng(0)
    blocks = np.repeat(np.arange(4), 25)
    chosen = rng.random(100) < np.array([0.1, 0.2, 0.6, 0.8])[blocks]
    values = rng.normal(size=100) - 2.0 * blocks
    assert van_elteren(values, chosen, np.zeros(100, dtype=np.int64)) < 1e-3
    assert van_elteren(values, chosen, blocks) > 0.05


# Parameters that do nothing


@pytest.mark.usefixtures("few_repeats")
def test_a_parameter_that_does_nothing_is_fixed(here: Path) -> None:
    case = empty_case({"search_space": {key: SPACE[key] for key in ("optimizer.lr", "model.dropout")}})
    study = complete(case, 60, lambda params: log_lr(params) ** 2, seed=1)
    findings, untold = look_for_idle(study)
    (change,) = findings[0].changes
    assert (len(findings), untold, change.kind, change.key) == (1, [], "fix", "model.dropout")
    assert change.value == pytest.approx(study.ranked[0].params["model.dropout"], rel=1e-2)


@pytest.mark.usefixtures("few_repeats")
def test_a_parameter_on_which_the_sampler_has_settled_is_not_said_to_do_nothing(case: Case) -> None:
    settled = [{**params, "model.dropout": 0.2 + 1e-4 * params["model.dropout"]} for params in draws(case.space, 60)]
    study = with_trials(case, [Planted(params, log_lr(params)) for params in settled])
    findings, untold = look_for_idle(study)
    assert not any(change.key == "model.dropout" for finding in findings for change in finding.changes)
    assert any("model.dropout" in text for text in untold) or len(findings) < 4


def test_few_trials_and_equal_ones_tell_nothing_of_parameters(case: Case) -> None:
    findings, untold = look_for_idle(complete(case, 24, log_lr))
    assert (findings, len(untold)) == ([], 1) and "24 complete trials, it takes 25" in untold[0]
    (finding,), _ = look_for_idle(complete(case, 25, lambda _: 0.5))
    assert "all 25 complete trials have the same val_loss" in finding.says


@pytest.mark.usefixtures("few_repeats")
def test_where_nothing_decides_that_is_said(case: Case) -> None:
    rng = np.random.default_rng(5)
    (finding,), _ = look_for_idle(complete(case, 40, lambda _: float(rng.normal())))
    assert finding.says.startswith("no parameter is seen to decide val_loss") and not finding.changes


# Failures


def failing(case: Case, fails: Callable[[Params], bool], n: int = 40) -> Case:
    planted = [
        Planted(params, state="FAIL", reason=f"train_loss is nan at epoch {number % 3 + 1}") if fails(params)
        else Planted(params, abs(log_lr(params) + 3.5) + 0.1 * float(params.get("training.batch_size") or 0))
        for number, params in enumerate(draws(case.space, n))
    ]  # fmt: skip
    return with_trials(case, planted)


def test_failures_beyond_a_value_narrow_the_range(case: Case) -> None:
    (finding,) = look_for_failures(failing(case, lambda params: lr_of(params) > 3e-3))
    (change,) = finding.changes
    assert (change.key, change.field) == ("optimizer.lr", "high") and 1e-3 < change.value < 4e-3
    assert finding.evidence["p"] <= 0.01 and "train_loss is nan at epoch" in finding.says


def test_failures_at_a_choice_leave_it_out(case: Case) -> None:
    (finding,) = look_for_failures(failing(case, lambda params: params["training.batch_size"] == 32))
    (change,) = finding.changes
    assert (change.key, change.value) == ("training.batch_size", [8, 16])


def test_failures_among_the_winners_are_not_cut_off(case: Case) -> None:
    """Below 5e-4 two of three fail, and the best trials are there."""
    count = iter(range(1000))
    study = failing(case, lambda params: lr_of(params) < 5e-4 and next(count) % 3 > 0, 60)
    (finding,) = look_for_failures(study)
    assert finding.evidence["key"] == "optimizer.lr" and not finding.changes and "is among the best" in finding.remedy


def test_failures_anywhere_are_gathered_nowhere(case: Case) -> None:
    rng = np.random.default_rng(3)
    (finding,) = look_for_failures(failing(case, lambda _: bool(rng.random() < 0.3)))
    assert "gathered nowhere" in finding.remedy and not finding.changes


def test_where_all_trials_failed(case: Case) -> None:
    (finding,) = look_for_failures(failing(case, lambda _: True))
    assert finding.says.startswith("40 of 40 trials failed") and "no trial went well" in finding.remedy


def test_failures_are_told_apart_by_reason() -> None:
    assert kind_of("train_loss is nan at epoch 3") == kind_of("train_loss is -inf at epoch 12")
    assert kind_of("out of memory: 1.5e9 bytes") != kind_of("train_loss is nan at epoch 3")


def test_one_cause_may_have_several_reasons(case: Case) -> None:
    """Each reason alone has two failures, too few to tell; together they are all above 4.5e-3."""
    study = failing(case, lambda params: lr_of(params) > 4.5e-3, 40)
    failed = [record.number for record in study.of("failed")]
    reasons = {number: f"reason {'abcdefgh'[place // 2]}" for place, number in enumerate(failed)}
    for trial in study.trials:
        if trial.number in reasons:
            trial.user_attrs[REASON] = reasons[trial.number]
    *alone, together = look_for_failures(replace(study, trials=study.trials))
    assert len(alone) == len(set(reasons.values())) > 1 and not any(finding.changes for finding in alone)
    assert f"for {len(alone)} reasons" in together.says and together.changes[0].field == "high"


def test_a_cut_is_judged_by_fishers_test(case: Case) -> None:
    """Failures of 20 trials, all of them beyond the cut and no other trial there."""
    records = failing(case, lambda params: lr_of(params) > 3e-3, 20).counted
    failed = [record for record in records if record.state == "failed"]
    others = [record for record in records if record.state != "failed"]
    found = best_cut(cuts_of(case, [*failed, *others]), len(failed))
    assert found is not None
    table = [[len(failed), 0], [0, len(others)]]
    exact = float(fisher_exact(table, alternative="greater").pvalue)
    assert found[0].key == "optimizer.lr" and exact < 1e-3
    # A permutation test of 499 can say no less than 1 in 500, and the corrected p is never below the exact one.
    assert found[1] == pytest.approx(1 / 500) and found[1] >= exact


# Pruning


def pruned(case: Case, n_pruned: int, n_complete: int, alike: bool = True) -> Case:
    """Pruned ones stop at step 2; the first epochs of complete ones tell nothing of their end, unless they are alike."""
    rng = np.random.default_rng(1)
    planted = []
    for number, params in enumerate(draws(case.space, n_pruned + n_complete)):
        final, early = rng.normal(size=2).tolist()
        steps = [early, early, final] if not alike else [final, final, final]
        if number < n_complete:
            planted.append(Planted(params, final, steps))
        else:
            planted.append(Planted(params, early, [early, early], "PRUNED"))
    return with_trials(case, planted)


def test_where_all_is_pruned_the_warm_up_is_raised(here: Path) -> None:
    case = empty_case({"search_space": SPACE, "search.pruner": PRUNER, "training.num_epochs": 12})
    (finding,) = look_at_pruning(pruned(case, 20, 2))
    changed = {change.key: (change.before, change.value) for change in finding.changes}
    assert changed == {"pruner.n_warmup_steps": (1, 6), "pruner.n_startup_trials": (2, 10)}
    assert "20 of 22 trials were pruned (20 at step 2), 2 are complete" in finding.says


def test_a_step_that_tells_nothing_of_the_end_is_named(here: Path) -> None:
    case = empty_case({"search_space": SPACE, "search.pruner": PRUNER, "training.num_epochs": 12})
    (finding,) = look_at_pruning(pruned(case, 20, 20, alike=False))
    assert "the values of step 2 tell little of the final ones" in finding.says
    assert look_at_pruning(pruned(case, 20, 20, alike=True)) == []


@pytest.mark.parametrize(
    ("pruner", "changed"),
    [
        ({"type": "ThresholdPruner", "lower": 5.0}, {"pruner.lower", "pruner.n_warmup_steps"}),
        ({"type": "PatientPruner", "patience": 1, "wrapped": PRUNER},
         {"pruner.wrapped.n_warmup_steps", "pruner.wrapped.n_startup_trials"}),
        ({"type": "SuccessiveHalvingPruner"}, {"pruner.min_resource"}),
        ({"type": "WilcoxonPruner"}, {"pruner.p_threshold"}),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_every_pruner_is_made_milder(here: Path, pruner: dict[str, Any], changed: set[str]) -> None:
    case = empty_case({"search_space": SPACE, "search.pruner": pruner, "training.num_epochs": 12})
    found = diagnose(pruned(case, 20, 1))
    assert found.suggestion is not None
    assert {change.key for change in found.suggestion.changes} >= changed and found.suggestion.refused == []


def test_a_pruner_that_can_stop_nothing_is_named(here: Path) -> None:
    case = empty_case({"search_space": SPACE, "search.pruner": {"type": "MedianPruner"}})
    (finding,) = look_at_pruning(complete(case, 20, log_lr))
    assert "stopped none of 20 trials: its warm-up of 5 steps" in finding.says
    assert [(change.key, change.value) for change in finding.changes] == [("pruner.n_warmup_steps", 1)]


# Draws


def test_draws_in_vain_and_a_space_that_is_used_up(here: Path) -> None:
    few = {"training.batch_size": {"type": "categorical", "choices": [8, 16, 32]}}
    case = empty_case({"search_space": few, "search.constraints": ["training.batch_size <= 16"]})
    vain = [Planted({"training.batch_size": 32}, state="PRUNED", redrawn="infeasible")] * 6
    again = [Planted({"training.batch_size": 8}, state="FAIL", redrawn="duplicate")] * 5
    good = [Planted({"training.batch_size": size}, float(size)) for size in (8, 16)]
    says = [finding.says for finding in look_at_draws(with_trials(case, [*vain, *good]))]
    assert says == ["6 of 8 draws broke a constraint (training.batch_size <= 16)",
                    "all 2 combinations of the space have been tried"]  # fmt: skip
    assert "5 of 6 draws had been trained already" in look_at_draws(with_trials(case, [*again, good[0]]))[0].says


@pytest.mark.filterwarnings("ignore:TPESampler learns after")
def test_a_sampler_that_never_learnt_wants_more_trials(here: Path) -> None:
    case = empty_case({"search_space": SPACE, "search.sampler": {"type": "TPESampler"}, "search.n_trials": 8})
    (finding,) = look_at_draws(complete(case, 8, log_lr))
    assert [(change.key, change.value) for change in finding.changes] == [("n_trials", 30)]
    assert look_at_draws(complete(case, 11, log_lr)) == []


# The whole


def suggested(found: Diagnosis, here: Path) -> Any:
    assert found.suggestion is not None, found.no_suggestion
    path = here / "suggested.yaml"
    path.write_text(found.suggestion.text)
    return read_config(str(path), {})


@pytest.mark.usefixtures("few_repeats")
def test_the_suggested_config_decodes_and_says_why(case: Case, here: Path) -> None:
    found = diagnose(failing(case, lambda params: params["training.batch_size"] == 32, 60))
    read = suggested(found, here)
    assert read.config.study_name == "tiny_optimization-2" and read.config.metric == "val_loss"
    assert read.space.parameters["training.batch_size"].choices == [8, 16]
    assert found.suggestion is not None
    (line,) = [line for line in found.suggestion.text.splitlines() if "choices was" in line]
    assert "# choices was [8, 16, 32]: " in line and "trials failed where training.batch_size is 32" in line


@pytest.mark.usefixtures("few_repeats")
def test_conditional_parameters(here: Path) -> None:
    case = empty_case({"search_space": CHOICE})
    found = diagnose(failing(case, lambda params: params["optimizer.type"] == "adam", 60))
    read = suggested(found, here)
    assert read.space.parameters["optimizer.type"].choices == ["sgd"]
    few = diagnose(complete(case, 60, lambda params: log_lr(params) - 2 * (params["optimizer.type"] == "sgd")))
    assert suggested(few, here).space.parameters.keys() == CHOICE.keys()


@pytest.mark.parametrize("n", [0, 1, 4])
def test_a_study_of_few_trials(case: Case, here: Path, n: int) -> None:
    found = diagnose(complete(case, n, log_lr))
    assert not found.findings and len(found.untold) == 2
    assert suggested(found, here).space.parameters.keys() == SPACE.keys()
    write(found)
    content = json.loads(found.json_path.read_text())
    assert content["format"] == 1 and content["findings"] == [] and content["trials"] == ({"complete": n} if n else {})


def test_changes_that_cannot_be_made_together_are_refused_with_the_reason(case: Case) -> None:
    from mlframework.search.diagnosis.findings import Change
    from mlframework.search.diagnosis.suggestion import suggest

    wrong = Change("space", "model.dropout", "high", 1.5, 0.5, "x")
    fix, late = Change("fix", "model.dropout", "", 0.1, "", "x"), Change("space", "model.dropout", "low", 0.1, 0.0, "x")
    found = suggest(case, [wrong, fix, late])
    assert [change for change, _ in found.refused] == [wrong, late] and list(found.changes) == [fix]
    assert "1.5 is refused" in found.refused[0][1] and "not searched any more" in found.refused[1][1]
    assert "# model.dropout is 0.1 now" in found.text


def test_a_config_that_does_not_read_any_more_gives_no_suggestion(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLE", "table.csv")
    case = empty_case({"search_space": SPACE, "data.path": "${TABLE}"})
    monkeypatch.delenv("TABLE")
    found = diagnose(complete(case, 5, log_lr))
    assert found.suggestion is None and "TABLE" in str(found.no_suggestion)
    write(found)
    assert found.json_path.is_file() and not found.suggestion_path.exists()


def test_a_password_is_not_suggested(case: Case, here: Path) -> None:
    path = case.folder.study
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "storage": "postgresql://me:***@host/db"}))
    study, *rest = find_study(case.name, "sqlite:///studies.db")
    again = read_case(study, *rest)
    assert "storage" not in again.search and "***" not in str(suggested(diagnose(again), here).document.tree)
    path.unlink()
    bare = read_case(study, *rest)
    assert not bare.is_recorded and any("defaults are assumed" in text for text in diagnose(bare).untold)


def test_a_study_of_others_is_refused(here: Path) -> None:
    import optuna

    optuna.create_study(study_name="other", storage="sqlite:///other.db")
    with pytest.raises(StudyError, match="'other' does not say what it searched"):
        read_case(*find_study("other", "sqlite:///other.db"))


def test_a_study_of_a_tuner_is_refused(here: Path) -> None:
    """Its newest version, too, goes by the name that its user gave it."""
    for high, n_trials in ((1.0, 2), (2.0, 3)):
        tuner = Tuner(
            lambda p: -p["x"],
            space={"x": Uniform(type="uniform", low=0.0, high=high)},
            storage="sqlite:///t.db",
            resume=high > 1,
        )
        tuner.optimize("RandomSampler", n_trials=n_trials)
    study, *rest = find_study("tuning-RandomSampler", None)
    assert study.study_name == "tuning-RandomSampler@2"
    with pytest.raises(StudyError, match=r"^the study 'tuning-RandomSampler' is that of a Tuner: .* no config"):
        read_case(study, *rest)


def test_all_topics_are_looked_at(case: Case) -> None:
    seen: list[str] = []
    diagnose(complete(case, 3, log_lr), seen.append)
    assert tuple(seen) == module.LOOKS
