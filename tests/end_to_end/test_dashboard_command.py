"""`ml-visualise --mode dashboard`: optuna-dashboard on a study's storage, in a real browser."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from mlframework.cli import visualise
from mlframework.cli.modes import dashboard
from mlframework.errors import MlframeworkError
from mlframework.runs import read_json
from support.browser import chromium, opened
from support.postgres import NewDatabase
from support.searches import run_search

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study in a SQLite file, and one in a journal."""
    folder = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_search({"search.n_trials": 3})
        run_search({"name": "noted", "search.n_trials": 2, "search.storage": "journal:///studies.log"})
    return folder


def ask(address: str, method: str, path: str, body: Any = None, host: str | None = None) -> tuple[int, str]:
    connection = HTTPConnection(address.split("/")[2])
    text = json.dumps(body) if body is not None else None
    headers = {"Content-Type": "application/json", **({"Host": host} if host is not None else {})}
    connection.request(method, path, text, headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_the_page_shows_the_study_and_its_best_value(folder: Path) -> None:
    words = [BIN / "ml-visualise", "--mode", "dashboard", "--study-name", "tiny_optimization"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+\S*", line)
            assert found, line + process.stdout.read()
            look_at(found[0], folder)
            process.send_signal(signal.SIGINT)
            assert (process.wait(90), process.stdout.read()) == (0, "\nended\n")
        finally:
            process.kill()


def look_at(address: str, folder: Path) -> None:
    """Look at the study's page, the list of studies, and the list of trials."""
    results = read_json(folder / "runs/optuna_studies/tiny_optimization/results.json")
    with chromium() as browser, opened(browser, address) as seen:
        page = seen.page
        page.get_by_text(f"Best Trial (number={results['best_trial']})").wait_for()
        shown = page.inner_text("body")
        assert "tiny_optimization (id=1)" in shown and f"{results['best_value']}" in shown
        assert "val_loss" in shown and "Objective 0" not in shown
        page.goto(address.partition("/dashboard")[0] + "/")
        page.get_by_text("tiny_optimization").wait_for()
        page.goto(f"{address}/trials")
        page.get_by_text(f"Trial {results['best_trial']}", exact=False).first.wait_for()
        page.get_by_text("Trial 2", exact=False).first.wait_for()
        assert seen.errors == []
        assert [each for each in seen.requests if not each.startswith("http://127.0.0.1:")] == []


def test_a_journal_is_shown_and_nothing_but_notes_is_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def stay(_what: str, address: str, serves: Callable[[], bool]) -> bool:
        seen.append(address)
        use(address, folder)
        assert serves()
        return False  # as if what serves had gone: Ctrl-C ends the process

    monkeypatch.chdir(folder)
    monkeypatch.setattr(dashboard, "stay", stay)
    before = threading.enumerate()
    run_command(monkeypatch, "--storage journal:///studies.log")
    assert len(seen) == 1
    assert not [each for each in threading.enumerate() if each not in before and "serve_forever" in each.name]


def use(address: str, folder: Path) -> None:
    """Look at the journal's study, and try what could change it."""
    assert address.endswith("/dashboard")
    status, studies = ask(address, "GET", "/api/studies")
    assert status == 200
    assert [each["study_name"] for each in json.loads(studies)["study_summaries"]] == ["noted_optimization"]
    number = json.loads(studies)["study_summaries"][0]["study_id"]
    best = read_json(folder / "runs/optuna_studies/noted_optimization/results.json")["best_value"]
    detail = json.loads(ask(address, "GET", f"/api/studies/{number}")[1])
    assert [trial["values"] for trial in detail["best_trials"]] == [[best]]

    for method, path in [
        ("DELETE", f"/api/studies/{number}"), ("POST", "/api/trials/0/tell"), ("POST", f"/api/studies/{number}/rename"),
        ("POST", "/api/trials/0/user-attrs"), ("PUT", "/api/studies/note"),
    ]:  # fmt: skip
        status, why = ask(address, method, path, {"state": "Fail", "study_name": "x", "user_attrs": {"a": 1}})
        assert (status, "changes none" in why) == (403, True), path
    assert ask(address, "GET", "/api/studies", host="elsewhere.example:80")[0] == 403
    assert ask(address, "GET", "/api/studies", host="localhost:9000")[0] == 200
    assert ask(address, "PUT", f"/api/studies/{number}/note", {"version": 1, "body": "look at 1"})[0] == 204
    assert json.loads(ask(address, "GET", f"/api/studies/{number}")[1])["note"]["body"] == "look at 1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "ml-visualise: --study-name: or --storage is needed"),
        ("--storage sqlite:///other.db", "sqlite:///other.db: there is no such file"),
        ("--study-name tiny_optimisation", "did you mean 'tiny_optimization'?"),
        ("--study-name tiny_optimization --plot-type slice", "--plot-type: is for --mode search or run"),
    ],
)
def test_what_is_not_there_is_refused(folder: Path, options: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(MlframeworkError, match=re.escape(said)):
        run_command(monkeypatch, options)
    assert not (folder / "other.db").exists()


def test_the_missing_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(MlframeworkError, match=re.escape('pip install "mlframework[dashboard]"')):
        run_command(monkeypatch, "--study-name tiny_optimization")


def run_command(monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["ml-visualise", "--mode", "dashboard", *options.split()])
    visualise._main()


@pytest.mark.slow
def test_a_database_is_shown_and_its_password_is_not(
    tmp_path: Path, postgres: NewDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    url = postgres().replace("postgres@", "postgres:${DB_PASSWORD}@")
    assert "${DB_PASSWORD}" in url
    run_search({"search.n_trials": 2, "search.storage": url})
    shown: list[str] = []

    def stay(what: str, address: str, serves: Callable[[], bool]) -> bool:
        shown.append(what + address + ask(address, "GET", "/api/studies")[1])
        assert serves()
        return False  # as if what serves had gone: Ctrl-C ends the process

    monkeypatch.setattr(dashboard, "stay", stay)
    run_command(monkeypatch, "--study-name tiny_optimization")
    run_command(monkeypatch, f"--storage {url.replace('${DB_PASSWORD}', 'hunter2')}")
    written = "".join([*shown, *capsys.readouterr()])
    assert len(shown) == 2 and written.count('"study_name": "tiny_optimization"') == 2 and "hunter2" not in written
