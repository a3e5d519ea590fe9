"""What each plot computes from real studies, and that what it computes is what it draws."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.errors import PlotError
from mlframework.search.interrupted import with_interrupted
from mlframework.visualise import style
from mlframework.visualise.search_plots import (
    PLOTS,
    contour,
    intermediate_values,
    optimization_history,
    parallel_coordinate,
    param_importances,
    slice,
)
from mlframework.visualise.search_plots.surface import smooth
from mlframework.visualise.study_view import StudyView

SIX = [
    "optimization_history",
    "param_importances",
    "slice",
    "contour",
    "parallel_coordinate",
    "intermediate_values",
]


def drawn(figure: Any, name: str) -> Any:
    [trace] = [trace for trace in figure.data if trace.name == name]
    return trace


def test_the_six_plots_are_drawn_where_none_is_named(view: StudyView) -> None:
    """The study was not confirmed, so there is nothing of that to draw."""
    assert [name for name, plot in PLOTS.items() if plot.by_default and plot.fits(view)] == SIX


@pytest.mark.parametrize("name", SIX)
@pytest.mark.parametrize("study", ["view", "diverging"])
def test_every_plot_says_what_is_seen(name: str, study: str, request: pytest.FixtureRequest) -> None:
    view: StudyView = request.getfixturevalue(study)
    data = PLOTS[name].compute(view, [])
    figure = PLOTS[name].draw(data)
    assert view.metric in figure.layout.title.text
    assert figure.layout.title.subtitle.text.startswith(view.name)
    assert view.best is not None
    assert f"(trial {view.best.number})" in figure.layout.title.subtitle.text
    assert figure.layout.height >= 300
    assert figure.to_json()


@pytest.mark.parametrize("name", SIX)
def test_a_study_without_trials_says_what_is_missing(name: str, empty: StudyView) -> None:
    with pytest.raises(PlotError, match=r"needs .*\(0 trials\)"):
        PLOTS[name].compute(empty, [])


@pytest.mark.parametrize("name", ["param_importances", "contour"])
def test_one_trial_is_too_few_to_compare(name: str, single: StudyView) -> None:
    with pytest.raises(
        PlotError, match=r"needs 2 finished trials with different values; the study has 1 value \(1 trial"
    ):
        PLOTS[name].compute(single, [])


@pytest.mark.parametrize("name", ["optimization_history", "slice", "parallel_coordinate", "intermediate_values"])
def test_one_trial_is_enough_to_be_seen(name: str, single: StudyView) -> None:
    PLOTS[name].draw(PLOTS[name].compute(single, []))


def test_all_pruned_says_so(searching: Callable[..., StudyView]) -> None:
    def pruned(trial: optuna.Trial) -> float:
        trial.suggest_float("optimizer.lr", 0, 1)
        trial.report(0.5, 1)
        raise optuna.TrialPruned

    view = searching(3, pruned)
    with pytest.raises(PlotError, match="raise the pruner's n_warmup_steps"):
        optimization_history.compute(view)
    assert len(intermediate_values.compute(view).pruned) == 3


def test_study_without_parameters(searching: Callable[..., StudyView]) -> None:
    view = searching(3, lambda trial: float(trial.number))
    for name in ("param_importances", "slice", "parallel_coordinate"):
        with pytest.raises(PlotError, match=r"search\.search_space"):
            PLOTS[name].compute(view, [])
    with pytest.raises(PlotError, match="needs 2 parameters, got none: the study searches no other"):
        contour.compute(view)


# --- optimization_history


def test_history_has_complete_and_pruned_apart_and_no_failed(view: StudyView) -> None:
    data = optimization_history.compute(view)
    assert data.complete.values == tuple(trial.value for trial in view.complete)
    assert data.pruned.numbers == (3, 7, 11, 15, 19, 23)
    assert data.pruned.values == tuple(trial.intermediate_values[2] for trial in view.pruned)
    assert not {6, 13, 20, 27} & {*data.complete.numbers, *data.pruned.numbers}
    assert view.best is not None
    assert (data.best.numbers, data.best.values) == ((view.best.number,), (view.best.value,))
    figure = optimization_history.draw(data)
    assert tuple(drawn(figure, "complete").y) == data.complete.values
    assert tuple(drawn(figure, "pruned").x) == data.pruned.numbers
    assert tuple(drawn(figure, "best").x) == data.best.numbers


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.sampled_from(["maximize", "minimize"]))
def test_running_best_is_monotone_and_ends_at_the_best(values: list[float], direction: str) -> None:
    study = optuna.create_study(direction=direction)
    study.add_trials([optuna.trial.create_trial(value=value) for value in values])
    line = optimization_history.running_best(StudyView.of(study, "m"))
    assert [number for number, _ in line] == list(range(len(values)))
    best = [value for _, value in line]
    assert best == sorted(best, reverse=direction == "minimize")
    assert best[-1] == study.best_value
    assert all(so_far in values[: index + 1] for index, so_far in line)


def test_a_diverged_trial_is_left_outside_and_counted(diverging: StudyView) -> None:
    data = optimization_history.compute(diverging)
    assert data.visible is not None and data.visible[1] < 10
    assert "2 trials far beyond the axis" in data.heading.subtitle
    assert max(data.complete.values) == 1e6


# --- param_importances


def test_importances_are_those_of_optuna_and_add_up(view: StudyView) -> None:
    data = param_importances.compute(view)
    assert data.keys[0] == "optimizer.lr"
    assert data.labels[0] == "lr"
    assert sum(data.shares) == pytest.approx(1)
    assert list(data.shares) == sorted(data.shares, reverse=True)
    study = optuna.create_study(direction="maximize")
    study.add_trials(list(view.trials))
    expected = optuna.importance.get_param_importances(study)
    assert dict(zip(data.keys, data.shares, strict=True)) == pytest.approx(expected)
    assert "a rough guide: only 20 finished trials" in data.heading.subtitle


def test_importances_of_some_parameters_are_shares_of_the_whole(view: StudyView) -> None:
    whole = param_importances.compute(view)
    some = param_importances.compute(view, ["scheduler.step_size", "optimizer.lr"])
    assert set(some.keys) == {"scheduler.step_size", "optimizer.lr"}
    assert some.shares[0] == whole.shares[0]


def test_equal_values_say_nothing(searching: Callable[..., StudyView]) -> None:
    view = searching(5, lambda trial: 0 * trial.suggest_float("optimizer.lr", 0, 1))
    with pytest.raises(PlotError, match="all 5 have val_acc 0"):
        param_importances.compute(view)


def test_importances_leave_optunas_logging_as_it_was(view: StudyView) -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        param_importances.compute(view)
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        optuna.logging.set_verbosity(before)


# --- slice


def test_slice_panels_hold_each_trial_that_has_the_parameter(view: StudyView) -> None:
    data = slice.compute(view, ["optimizer.momentum", "optimizer.lr"])
    momentum, lr = data.panels
    having = [trial for trial in view.complete if "optimizer.momentum" in trial.params]
    assert momentum.complete.at == tuple(trial.params["optimizer.momentum"] for trial in having)
    assert momentum.complete.points.numbers == tuple(trial.number for trial in having)
    assert momentum.without == 20 - len(having) > 0
    assert (len(lr.complete.at), len(lr.pruned.at), lr.without) == (20, 6, 0)


def test_slice_axes_fit_the_parameters(view: StudyView) -> None:
    data = slice.compute(view, ["optimizer.lr", "training.batch_size", "optimizer.type"])
    layout = slice.draw(data).layout
    assert (layout.xaxis.type, layout.xaxis2.type, layout.xaxis3.type) == ("log", "category", "category")
    assert layout.xaxis2.categoryarray == ("16", "32", "64")
    assert layout.xaxis.title.text == "lr"


def test_slice_begins_with_the_most_important_parameter(view: StudyView) -> None:
    data = slice.compute(view)
    assert data.panels[0].axis.label == "lr"
    assert len(data.panels) == 5


# --- contour


def test_contour_takes_the_two_most_important(view: StudyView) -> None:
    data = contour.compute(view)
    [(place, panel)] = data.panels.items()
    assert place == (1, 1)
    shares = list(param_importances.importances(view))
    assert [panel.x_axis.key, panel.y_axis.key] == shares[:2]
    assert "the two most important parameters" in data.heading.title


def test_contour_of_the_parameters_asked_for(view: StudyView) -> None:
    data = contour.compute(view, ["optimizer.lr", "optimizer.momentum"])
    panel = data.panels[1, 1]
    both = [trial for trial in view.complete if "optimizer.momentum" in trial.params]
    assert panel.complete.x == tuple(trial.params["optimizer.lr"] for trial in both)
    assert panel.complete.y == tuple(trial.params["optimizer.momentum"] for trial in both)
    known = [value for row in panel.surface for value in row if value is not None]
    assert known
    assert data.limits[0] <= min(known) <= max(known) <= data.limits[1]
    figure = contour.draw(data)
    assert figure.data[0].type == "contour"
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "linear")


def test_contour_of_a_category_has_a_row_a_category(view: StudyView) -> None:
    data = contour.compute(view, ["optimizer.lr", "training.batch_size"])
    assert data.panels[1, 1].grid_y == ("16", "32", "64")
    assert len(data.panels[1, 1].surface) == 3
    assert contour.draw(data).data[0].type == "heatmap"


def test_contour_of_more_is_a_matrix_of_pairs(view: StudyView) -> None:
    keys = ["optimizer.lr", "training.batch_size", "optimizer.momentum"]
    data = contour.compute(view, keys)
    pairs = {place: (panel.x_axis.key, panel.y_axis.key) for place, panel in data.panels.items()}
    assert pairs == {(1, 1): (keys[0], keys[1]), (2, 1): (keys[0], keys[2]), (2, 2): (keys[1], keys[2])}
    assert contour.draw(data).layout.xaxis3 is not None


def test_contour_needs_two_to_five_parameters(view: StudyView) -> None:
    with pytest.raises(PlotError, match=r"needs 2 parameters, got optimizer\.lr: name another one: "):
        contour.compute(view, ["optimizer.lr"])
    with pytest.raises(PlotError, match="6 parameters make 15 pairs"):
        contour.compute(view, [f"a.{letter}" for letter in "abcdef"])


def test_contour_of_parameters_that_never_meet(searching: Callable[..., StudyView]) -> None:
    def either(trial: optuna.Trial) -> float:
        return trial.suggest_float("a.x" if trial.number % 2 else "b.y", 0, 1)

    with pytest.raises(PlotError, match=r"a finished trial that has b\.y and a\.x"):
        contour.compute(searching(6, either), ["b.y", "a.x"])


def test_colours_are_darker_where_it_is_better(view: StudyView, diverging: StudyView) -> None:
    for study, darkest_last in ((view, True), (diverging, False)):
        scale = contour.draw(contour.compute(study)).data[0].colorscale
        assert [at for at, _ in scale] == sorted(at for at, _ in scale)
        assert scale[-1 if darkest_last else 0][1] == style.VALUES[-1][1]


def test_surface_averages_near_trials_and_claims_nothing_far_away() -> None:
    grid = [index / 20 for index in range(21)]
    surface = smooth(([0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 3.0, 5.0]), (grid, grid), (1.0, 1.0), (False, False))
    assert surface[0][0] == pytest.approx(2.0, abs=0.01)
    assert surface[0][20] == pytest.approx(5.0, abs=0.01)
    assert surface[20][10] is None
    along = [value for value in surface[0] if value is not None]
    assert along == sorted(along)


def test_surface_keeps_categories_apart() -> None:
    surface = smooth(([0.0, 1.0], [0.0, 0.0], [1.0, 5.0]), ([0.0, 1.0, 2.0], [0.0]), (2.0, 1.0), (True, False))
    assert surface == ((1.0, 5.0, None),)


def test_surface_without_trials_is_unknown() -> None:
    assert smooth(([], [], []), ([0.0, 1.0], [0.0]), (1.0, 1.0), (False, False)) == ((None, None),)


# --- parallel_coordinate


def test_parallel_lines_reach_their_values(view: StudyView) -> None:
    keys = ["optimizer.momentum", "training.batch_size", "optimizer.lr"]
    data = parallel_coordinate.compute(view, keys)
    assert [axis.label for axis in data.axes] == ["momentum", "batch_size", "lr", "val_acc"]
    [best] = data.best
    assert view.best is not None
    assert (best.number, best.goodness, best.heights[-1]) == (view.best.number, 1.0, 1.0)
    batch_size = view.best.params["training.batch_size"]
    assert best.heights[1] == {16: 0.0, 32: 0.5, 64: 1.0}[batch_size]
    assert len(data.complete) + 1 == len(view.complete)
    by_number = {trial.number: trial for trial in view.trials}
    for line in (*data.complete, *data.pruned):
        assert (line.heights[0] == parallel_coordinate.NOT_SET) == (keys[0] not in by_number[line.number].params)


def test_parallel_lines_are_in_the_order_of_goodness(view: StudyView) -> None:
    data = parallel_coordinate.compute(view)
    goodness = [line.goodness for line in data.complete]
    assert goodness == sorted(goodness)
    heights = [line.heights[-1] for line in data.complete]
    assert heights == sorted(height for height in heights if height is not None)


def test_pruned_lines_do_not_reach_the_value(view: StudyView) -> None:
    data = parallel_coordinate.compute(view)
    assert [line.number for line in data.pruned] == [3, 7, 11, 15, 19, 23]
    assert {line.heights[-1] for line in data.pruned} == {None}


def test_parallel_axes_say_where_a_parameter_is_not_set(view: StudyView) -> None:
    axes = {axis.label: axis for axis in parallel_coordinate.compute(view).axes}
    assert axes["momentum"].ticks[0] == (parallel_coordinate.NOT_SET, "not set")
    assert all(text != "not set" for _, text in axes["lr"].ticks)
    assert [text for _, text in axes["batch_size"].ticks] == ["16", "32", "64"]


def test_parallel_draws_few_traces_for_many_trials(view: StudyView) -> None:
    figure = parallel_coordinate.draw(parallel_coordinate.compute(view))
    assert len(figure.data) <= 12
    assert figure.data[-1].name == "best"


# --- intermediate_values


def test_curves_are_what_the_trials_reported(view: StudyView) -> None:
    data = intermediate_values.compute(view)
    assert len(data.complete) == 19 and len(data.pruned) == 6
    assert {curve.epochs for curve in data.complete} == {(1, 2, 3, 4, 5)}
    assert {curve.epochs for curve in data.pruned} == {(1, 2)}
    [best] = data.best
    assert view.best is not None
    assert best.number == view.best.number
    assert best.values == tuple(view.best.intermediate_values.values())
    assert data.best_epoch == 5


def test_the_best_is_in_front_and_the_pruned_are_behind(view: StudyView) -> None:
    figure = intermediate_values.draw(intermediate_values.compute(view))
    names = [trace.name for trace in figure.data if trace.name]
    assert names == ["pruned", "complete", "best"]
    widths = {trace.name: trace.line.width for trace in figure.data if trace.name}
    assert widths["pruned"] < widths["complete"] < widths["best"]


def test_not_a_number_is_a_gap_and_no_value(searching: Callable[..., StudyView]) -> None:
    def gap(trial: optuna.Trial) -> float:
        for epoch, value in ((1, 0.5), (2, math.nan), (3, 0.7)):
            trial.report(value, epoch)
        return 0.7

    [curve] = intermediate_values.compute(searching(1, gap)).best
    assert (curve.epochs, curve.values) == ((1, 3), (0.5, 0.7))


def test_trials_that_reported_nothing(searching: Callable[..., StudyView]) -> None:
    with pytest.raises(PlotError, match="reported a value after an epoch"):
        intermediate_values.compute(searching(3, lambda trial: trial.suggest_float("optimizer.lr", 0, 1)))


def test_a_running_trial_is_seen(view: StudyView) -> None:
    study = optuna.create_study()
    trial = study.ask()
    trial.report(0.5, 1)
    data = intermediate_values.compute(StudyView.of(study, "val_loss"))
    assert [curve.number for curve in data.running] == [0]
    assert "1 running" in data.heading.subtitle


def test_a_trial_that_nobody_works_on_is_interrupted() -> None:
    study = optuna.create_study()
    for value in (0.5, 0.4):
        study.ask().report(value, 1)
    running = StudyView.of(study, "val_loss")
    seen = replace(running, records=with_interrupted(running.records, {1}))
    data = intermediate_values.compute(seen)
    assert [curve.number for curve in data.running] == [0]
    assert [curve.number for curve in data.interrupted] == [1]
    assert "trial 1</b> interrupted" in data.interrupted[0].hover
    assert {"running", "interrupted"} <= {trace.name for trace in intermediate_values.draw(data).data}


# --- many trials


@pytest.fixture(scope="module")
def thousand() -> StudyView:
    study = optuna.create_study(direction="maximize")
    lr, layers = optuna.distributions.FloatDistribution(1e-5, 1, log=True), optuna.distributions.IntDistribution(1, 8)
    study.add_trials(
        [
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.PRUNED if number % 3 == 2 else optuna.trial.TrialState.COMPLETE,
                params={"optimizer.lr": 10 ** (-5 + number % 500 / 100), "model.layers": 1 + number % 8},
                distributions={"optimizer.lr": lr, "model.layers": layers},
                value=math.sin(number),
                intermediate_values={epoch: math.sin(number) * epoch / 20 for epoch in range(1, 21)},
            )
            for number in range(1000)
        ]
    )
    return StudyView.of(study, "val_acc")


@pytest.mark.parametrize("name", SIX)
def test_a_thousand_trials_stay_light(name: str, thousand: StudyView) -> None:
    figure = PLOTS[name].draw(PLOTS[name].compute(thousand, []))
    assert len(figure.data) <= 15
    assert len(figure.to_json()) < 3_000_000
