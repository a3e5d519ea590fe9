"""The plots of a classifier: what they compute is what scikit-learn and a pencil compute, and what they draw."""

import html
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from mlframework.errors import PlotError
from mlframework.visualise.run_plots import calibration, class_curves, confusion_matrix, precision_recall, roc
from mlframework.visualise.run_plots.calibration import binned, expected_calibration_error, wilson
from mlframework.visualise.run_plots.classified import classified, label, share
from support.outputs import probabilities, said_of

NAMES = ("cat", "dog", "owl")
TARGETS = [0, 0, 0, 1, 1, 2, 2, 2]
# Right, right, owl for cat; right, cat for dog; right, right, dog for owl.
VALUES = [
    [0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.0, 0.1, 0.9], [0.1, 0.1, 0.8],
    [0.0, 0.55, 0.45],
]  # fmt: skip


def drawn(n: int, n_classes: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, n_classes, n)
    return targets, probabilities(rng, targets, n_classes)


# --- confusion_matrix


def test_the_matrix_counts_which_class_is_taken_for_which(tmp_path: Path) -> None:
    data = confusion_matrix.compute(said_of(tmp_path / "pets", TARGETS, VALUES, NAMES))
    assert data.counts.tolist() == [[2, 0, 1], [1, 1, 0], [0, 1, 2]]
    assert [(each.true, each.predicted, each.count) for each in data.confusions] == [
        ("cat", "owl", 1), ("dog", "cat", 1), ("owl", "dog", 1)]  # fmt: skip
    assert data.heading.title == "62.5 % right: which class is taken for which"
    assert data.heading.subtitle == "pets · val split: 8 examples, epoch 3 · 3 mistakes"
    figure = confusion_matrix.draw(data)
    right, wrong = (trace for trace in figure.data if trace.type == "heatmap")
    assert np.nan_to_num(right.z).tolist() == [[2 / 3, 0, 0], [0, 1 / 2, 0], [0, 0, 2 / 3]]
    assert np.nan_to_num(wrong.z).tolist() == [[0, 0, 1 / 3], [1 / 2, 0, 0], [0, 1 / 3, 0]]
    assert [list(row) for row in wrong.text] == [["", "", "1"], ["1", "", ""], ["", "1", ""]]
    assert wrong.hovertext[1][0] == "true <b>dog</b><br>predicted <b>cat</b><br>1 of 2 (50.0 %)"
    assert tuple(figure.layout.yaxis.ticktext) == NAMES and figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]


@given(st.integers(1, 200), st.integers(2, 130), st.integers(0, 99))
def test_the_matrix_sums_to_the_examples_also_where_classes_are_gathered(n: int, k: int, seed: int) -> None:
    targets, values = drawn(n, k, seed)
    counts = metrics.confusion_matrix(targets, values.argmax(axis=1), labels=range(k))
    names, small = confusion_matrix.gathered(tuple(map(str, range(k))), counts, 40)
    assert small.sum() == n and len(names) == len(small) == min(k, 40) + 1
    kept = [int(name) for name in names[:-1]]
    assert kept == sorted(kept)
    assert small[:-1, :-1].tolist() == counts[np.ix_(kept, kept)].tolist()


def test_many_classes_are_gathered_and_twenty_have_numbers(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(120)]
    data = confusion_matrix.compute(said_of(tmp_path / "many", *drawn(900, 120), names))
    assert len(data.class_names) == 41 and data.class_names[-1] == confusion_matrix.OTHERS
    assert data.counts.sum() == 900 and "the 40 classes with the most mistakes of 120" in data.heading.subtitle
    assert sum(each.count for each in data.confusions) <= data.n_wrong
    assert confusion_matrix.draw(data).data[0].texttemplate is None
    twenty = confusion_matrix.compute(said_of(tmp_path / "twenty", *drawn(400, 20), names[:20]))
    assert confusion_matrix.draw(twenty).data[0].texttemplate == "%{text}"


def test_a_class_without_examples_and_a_model_without_mistakes(tmp_path: Path) -> None:
    missing = confusion_matrix.compute(said_of(tmp_path / "a", [0, 0, 1], [[1, 0, 0], [0, 0, 1], [0, 1, 0]], NAMES))
    assert missing.counts.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert missing.heading.subtitle.endswith("1 mistake · no example of owl")
    assert [trace.type for trace in confusion_matrix.draw(missing).data] == ["heatmap", "heatmap", "bar"]
    perfect = confusion_matrix.compute(said_of(tmp_path / "b", [0, 1, 2], np.eye(3), NAMES))
    assert perfect.heading.title.startswith("100 % right") and perfect.confusions == ()
    assert [trace.type for trace in confusion_matrix.draw(perfect).data] == ["heatmap", "heatmap"]


def test_names_are_no_markup_no_formula_and_not_endless(tmp_path: Path) -> None:
    names = ["<b>x</b><script>1</script>", "$a$ and $b$", "long " * 40, "two\nlines\u202e"]
    data = confusion_matrix.compute(said_of(tmp_path / "odd", *drawn(80, 4), names))
    roc_data = roc.compute(said_of(tmp_path / "odd", *drawn(80, 4), names))
    for figure in (confusion_matrix.draw(data), roc.draw(roc_data)):
        text = figure.to_json()
        assert "<b>x" not in text and "\\u003cb\\u003ex" not in text and "<script" not in text
        assert "$a$" not in text and "long long long long long long" not in text and "\u202e" not in text
    assert html.unescape(label(names[1])) == names[1]
    assert label("a" * 25) == "a" * 18 + "…" + "a" * 5 and label("a" * 24) == "a" * 24


# --- calibration


def test_bins_are_those_of_the_paper() -> None:
    confidence = np.array([0.1, 0.55, 0.6, 0.61, 0.9, 1.0, 1.0000001])
    bins = binned(confidence, np.array([True, True, False, True, False, True, True]))
    assert [(each.low, each.high, each.count) for each in bins] == [
        (0.0, 0.1, 1), (0.5, 0.6, 2), (0.6, 0.7, 1), (0.8, 0.9, 1), (0.9, 1.0, 2)]  # fmt: skip
    assert [each.accuracy for each in bins] == [1, 0.5, 1, 0, 1]
    gaps = [0.9, abs(0.5 - 0.575) * 2, 0.39, 0.9, 0]
    assert expected_calibration_error(bins) == pytest.approx(sum(gaps) / 7, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80))
def test_the_error_is_a_share_and_bins_hold_all(pairs: list[tuple[float, bool]]) -> None:
    confidence, right = (np.array(each) for each in zip(*pairs, strict=True))
    bins = binned(confidence.astype(np.float64), right)
    assert sum(each.count for each in bins) == len(pairs)
    error = expected_calibration_error(bins)
    assert 0 <= error <= 1 + 1e-12
    # No bins can hide the gap between the means.
    assert error >= abs(confidence.mean() - right.mean()) - 1e-9
    for each in bins:
        assert 0 <= each.surely[0] <= each.accuracy <= each.surely[1] <= 1


def test_wilsons_interval_is_the_textbooks() -> None:
    # Newcombe (1998), table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_calibration_is_drawn_with_its_counts(tmp_path: Path) -> None:
    data = calibration.compute(said_of(tmp_path / "pets", TARGETS, VALUES, NAMES))
    assert data.confidence == pytest.approx(0.70625) and data.accuracy == 0.625
    assert data.heading.title == "It is 70.6 % sure on average, and right in 62.5 %"
    figure = calibration.draw(data)
    [line] = [trace for trace in figure.data if trace.name == "the model, with 95 % intervals"]
    [bars] = [trace for trace in figure.data if trace.type == "bar"]
    assert list(line.y) == [each.accuracy for each in data.bins] and sum(bars.y) == 8
    assert list(bars.text) == [str(each.count) for each in data.bins]


# --- ROC and precision-recall


def test_two_classes_have_the_curves_of_scikit_learn(tmp_path: Path) -> None:
    targets, values = drawn(300, 2)
    view = said_of(tmp_path / "two", targets, values, ("no", "yes"))
    data = roc.compute(view)
    scores = values[:, 1].astype(np.float32)
    assert data.area == pytest.approx(metrics.roc_auc_score(targets, scores)) and data.macro is None
    [curve] = data.curves
    x, y, _ = metrics.roc_curve(targets, scores)
    assert (curve.name, curve.n_examples) == ("yes", targets.sum())
    assert list(curve.x) == x.tolist() and list(curve.y) == y.tolist()
    both = precision_recall.compute(view)
    assert {each.name: each.area for each in both.curves} == pytest.approx(
        {"no": metrics.average_precision_score(1 - targets, values[:, 0].astype(np.float32)),
         "yes": metrics.average_precision_score(targets, scores)})  # fmt: skip


def area_of_steps(x: tuple[float, ...], y: tuple[float, ...]) -> float:
    """The area under steps that hold their height until the next x."""
    return float(np.sum(np.diff(x) * np.array(y[:-1])))


def test_the_mean_curve_has_the_mean_area(tmp_path: Path) -> None:
    targets, values = drawn(200, 5)
    view = said_of(tmp_path / "five", targets, values, tuple("abcde"))
    data = roc.compute(view)
    ours = values.astype(np.float32)
    assert data.area == pytest.approx(metrics.roc_auc_score(targets, values, multi_class="ovr"), abs=1e-6)
    assert data.macro is not None
    assert metrics.auc(*data.macro) == pytest.approx(data.area, abs=2e-3), "thinned"
    whole = [roc.curve_of(targets == k, ours[:, k]) for k in range(5)]
    assert metrics.auc(*roc.mean_of(whole)) == pytest.approx(data.area, abs=1e-9)
    steps = precision_recall.compute(view)
    expected = [metrics.average_precision_score(targets == k, ours[:, k]) for k in range(5)]
    assert steps.area == pytest.approx(np.mean(expected)) and steps.macro is not None
    assert area_of_steps(*steps.macro) == pytest.approx(steps.area, abs=1e-9)
    for curve in steps.curves:
        assert area_of_steps(curve.x, curve.y) == pytest.approx(curve.area, abs=1e-9)
    assert [curve.area for curve in steps.curves] == sorted(curve.area for curve in steps.curves)


@given(st.integers(2, 60), st.integers(0, 999), st.booleans())
def test_a_roc_curve_rises_from_corner_to_corner(n: int, seed: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, n) / 4 if coarse else rng.random(n)
    true = np.append([True, False], rng.random(n - 2) < 0.4)
    found = roc.curve_of(true, scores)
    x, y = class_curves.thinned(found.x, found.y)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert all(a <= b for a, b in pairwise(x)) and all(a <= b for a, b in pairwise(y))
    assert 0 <= found.area <= 1
    mirrored = roc.curve_of(~true, -scores)
    assert mirrored.area == pytest.approx(found.area)


def test_a_long_curve_is_thinned_and_its_area_is_not(tmp_path: Path) -> None:
    targets, values = drawn(20_000, 2)
    [curve] = roc.compute(said_of(tmp_path / "long", targets, values, ("no", "yes"))).curves
    assert 100 < len(curve.x) <= class_curves.POINTS + 2
    assert curve.area == pytest.approx(metrics.roc_auc_score(targets, values[:, 1].astype(np.float32)))
    assert metrics.auc(curve.x, curve.y) == pytest.approx(curve.area, abs=1e-3)


def test_of_many_classes_the_worst_have_colours(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(30)]
    data = roc.compute(said_of(tmp_path / "many", *drawn(600, 30), names))
    assert [curve.named for curve in data.curves] == [True] * 5 + [False] * 25
    figure = roc.draw(data)
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert len(legend) == 7 and "chance" in legend
    assert sum(trace.opacity == 0.35 for trace in figure.data) == 25


@pytest.mark.parametrize("plot", [roc, precision_recall])
def test_a_class_without_examples_has_no_curve_and_one_class_alone_a_reason(plot: Any, tmp_path: Path) -> None:
    view = said_of(tmp_path / "a", [0, 0, 1, 1], [[0.6, 0.3, 0.1]] * 4, NAMES)
    data = plot.compute(view)
    assert data.missing == ("owl",) and {curve.name for curve in data.curves} == {"cat", "dog"}
    assert data.heading.subtitle.endswith("no example of owl")
    assert plot.draw(data).data
    alone = said_of(tmp_path / "b", [1, 1], [[0.4, 0.6], [0.7, 0.3]], ("no", "yes"), split="test")
    with pytest.raises(PlotError, match=r"all 2 of the test split of .* are of 'yes': a larger data\.split\.test_frac"):
        plot.compute(alone)


# --- what they share


def test_examples_without_a_number_are_left_out_and_told(tmp_path: Path) -> None:
    values = [*VALUES[:-1], [np.nan] * 3]
    view = said_of(tmp_path / "nan", TARGETS, values, NAMES)
    assert confusion_matrix.compute(view).counts.sum() == 7
    for plot in (confusion_matrix, calibration, roc, precision_recall):
        subtitle = plot.compute(view).heading.subtitle
        assert "8 examples, epoch 3 · 1 example without a number left out" in subtitle
    none = said_of(tmp_path / "none", TARGETS, np.full((8, 3), np.inf), NAMES)
    with pytest.raises(PlotError, match=r"none of the 8 of .* is one: a lower learning rate"):
        classified(none)


def test_a_regression_has_no_classes(tmp_path: Path) -> None:
    view = said_of(tmp_path / "r", [1.0, 2.0], [1.5, 2.5], None)
    with pytest.raises(PlotError, match=r"needs classes, and .* is a regression"):
        confusion_matrix.compute(view)


@pytest.mark.parametrize(("value", "text"), [(1.0, "100 %"), (0.0, "0 %"), (0.99999, "99.9 %"), (1e-9, "0.1 %")])
def test_no_share_is_rounded_to_all_or_nothing(value: float, text: str) -> None:
    assert share(value) == text
