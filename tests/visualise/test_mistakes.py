"""Where a model is most wrong: images, rows, and residuals, from runs whose answers are known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlframework.data import ImageFolderConfig
from mlframework.data.images import ImageExamples
from mlframework.errors import PlotError
from mlframework.learners.base import Outputs
from mlframework.outputs import write_outputs
from mlframework.runs import RunDir
from mlframework.visualise.run_plots import mistakes, residuals
from mlframework.visualise.run_plots.mistakes_drawn import source
from mlframework.visualise.run_view import RunView
from support.outputs import said_of

NAMES = ("cat", "dog")
VALUES = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.05, 0.95]]
PATHS = ("cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png", "cat/4.png")
TARGETS = [0, 0, 1, 1, 0]
"""Wrong are 1 (80 % sure), 3 (70 %) and 4 (95 %)."""


def photographed(tmp_path: Path, image_size: int = 16, names: tuple[str, ...] = PATHS) -> RunView:
    """A run on five images, each of one grey: 40 times its number."""
    folder, root = tmp_path / "run", tmp_path / "pets"
    for number, name in enumerate(PATHS):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10), (40 * number,) * 3).save(root / name)
    folder.mkdir()
    (folder / "config.yaml").write_text(
        f"data: {{type: image_folder, path: {root}, image_size: {image_size}}}\nmodel: {{architecture: resnet18, stem: small}}\n"
    )
    (folder / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "val_acc": 0.4}) + "\n")
    examples = ImageExamples(
        np.zeros((5, 3, 8, 8), np.uint8), np.array(TARGETS), NAMES, tuple(str(root / name) for name in names)
    )
    data = ImageFolderConfig(type="image_folder", path=str(root))
    outputs = Outputs("classification", np.array(TARGETS), np.array(VALUES), NAMES)
    write_outputs(RunDir(folder), "val", 2, outputs, examples, data)
    return RunView.of(folder)


# --- images


def test_the_surest_mistakes_come_first_with_their_own_image(tmp_path: Path) -> None:
    data = mistakes.compute(photographed(tmp_path))
    assert [(each.name, each.true, each.predicted, each.how) for each in data.mistakes] == [
        ("cat/4.png", "cat", "dog", "95.0 %"), ("cat/1.png", "cat", "dog", "80.0 %"), ("dog/3.png", "dog", "cat", "70.0 %"),
    ]  # fmt: skip
    assert [int(each.pixels.mean()) for each in data.mistakes if each.pixels is not None] == [160, 40, 120]
    assert data.heading.title == "3 mistakes, those first that it is surest of"
    figure = mistakes.draw(data)
    pictures = [trace for trace in figure.data if trace.type == "image"]
    assert len(pictures) == 3 and all(trace.source.startswith("data:image/png;base64,") for trace in pictures)
    texts = [note.text for note in figure.layout.annotations]
    assert texts[:2] == ["<b>cat</b>, taken for <b>dog</b>", "95.0 % sure<br>cat/4.png"]


def test_small_images_are_enlarged_and_large_ones_are_compressed() -> None:
    assert source(np.zeros((8, 8, 3), np.uint8)).startswith("data:image/png")
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    assert source(noise).startswith("data:image/jpeg") and len(source(noise)) < 80_000


def test_an_image_that_is_gone_leaves_its_place_empty_and_all_gone_a_reason(tmp_path: Path) -> None:
    view = photographed(tmp_path)
    (tmp_path / "pets/cat/4.png").write_text("no image")
    data = mistakes.compute(view)
    assert [each.pixels is None for each in data.mistakes] == [True, False, False]
    figure = mistakes.draw(data)
    assert "cannot be read<br>any more" in [note.text for note in figure.layout.annotations]
    for name in PATHS:
        (tmp_path / "pets" / name).unlink()
    with pytest.raises(PlotError, match=r"needs .*pets, from which .*run was trained, and .*: put it back"):
        mistakes.compute(view)
    assert data.mistakes[0].name == "cat/4.png"


def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "secret.png")
    view = photographed(tmp_path, names=(*PATHS[:4], "../secret.png"))
    with pytest.raises(PlotError, match=r"needs the names of images below .*pets, and the outputs have .*secret\.png"):
        mistakes.compute(view)


def test_data_that_has_changed_is_told(tmp_path: Path) -> None:
    from mlframework.config import yaml
    from mlframework.data.fingerprint import fingerprint_of

    view = photographed(tmp_path)
    then = fingerprint_of(yaml.read(view.run.config).tree)
    assert then is not None
    view.run.environment.write_text(json.dumps({"data": then.to_dict()}))
    assert "changed" not in mistakes.compute(view).heading.subtitle
    Image.new("RGB", (20, 10), "white").save(tmp_path / "pets/dog/9.png")
    data = mistakes.compute(view)
    assert len(data.mistakes) == 3 and "the data has changed since the run was trained" in data.heading.subtitle


def test_no_mistake_is_a_reason(tmp_path: Path) -> None:
    view = said_of(tmp_path / "right", [0, 1], [[1, 0], [0, 1]], NAMES)
    with pytest.raises(PlotError, match="is right in all 2 examples of the val split: there is nothing to show"):
        mistakes.compute(view)


# --- rows and residuals


def regression(tmp_path: Path, n: int = 30) -> tuple[RunView, Any, Any]:
    rng = np.random.default_rng(1)
    true = rng.normal(10, 3, n).astype(np.float32)
    predicted = (true + rng.normal(0.5, 1, n)).astype(np.float32)
    lines = ["a,y", *(f"{number},{value}" for number, value in enumerate(true))]
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    config = f"data: {{type: table, path: {tmp_path / 'data.csv'}, target: y}}\nmodel: {{architecture: mlp}}\n"
    return said_of(tmp_path / "r", true, predicted, None, config=config), true, predicted


def test_the_largest_errors_of_a_regression(tmp_path: Path) -> None:
    view, true, predicted = regression(tmp_path)
    data = mistakes.compute(view)
    order = np.argsort(-np.abs(predicted.astype(float) - true))[: mistakes.ROWS]
    assert [each.name for each in data.mistakes] == [f"row {row + 1}" for row in order]
    assert [each.features for each in data.mistakes] == [(str(row),) for row in order]
    assert data.columns == ("a",) and "the 20 worst shown" in data.heading.subtitle
    table = mistakes.draw(data).data[0]
    assert list(table.cells["values"][0]) == [each.name for each in data.mistakes]
    assert list(table.header["values"]) == [
        f"<b>{name}</b>" for name in ("example", "true", "predicted", "off by", "a")
    ]


def test_residuals_have_the_figures_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn import metrics

    view, true, predicted = regression(tmp_path)
    data = residuals.compute(view)
    assert data.rmse == pytest.approx(metrics.root_mean_squared_error(true, predicted), rel=1e-5)
    assert data.mae == pytest.approx(metrics.mean_absolute_error(true, predicted), rel=1e-5)
    assert data.r2 == pytest.approx(metrics.r2_score(true, predicted), rel=1e-5)
    assert data.bias == pytest.approx(float(np.mean(predicted - true)), rel=1e-4)
    assert sum(data.counts) == 30 and 0.0 in data.edges
    figure = residuals.draw(data)
    dots = next(trace for trace in figure.data if trace.mode == "markers")
    assert list(dots.x) == list(data.true) and list(dots.y) == list(data.predicted)
    assert dots.hovertext[0].startswith("<b>row 1</b><br>true ")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_the_histogram_holds_all(values: list[float]) -> None:
    edges, counts = residuals.histogram(np.array(values))
    assert sum(counts) == len(values) and len(edges) == len(counts) + 1 <= 70
    assert edges[0] <= min(values) and max(values) <= edges[-1]
    assert list(edges) == sorted(edges)


def test_each_bin_has_its_own() -> None:
    values = np.random.default_rng(3).normal(0.3, 2, 500)
    edges, counts = residuals.histogram(values)
    assert counts == tuple(np.histogram(values, edges)[0].tolist()) and 10 < len(counts) < 60


def test_equal_targets_and_exact_predictions_are_drawn(tmp_path: Path) -> None:
    constant = residuals.compute(said_of(tmp_path / "c", [3.0, 3.0, 3.0], [2.0, 3.0, 4.5], None))
    assert constant.r2 is None and "R² undefined, as all targets are equal" in constant.heading.subtitle
    exact = residuals.compute(said_of(tmp_path / "e", [3.0, 3.0], [3.0, 3.0], None))
    assert exact.counts == (2,) and exact.edges[0] < 0 < exact.edges[1]
    for data in (constant, exact):
        low, high = residuals.draw(data).layout.xaxis.range
        assert low < 3 < high


def test_many_points_are_an_even_part_and_the_histogram_counts_all(tmp_path: Path) -> None:
    values = np.arange(10_000, dtype=np.float32)
    data = residuals.compute(said_of(tmp_path / "m", values, values + 1, None))
    assert len(data.true) == residuals.DRAWN and sum(data.counts) == data.n_examples == 10_000
    assert "3,000 of 10,000 points drawn" in data.heading.subtitle
    assert (data.true[0], data.true[-1]) == (0, 9999)


def test_a_classifier_has_no_residuals(tmp_path: Path) -> None:
    with pytest.raises(PlotError, match=r"needs a regression, and .* is a classification"):
        residuals.compute(said_of(tmp_path / "c", [0, 1], [[1, 0], [0, 1]], NAMES))
