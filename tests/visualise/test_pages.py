"""What every page promises, whatever it is about: light and dark, its sections listed, few stops of the Tab key, no network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from playwright.sync_api import Browser, expect

import mlframework
from mlframework.experiment import load_data
from mlframework.search.folder import StudyFolder
from mlframework.search.goal import Goal
from mlframework.visualise.compare_runs import curves
from mlframework.visualise.compare_runs.differences import compare
from mlframework.visualise.compare_runs.page import write_comparison
from mlframework.visualise.compare_runs.sides import read_sides
from mlframework.visualise.data_plots.page import inspect, write_inspection
from mlframework.visualise.draw_all import draw_run
from mlframework.visualise.page.blocks import page_of_blocks, paragraph
from mlframework.visualise.page.stacked import stacked
from mlframework.visualise.predictions import recommendations
from mlframework.visualise.predictions.page import write_recommendations
from mlframework.visualise.report import write_report
from mlframework.visualise.run_view import RunView
from support.browser import DRAWN, PHONE, Seen, chromium, opened
from support.outputs import probabilities, said_of

KINDS = ("run of a classifier", "run of a recommender", "compare", "data", "predictions", "report")


@pytest.fixture(scope="module")
def pages(planted: dict[str, Any], make_config: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    tree = {**planted["als"], "name": "als", "tracking": {"tensorboard": False}}
    rng = np.random.default_rng(0)
    targets = rng.integers(3, size=40)
    classifier = said_of(folder / "classifier", targets, probabilities(rng, targets, 3), ("<i>cat</i>", "dog", "mule"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        trees = [{**tree, "name": "one"}, {**tree, "name": "two", "model": {**tree["model"], "factors": 2}}]
        runs = [folder / mlframework.train(each).folder for each in trees]
        draw_run(classifier, [], folder / "plots", ["html"], folder / "classifier.html")
        draw_run(RunView.of(runs[0]), [], folder / "plots", ["html"], folder / "recommender.html")
    sides = read_sides(runs)
    write_comparison(compare(sides), curves.compute(sides), folder, ["html"])
    config = make_config(tree)
    splits = load_data(config)
    write_inspection(inspect(config, splits, ["<b>careful</b>"], None), folder, ["html"])
    model = mlframework.load(runs[0])
    users = recommendations.some_users(splits.val, splits.train, 3)
    found = recommendations.recommend(model, users, 4, "some", {}, splits.train, splits.val)
    write_recommendations(found, "Some users", ["<b>note</b>"], folder, ["html"], 3)
    study = optuna.create_study(study_name="small", sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda trial: trial.suggest_float("optimizer.lr", 1e-3, 1e-1, log=True), n_trials=6)
    report = write_report(study, StudyFolder(folder), Goal.single("val_loss", "minimize"))
    names = ("classifier.html", "recommender.html", "comparison.html", "data.html", "predictions.html", report.name)
    return {kind: folder / name for kind, name in zip(KINDS, names, strict=True)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


BUTTON = ".plot .modebar button[tabindex='0']"
"""The button of a chart that the Tab key comes to: it is so a moment after the chart is drawn."""


def stops(seen: Seen) -> list[int]:
    """Return in how many places of each chart the Tab key stops."""
    found: list[int] = seen.page.evaluate(
        "[...document.querySelectorAll('.plot')].map(plot => [...plot.querySelectorAll('*')].filter(each => each.tabIndex >= 0)"
        ".length)"
    )
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_is_light_and_dark_for_everybody(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    with opened(browser, pages[kind].as_uri()) as seen:
        page = seen.page
        page.wait_for_selector(DRAWN)
        if kind != "predictions":  # whose charts are small, and have no buttons
            page.wait_for_selector(BUTTON)
        sections = page.evaluate("[...document.querySelectorAll('main > section')].map(each => each.id)")
        assert len(sections) == len(set(sections)) >= 3
        assert page.evaluate("[...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))") == sections
        assert set(stops(seen)) <= {0, 1}, "a small chart has no buttons"
        assert max(stops(seen), default=None) == (1 if kind != "predictions" else None)
        assert seen.serious() == []
        page.click("#theme")
        assert page.get_attribute("html", "data-theme") == "dark"
        assert seen.serious() == []
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert (seen.errors, seen.requests) == ([], [])


def test_the_arrows_go_from_one_button_of_a_chart_to_the_next(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["compare"].as_uri()) as seen:
        page = seen.page
        page.wait_for_selector(DRAWN)
        focused = "document.activeElement.dataset.title"
        page.wait_for_selector(BUTTON)
        names = page.evaluate("[...document.querySelectorAll('.plot .modebar button')].map(each => each.dataset.title)")
        page.focus(BUTTON)
        visited = [page.evaluate(focused)]
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
            visited.append(page.evaluate(focused))
        assert visited == [names[at] for at in (0, 1, 2, 1, 0, -1)]
        assert stops(seen) == [1], "and the one that was left is the one that Tab comes back to"
        expect(page.locator(".plot .modebar")).to_have_css("opacity", "1")
        page.click("#theme")
        assert stops(seen) == [1], "also when it was drawn anew"


def test_a_page_of_two_sections_lists_none() -> None:
    page = page_of_blocks("A <title>", "kind", ["fact"], [("Same", [paragraph("<b>")]), ("Same", [])])
    assert [part.name for part in page.parts] == ["same-1", "same-2"]
    assert "<nav" not in page.html and "A &lt;title&gt;" in page.html and "<p>&lt;b&gt;</p>" in page.html
    assert len(page.html) < 60_000, "no chart, no plotly.js"


def test_panels_side_by_side_stand_below_one_another_where_it_is_narrow() -> None:
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=2)
    for row, column in ((1, 1), (1, 2), (2, 1)):
        figure.add_scatter(x=[1], y=[1], row=row, col=column)
    found = stacked(figure, 600)
    assert found is not None
    assert [found.domains[axis] for axis in ("xaxis", "xaxis2", "xaxis3")] == [(0, 1)] * 3
    ends = [end for axis in ("yaxis", "yaxis2", "yaxis3") for end in reversed(found.domains[axis])]
    assert ends[0] == 1 and ends[-1] == pytest.approx(0, abs=1e-3)
    assert ends == sorted(ends, reverse=True), "in their order, none over another"
    assert "yaxis4" not in found.domains, "there is nothing in the fourth"
    one = make_subplots(rows=2, cols=1)
    one.add_scatter(x=[1], y=[1], row=1, col=1)
    one.add_scatter(x=[1], y=[1], row=2, col=1)
    assert stacked(one, 600) is None
