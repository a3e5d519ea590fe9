"""What stands on the terminal while `ml-search` runs: how far it is, the best so far as a sparkline, the latest trials."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mlframework.cli.sparkline import best_so_far, clock, sparkline
from mlframework.search.duplicates import REDRAWN_STATES
from mlframework.search.goal import Goal, number
from mlframework.search.results import TrialRecord

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

    from mlframework.search.study import OpenStudy

ENDED = ("complete", "pruned", "failed")
COLOURS = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan", "interrupted": "magenta"}
_ROWS, _LEAST_ROWS = 15, 3  # the latest trials, and the best one, as far as the window is high enough
_LINES_WITHOUT_ROWS = 9
_MAX_PARAMS = 6
_WIDTH_WITHOUT_PARAMS, _WIDTH_OF_PARAM = 52, 14
_MAX_SPARKS, _MIN_SPARKS = 60, 8
_WIDTH_WITHOUT_TIMES = 36
_NARROW = 60  # columns below which the study's name is left out


@dataclass
class Running:
    """A trial that is being trained."""

    number: int
    num_epochs: int
    params: Mapping[str, Any]
    started: float
    epoch: int = 0
    value: float | None = None


class LiveTable:
    """A search as it stands now.

    Args:
        study: what is searched.
        records: of the trials that are there already.
    """

    def __init__(self, study: OpenStudy, records: Sequence[TrialRecord]) -> None:
        self._study, self._goal = study, study.spec.goal
        self._started = time.monotonic()
        self._seconds: list[float] = []  # of the trials that ended while we looked
        self._at_once = 1
        self.running: dict[int, Running] = {}
        self.look(records)

    def look(self, records: Sequence[TrialRecord]) -> None:
        """Take the trials as they are in the storage now."""
        self.records = [record for record in records if record.counts]
        self._redrawn = sum(record.state in REDRAWN_STATES for record in records)
        self.best = self._goal.best(self.records)
        found = [
            record.value if record.state == "complete" and record.same_as is None else None
            for record in self.records
            if record.state in ENDED
        ]
        self._series = best_so_far(found, self._goal.main_objective.direction)

    def begin(self, number: int, params: Mapping[str, Any], num_epochs: int) -> None:
        """Add a trial that is being trained."""
        self.running[number] = Running(number, num_epochs, params, time.monotonic())
        self._at_once = max(self._at_once, len(self.running))

    def end(self, number: int, records: Sequence[TrialRecord]) -> None:
        """Take note that a trial has ended."""
        running = self.running.pop(number, None)
        if running is not None:
            self._seconds.append(time.monotonic() - running.started)
        self.look(records)

    def seconds_left(self) -> float | None:
        """Return about how long the search goes on, with as many trials at once as there were; None before one has ended here."""
        if not self._seconds:
            return None
        # The later half: the first trials have waited for what a process loads, and seldom one of them is pruned.
        now, mean = time.monotonic(), fmean(self._seconds[-max(3, len(self._seconds) // 2) :])
        rest = [max(mean - (now - running.started), 0.0) for running in list(self.running.values())]
        to_begin = max(self._study.n_trials - self._done() - len(rest), 0)
        left = max((to_begin * mean + sum(rest)) / self._at_once, max(rest, default=0.0))
        timeout = self._study.spec.timeout
        if timeout is None:
            return left
        # What has begun by then is trained to its end.
        return min(left, max(timeout - (now - self._started), 0.0) + (mean if to_begin else 0.0))

    def best_in_words(self) -> str:
        """Return the best trial so far in a few words, or that there is none."""
        if self.best is None:
            return "no best yet"
        if self._goal.is_single:
            return f"best {self._goal.shown(self.best)} (trial {self.best.number})"
        rule = self._goal.rule.removesuffix(" of the Pareto front")
        return f"{len(self._goal.front(self.records))} on the front, {rule}: trial {self.best.number}"

    def _done(self) -> int:
        return sum(record.state in ENDED for record in self.records)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it, as wide and as high as there is room."""
        from rich.text import Text

        yield self._progress(options.max_width)
        yield self._best_line(options.max_width, options.ascii_only)
        yield Text(self._counts(), no_wrap=True, overflow="ellipsis")
        rows = console.size.height - _LINES_WITHOUT_ROWS - len(self.running)
        yield self._table(options.max_width, max(_LEAST_ROWS, min(_ROWS, rows)))

    def _progress(self, width: int) -> Table:
        """Return how many trials are done, as numbers and as a bar, and how long it takes."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        done, n_trials = self._done(), self._study.n_trials
        name = f"{self._study.spec.name}: " if width >= _NARROW else ""
        left = self.seconds_left()
        times = clock(time.monotonic() - self._started)
        if left is not None and done < n_trials:
            times += f", about {clock(left)} left"
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_column(ratio=1, min_width=4)
        line.add_column(no_wrap=True)
        line.add_row(f"{name}{done}/{n_trials} trials", ProgressBar(total=max(n_trials, 1), completed=done), times)
        return line

    def _best_line(self, width: int, ascii_only: bool) -> Text:
        """Return the best value after each trial that has ended: the first one, the way, the present one."""
        from rich.text import Text

        objective = self._goal.main_objective
        if not self._series or self.best is None:
            return Text(f"best {objective.metric}: no trial is complete yet", no_wrap=True, overflow="ellipsis")
        first, last = (f"{value:.6g}" for value in (self._series[0], self._series[-1]))
        start, end = f"best {objective.metric} ", f" {last}"
        start += f"{first} " if first != last else ""
        tail = f" (trial {self.best.number})" if self._goal.is_single else f"; {self.best_in_words()}"
        room = width - len(start) - len(end) - len(tail)
        if room < min(_MIN_SPARKS, len(self._series)):
            room, tail = room + len(tail), ""
        line = sparkline(self._series, min(room, _MAX_SPARKS), objective.direction, ascii_only)
        return Text.assemble(
            start, (line, "green"), (end, "bold"), tail, no_wrap=True, overflow="ellipsis"
        )  # fmt: skip

    def _counts(self) -> str:
        states = Counter(record.state for record in self.records if record.number not in self.running)
        audited = sum(record.audited is not None for record in self.records if record.state == "complete")
        shown = [f"{states[state]} {state}" + (f" ({audited} audited)" if audited and state == "complete" else "")
                 for state in ENDED if states[state]]  # fmt: skip
        shown += [f"{len(self.running)} running"] if self.running else []
        shown += [f"{self._redrawn} drawn again"] if self._redrawn else []
        return ", ".join(shown) or "nothing has begun yet"

    def _table(self, width: int, rows: int) -> Table:
        from rich import box
        from rich.table import Table

        goal, best = self._goal, self.best
        values = ["value"] if goal.is_single else goal.metrics
        # As many parameters as there is room for: the value must not be cut.
        room = (width - _WIDTH_WITHOUT_PARAMS) // _WIDTH_OF_PARAM - len(values) + 1
        is_narrow = width < _WIDTH_WITHOUT_PARAMS
        columns = ["trial", "state", *values, *(["epochs", "time"] if width >= _WIDTH_WITHOUT_TIMES else [])]
        keys = list(self._study.spec.space.parameters)[: 0 if is_narrow else min(max(1, room), _MAX_PARAMS)]
        table = Table(box=box.SIMPLE_HEAD if is_narrow else box.HEAVY_HEAD, padding=(0, 0 if is_narrow else 1))
        for name in (*columns, *(short(key, keys) for key in keys)):
            table.add_column(name, no_wrap=True)
        finished = [record for record in self.records if record.number not in self.running]
        latest = finished[-rows:]
        if best is not None and best.number not in {record.number for record in latest}:
            latest = [best, *latest[1:]]
        for record in latest:
            is_best = best is not None and record.number == best.number
            style = "bold green" if is_best else COLOURS.get(record.state, "")
            seconds = f"{record.seconds:.1f} s" if record.seconds is not None else ""
            params = (shown_number(record.params[key]) if key in record.params else "" for key in keys)
            state = record.state if record.audited is None or record.state != "complete" else "audited"
            state = state if record.same_as is None else f"= trial {record.same_as}"
            cells = [str(record.number), state, *_values(goal, record), str(record.epochs), seconds][: len(columns)]
            table.add_row(*cells, *params, style=style)
        for running in list(self.running.values()):
            value = f"{running.value:.6g}" if running.value is not None else "-"
            shown = [value if goal.is_single or name == goal.main else "" for name in values]
            seconds = f"{time.monotonic() - running.started:.1f} s"
            params = (shown_number(running.params[key]) if key in running.params else "" for key in keys)
            epochs = f"{running.epoch}/{running.num_epochs}"
            cells = [str(running.number), "running", *shown, epochs, seconds][: len(columns)]
            table.add_row(*cells, *params, style="cyan")
        return table


def shown_value(record: TrialRecord) -> str:
    """Return a trial's value, with the standard deviation of its folds or repeats."""
    return f"{record.value:.6g}" + (f" ± {record.std:.2g}" if record.std is not None else "")


def _values(goal: Goal, record: TrialRecord) -> list[str]:
    """Return what the table shows of a trial's values; of a pruned one, only the objective that it reported."""
    if goal.is_single:
        return [shown_value(record) if record.value is not None else "-"]
    known = {goal.main: record.value, **record.values}
    return [number(value) if (value := known.get(name)) is not None else "-" for name in goal.metrics]


def short(key: str, keys: Mapping[str, Any] | Sequence[str]) -> str:
    """Return a parameter's last part where that tells it from the others, else its whole name."""
    last = key.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in keys) == 1 else key


def shown_number(value: object) -> str:
    """Return a parameter's value as text."""
    return f"{value:.4g}" if isinstance(value, float) else "null" if value is None else str(value)
