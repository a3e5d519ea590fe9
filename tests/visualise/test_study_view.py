import math

import optuna
import pytest

from mlframework.errors import PlotError
from mlframework.search.duplicates import REDRAWN
from mlframework.visualise.study_view import StudyView, resolve_params, short_names
from mlframework.visualise.wording import hover, short, standing, subtitle


def finished(value: float, **params: float) -> optuna.trial.FrozenTrial:
    distributions = {key: optuna.distributions.FloatDistribution(0, 1000) for key in params}
    return optuna.trial.create_trial(params=params, distributions=distributions, value=value)


def study_of(trials: list[optuna.trial.FrozenTrial], direction: str = "maximize") -> optuna.Study:
    study = optuna.create_study(study_name="s", direction=direction)
    study.add_trials(trials)
    return study


def test_trials_are_sorted_by_what_became_of_them(view: StudyView) -> None:
    assert len(view.trials) == 30
    assert view.counts == {"complete": 20, "pruned": 6, "failed": 4}
    assert [trial.number for trial in view.pruned] == [3, 7, 11, 15, 19, 23]
    assert all(trial.number % 7 != 6 for trial in (*view.complete, *view.pruned))


@pytest.mark.parametrize(("direction", "number"), [("maximize", 1), ("minimize", 2)])
def test_best_is_that_of_optuna(direction: str, number: int) -> None:
    study = study_of([finished(0.5), finished(0.9), finished(0.1), finished(0.9)], direction)
    best = StudyView.of(study, "val_acc").best
    assert best is not None
    assert best.number == study.best_trial.number == number


def test_best_keeps_the_constraints() -> None:
    study = study_of([finished(0.5)])
    trial = study.ask()
    trial.set_constraint("memory", 1.0)
    study.tell(trial, 0.9)
    view = StudyView.of(study, "val_acc")
    assert view.best is not None
    assert view.best.number == 0 == study.best_trial.number
    assert "breaks a constraint" in hover(view, view.trials[1])


def test_infinite_values_are_no_values() -> None:
    view = StudyView.of(study_of([finished(0.5), finished(math.inf)]), "val_loss")
    assert [trial.number for trial in view.complete] == [0]


def test_several_objectives_are_refused() -> None:
    with pytest.raises(PlotError, match="2 objectives"):
        StudyView.of(optuna.create_study(directions=["maximize", "minimize"]), "val_acc")


def test_short_names_where_they_are_unique() -> None:
    keys = ["optimizer.lr", "model.lr", "training.batch_size", "seed"]
    assert short_names(keys) == {
        "optimizer.lr": "optimizer.lr",
        "model.lr": "model.lr",
        "training.batch_size": "batch_size",
        "seed": "seed",
    }


def test_short_names_and_dotted_keys_are_resolved_in_the_order_asked_for(view: StudyView) -> None:
    assert resolve_params(view, ["batch_size", "optimizer.lr", "lr"]) == ["training.batch_size", "optimizer.lr"]
    assert resolve_params(view, []) == []


def test_unknown_names_are_told_all_at_once_with_the_nearest(view: StudyView) -> None:
    with pytest.raises(PlotError) as caught:
        resolve_params(view, ["lr", "batchsize", "colour"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "'batchsize'; did you mean 'batch_size'?" in lines[0]
    assert "'colour' (searched: optimizer.lr, optimizer.momentum, optimizer.type" in lines[1]


def test_an_ambiguous_name_lists_the_candidates() -> None:
    view = StudyView.of(study_of([finished(0.5, **{"optimizer.lr": 1.0, "model.lr": 2.0})]), "val_acc")
    with pytest.raises(PlotError, match=r"'lr' is ambiguous: model\.lr or optimizer\.lr"):
        resolve_params(view, ["lr"])
    assert resolve_params(view, ["model.lr"]) == ["model.lr"]


def test_a_part_of_a_name_is_no_name(view: StudyView) -> None:
    with pytest.raises(PlotError, match="unknown parameter 'size'"):
        resolve_params(view, ["size"])


def test_subtitle_counts_everything_and_names_the_best(view: StudyView) -> None:
    assert view.best is not None
    assert standing(view) == "30 trials: 20 complete, 6 pruned, 4 failed"
    assert subtitle(view, "", "a note") == (
        f"digits · 30 trials: 20 complete, 6 pruned, 4 failed · best val_acc {view.best.value:.4g} "
        f"(trial {view.best.number}) · a note"
    )


def test_markup_in_names_is_shown_as_it_is(view: StudyView) -> None:
    assert subtitle(StudyView("a<b>", "val_acc", "maximize", [], view.goal, [])) == "a&lt;b&gt; · 0 trials"


def test_hover_has_number_value_and_every_parameter(view: StudyView) -> None:
    trial = view.complete[0]
    text = hover(view, trial)
    assert text.startswith("<b>trial 0</b> complete<br>val_acc = <b>0.")
    for label in ("lr", "batch_size", "step_size", "type"):
        assert f"<br>{label} = " in text
    assert "last report" not in text
    assert "</b>, its last report<br>" in hover(view, view.pruned[0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.97777, "0.9778"), (1e-5, "1e-5"), (1e15, "1e15"), (2e-12, "2e-12"), (64, "64"), (True, "True"), ("sgd", "sgd")],
)
def test_short(value: object, text: str) -> None:
    assert short(value) == text


def test_draws_that_were_never_trained_are_counted_apart() -> None:
    study = optuna.create_study()
    for state, marks in (
        ("PRUNED", {REDRAWN: "infeasible"}),
        ("FAIL", {REDRAWN: "duplicate"}),
        ("PRUNED", {}),
        ("FAIL", {}),
    ):
        study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState[state], user_attrs=marks))
    view = StudyView.of(study, "val_loss")
    assert [trial.number for trial in view.pruned] == [2]
    assert view.counts == {"pruned": 1, "failed": 1, "infeasible": 1, "duplicate": 1}
