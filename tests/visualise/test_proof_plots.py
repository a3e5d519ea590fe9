"""What the pictures of a confirmation and of a comparison show."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlframework.errors import PlotError
from mlframework.search.compare import Curve, conclude
from mlframework.search.confirm import Retraining, write_confirmation
from mlframework.search.confirm import conclude as conclude_confirmation
from mlframework.visualise import compare_plot, style
from mlframework.visualise.draw_all import draw_all
from mlframework.visualise.search_plots import PLOTS, confirm
from mlframework.visualise.study_view import StudyView


def confirmed(view: StudyView, *values: tuple[float | None, ...]) -> None:
    """Write a confirmation of trials 0, 1, ... into the study's folder."""
    trained = [
        (number, 0.99, [
            Retraining(seed, "failed" if value is None else "complete", value, 1, 1.0, "it burst" if value is None else None)
            for seed, value in enumerate(each)
        ])
        for number, each in enumerate(values)
    ]  # fmt: skip
    found = conclude_confirmation("val_acc", "maximize", len(values), range(len(values[0])), trained)
    folder = Path("runs/optuna_studies") / view.name
    folder.mkdir(parents=True)
    write_confirmation(folder, found)


def test_every_seed_the_means_and_the_value_in_the_search(
    view: StudyView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not PLOTS["confirm"].fits(view)
    with pytest.raises(PlotError, match=r"was not confirmed: set search\.confirm"):
        confirm.compute(view)
    confirmed(view, (0.5, 0.6, 0.7), (0.9, 0.8, 0.9), (0.8, None, 0.8), (None, None, None))
    assert PLOTS["confirm"].fits(view)
    data = confirm.compute(view)
    assert [each.number for each in data.candidates] == [0, 1, 2], (
        "where every training failed there is nothing to show"
    )
    assert data.pick == 1
    assert data.heading.subtitle.startswith(f"{view.name} · trial 1 is picked: ")
    seeds, means, search = confirm.draw(data).data
    assert list(seeds.x) == [0.5, 0.6, 0.7, 0.9, 0.8, 0.9, 0.8, 0.8]
    assert list(means.x) == pytest.approx([0.6, 2.6 / 3, 0.8]) and list(search.x) == [0.99] * 3
    # Student's t with two degrees of freedom: 4.303 standard errors.
    assert means.error_x.array[0] == pytest.approx(4.3026527 * 0.1 / 3**0.5)
    assert list(means.marker.color) == ["white", style.BLUE, "white"], "the picked one is filled"


def test_a_confirmation_of_failures_cannot_be_drawn(
    view: StudyView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    confirmed(view, (None, None))
    with pytest.raises(PlotError, match=r"every training of the confirmation failed; its confirm\.json says why"):
        confirm.compute(view)


def test_a_damaged_confirmation_does_not_keep_the_other_plots_from_being_drawn(
    view: StudyView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    confirmed(view, (0.5, 0.6), (0.9, 0.8))
    (Path("runs/optuna_studies") / view.name / "confirm.json").write_text("{")
    outcomes = {each.name: each for each in draw_all(view, [], [], tmp_path / "plots", ["html"])}
    assert "confirm.json: is damaged" in str(outcomes["confirm"].reason) and outcomes["slice"].reason is None


def curve(sampler: str, seed: int, *best: float | None) -> Curve:
    return Curve(sampler, seed, f"x-{sampler}-{seed}", best, len(best), len(best), 0, 1.0)


TPE = [curve("TPESampler", 0, None, 0.5, 0.7), curve("TPESampler", 1, 0.3, 0.3, 0.9)]
RANDOM = [curve("RandomSampler", 0, 0.2, 0.4, 0.4), curve("RandomSampler", 1, 0.4, 0.4, 0.4)]
NOTHING = [curve("GridSampler", 0, None, None, None), curve("GridSampler", 1, None, None, None)]
FOUND = conclude("x_compare", "val_acc", "maximize", [TPE, RANDOM, NOTHING])


def test_a_curve_begins_where_every_seed_has_a_value_and_has_its_quartiles() -> None:
    data = compare_plot.compute_curves(FOUND)
    assert [line.sampler for line in data.lines] == ["TPESampler", "RandomSampler"]
    assert data.lines[0].trials == (2, 3) and data.lines[0].mean == pytest.approx((0.4, 0.8))
    assert data.lines[0].low == pytest.approx((0.35, 0.75)) and data.lines[0].high == pytest.approx((0.45, 0.85))
    assert "mean over 2 seeds, the band from the lower to the upper quartile" in data.heading.subtitle
    figure = compare_plot.draw_curves(data)
    assert [trace.name for trace in figure.data if trace.name] == ["TPESampler", "RandomSampler"]
    assert {trace.line.shape for trace in figure.data} == {"hv"}, "a best value stays until a better one comes"
    assert {trace.x[-1] for trace in figure.data} == {3.5}, "the last trial's step is seen"
    assert all(trace.y[-1] == trace.y[-2] for trace in figure.data)


def test_bad_first_trials_do_not_flatten_the_others() -> None:
    values = (1000.0, 3.0, 2.5, 2.0, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4)
    curves = [[curve(name, seed, *values) for seed in (0, 1)] for name in ("TPESampler", "RandomSampler")]
    data = compare_plot.compute_curves(conclude("x", "val_loss", "minimize", curves))
    assert data.visible is not None and data.visible[0] < 1.4 and 2.5 <= data.visible[1] < 3
    assert "the first trials reach beyond the axis" in data.heading.subtitle


def test_ranks_are_shown_best_first_with_how_often_each_was_had() -> None:
    data = compare_plot.compute_ranks(FOUND)
    assert data.samplers == ("TPESampler", "RandomSampler", "GridSampler") and data.mean == (1.0, 2.0, 3.0)
    assert data.by_seed == {("TPESampler", 1.0): 2, ("RandomSampler", 2.0): 2, ("GridSampler", 3.0): 2}
    assert data.heading.subtitle.startswith(
        "x_compare · no significant difference between the samplers (Friedman's test"
    )
    seeds, means = compare_plot.draw_ranks(data).data
    assert list(means.x) == [1.0, 2.0, 3.0] and len(seeds.x) == 3
    assert not set(seeds.y) & set(means.y), "no mark lies under the mean's"


def test_names_are_no_markup() -> None:
    data = compare_plot.compute_curves(replace(FOUND, name="<b>x"))
    assert "&lt;b&gt;x" in data.heading.subtitle
