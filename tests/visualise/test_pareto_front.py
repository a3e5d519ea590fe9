"""The plot of several objectives, and the other plots of one of them."""

import math
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest

from mlframework.errors import PlotError
from mlframework.metrics import Direction
from mlframework.search.goal import Goal, Objective
from mlframework.visualise.draw_all import draw_all
from mlframework.visualise.search_plots import PLOTS, pareto_front
from mlframework.visualise.study_view import StudyView

DIRECTIONS: dict[str, Direction] = {
    "val_acc": "maximize", "n_parameters": "minimize", "fit_seconds": "minimize", "val_loss": "minimize",
    "val_f1": "maximize",
}  # fmt: skip


def goal_of(names: Sequence[str], prefer: str = "knee") -> Goal:
    return Goal(tuple(Objective(name, DIRECTIONS[name]) for name in names), names[0], prefer)


def view_of(rows: Sequence[Sequence[float]], names: Sequence[str], shown: str = "", prefer: str = "knee") -> StudyView:
    """Return a study whose trials have given values; each reported its first one after an epoch."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    goal = goal_of(names, prefer)
    study = optuna.create_study(study_name="both", directions=[each.direction for each in goal.objectives])
    sizes = optuna.distributions.IntDistribution(1, 1000)
    for at, row in enumerate(rows, 1):
        trial = optuna.trial.create_trial(
            values=list(row),
            params={"model.hidden_size": at},
            distributions={"model.hidden_size": sizes},
            intermediate_values={1: row[0]},
        )
        study.add_trial(trial)
    return StudyView.of(study, shown or names[0], goal)


FIVE = [(0.90, 100.0), (0.95, 300.0), (0.94, 400.0), (0.97, 9000.0), (0.5, 9500.0)]
TWO = ["val_acc", "n_parameters"]


def test_the_front_the_rest_and_the_chosen_trial() -> None:
    data = pareto_front.compute(view_of(FIVE, TWO))
    assert (data.front.numbers, data.dominated.numbers, data.chosen.numbers) == ((3, 1, 0), (2, 4), (1,))
    assert data.front.values == ((0.97, 0.95, 0.90), (9000.0, 300.0, 100.0))
    assert data.panels == [(1, 0)], "the first objective stands upright"
    assert data.heading.subtitle == "both · 5 trials: 5 complete · 3 on the front · knee of the Pareto front: trial 1"
    assert data.front.hovers[0] == "<b>trial 3</b><br>val_acc = 0.97<br>n_parameters = 9000<br>hidden_size = 4"
    preferred = pareto_front.compute(view_of(FIVE, TWO, prefer="n_parameters"))
    assert (preferred.chosen.numbers, preferred.rule) == ((0,), "best n_parameters of the Pareto front")


def test_an_axis_says_which_way_is_better_and_is_logarithmic_where_values_are_far_apart() -> None:
    acc, size = pareto_front.compute(view_of(FIVE, TWO)).axes
    assert (acc.title, acc.is_log) == ("val_acc (more is better)", False)
    assert (size.title, size.is_log) == ("n_parameters (less is better)", True)
    zero = [(0.9, 0.0), (0.8, 1000.0)]
    assert not pareto_front.compute(view_of(zero, TWO)).axes[1].is_log, "0 has no logarithm"


def test_a_diverged_trial_does_not_hide_the_others() -> None:
    rows = [(0.1 * at - 0.5, -float(at)) for at in range(1, 9)] + [(1e9, -99.0)]
    loss = pareto_front.compute(view_of(rows, ["val_loss", "val_f1"])).axes[0]
    assert loss.visible is not None and loss.visible[1] < 1.0


def test_the_figure_has_a_star_in_front_of_the_front_in_front_of_the_rest() -> None:
    figure = pareto_front.draw(pareto_front.compute(view_of(FIVE, TWO)))
    assert [trace.name for trace in figure.data if trace.showlegend] == [
        "dominated",
        "Pareto front",
        "knee of the Pareto front",
    ]
    line, dominated, front, chosen = figure.data
    assert line.line.shape == "vh" and tuple(line.x) == tuple(front.x) == (9000.0, 300.0, 100.0)
    assert list(front.text) == ["3", "1", "0"]
    assert (chosen.marker.symbol, tuple(chosen.y), dominated.marker.opacity) == ("star", (0.95,), 0.45)
    assert figure.layout.xaxis.type == "log"


@pytest.mark.parametrize(("n_objectives", "n_panels"), [(3, 3), (4, 6), (5, 6)])
def test_more_objectives_have_a_panel_a_pair(n_objectives: int, n_panels: int) -> None:
    names = list(DIRECTIONS)[:n_objectives]
    rows = [tuple(math.sin(at + 2 * which) + 2 for which in range(n_objectives)) for at in range(12)]
    data = pareto_front.compute(view_of(rows, names))
    assert len(data.panels) == n_panels
    figure = pareto_front.draw(data)
    assert len(figure.data) == 3 * n_panels, "no line: in more dimensions the front is none"
    assert sum(bool(trace.showlegend) for trace in figure.data) == 3
    assert ("the first 4 of 5 objectives" in data.heading.subtitle) == (n_objectives == 5)


def test_one_objective_has_no_front(view: StudyView) -> None:
    assert not PLOTS["pareto_front"].fits(view)
    with pytest.raises(PlotError, match="one objective, val_acc; a Pareto front takes two"):
        pareto_front.compute(view)


def test_no_finished_trial_no_front() -> None:
    with pytest.raises(PlotError, match="needs 1 finished trial"):
        pareto_front.compute(view_of([], TWO))


@pytest.mark.parametrize("shown", TWO)
def test_the_other_plots_show_one_objective(shown: str, tmp_path: Path) -> None:
    view = view_of(FIVE, TWO, shown)
    at = TWO.index(shown)
    assert [trial.value for trial in view.complete] == [row[at] for row in FIVE]
    assert (view.metric, view.direction) == (shown, DIRECTIONS[shown])
    assert view.best is not None and view.best.number == (3 if shown == "val_acc" else 0)
    drawn = {outcome.name for outcome in draw_all(view, [], [], tmp_path, ["html"]) if outcome.paths}
    reported = {"intermediate_values"} if shown == "val_acc" else set()
    assert (
        drawn
        == {"optimization_history", "param_importances", "slice", "parallel_coordinate", "pareto_front"} | reported
    )


def test_what_trials_did_not_report_has_no_curves() -> None:
    with pytest.raises(
        PlotError, match="trials report val_acc after an epoch, nothing else: leave out --metric n_para"
    ):
        PLOTS["intermediate_values"].compute(view_of(FIVE, TWO, "n_parameters"), [])
    with pytest.raises(PlotError, match="folds and repeats report val_acc, nothing else"):
        PLOTS["folds"].compute(view_of(FIVE, TWO, "n_parameters"), [])


def test_an_objective_that_the_study_does_not_have() -> None:
    with pytest.raises(PlotError, match=r"unknown objective 'val_ac'; did you mean 'val_acc'"):
        view_of(FIVE, TWO, "val_ac")


def test_pruned_trials_have_no_value_in_an_objective_that_they_did_not_report() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trial(optuna.trial.create_trial(values=[0.5, 10.0], intermediate_values={1: 0.5}))
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED, intermediate_values={1: 0.2}))
    of_main = PLOTS["optimization_history"].compute(StudyView.of(study, "val_acc", goal_of(TWO)), [])
    assert of_main.pruned.values == (0.2,)
    of_other = PLOTS["optimization_history"].compute(StudyView.of(study, "n_parameters", goal_of(TWO)), [])
    assert of_other.pruned.values == ()
