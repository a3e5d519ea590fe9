import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.training.tracking.pictures import (
    confusion_matrix,
    draw_confusion_matrix,
    image_grid,
)


@given(st.integers(1, 6).flatmap(lambda k: st.tuples(st.just(k), st.lists(st.tuples(*[st.integers(0, k - 1)] * 2)))))
def test_counts_are_those_of_counting_one_by_one(
    case: tuple[int, list[tuple[int, int]]],
) -> None:
    k, pairs = case
    targets, predictions = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    counts = confusion_matrix(targets, predictions, [str(index) for index in range(k)])
    assert counts.shape == (k, k)
    assert counts.sum() == len(pairs)
    assert all(counts[row, column] == pairs.count((row, column)) for row in range(k) for column in range(k))


def test_small_integers_do_not_overflow() -> None:
    last = np.array([199, 199], dtype=np.uint8)
    assert confusion_matrix(last, last, ["x"] * 200)[199, 199] == 2


@pytest.mark.parametrize("wrong", [[0, 2], [-1, 0]])
def test_number_that_is_no_class_is_refused(wrong: list[int]) -> None:
    with pytest.raises(ValueError, match="2 classes"):
        confusion_matrix(np.array([0, 1]), np.array(wrong), ["a", "b"])


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(n,\)"):
        confusion_matrix(np.array([0]), np.array([0, 0]), ["a"])


def matrix_cells(k: int) -> np.ndarray:
    """The drawn matrix of a model that is always right: which pixels are dark blue."""
    pixels = draw_confusion_matrix(np.eye(k, dtype=np.int64) * 5, [str(index) for index in range(k)])
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
    return (pixels == (8, 48, 107)).all(axis=2)


@pytest.mark.parametrize("k", [2, 10, 20, 60, 300])
def test_a_right_model_is_dark_on_the_diagonal_and_nowhere_else(k: int) -> None:
    dark = matrix_cells(k)
    rows, columns = np.nonzero(dark)
    cell = (rows.max() - rows.min() + 1) // k
    assert np.array_equal((rows - rows.min()) // cell, (columns - columns.min()) // cell)
    assert set((rows - rows.min()) // cell) == set(range(k))


def test_rows_are_the_true_class() -> None:
    """Everything of class b was taken for a: the dark cell is below, on the left."""
    pixels = draw_confusion_matrix(np.array([[0, 0], [9, 0]]), ["a", "b"])
    rows, columns = np.nonzero((pixels == (8, 48, 107)).all(axis=2))
    drawn = draw_confusion_matrix(np.array([[9, 0], [0, 9]]), ["a", "b"])
    diagonal_rows, diagonal_columns = np.nonzero((drawn == (8, 48, 107)).all(axis=2))
    assert rows.min() > diagonal_rows.min() and rows.max() == diagonal_rows.max()
    assert columns.min() == diagonal_columns.min() and columns.max() < diagonal_columns.max()


def test_numbers_up_to_twenty_classes_only() -> None:
    def white_pixels_in_first_cell(k: int) -> int:
        dark = matrix_cells(k)
        rows, columns = np.nonzero(dark)
        cell = (rows.max() - rows.min() + 1) // k
        first = dark[rows.min() : rows.min() + cell, columns.min() : columns.min() + cell]
        return int((~first).sum())

    assert white_pixels_in_first_cell(20) > 0
    assert white_pixels_in_first_cell(21) == 0


def test_a_class_without_samples_is_no_division_by_zero() -> None:
    with np.errstate(all="raise"):
        draw_confusion_matrix(np.array([[0, 0], [1, 1]]), ["a", "b"])


def test_a_very_long_name_does_not_blow_the_picture_up() -> None:
    assert draw_confusion_matrix(np.eye(2, dtype=np.int64), ["a" * 500, "b"]).shape[1] < 400


def test_no_class_or_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="0 classes"):
        draw_confusion_matrix(np.zeros((0, 0), dtype=np.int64), [])
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        draw_confusion_matrix(np.zeros((3, 3), dtype=np.int64), ["a", "b"])


def test_small_images_are_enlarged_without_smoothing() -> None:
    image = np.zeros((1, 3, 8, 8), dtype=np.uint8)
    image[0, 0, 2, 5] = 255  # one red pixel at row 2, column 5
    grid = image_grid(image, [""])
    rows, columns = np.nonzero((grid == (255, 0, 0)).all(axis=2))
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (12, 12)
    assert len(rows) == 144
    assert (rows.min() - 10, columns.min() - 10) == (2 * 12, 5 * 12)


def test_images_stand_in_rows_in_their_order() -> None:
    shades = np.arange(1, 11, dtype=np.uint8) * 20
    grid = image_grid(
        np.broadcast_to(shades[:, None, None, None], (10, 3, 96, 96)).copy(),
        [""] * 10,
        columns=4,
    )
    step_x, step_y = 106, (grid.shape[0] - 10) // 3
    seen = [grid[20 + row * step_y, 20 + column * step_x, 0] for row in range(3) for column in range(4)]
    assert seen == [*shades, 255, 255]


def test_a_label_is_drawn_beneath_its_image() -> None:
    image = np.zeros((1, 3, 96, 96), dtype=np.uint8)
    assert (image_grid(image, ["seven"])[110:] < 128).any()
    assert not (image_grid(image, [""])[110:] < 128).any()


def test_large_images_are_reduced() -> None:
    assert image_grid(np.zeros((1, 3, 1000, 500), dtype=np.uint8), ["x"]).shape[1] == 128 + 20


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (np.zeros((0, 3, 8, 8), np.uint8), [], "at least one"),
        (np.zeros((2, 3, 8, 8), np.uint8), ["a"], "2 images, 1 labels"),
        (np.zeros((2, 8, 8, 3), np.uint8), ["a", "b"], "n, 3, h, w"),
        (np.zeros((2, 3, 8, 8)), ["a", "b"], "float64"),
    ],
)
def test_other_input_is_refused(images: np.ndarray, labels: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        image_grid(images, labels)
