"""What is on the charts."""

import numpy as np
import pytest

from mlframework.training.tracking.charts import draw_predictions, draw_roc
from mlframework.training.tracking.curves import RocCurve

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)
SIDE = 420


def near(pixels: np.ndarray, colour: tuple[int, int, int], within: int = 40) -> np.ndarray:
    return np.abs(pixels.astype(int) - colour).max(axis=2) < within


def corner(pixels: np.ndarray) -> tuple[int, int]:
    """The plot's left and lower edge: the frame is the longest vertical line of its colour."""
    frame = (pixels == (210, 214, 220)).all(axis=2)
    columns = np.flatnonzero(frame.sum(axis=0) > SIDE * 0.9)
    rows = np.flatnonzero(frame.sum(axis=1) > SIDE * 0.9)
    return int(columns[0]) + 1, int(rows[-1])


def test_a_curve_runs_where_its_numbers_are() -> None:
    curve = RocCurve(np.array([0, 0, 0.5, 1]), np.array([0, 0.75, 0.75, 1]))
    pixels = draw_roc({"yes": curve}, "x")
    left, bottom = corner(pixels)
    blue = near(pixels, BLUE)
    for x, y in ((0.25, 0.75), (0.75, 0.875), (0.4, 0.75)):
        row, column = bottom - round(y * SIDE), left + round(x * SIDE)
        assert blue[row - 3 : row + 4, column].any(), (x, y)
        assert not blue[row + 20 : bottom - 2, column].any()


def test_each_curve_has_its_colour_and_stands_in_the_legend() -> None:
    curves = {
        name: RocCurve(np.array([0, level, 1]), np.array([0, 1 - level, 1])) for name, level in (("a", 0.1), ("b", 0.4))
    }
    pixels = draw_roc(curves, "x")
    legend = corner(pixels)[0] + SIDE + 10
    for colour in (BLUE, ORANGE):
        assert near(pixels[:, :legend], colour).sum() > 300
        assert near(pixels[:, legend:], colour).sum() > 20
    plain = draw_roc(curves, "x")
    assert (draw_roc(curves, "x", "2 of 50 classes") != plain).any()


@pytest.mark.parametrize("n", [0, 11])
def test_no_curve_or_more_than_there_are_colours_is_refused(n: int) -> None:
    curve = RocCurve(np.array([0, 1]), np.array([0, 1]))
    with pytest.raises(ValueError, match=f"1 to 10 curves, got {n}"):
        draw_roc({str(index): curve for index in range(n)}, "x")


def test_right_predictions_lie_on_the_diagonal_and_wrong_ones_do_not() -> None:
    truth = np.linspace(-50, 150, 40)
    pixels = draw_predictions(truth, truth, "x")
    left, bottom = corner(pixels)
    rows, columns = np.nonzero(near(pixels, BLUE, 90))
    inside = (columns > left) & (rows < bottom)
    assert inside.sum() > 200
    assert np.abs((columns - left) - (bottom - rows))[inside].max() < 12
    low = draw_predictions(truth, np.full(40, -50.0), "x")
    rows, _ = np.nonzero(near(low, BLUE, 90))
    assert rows.min() > bottom - 0.1 * SIDE


@pytest.mark.parametrize("value", [0.0, 3.0, -1e30, 1e-30])
def test_all_the_same_value_can_be_drawn(value: float) -> None:
    assert near(draw_predictions(np.array([value]), np.array([value]), "x"), BLUE, 90).any()


def test_what_is_no_number_is_left_out() -> None:
    truth = np.array([1.0, 2.0, np.nan, 3.0], dtype=np.float32)
    predicted = np.array([1.0, np.inf, 2.0, 3.0], dtype=np.float32)
    expected = draw_predictions(np.array([1.0, 3.0]), np.array([1.0, 3.0]), "x")
    assert np.array_equal(draw_predictions(truth, predicted, "x"), expected)
    with pytest.raises(ValueError, match="no prediction"):
        draw_predictions(truth[2:3], predicted[2:3], "x")


def test_a_title_says_that_not_all_are_drawn() -> None:
    rng = np.random.default_rng(0)
    many = rng.normal(size=3001)
    few = many[np.linspace(0, 3000, 3000).astype(int)]
    assert np.array_equal(draw_predictions(few, few, "x (3,000 of 3,001 examples)"), draw_predictions(many, many, "x"))
