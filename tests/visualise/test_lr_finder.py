"""The plot of a learning-rate sweep: that it shows what was found."""

import pytest

from mlframework.training.lr_finder import Finding
from mlframework.visualise import style
from mlframework.visualise.run_plots import lr_finder

FINDING = Finding(
    lrs=(1e-4, 1e-3, 1e-2, 1e-1, 1.0),
    losses=(2.0, 1.8, 0.9, 1.1, 60.0),
    smoothed=(2.0, 1.9, 1.4, 1.2, 30.0),
    stopped_why="the smoothed loss is <more> than enough",
    suggestions={"steepest": 8e-3, "minimum_tenth": 1.2e-2},
    doubt=None,
)


@pytest.fixture
def data() -> lr_finder.LrFinderData:
    return lr_finder.compute(FINDING, "digits", "sgd")


def test_the_marks_lie_on_the_curve_at_what_is_suggested(data: lr_finder.LrFinderData) -> None:
    marks = {mark.name: (mark.lr, mark.loss, mark.chosen) for mark in data.marks}
    assert marks == {"steepest descent": (8e-3, 1.4, True), "minimum / 10": (1.2e-2, 1.4, False)}


def test_what_diverges_does_not_press_the_rest_together(data: lr_finder.LrFinderData) -> None:
    low, high = data.visible
    assert 0.5 < low < 0.9 and 2.0 < high < 3.0


def test_the_heading_says_what_was_swept_and_what_is_suggested(data: lr_finder.LrFinderData) -> None:
    assert data.heading.subtitle == (
        "digits · sgd · 5 steps · suggested 0.008 · the smoothed loss is &lt;more&gt; than enough"
    )


def test_what_was_computed_is_drawn(data: lr_finder.LrFinderData) -> None:
    figure = lr_finder.draw(data)
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces) == ["each step", "smoothed", "steepest descent: 0.008", "minimum / 10: 0.012"]
    assert (tuple(traces["each step"].x), tuple(traces["each step"].y)) == (FINDING.lrs, FINDING.losses)
    assert (tuple(traces["smoothed"].x), tuple(traces["smoothed"].y)) == (FINDING.lrs, FINDING.smoothed)
    star, other = traces["steepest descent: 0.008"], traces["minimum / 10: 0.012"]
    assert (star.x[0], star.y[0], star.marker.symbol, star.marker.color) == (8e-3, 1.4, "star", style.VERMILLION)
    assert (other.x[0], other.marker.symbol) == (1.2e-2, "diamond")
    assert figure.layout.xaxis.type == "log" and figure.layout.xaxis.title.text == "learning rate"
    assert tuple(figure.layout.yaxis.range) == data.visible
    assert "lr = 0.01<" in traces["smoothed"].hovertext[2] and "smoothed = 1.4" in traces["smoothed"].hovertext[2]
