"""What configs, runs and studies show of themselves in a notebook."""

import math
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlframework
from mlframework import load_config, markup, open_run, open_study, search, train
from mlframework.errors import PlotError, RunError, StudyError, TrainingError
from mlframework.runs import read_json

sys.path.append(str(Path(__file__).parent))

from support.searches import run_search, write_config

VOID = {"br", "hr", "img", "input", "meta", "link"}


class Read(HTMLParser):
    """The text of each cell, a list a row; every element must be closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def html_of(shown: object) -> Read:
    page = shown._repr_html_()  # type: ignore[attr-defined]
    return Read(page)


def test_a_config_shows_what_was_set_and_folds_up_the_defaults() -> None:
    page = load_config(write_config(), lr=0.125)._repr_html_()
    given_rows, defaults = page.split("<details>")
    assert ["optimizer.lr", "0.125"] in Read(given_rows + "</div>").rows
    assert ["seed", "3"] in Read(given_rows + "</div>").rows
    assert "label_smoothing" not in given_rows
    assert ["training.label_smoothing", "0"] in Read(defaults.removesuffix("</div>").replace("</details>", "")).rows
    assert ["training.early_stopping", "null"] in Read(page).rows


def test_a_config_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    path = write_config({"search.storage": "postgresql://me:${DB_PASSWORD}@there/db"})
    page = load_config(path)._repr_html_()
    assert "hunter2" not in page
    assert "postgresql://me:" in page
    typed = load_config(path, **{"search.storage": "postgresql://me:hunter2@there/db"})
    assert "hunter2" not in typed._repr_html_()


def test_a_run_shows_the_metrics_of_its_best_epoch() -> None:
    run = train(write_config(), num_epochs=4)
    result = read_json(run.folder / "result.json")
    shown = html_of(run)
    metrics = {name: best for name, best, _ in shown.rows[1:]}
    assert metrics == {name: markup.short(value) for name, value in result["best_metrics"].items()}
    assert f"epoch {result['best_epoch']} of 4" in shown.text
    assert "<svg" in run._repr_html_()
    again = open_run(run.folder)
    assert (again.result.to_dict(), again._repr_html_()) == (run.result.to_dict(), run._repr_html_())


def test_a_run_that_has_not_ended_or_is_damaged_is_refused(tmp_path: Path) -> None:
    run = train(write_config())
    with pytest.raises(RunError, match="there is no such run"):
        open_run("runs/tinny")
    content = (run.folder / "result.json").read_text()
    (run.folder / "result.json").write_text(content.replace('"best_epoch"', '"best_epok"'))
    with pytest.raises(RunError, match=r"result.json: is damaged.*best_epoch"):
        open_run(run.folder)
    (run.folder / "result.json").unlink()
    with pytest.raises(RunError, match="has not ended; go on with ml-train --resume"):
        open_run(run.folder)


def test_a_study_shows_its_best_trials() -> None:
    study = search(write_config({"search.n_trials": 4}))
    results = read_json(study.folder / "results.json")
    shown = html_of(study)
    assert ["optimizer.lr", markup.short(results["best_params"]["optimizer.lr"])] in shown.rows
    assert "4 complete" in shown.text and "minimize val_loss" in shown.text
    ranked = sorted(results["trials"], key=lambda trial: trial["value"])
    best_few = [row for row in shown.rows if len(row) == 3 and row[0] != "trial"]
    assert best_few == [
        [str(trial["number"]), markup.short(trial["value"]), markup.short(trial["params"]["optimizer.lr"])]
        for trial in ranked
    ]


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_study_that_is_opened_is_the_one_that_was_searched(confirmed: bool) -> None:
    found = search(write_config({"search.confirm": {"top_k": 2, "seeds": 2}} if confirmed else {}))
    opened = open_study(found.study_name)
    assert opened.why == "read" and found.why == "done"
    assert (opened.best, opened.confirmed, list(opened.trials)) == (found.best, found.confirmed, list(found.trials))
    assert (opened.confirmed is not None) == confirmed
    assert opened._repr_html_() == found._repr_html_()
    assert (opened.best_params, opened.best_value, opened.front) == (found.best_params, found.best_value, found.front)
    assert train(opened.best_config).value == opened.best.value if opened.best else False


def test_a_study_draws_its_plots() -> None:
    study = search(write_config())
    figure = study.plot("slice", "lr")
    drawn = {x for trace in figure.data for x in (trace.x if trace.x is not None else ())}
    assert {trial.params["optimizer.lr"] for trial in study.trials} <= drawn
    with pytest.raises(PlotError, match=r"slise.*did you mean 'slice'"):
        study.plot("slise")
    run = train(study.best_config)
    assert run.plot("curves").data
    with pytest.raises(PlotError, match=r"curve.*did you mean 'curves'"):
        run.plot("curve")


def test_a_study_without_a_finished_trial_shows_itself_too() -> None:
    failing = {"search_space": {"optimizer.lr": {"type": "categorical", "choices": [1e30]}}, "optimizer.momentum": 0.0}
    run_search({"name": "tiny", **failing})
    study = open_study("tiny_optimization")
    assert study.best is None and "failed" in html_of(study).text
    with pytest.raises(TrainingError, match="no trial came to its end"):
        _ = study.best_params
    with pytest.raises(StudyError, match="did you mean 'tiny_optimization'"):
        open_study("tiny_optimisation")


def test_a_report_is_drawn_in_a_notebook_and_short_elsewhere() -> None:
    study = search(write_config())
    page = study.report()
    assert page._repr_html_().startswith("<iframe srcdoc=") and study.study_name in page.html
    assert (study.folder / "report.html").read_text(encoding="utf-8") == page.html
    assert len(repr(page)) < 200 and len(repr(study)) < 1000


def test_a_study_hides_the_password_of_its_storage() -> None:
    study = mlframework.Study("s", Path("f"), None, [], "read", None, None, "postgresql://me:hunter2@there/db")  # type: ignore[arg-type]
    assert "hunter2" not in repr(study)


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4))
def test_what_a_table_shows_is_text(rows: list[tuple[str, str]]) -> None:
    page = markup.table([(f"<b>{a}", f"{b}</td><script>") for a, b in rows])
    assert "<script" not in page and "<b>" not in page
    clean = [[f"<b>{a}", f"{b}</td><script>"] for a, b in rows]
    assert [[_plain(cell) for cell in row] for row in Read(page).rows] == [
        [_plain(cell) for cell in row] for row in clean
    ]


def _plain(text: str) -> str:
    """HTML knows one kind of newline, and no NUL."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")


def test_a_curve_has_gaps_and_marks_the_best() -> None:
    drawn = markup.curve([1.0, math.nan, 3.0, 2.0], best=2, about='"loss"')
    assert drawn.count("M") == 2 and drawn.count("L") == 1
    assert "<circle" in drawn and "aria-label='&quot;loss&quot;'" in drawn
    assert "<circle" not in markup.curve([1.0], best=None, about="")
    assert markup.curve([math.nan], best=None, about="") == ""
