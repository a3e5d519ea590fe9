"""`ml-visualise --mode launch`: TensorBoard on a real search and a real recommender, in a real browser."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from playwright.sync_api import Page

from mlframework.cli import visualise
from mlframework.config.decode import decode
from mlframework.config.yaml import Document
from mlframework.errors import ConfigError, RunError
from mlframework.experiment import ExperimentConfig, load_data, start_run, train
from mlframework.runs import RunDir, read_json
from support.browser import chromium, opened
from support.searches import LR, run_search

BIN = Path(sys.executable).parent
STUDY = "runs/optuna_studies/tiny_optimization"
SPACE = {
    "optimizer.type": {"type": "categorical", "choices": ["sgd", "adam"]},
    "optimizer.lr": LR,
    "optimizer.momentum": {"type": "uniform", "low": 0.5, "high": 0.9, "when": {"optimizer.type": "sgd"}},
}
FILMS = {
    "name": "films",
    "device": "cpu",
    "data": {"type": "interactions", "path": "log.csv", "item_features": {"path": "films.csv", "drop": ["title"]}},
    "model": {"architecture": "two_tower", "embedding_dim": 4},
    "training": {"num_epochs": 2, "num_threads": 1},
    "metric": "val_recall_at_5",
}


def write_films() -> None:
    """Write a log of forty users and twelve films, and what the films are called."""
    rng = np.random.default_rng(0)
    pairs = [(user, film) for user in range(40) for film in rng.choice(12, 8, replace=False)]
    Path("log.csv").write_text("user_id,item_id\n" + "".join(f"{user},{film}\n" for user, film in pairs))
    rows = "".join(f"{film},{('war', 'love')[film % 2]},Film number {film}\n" for film in range(12))
    Path("films.csv").write_text("item_id,genre,title\n" + rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a search of four trials, whose parameters are not the same ones, and the run of a recommender."""
    folder = tmp_path_factory.mktemp("launch")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_search({"search.n_trials": 4, "tracking": {"tensorboard": True}, "search_space": SPACE})
        write_films()
        run = RunDir.create(Path("runs"), "films")
        start_run(run, FILMS)
        config = decode(ExperimentConfig, Document(FILMS, "films"))
        train(config, load_data(config), run)
    return folder


@contextmanager
def launched(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start TensorBoard, and yield the process and the address that it says."""
    words = [BIN / "ml-visualise", "--mode", "launch", *options]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert found, line + process.stdout.read()
            yield process, found[0]
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def ask(address: str, path: str) -> Any:
    with urlopen(f"{address}data/{path}") as answer:
        return json.loads(answer.read())


def wait_for_runs(address: str, n: int) -> list[str]:
    """Wait until TensorBoard has read the event files."""
    deadline = time.monotonic() + 60
    while len(found := ask(address, "runs")) < n:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return sorted(found)


def test_tensorboard_shows_every_run_and_trial(folder: Path) -> None:
    with launched(folder) as (process, address):
        trials = [f"optuna_studies/tiny_optimization/trial_000{number}" for number in range(4)]
        assert wait_for_runs(address, 5) == ["films", *trials]
        started = children(process.pid)
        with page_of(address) as page:
            look_at_curves(page)
            go_to(page, "hparams")
            rows = table(page, ["films", *trials])
            go_to(page, "pr_curves")
            page.get_by_text("pr_curve/yes", exact=True).first.wait_for()
            assert {run: list(tags) for run, tags in ask(address, "plugin/pr_curves/tags").items()} == {
                trial: ["pr_curve/yes"] for trial in trials
            }
            look_at_the_projector(page)
        for trial in read_json(folder / STUDY / "results.json")["trials"]:
            shown = float(rows[trials[trial["number"]]]["hparam/val_loss"])
            assert shown == pytest.approx(trial["value"], rel=1e-4)
        assert rows["films"]["hparam/val_loss"] == "" != rows["films"]["hparam/val_recall_at_5"]
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert (process.wait(20), process.stdout.read()) == (0, "\nended\n")
        assert not any(lives(pid) for pid in started)


def test_the_table_of_a_study_has_a_column_for_each_parameter(folder: Path) -> None:
    port = free_port()
    with launched(folder, "--run", STUDY, "--port", str(port)) as (process, address):
        assert address == f"http://127.0.0.1:{port}/"
        trials = [f"trial_000{number}" for number in range(4)]
        assert wait_for_runs(address, 4) == trials
        started = children(process.pid)
        with page_of(address, "hparams") as page:
            rows = table(page, trials)
        results = read_json(folder / STUDY / "results.json")["trials"]
        assert {"sgd", "adam"} == {trial["params"]["optimizer.type"] for trial in results}  # one has no momentum
        for trial in results:
            row = rows[trials[trial["number"]]]
            assert row["optimizer.type"] == trial["params"]["optimizer.type"]
            for name in ("optimizer.lr", "optimizer.momentum"):
                value = trial["params"].get(name)
                assert (row[name] == "") if value is None else (float(row[name]) == pytest.approx(value, rel=1e-4))
            assert float(row["hparam/val_loss"]) == pytest.approx(trial["value"], rel=1e-4)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
        assert not any(lives(pid) for pid in started)


@contextmanager
def page_of(address: str, tab: str = "timeseries") -> Iterator[Page]:
    with chromium() as browser, opened(browser, f"{address}#{tab}", size={"width": 1900, "height": 1200}) as seen:
        yield seen.page
        assert seen.errors == []
        assert [each for each in seen.requests if not each.startswith(address)] == []


def go_to(page: Page, tab: str) -> None:
    page.evaluate(f"window.location.hash = '#{tab}'")


def look_at_curves(page: Page) -> None:
    for tag in ("acc/train", "acc/val"):
        page.get_by_text(tag, exact=True).first.wait_for()
    page.get_by_role("combobox", name="Filter tags (regex)").fill("training/|lr|hparam/")
    for tag in ("training/gradient_norm", "training/throughput", "lr", "hparam/val_loss", "hparam/val_recall_at_5"):
        page.get_by_text(tag, exact=True).first.wait_for()
    page.get_by_text("trial_0003").first.wait_for()


def table(page: Page, runs: list[str]) -> dict[str, dict[str, str]]:
    """Return what stands in the table of HPARAMS: of each run its cells by column."""
    for run in runs:
        page.locator("vaadin-grid-cell-content").get_by_text(run, exact=True).wait_for()
    cells = [text.strip() for text in page.locator("vaadin-grid-cell-content").all_inner_texts()]
    columns = cells[: cells.index("")]
    assert columns[:2] == ["Trial ID", "Show Metrics"]
    starts = [at for at, text in enumerate(cells) if text in runs]
    assert sorted(cells[at] for at in starts) == sorted(runs)  # a row for each, and no other
    return {cells[at]: dict(zip(columns, cells[at : at + len(columns)], strict=True)) for at in starts}


def look_at_the_projector(page: Page) -> None:
    go_to(page, "projector")
    inner = page.frame_locator("iframe").frame_locator("iframe")
    inner.get_by_text("1 tensor found").wait_for()
    inner.locator(".numDataPoints").filter(has_text="12").wait_for()
    inner.get_by_role("textbox", name="Search").fill("number 7")
    inner.get_by_text("Film number 7", exact=True).first.wait_for()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refused(monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    monkeypatch.setattr(sys, "argv", ["ml-visualise", "--mode", "launch", *options])
    with pytest.raises((ConfigError, RunError)) as caught:
        visualise._main()
    return str(caught.value)


def test_what_cannot_be_shown_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "runs: there is no such folder here" in refused(monkeypatch)
    (tmp_path / "runs/digits").mkdir(parents=True)
    assert "runs: nothing to show yet" in refused(monkeypatch)
    assert "tracking.tensorboard: false" in refused(monkeypatch, "runs/digits")
    assert "folders there: runs/digits" in refused(monkeypatch, "runs/digit")
    assert "one is drawn at a time" in refused(monkeypatch, "runs", "runs/digits")
    assert "--study-name" in refused(monkeypatch, "--study-name", "x")
    (tmp_path / "runs/digits/events.out.tfevents.1.x.1.0").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port: {port}" in refused(monkeypatch, "--port", str(port))
