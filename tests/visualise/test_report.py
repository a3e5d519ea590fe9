"""What the report says of studies of every kind, and that none of their texts becomes markup."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

from mlframework.search.folder import StudyFolder
from mlframework.search.goal import Goal
from mlframework.search.results import TrialRecord
from mlframework.visualise.page import Page
from mlframework.visualise.page.charts import Pool, to_script
from mlframework.visualise.page.words import duration, short
from mlframework.visualise.report import build
from mlframework.visualise.report.sections import SECTIONS
from mlframework.visualise.report.sections.commands import _without_total
from mlframework.visualise.report.sections.cost import saved_by_pruning
from mlframework.visualise.report.ties import bound_of, finer
from mlframework.visualise.study_view import StudyView

MAXIMIZE = Goal.single("val_acc", "maximize")
NOT_TOLD = {"importance", "slices", "contours", "parallel", "history", "certainty"}


def made(*values: float | None, epochs: int = 4, audited: Sequence[int] = (), **attributes: Any) -> optuna.Study:
    """Return a study with a trial a value, which rises to it; None: pruned after the second epoch."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    study = optuna.create_study(study_name="made", direction="maximize")
    for number, value in enumerate(values):
        trial = study.ask()
        trial.suggest_float("optimizer.lr", 1e-3, 1e-1, log=True)
        trial.suggest_categorical("optimizer.type", ["sgd", "adam"])
        for epoch in range(1, 3 if value is None else epochs + 1):
            trial.report((value or number / 100) * epoch / epochs, epoch)
        for name, given in attributes.items():
            trial.set_user_attr(f"mlframework:{name}", given)
        if number in audited:
            trial.set_user_attr("mlframework:audited", {"epoch": 2, "value": 0.1})
        study.tell(trial, value, state=None if value is not None else optuna.trial.TrialState.PRUNED)
    return study


def report(study: optuna.Study, folder: Path, goal: Goal = MAXIMIZE) -> Page:
    return build(study, StudyFolder(folder), goal)


def test_every_section_has_its_template_and_its_name_once() -> None:
    from importlib.resources import files

    names = [section.name for section in SECTIONS]
    assert len(set(names)) == len(names)
    templates = files("mlframework.visualise.report") / "templates"
    assert all((templates / f"{name}.html").is_file() for name in names)


def test_a_study_without_trials_says_so(tmp_path: Path) -> None:
    page = report(made(), tmp_path)
    assert "No trial has come to its end yet (0 trials)" in page.part("found").body
    assert not NOT_TOLD & {part.name for part in page.parts}
    assert "plotly" in page.html
    assert len(page.html) < 100_000  # no chart, no plotly.js


def test_a_study_of_failures_says_why(tmp_path: Path) -> None:
    study = made()
    for number in range(3):
        trial = study.ask()
        trial.set_user_attr("mlframework:reason", f"the loss is nan at epoch {number}")
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    page = report(study, tmp_path)
    assert "3 x the loss is nan at epoch 0: trials 0, 1, 2" in page.part("failures").body
    assert "3 trials failed (100 %)" in page.part("failures").body


def test_one_trial_is_neither_ranked_nor_compared(tmp_path: Path) -> None:
    page = report(made(0.5), tmp_path)
    assert page.part("found").data.headline == "Trial 0 reached val_acc 0.5."
    assert page.part("found").data.others == []
    assert "neither its luck nor its rank" in page.part("certainty").data.verdict
    assert "It takes 5 finished trials" in page.part("importance").body


def test_the_best_is_compared_with_the_first_and_the_median(tmp_path: Path) -> None:
    found = report(made(0.5, 0.9, 0.6, 0.7, 0.8), tmp_path).part("found").data
    told = [(other.what, other.number, round(other.gain, 6)) for other in found.others]
    assert told == [("the first complete trial", 0, 0.4), ("the median trial", 3, 0.2)]
    (chart,) = [found.chart]
    best = next(trace for trace in chart.figure.data if trace.line.color == "#D55E00")
    assert list(best.y) == pytest.approx([0.225, 0.45, 0.675, 0.9])


def test_without_further_seeds_it_says_that_luck_is_not_known(tmp_path: Path) -> None:
    data = report(made(0.5, 0.9, 0.6), tmp_path).part("certainty").data
    assert "cannot tell luck from merit" in data.verdict
    assert "The best has 0.9, 0.3 ahead of the next trial, 2 with 0.6." in data.verdict
    assert [(each.number, round(each.behind, 6)) for each in data.runners_up] == [(1, 0.0), (2, 0.3), (0, 0.4)]


def test_folds_say_how_far_the_value_is_known(tmp_path: Path) -> None:
    data = report(made(0.5, 0.9, parts=[0.8, 0.9, 1.0]), tmp_path).part("certainty").data
    assert "standard deviation of 0.1, so its mean is known to about ± 0.05774" in data.verdict
    assert "more than that" in data.verdict


def records(study: optuna.Study) -> list[TrialRecord]:
    return list(StudyView.of(study, "val_acc", MAXIMIZE).records)


def test_what_pruning_saved_is_counted_in_epochs() -> None:
    said = saved_by_pruning(records(made(0.5, 0.9, None, None)))
    assert "2 trials had 4 epochs before the pruner stopped them" in said
    assert "would have taken 4 more" in said  # two trials, two epochs each
    assert "pruning saved 25 %" in said  # of 16
    assert "Nothing was pruned" in saved_by_pruning(records(made(0.5)))


def test_pruning_is_told_by_epoch_and_how_to_check_it(tmp_path: Path) -> None:
    part = report(made(0.5, 0.9, None, None), tmp_path).part("pruning")
    assert (part.data.pruned, part.data.trials, part.data.steps) == (2, 4, {2: 2})
    assert "audit_fraction" in part.body


def test_condemned_trials_that_were_let_finish_are_ranked(tmp_path: Path) -> None:
    study = made(*(number / 20 for number in range(20)), audited=(3, 19))
    part = report(study, tmp_path).part("pruning")
    assert (len(part.data.audited), part.data.audit.among_best, part.data.audit.top) == (2, 1, 3)
    assert [(each.number, each.epoch, each.rank) for each in part.data.audited] == [(19, 2, 1), (3, 2, 17)]
    assert "1 % to 99 % would have been" in part.body
    assert "2 condemned trials were let finish" in part.body


def test_importances_come_with_their_intervals(tmp_path: Path) -> None:
    study = optuna.create_study(study_name="made", direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(
        lambda trial: trial.suggest_float("a.strong", 0, 1) + 0 * trial.suggest_float("b.idle", 0, 1), n_trials=60
    )
    data = report(study, tmp_path).part("importance").data
    strong, idle = data.shares
    assert (strong.label, idle.label) == ("strong", "idle")
    assert idle.high < strong.low <= strong.share <= strong.high
    assert "unlikely to be chance" in data.said


def test_a_running_study_has_a_page(tmp_path: Path) -> None:
    study = made(0.5, 0.7)
    study.ask().report(0.4, 1)
    page = report(study, tmp_path)
    assert "3 trials: 2 complete, 1 running" in page.html
    assert page.part("curves").data.charts[0].summary.startswith("Curves of 2 finished, 1 unfinished trials")


EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>{{ 7*7 }}"


def test_no_text_of_a_study_becomes_markup(tmp_path: Path) -> None:
    study = optuna.create_study(study_name=EVIL, direction="maximize")
    for number in range(6):
        trial = study.ask()
        trial.suggest_categorical(f"model.{EVIL}", [EVIL, "b"])
        trial.suggest_float(f"optimizer.{EVIL}", 0, 1)
        trial.report(number, 1)
        trial.set_user_attr("mlframework:reason", EVIL)
        study.tell(
            trial, float(number) if number < 5 else None, state=None if number < 5 else optuna.trial.TrialState.FAIL
        )
    study.set_user_attr("mlframework:command", EVIL)
    study.set_user_attr("mlframework:environment", json.dumps({"python": EVIL, "packages": {EVIL: EVIL}}))
    study.set_user_attr(
        "mlframework:started_with", json.dumps({"config": {"data": {"path": EVIL}}, "constraints": [EVIL]})
    )
    page = build(study, StudyFolder(tmp_path), Goal.single(f"val_{EVIL}", "maximize"))
    assert "<script>window" not in page.html
    assert "<img" not in page.html
    ours = 7 + page.html.count('<script type="application/json" id="data-')
    assert page.html.count("<script") == page.html.count("</script") == ours
    assert "49" not in page.part("commands").body


@pytest.mark.parametrize(("best", "offered"), [(0.99, True), (1.0, False)])
def test_more_trials_are_offered_where_they_can_be_better(best: float, offered: bool, tmp_path: Path) -> None:
    study = made(0.5, best)
    study.set_user_attr("mlframework:started_with", json.dumps({"config": {"name": "made"}}))
    data = report(study, tmp_path).part("commands").data
    assert any("--add-trials 50" in each.text for each in data.go_on) == offered
    assert ("val_acc cannot be above 1" in data.remark) != offered


@pytest.mark.parametrize(("worst", "said"), [(0.3, False), (-1000.0, True)])
def test_what_an_axis_leaves_out_is_said(worst: float, said: bool, tmp_path: Path) -> None:
    page = report(made(0.5, 0.51, 0.52, 0.53, 0.54, 0.55, worst), tmp_path)
    for name in ("history", "curves", "slices"):
        assert ("1 trial far beyond the axis: a double click shows all" in page.part(name).body) == said, name


def test_what_stands_in_a_script_cannot_end_it() -> None:
    text = to_script({"<!--": EVIL, "\u2028": "&"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"<!--": EVIL, "\u2028": "&"}


def test_texts_of_the_mouse_stand_in_a_page_once() -> None:
    pool = Pool()
    assert pool.runs(["a", "a", "", "b", "a"]) == [[0, 2], [1, 1], [2, 1], [0, 1]]
    assert pool.texts == ["a", "", "b"]


def test_times_and_numbers_are_short() -> None:
    assert [duration(each) for each in (0.42, 12.3, 59.6, 60, 3725, 90000, None)] == [
        "0.42 s", "12 s", "60 s", "1 min", "1 h 2 min", "1 d 1 h", "–",
    ]  # fmt: skip
    assert [short(each) for each in (None, True, 2.0, 0.00001, "sgd")] == ["–", "true", "2", "1e-5", "sgd"]


def test_more_trials_are_asked_for_without_the_former_total() -> None:
    assert (
        _without_total("ml-search --config 'a b.yaml' --n-trials 20 --resume")
        == "ml-search --config 'a b.yaml' --resume"
    )


def test_a_metric_at_its_bound_cannot_get_better(tmp_path: Path) -> None:
    page = report(made(0.5, 1.0, 0.75, 1.0, 1.0), tmp_path)
    said = page.part("history").data.said
    assert said == (
        "3 trials since the best one brought nothing better, and none can: val_acc cannot be above 1. "
        "Another metric, val_loss, would tell the 3 equal trials apart (search.metric)."
    )
    assert "is as good as any can be" in report(made(0.5, 1.0), tmp_path).part("history").data.said
    assert "may still get better" in report(made(0.5, 0.9, 0.6), tmp_path).part("history").data.said


@pytest.mark.parametrize(
    ("metric", "bound"),
    [("val_acc", 1), ("val_ndcg_at_10", 1), ("test_rmse", 0), ("n_parameters", None), ("acc", None)],
)
def test_bounds_are_those_of_known_metrics(metric: str, bound: float | None) -> None:
    assert bound_of(metric) == bound
    assert finer(metric) == ("val_loss" if metric == "val_acc" else "")


def test_trials_as_good_as_the_best_are_named(tmp_path: Path) -> None:
    def why(*values: float) -> str:
        return str(report(made(*values), tmp_path).part("found").data.why)

    assert why(0.5, 1.0, 0.75, 1.0, 1.0) == (
        "It has the highest val_acc of 5 complete trials. 2 others reached the same: trials 3, 4; the first is taken. "
        "val_acc cannot be above 1: search.metric val_loss would tell them apart."
    )
    assert why(0.5, 0.9, 0.9).endswith("1 other reached the same: trial 2; the first is taken.")
    assert why(0.5, 0.9) == "It has the highest val_acc of 2 complete trials."


def test_results_json_is_not_said_to_have_what_only_the_page_has(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    told = dict(report(made(0.5), tmp_path).part("environment").data.files)
    about = told[str(tmp_path / "results.json")]
    assert "every number" not in about
    assert "not what this page works out from them, such as importances" in about


def test_the_lead_and_the_steps_after_it_can_be_followed_in_the_table(tmp_path: Path) -> None:
    data = report(made(0.5, 0.9, 0.6, 0.75, 0.7, 0.4), tmp_path).part("certainty").data
    assert (
        "0.15 ahead of the next trial, 3 with 0.75; from there to trial 0 the steps are 0.05, 0.1 and 0.1."
        in data.verdict
    )
    assert [each.number for each in data.runners_up] == [1, 3, 4, 2, 0]


def test_a_tie_is_no_lead(tmp_path: Path) -> None:
    page = report(made(1.0, 1.0, 0.5, 1.0), tmp_path)
    verdict = page.part("certainty").data.verdict
    assert "3 trials have the best value, 1" in verdict
    assert "further seeds, or a search by val_loss, can" in verdict
    assert "ahead" not in verdict
    assert not [name for name, *_ in page.part("found").data.tiles if name.startswith("better than")]


def test_the_tile_says_which_trial_it_compares_with(tmp_path: Path) -> None:
    tiles = report(made(0.5, 0.9, 0.6, 0.7, 0.8), tmp_path).part("found").data.tiles
    assert ("better than the median trial", "0.2", "trial 3 had 0.7") in tiles


def test_a_page_without_intervals_of_importances_says_why(tmp_path: Path) -> None:
    said = report(made(*(number / 10 for number in range(7))), tmp_path).part("importance").data.said
    assert "Intervals take 10 finished trials, so there are none yet." in said


def test_crosses_of_pruned_trials_are_explained_in_pairs(tmp_path: Path) -> None:
    values = [number / 10 for number in range(6)]
    assert "A grey cross is a pruned trial" in report(made(*values, None), tmp_path).part("contours").data.said
    assert "cross" not in report(made(*values), tmp_path).part("contours").data.said
