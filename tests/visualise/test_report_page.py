"""The report in a real browser, after a real search: its numbers, its table, its looks, and what it does not do."""

import json
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from mlframework.runs import read_json
from mlframework.visualise.report import write_report
from support.browser import DRAWN, PHONE, Seen, chromium, opened
from support.searches import run_search

SEARCHED: dict[str, Any] = {
    "search.n_trials": 18,
    "search.max_consecutive_failures": None,
    "training.num_epochs": 4,
    "search.pruner": {"type": "MedianPruner", "n_startup_trials": 3, "n_warmup_steps": 1},
    "search_space": {
        "optimizer.lr": {"type": "loguniform", "low": 1e-3, "high": 1e6},
        "model.hidden_size": {"type": "int", "low": 2, "high": 32},
        "training.batch_size": {"type": "categorical", "choices": [8, 16, 32]},
    },
}
TWO: dict[str, Any] = {
    "name": "two",
    "search.n_trials": 7,
    "search.objectives": [{"metric": "val_loss"}, {"metric": "n_parameters"}],
    "search_space": {"model.hidden_size": {"type": "int", "low": 1, "high": 12}},
}


@dataclass(frozen=True)
class Report:
    """A study's report, and what results.json says.

    Attributes:
        path: of the page.
        trials: of results.json.
        folder: of the study.
    """

    path: Path
    trials: list[dict[str, Any]]
    folder: Path

    def of(self, state: str) -> dict[int, dict[str, Any]]:
        """Return the trials of a state by number."""
        return {trial["number"]: trial for trial in self.trials if trial["state"] == state}


def searched(folder: Path, changes: dict[str, Any]) -> Report:
    with chdir(folder):
        study, _ = run_search(changes)
        path = write_report(study.study, study.spec.folder, study.spec.goal)
        return Report(folder / path, read_json(study.spec.folder.results)["trials"], folder / study.spec.folder.path)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A study in which trials are complete, pruned and failed."""
    found = searched(tmp_path_factory.mktemp("report"), SEARCHED)
    assert all(len(found.of(state)) >= least for state, least in (("complete", 5), ("pruned", 1), ("failed", 1)))
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def seen(browser: Browser, report: Report) -> Iterator[Seen]:
    """The page with all charts drawn; tests leave it as they found it."""
    with opened(browser, report.path.as_uri()) as page:
        page.page.wait_for_selector(DRAWN)
        yield page


def traces(seen: Seen, chart: str) -> dict[str, dict[str, Any]]:
    """Return what plotly has drawn in a chart, by name."""
    told = seen.page.evaluate(
        "name => JSON.stringify(document.querySelector(`[data-chart='${name}']`).data"
        ".map(({name, x, y, z, hovertext, mode}) => ({name, x, y, z, hovertext, mode})))",
        chart,
    )
    return {trace.get("name"): trace for trace in json.loads(told)}


def near(values: dict[int, Any]) -> Any:
    return pytest.approx(values, rel=1e-5)


def test_it_asks_nothing_of_a_network_and_the_console_is_silent(seen: Seen) -> None:
    assert seen.errors == []
    assert seen.requests == []
    assert seen.page.locator(".plot.unable").count() == 0
    assert seen.page.locator(".plot .main-svg").count() > 8


def test_axe_has_no_serious_finding_in_light(seen: Seen) -> None:
    assert seen.page.get_attribute("html", "data-theme") == "light"
    assert seen.serious() == []


def test_axe_has_no_serious_finding_in_dark_and_it_is_printed_light(browser: Browser, report: Report) -> None:
    with opened(browser, report.path.as_uri(), dark=True) as page:
        page.page.wait_for_selector(DRAWN)
        assert page.page.get_attribute("html", "data-theme") == "dark"
        assert page.serious() == []
        page.page.evaluate(
            "addEventListener('beforeprint', () => { window.printed = document.documentElement.dataset.theme })"
        )
        pdf = page.page.pdf()
        assert page.page.evaluate("window.printed") == "light"
        assert page.page.get_attribute("html", "data-theme") == "dark"
        assert pdf.count(b"/Type /Page\n") >= 5
        assert len(pdf) > 100_000


def test_the_history_has_the_values_of_results_json(seen: Seen, report: Report) -> None:
    drawn = traces(seen, "history")
    for state in ("complete", "pruned"):
        expected = {number: trial["value"] for number, trial in report.of(state).items()}
        assert dict(zip(drawn[state]["x"], drawn[state]["y"], strict=True)) == near(expected)
    best = min(report.of("complete").values(), key=lambda trial: trial["value"])
    assert drawn["best"]["x"] == [best["number"]]
    assert drawn["best so far"]["y"][-1] == pytest.approx(best["value"], rel=1e-5)


def test_the_curves_have_the_values_of_the_trials_folders(seen: Seen, report: Report) -> None:
    found: dict[int, list[float]] = {}
    for name in ("complete", "pruned", "best"):
        trace = traces(seen, "curves")[name]
        for epoch, value, text in zip(trace["x"], trace["y"], trace["hovertext"], strict=True):
            if epoch is not None:
                number = int(text.partition("</b>")[0].removeprefix("<b>trial "))
                found.setdefault(number, []).append(value)
    for number, values in found.items():
        lines = (report.folder / f"trial_{number:04d}/metrics.jsonl").read_text().splitlines()
        assert values == pytest.approx([json.loads(line)["val_loss"] for line in lines], rel=1e-5)
    assert found.keys() == {*report.of("complete"), *report.of("pruned")}


def test_slices_contours_and_parallel_coordinates_have_the_parameters(seen: Seen, report: Report) -> None:
    complete = report.of("complete").values()
    titles = {
        figure.locator("h3").inner_text(): figure.locator(".plot").get_attribute("data-chart")
        for figure in seen.page.locator("#slices figure, #contours figure").all()
    }
    for key, label in (("optimizer.lr", "lr"), ("model.hidden_size", "hidden_size")):
        trace = traces(seen, str(titles[label]))["complete"]
        points = sorted((trial["params"][key], trial["value"]) for trial in complete)
        assert sorted(zip(trace["x"], trace["y"], strict=True)) == [pytest.approx(point, rel=1e-5) for point in points]
    pair = next(title for title in titles if set(title.split(" and ")) == {"lr", "hidden_size"})
    first, second = pair.split(" and ")
    keys = {"lr": "optimizer.lr", "hidden_size": "model.hidden_size"}
    marks = traces(seen, str(titles[pair]))["complete"]
    points = sorted((trial["params"][keys[first]], trial["params"][keys[second]]) for trial in complete)
    assert sorted(zip(marks["x"], marks["y"], strict=True)) == [pytest.approx(point, rel=1e-5) for point in points]
    lines = json.loads(seen.page.locator("#data-parallel").text_content() or "")["lines"]
    heights = {number: at for number, kind, *_, at in lines if kind != "pruned"}
    best, worst = (pick(complete, key=lambda trial: trial["value"])["number"] for pick in (min, max))
    assert (min(heights, key=lambda number: heights[number]), heights[worst]) == (best, 1.0)
    assert len(lines) == len(complete) + len(report.of("pruned")) == seen.page.locator("#parallel path").count()


def test_cost_and_pruning_have_the_seconds_and_the_epochs(seen: Seen, report: Report) -> None:
    drawn = traces(seen, "cost")
    for state in ("complete", "pruned", "failed"):
        expected = {number: trial["seconds"] for number, trial in report.of(state).items()}
        assert dict(zip(drawn[state]["x"], drawn[state]["y"], strict=True)) == near(expected)
    stopped = traces(seen, "pruning")["stopped"]
    epochs = [trial["epochs"] for trial in report.of("pruned").values()]
    assert dict(zip(stopped["x"], stopped["y"], strict=True)) == {epoch: epochs.count(epoch) for epoch in epochs}


def test_the_table_has_every_number_and_every_reason(seen: Seen, report: Report) -> None:
    table = json.loads(seen.page.locator("#data-trials").text_content() or "")
    keys = [column["key"] for column in table["columns"]]
    for row, trial in zip(table["rows"], report.trials, strict=True):
        told = dict(zip(keys, row, strict=True))
        assert {key: told[key] for key in trial["params"]} == {
            key: value if isinstance(value, int | float) else str(value) for key, value in trial["params"].items()
        }
        assert [told[key] for key in ("number", "state", "value", "epochs", "reason")] == [
            trial[key] for key in ("number", "state", "value", "epochs", "reason")
        ]
    reason = next(iter(report.of("failed").values()))["reason"]
    assert reason in seen.page.locator("#trials-table").inner_text()


def column(seen: Seen, number: int) -> list[str]:
    return seen.page.locator(f"#trials-table tbody tr td:nth-child({number})").all_inner_texts()


def test_the_table_is_sorted_and_filtered_by_the_keyboard(seen: Seen, report: Report) -> None:
    page = seen.page
    page.focus("#filter")
    page.keyboard.type("state=complete")
    page.locator(f"#rows-shown:has-text('{len(report.of('complete'))} of ')").wait_for()
    assert set(column(seen, 2)) == {"complete"}
    assert page.locator("#rows-shown").inner_text() == f"{len(report.of('complete'))} of {len(report.trials)} trials"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the button that clears it
    assert len(column(seen, 1)) == len(report.trials)
    assert page.evaluate("document.activeElement.id") == "filter"
    for _ in range(5):  # the button, the table, and the headings up to the value's
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#trials-table th[aria-sort=ascending]").inner_text() == "val_loss"
    expected = sorted(trial["value"] for trial in (report.of("complete") | report.of("pruned")).values())
    known = [float(text) for text in column(seen, 3)[: len(expected)]]
    assert known == pytest.approx(expected, rel=1e-5)  # what has no value comes last
    page.keyboard.press("Space")
    known = [float(text) for text in column(seen, 3)[: len(expected)]]
    assert known == pytest.approx(expected[::-1], rel=1e-5)
    best = min(report.of("complete").values(), key=lambda trial: trial["value"])
    page.fill("#filter", f"lr<={best['params']['optimizer.lr']} epochs>=4")
    wanted = [
        trial["number"] for trial in report.trials
        if trial["params"]["optimizer.lr"] <= best["params"]["optimizer.lr"] and trial["epochs"] >= 4
    ]  # fmt: skip
    assert sorted(int(text.split()[0]) for text in column(seen, 1)) == wanted
    page.fill("#filter", "")


def test_an_axis_can_be_brushed_and_the_table_follows(seen: Seen, report: Report) -> None:
    page = seen.page
    grip = page.locator("#parallel rect.grip").last  # of the value
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + box["height"] - 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 10, box["y"] + box["height"] * 0.5, steps=4)
    page.mouse.up()
    shown = {int(text.split()[0]) for text in column(seen, 1)}
    values = {number: trial["value"] for number, trial in report.of("complete").items()}
    assert 0 < len(shown) < len(values)
    assert max(values[number] for number in shown) < min(values[number] for number in values.keys() - shown)
    page.click("#unbrush")
    assert len(column(seen, 1)) == len(report.trials)


def test_the_filter_takes_spaces_and_says_what_it_does_not_understand(seen: Seen, report: Report) -> None:
    def said(text: str) -> str:
        seen.page.fill("#filter", text)
        seen.page.evaluate("new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))")
        return seen.page.locator("#rows-shown[role=status]").inner_text()

    every = f"{len(report.trials)} trials"
    assert said("epochs >= 4") == said("epochs>=4") != every
    assert said("best epoch<3 complete") == said("complete best_epoch < 3") != said("complete")
    assert (said("foo>3"), said("seconds>")) == (f"{every}; no column foo", f"{every}; seconds> lacks a value")
    assert said("seconds>few") == f"{every}; seconds> takes a number, not few"
    assert said("complete foo=1") == f"{said('complete')}; no column foo"
    assert said("") == every


def test_the_theme_is_switched_and_charts_follow(seen: Seen) -> None:
    colour = "getComputedStyle(document.querySelector('[data-chart=history] .xtick text')).fill"
    light = seen.page.evaluate(colour)
    seen.page.focus("#theme")
    seen.page.keyboard.press("Enter")
    assert seen.page.get_attribute("#theme", "aria-pressed") == "true"
    assert seen.page.evaluate(colour) != light
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate(colour) == light


def test_commands_are_copied_from_a_file(seen: Seen) -> None:
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.locator("#commands .copy").first.click()
    text = seen.page.evaluate("navigator.clipboard.readText()")
    assert text == "ml-train --config runs/optuna_studies/tiny_optimization/best_config.yaml"


def test_it_fits_a_phone(browser: Browser, report: Report) -> None:
    with opened(browser, report.path.as_uri(), size=PHONE) as page:
        page.page.wait_for_selector(DRAWN)
        assert page.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        wide = page.page.evaluate("[...document.querySelectorAll('.plot .main-svg')].map(svg => svg.clientWidth)")
        assert max(wide) <= PHONE["width"]


def test_it_is_read_without_a_mouse_from_its_first_link_on(browser: Browser, report: Report) -> None:
    with opened(browser, report.path.as_uri()) as page:
        page.page.keyboard.press("Tab")
        assert page.page.evaluate("document.activeElement.className") == "skip"
        page.page.keyboard.press("Enter")
        assert page.page.evaluate("document.activeElement.id") == "content"
        anchors = page.page.evaluate("[...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
        assert anchors == page.page.evaluate("[...document.querySelectorAll('main > section')].map(each => each.id)")


def test_several_objectives_are_drawn_against_one_another(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    two = searched(tmp_path_factory.mktemp("two"), TWO)
    with opened(browser, two.path.as_uri()) as page:
        page.page.wait_for_selector(DRAWN)
        drawn = traces(page, "pareto-0")
        found = [
            (x, y)
            for name in ("dominated", "Pareto front")
            for x, y in zip(drawn[name]["x"], drawn[name]["y"], strict=True)
        ]
        expected = [
            (trial["values"]["val_loss"], trial["values"]["n_parameters"]) for trial in two.of("complete").values()
        ]
        assert sorted(found) == [pytest.approx(point, rel=1e-5) for point in sorted(expected)]
        assert page.errors == []
