"""The live table: the curve of the best so far, counts, times, and what is shown where there is little room or no terminal."""

import io
import os
import pty
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import create_trial

from mlframework.cli import console, live_table
from mlframework.cli.live_table import LiveTable
from mlframework.cli.search_screen import SearchScreen
from mlframework.cli.sparkline import BLOCKS, SIGNS, best_so_far, clock, sparkline
from mlframework.search.results import TrialRecord
from mlframework.search.study import OpenStudy
from support.searches import open_search


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenStudy:
    monkeypatch.chdir(tmp_path)
    return open_search({"search.n_trials": 9, "search.storage": "journal:///s.log"})


def record(number: int, value: float | None, state: str = "complete", **told: Any) -> TrialRecord:
    return TrialRecord(number, state, value, {"optimizer.lr": 0.01}, 1, 3, 1.5, None, {}, **told)


def drawn(table: LiveTable, width: int, *, height: int = 30, encoding: str = "utf-8") -> str:
    """Return what stands on a terminal of a size."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console._screen()(file=file, width=width, height=height, color_system=None).print(table)
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.fixture
def clock_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time."""

    def now(seconds: float) -> None:
        monkeypatch.setattr(live_table.time, "monotonic", lambda: seconds)

    now(0.0)
    return now


# Curves


def test_better_is_higher_whatever_the_direction() -> None:
    assert sparkline([1, 2, 3], 9, "maximize") == "▁▅█" == sparkline([3, 2, 1], 9, "minimize")
    assert sparkline([0.5], 9, "maximize") == "▅" and sparkline([], 9, "maximize") == ""
    assert sparkline([1, 2, 3], 9, "maximize", ascii_only=True) == "_=#"
    assert len(BLOCKS) == len(SIGNS)


def test_a_long_curve_has_the_best_of_each_few() -> None:
    values = [0.0] * 100
    values[37], values[99] = 1.0, 0.5
    line = sparkline(values, 10, "maximize")
    assert line == "▁▁▁█▁▁▁▁▁▅"
    assert sparkline(values, 0, "maximize") == ""
    assert len(sparkline([1e308, -1e308, float("nan")], 9, "maximize")) == 2


def test_the_best_so_far_never_gets_worse() -> None:
    nan = float("nan")
    assert best_so_far([None, nan, 0.5, 0.4, None, 0.7, nan], "maximize") == [0.5, 0.5, 0.5, 0.7, 0.7]
    assert best_so_far([0.5, 0.7, 0.2], "minimize") == [0.5, 0.5, 0.2]


def test_times_are_read_at_a_glance() -> None:
    assert [clock(seconds) for seconds in (0, 8.9, 75, 3723)] == ["0:00", "0:08", "1:15", "1:02:03"]


# The table


def some(study: OpenStudy) -> LiveTable:
    records = [
        record(0, 0.9), record(1, 0.6), record(2, 0.95, "pruned"), record(3, None, "failed"), record(4, None, "duplicate"),
        record(5, 0.3, audited={"epoch": 1, "value": 0.8}), record(6, None, "running"),
    ]  # fmt: skip
    table = LiveTable(study, records)
    table.begin(6, {"optimizer.lr": 0.5}, 3)
    return table


def test_the_way_to_the_best_value_stands_above_the_trials(study: OpenStudy) -> None:
    lines = drawn(some(study), 100).splitlines()
    assert re.match(r"tiny_optimization: 5/9 trials .* 0:00$", lines[0])
    assert lines[1].rstrip() == "best val_loss 0.9 ▁▅▅▅█ 0.3 (trial 5)"
    assert lines[2].rstrip() == "3 complete (1 audited), 1 pruned, 1 failed, 1 running, 1 drawn again"
    assert "│ 5     │ audited  │ 0.3   │" in "\n".join(lines)
    assert re.search(r"│ 6 +│ running +│ - +│ 0/3 ", "\n".join(lines))


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 200])
def test_it_fits_into_the_window(study: OpenStudy, width: int) -> None:
    table = LiveTable(study, [record(number, 1 / (number + 1)) for number in range(90)])
    text = drawn(table, width, height=24)
    assert all(len(line) <= width for line in text.splitlines())
    assert len(text.splitlines()) <= 24
    if width >= 40:
        assert "best val_loss 1 ▁" in text and "0.0111111" in text


def test_a_low_window_has_the_latest_trials_and_the_best(study: OpenStudy) -> None:
    table = LiveTable(study, [record(number, 1.0 + (number != 2)) for number in range(40)])
    assert re.findall(r"^│ (\d+) ", drawn(table, 80, height=14), re.M) == ["2", "36", "37", "38", "39"]
    assert len(re.findall(r"^│ (\d+) ", drawn(table, 80, height=60), re.M)) == 15


def test_where_there_are_no_blocks_there_are_letters(study: OpenStudy) -> None:
    records = [record(0, 0.9, parts=(0.8, 1.0)), record(1, 0.6, parts=(0.5, 0.7))]
    text = drawn(LiveTable(study, records), 80, encoding="ascii")
    assert "best val_loss 0.9 _# 0.6" in text and "0.6 ~ 0.14" in text and "?" not in text
    assert "0.6 ± 0.14" in drawn(LiveTable(study, records), 80)


def test_the_time_left_is_that_of_the_trials_that_ended_here(
    study: OpenStudy, clock_of: Callable[[float], None]
) -> None:
    table = LiveTable(study, [])
    assert table.seconds_left() is None
    table.begin(0, {}, 3)
    table.begin(1, {}, 3)
    clock_of(10.0)
    table.end(0, [record(0, 0.5)])
    clock_of(30.0)
    table.end(1, [record(0, 0.5), record(1, 0.5)])
    table.begin(2, {}, 3)
    table.begin(3, {}, 3)
    # Trials took 20 s in the mean; of nine five are to begin, two have it all before them, and two run at once.
    assert table.seconds_left() == (5 * 20 + 2 * 20) / 2
    clock_of(45.0)
    assert table.seconds_left() == (5 * 20 + 2 * 5) / 2
    assert "0:45, about 0:55 left" in drawn(table, 80)


def test_the_main_one_of_several_objectives_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = open_search({"search.objectives": [{"metric": "n_parameters"}, {"metric": "val_loss"}]})
    records = [
        record(0, 0.9, values={"val_loss": 0.9, "n_parameters": 10.0}),
        record(1, 0.5, values={"val_loss": 0.5, "n_parameters": 30.0}),
    ]
    text = drawn(LiveTable(study, records), 100)
    assert "best val_loss 0.9 ▁█ 0.5; 2 on the front, knee: trial 0" in text


# Terminals, pipes, CI


def on_a_terminal(write: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what is written to a real terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        patch.setenv("COLUMNS", "80")
        write()
    text = b""
    with os.fdopen(ours, "rb", buffering=0) as read, suppress(OSError):  # its end is an error
        while more := read.read(1 << 16):
            text += more
    return text.decode()


@pytest.mark.parametrize(
    ("environment", "is_live"),
    [({}, True), ({"CI": "true"}, False), ({"CI": "false"}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, True)],
)  # fmt: skip
def test_a_table_that_is_redrawn_is_for_terminals_that_people_look_at(
    study: OpenStudy, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_live: bool
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def write() -> None:
        with SearchScreen(console.out(), study) as screen:
            screen.trial_started(0, {"optimizer.lr": 0.5}, 3)
            screen.epoch_ended(0, 1, 0.4)
            screen.news("something new")

    text = on_a_terminal(write, monkeypatch)
    assert "something new" in text
    assert ("\x1b" in text, "1 running" in text, "trial 0: lr=0.5" in text) == (is_live, is_live, not is_live)
    if "NO_COLOR" in environment:
        assert not re.search(r"\x1b\[[0-9;]*3\d", text)


def test_a_pipe_gets_plain_lines_also_where_colours_are_asked_for(
    study: OpenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    written = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", written)
    with SearchScreen(console.out(), study) as screen:
        for number, value in enumerate((0.5, 0.25)):
            screen.trial_started(number, {"optimizer.lr": 0.5}, 3)
            for epoch in (1, 2, 3):
                screen.epoch_ended(number, epoch, 0.9)
            study.study.add_trial(create_trial(value=value, intermediate_values={1: 0.9, 2: 0.9, 3: value}))
            screen.trial_ended(number)
    written.flush()
    assert re.sub(r"[\d.]+ s;", "1 s;", written.buffer.getvalue().decode()) == (  # type: ignore[attr-defined]
        "trial 0: lr=0.5\ntrial 0: complete, 0.5, 3 epochs, 1 s; best 0.5 (trial 0)\n"
        "trial 1: lr=0.5\ntrial 1: complete, 0.25, 3 epochs, 1 s; best 0.25 (trial 1)\n"
    )


def test_what_an_encoding_lacks_is_written_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, expected in (("ascii", "Stra?e ~ .\n"), ("latin-1", "Straße ± .\n"), ("utf-8", "Straße ± …\n")):
        written = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", written)
        console.out().print("Straße ± …")
        written.flush()
        assert written.buffer.getvalue().decode(encoding) == expected  # type: ignore[attr-defined]
