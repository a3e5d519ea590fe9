"""What `ml-search` shows of draws that are not trained: in the plan, in the lines and the table, and at the end."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mlframework.cli.search_screen import SearchScreen, print_best, print_plan
from mlframework.search.loop import search
from mlframework.search.start import load as _load
from support.searches import open_search

pytestmark = pytest.mark.usefixtures("_here")

SPACE: dict[str, Any] = {
    "optimizer.lr": {"type": "categorical", "choices": [0.01, 0.05]},
    "model.hidden_size": {"type": "int", "low": 4, "high": 12, "step": 4},
}
CHANGES: dict[str, Any] = {"training.num_epochs": 1, "search_space": SPACE, "search.n_trials": 20}
TEXT = "model.hidden_size * optimizer.lr < 0.45"


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder that is the present one."""
    monkeypatch.chdir(tmp_path)


def shown(changes: Mapping[str, Any], *, terminal: bool = False) -> str:
    """Return all that a search writes: plan, trials, and end."""
    written = io.StringIO()
    console = Console(file=written, width=160, force_terminal=terminal, color_system=None)
    study = open_search({**CHANGES, **changes})
    print_plan(console, study, [])
    with SearchScreen(console, study) as screen:
        end = search(study, _load, screen)
        if terminal:
            console.print(screen._table)
    print_best(console, study, end.records)
    return written.getvalue()


def test_a_small_space_is_said_to_be_small_and_then_to_be_tried() -> None:
    text = shown({})
    assert "6 trials\n" in text.splitlines()[0] + "\n"
    assert "the search space has 6 combinations, each is trained once: 20 were asked for" in text
    assert "the search space has 6 combinations, each is trained once: the search has tried them all" in text
    assert "6 trials: 6 complete; drawn again: " in text
    assert " has the same parameters; drawn again; it counts as none" in text


def test_a_search_that_stops_before_has_not_tried_them_all() -> None:
    text = shown({"search.n_trials": 3})
    assert "combinations" not in text


def test_constraints_stand_in_the_plan_with_what_they_leave() -> None:
    text = shown({"search.constraints": [TEXT, "model.dropout < 0.5"]})
    assert f"  constraint {TEXT}: kept by 5 of 6 combinations\n" in text
    assert "  constraint model.dropout < 0.5: kept by all of 6 combinations; it changes nothing\n" in text
    assert "5 trials: 5 complete; drawn again: " in text


def test_infeasible_draws_have_a_line_and_no_row() -> None:
    changes = {"search.constraints": [TEXT], "search.sampler": {"type": "GridSampler"}}
    text = shown(changes)
    assert f"infeasible: {TEXT}; it counts as none" in text
    table = shown({**changes, "search.study_name": "live"}, terminal=True)
    assert "5/5 trials" in table
    assert "infeasible:" not in table


def test_a_value_that_was_taken_over_says_from_where() -> None:
    changes = {"search.on_duplicate": "reuse"}
    text = shown(changes)
    assert ", = trial 0, 0 epochs" in text
    assert " of them took over a former trial's outcome" in text
    assert "= trial " in shown({**changes, "search.study_name": "live"}, terminal=True).partition("20/20 trials")[2]


@pytest.mark.parametrize("width", [40, 60])
def test_names_are_whole_in_a_narrow_window(width: int) -> None:
    keys = ["training.early_stopping.patience", "training.early_stopping.min_delta", "optimizer.weight_decay"]
    space = {key: {"type": "int", "low": 1, "high": 3} for key in keys[:1]}
    space |= {key: {"type": "loguniform", "low": 1e-5, "high": 1e-2} for key in keys[1:]}
    written = io.StringIO()
    print_plan(Console(file=written, width=width), open_search({"search_space": space}), [])
    assert max(map(len, written.getvalue().splitlines())) <= width
    table = [line[: width // 2 - 2] for line in written.getvalue().partition("setting ")[2].splitlines()[1:]]
    assert "…" not in written.getvalue()
    names = "".join(line.strip() for line in table)
    assert all(key.rpartition(".")[2] in names for key in keys)


def test_the_end_says_where_the_best_settings_of_each_model_are() -> None:
    text = shown({"search.n_trials": 2})
    assert "\nreuse it:  models/best_hyperparameters.json, by ml-train --hyperparameters\n" in text
    assert Path("models/best_hyperparameters.json").is_file()
