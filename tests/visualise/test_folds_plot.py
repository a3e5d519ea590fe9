"""The plot of folds: what it reads, and what it draws. Of the epochs of folds, another plot shows the first."""

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from mlframework.errors import PlotError
from mlframework.search.duplicates import PARTS
from mlframework.visualise.search_plots import folds, intermediate_values
from mlframework.visualise.study_view import StudyView


def study(*trials: tuple[TrialState, float, list[float]]) -> StudyView:
    made = optuna.create_study(study_name="folds")
    for state, value, parts in trials:
        made.add_trial(
            create_trial(
                state=state,
                value=value if state == TrialState.COMPLETE else None,
                user_attrs={PARTS: parts} if parts else {},
                intermediate_values={1: value},
            )
        )
    return StudyView.of(made, "val_loss")


def test_folds_of_complete_and_of_stopped_trials() -> None:
    view = study(
        (TrialState.COMPLETE, 0.5, [0.4, 0.6]),
        (TrialState.PRUNED, 0.7, [0.7, 0.7]),
        (TrialState.PRUNED, 0.9, []),
        (TrialState.COMPLETE, 0.3, [0.2, 0.4]),
    )
    data = folds.compute(view)
    assert data.parts == ((0, 1, 0.4), (0, 2, 0.6), (3, 1, 0.2), (3, 2, 0.4))
    assert data.stopped == ((1, 1, 0.7), (1, 2, 0.7))
    assert data.complete.values == (0.5, 0.3) and data.best.numbers == (3,)
    figure = folds.draw(data)
    assert {trace.name: list(trace.y) for trace in figure.data} == {
        "fold, trial stopped": [0.7, 0.7],
        "fold": [0.4, 0.6, 0.2, 0.4],
        "trial": [0.5, 0.3],
        "best": [0.3],
    }
    assert figure.layout.xaxis.dtick == 1, "there is no trial 2.5"


def test_without_folds_it_says_how_to_get_them() -> None:
    with pytest.raises(PlotError, match=r"set search\.cross_validation or search\.repeats"):
        folds.compute(study((TrialState.COMPLETE, 0.5, [])))


def test_folds_after_the_first_report_no_epochs() -> None:
    """Three folds of two epochs: what comes after the second epoch are means over folds, however good."""
    made = optuna.create_study()
    reports = {1: 0.5, 2: 0.4, 3: 0.9, 4: 0.3}
    made.add_trial(create_trial(value=0.3, user_attrs={PARTS: [0.4, 1.4, -0.9]}, intermediate_values=reports))
    # A trial that took over another one's outcome has folds, and reported nothing.
    made.add_trial(create_trial(value=0.6, user_attrs={PARTS: [0.5, 0.7]}))
    data = intermediate_values.compute(StudyView.of(made, "val_loss"))
    [curve] = data.best
    assert (curve.epochs, curve.values, data.best_epoch) == ((1, 2), (0.5, 0.4), 2) and data.complete == ()
    assert data.heading.title == "val_loss epoch by epoch, of the first fold or repeat"
