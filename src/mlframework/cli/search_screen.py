"""What `ml-search` shows: the plan first, a live table while it runs, the best trial last."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mlframework.cli.front_table import about_choice, print_front
from mlframework.learners.ranks import torchrun
from mlframework.search.duplicates import REDRAWN_STATES
from mlframework.search.failed_trials import grouped
from mlframework.search.feasibility import is_feasible, shares
from mlframework.search.goal import Goal, number
from mlframework.search.pruners import NoPruner
from mlframework.search.results import Pick, TrialRecord, pick
from mlframework.search.samplers import GridSampler, grid_cells, grid_coverage
from mlframework.search.storage import masked

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from mlframework.search.study import OpenStudy

_ROWS = 15  # of the live table: the latest trials, and the best one
_MAX_PARAMS = 6
_WIDTH_WITHOUT_PARAMS, _WIDTH_OF_PARAM = 52, 14
_ENDED = ("complete", "pruned", "failed")
_COLOURS = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan"}


@dataclass
class _Running:
    number: int
    num_epochs: int
    params: Mapping[str, Any]
    started: float
    epoch: int = 0
    value: float | None = None


def print_plan(console: Console, study: OpenStudy, dropped: Sequence[str]) -> None:
    """Print what will be searched, with what budget."""
    from rich.table import Table

    spec = study.spec
    have = sum(TrialRecord.of(trial).counts for trial in study.trials())
    console.print(
        f"study {spec.name}: {spec.goal.describe()}, {study.n_trials} trials{f', {have} there already' if have else ''}"
    )
    console.print(f"  storage {masked(spec.storage)}, folder {spec.folder.path}")
    if not spec.goal.is_single:
        console.print(f"  {about_choice(spec)}")
    by = "" if spec.goal.is_single or isinstance(spec.pruner, NoPruner) else f" by {spec.metric}"
    limit = f", at most {spec.timeout:g} s" if spec.timeout else ""
    console.print(
        f"  sampler {spec.sampler.type}, pruner {spec.pruner.type}{by}, up to {spec.num_epochs} epochs a trial{limit}"
    )
    table = Table("setting", "searched", "when", box=None, padding=(0, 2))
    for key, parameter in spec.space.parameters.items():
        conditions = "; ".join(f"{name}: {_few(wanted)}" for name, wanted in parameter.when.items())
        table.add_row(key, parameter.describe(), conditions)
    console.print(table)
    for line in study.news:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if spec.most_trials is not None and study.n_trials == spec.most_trials < spec.n_trials:
        console.print(f"  {_all_combinations(study)}: {spec.n_trials} were asked for")
    for text, share in shares(spec.space).items():
        console.print(f"  constraint {text}: {share}", markup=False)
    for choice, keys in spec.space.dropped().items():
        console.print(
            f"  with {choice}, these settings of the config have no meaning and are dropped: {', '.join(keys)}"
        )
    if dropped:
        console.print(f"  dropped, since the new choice has no such setting: {', '.join(dropped)}")


def _coverage(study: OpenStudy, records: Sequence[TrialRecord]) -> str:
    """Say how much of a grid was tried; what failed was not."""
    space = study.spec.space
    cells = [cell for cell in grid_cells(space.parameters) if is_feasible(space, cell)]
    tried, there = grid_coverage(cells, (record.params for record in records if record.state in ("complete", "pruned")))
    return f"grid: {tried} of {there} cells"


def _all_combinations(study: OpenStudy) -> str:
    return f"the search space has {study.spec.most_trials} combinations, each is trained once"


def _few(wanted: object) -> str:
    return ", ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)


def print_best(console: Console, study: OpenStudy, records: Sequence[TrialRecord]) -> None:
    """Print the best trial, how the others ended, and what to do next."""
    chosen = pick(study.spec, records)
    assert chosen is not None
    best = chosen.record
    counts = {state: sum(record.state == state for record in records) for state in _COLOURS}
    shown = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    folder = study.spec.folder
    total = sum(record.counts for record in records)
    console.print(f"\n{total} trial{'' if total == 1 else 's'}: {shown}{_beside(records)}")
    if study.spec.most_trials is not None and sum(counts[s] for s in _ENDED) >= study.spec.most_trials:
        console.print(f"{_all_combinations(study)}: the search has tried them all")
    if isinstance(study.spec.sampler, GridSampler):
        console.print(_coverage(study, records))
    if study.spec.goal.is_single:
        value = f"{best.value}{_spread(study, best)}"
        # A confirmed trial is the best by its further seeds; another one may have the better value.
        is_best = chosen.confirmed is None
        title = f"best {study.spec.metric}" if is_best else f"{study.spec.metric} in the search"
        console.print(
            f"{'best' if is_best else 'picked'} trial: {best.number}\n{title}: {value} (epoch {best.best_epoch})"
        )
    else:
        keys = list(study.spec.space.parameters)
        print_front(console, study.spec, records, {key: _short(key, keys) for key in keys})
        console.print(f"chosen trial: {best.number} ({study.spec.goal.shown(best)}; epoch {best.best_epoch})")
    for key, value in best.params.items():
        console.print(f"  {key}: {_number(value)}")
    print_pick(console, chosen)
    for line in grouped(records):
        console.print(f"failed: {line}", markup=False)
    console.print(
        f"\ntrain it:  {torchrun(study.spec.space.base)}ml-train --config {folder.best_config}\n"
        f"see it:    ml-visualise --mode search --study-name {study.spec.name}\n"
        f"read it:   {folder.results}, {folder.trials}"
        + ("" if study.spec.goal.is_single else f", {folder.pareto_csv}, {folder.pareto}/")
    )


def _spread(study: OpenStudy, best: TrialRecord) -> str:
    if best.std is None:
        return ""
    return f" (standard deviation {best.std:.4g} over {len(best.parts)} {study.spec.plan.part}s)"


def print_pick(console: Console, chosen: Pick) -> None:
    """Say what the trial was picked by, where that is not its value in the search alone."""
    if chosen.outdated is not None:
        console.print(f"the confirmation does not count: {chosen.outdated}; search.confirm makes another one")
    if chosen.confirmed is None or chosen.confirmed.interval is None:
        return
    interval = chosen.confirmed.interval
    console.print(
        f"picked by {interval.n} further seeds: mean {interval.mean:.6g}, std {interval.std:.2g}, 95 % interval "
        f"{interval.low:.6g} to {interval.high:.6g}"
        + (f"; best in the search: trial {chosen.search_best}" if chosen.search_best != chosen.record.number else "")
    )


def _beside(records: Sequence[TrialRecord]) -> str:
    """Say what was not trained: values taken over, and draws that took none of the study's trials."""
    reused = sum(record.same_as is not None for record in records)
    redrawn = {state: sum(record.state == state for record in records) for state in REDRAWN_STATES}
    shown = [f"{reused} of them took over a former trial's outcome"] if reused else []
    again = ", ".join(f"{count} {state}" for state, count in redrawn.items() if count)
    imported = sum(record.state == "imported" for record in records)
    shown += [f"beside {imported} imported"] if imported else []
    shown += [f"drawn again: {again}"] if again else []
    return "".join(f"; {each}" for each in shown)


class SearchScreen:
    """Watches a search: a live table on a terminal, a line a trial elsewhere.

    Args:
        console: where to draw.
        study: what is searched.
    """

    def __init__(self, console: Console, study: OpenStudy) -> None:
        self._console, self._study = console, study
        self._live: Live | None = None
        self._running: dict[int, _Running] = {}
        self._records: list[TrialRecord] = []
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        from rich.live import Live

        self._records = [TrialRecord.of(trial) for trial in self._study.trials()]
        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def trial_started(self, number: int, params: Mapping[str, Any], num_epochs: int) -> None:
        """Show the trial's parameters."""
        self._running[number] = _Running(number, num_epochs, params, time.monotonic())
        if self._live is None:
            shown = ", ".join(f"{_short(key, params)}={_number(value)}" for key, value in params.items())
            self._console.print(f"trial {number}: {shown}")

    def epoch_ended(self, number: int, epoch: int, value: float) -> None:
        """Show the epoch and its value."""
        if (running := self._running.get(number)) is not None:
            running.epoch, running.value = epoch, value

    def trial_ended(self, number: int) -> None:
        """Show how the trial ended."""
        self._running.pop(number, None)
        self._records = [TrialRecord.of(trial) for trial in self._study.trials()]
        if self._live is None:
            record = self._records[number]
            goal = self._study.spec.goal
            best = goal.best(self._records)
            if not record.counts:
                self._console.print(f"trial {number}: {record.reason}; it counts as none", markup=False)
                return
            of = "" if goal.is_single else f"{goal.main} "
            told = f"{of}{_value(record)}" if record.value is not None else record.reason
            ending = told if goal.is_single or record.state != "complete" else goal.shown(record)
            if record.state == "pruned" and record.parts and record.reason is not None:
                ending = f"{ending}, {record.reason.removeprefix('pruned ')}"
            if record.same_as is not None and record.value is not None:
                ending = f"{ending}, {record.reason}"
            so_far = f"; {self._best_so_far(best)}" if best is not None else ""
            did = f"{len(record.parts)} {self._study.spec.plan.part}s" if record.parts else f"{record.epochs} epochs"
            self._console.print(f"trial {number}: {record.state}, {ending}, {did}, {record.seconds or 0:.1f} s{so_far}")

    def trial_lost(self, number: int, why: str) -> None:
        """Say why the trial is no longer trained here."""
        self._running.pop(number, None)
        self._console.print(f"trial {number}: {why}", markup=False)

    def waiting(self, n_trials: int) -> None:
        """Say for what."""
        what = f"{n_trials} trials" if n_trials > 1 else "trial"
        self._console.print(f"waiting for the last {what} of other processes")

    def news(self, text: str) -> None:
        """Say it."""
        self._console.print(text, markup=False)

    def _table(self) -> Table:
        from rich.table import Table

        records = [record for record in self._records if record.counts]
        spec, goal = self._study.spec, self._study.spec.goal
        best = goal.best(records)
        values = ["value"] if goal.is_single else goal.metrics
        # As many parameters as there is room for: the value must not be cut.
        room = max(1, (self._console.width - _WIDTH_WITHOUT_PARAMS) // _WIDTH_OF_PARAM - len(values) + 1)
        keys = list(self._study.spec.space.parameters)[: min(room, _MAX_PARAMS)]
        done = sum(record.state in _ENDED for record in records)
        top = self._best_so_far(best) if best is not None else "no best yet"
        of = f"{spec.metric} " if goal.is_single else ""
        title = f"{spec.name}: {done}/{self._study.n_trials} trials, {of}{top}, {self._elapsed()}"
        columns = ["trial", "state", *values, "epochs", "time", *(_short(key, keys) for key in keys)]
        table = Table(*columns, title=title, title_justify="left")
        finished = [record for record in records if record.number not in self._running]
        latest = finished[-_ROWS:]
        if best is not None and best not in latest:
            latest = [best, *latest[1:]]
        for record in latest:
            style = (
                "bold green"
                if record is best or (best is not None and record.number == best.number)
                else _COLOURS.get(record.state, "")
            )
            shown = _values(goal, record)
            seconds = f"{record.seconds:.1f} s" if record.seconds is not None else ""
            params = (_number(record.params[key]) if key in record.params else "" for key in keys)
            state = record.state if record.same_as is None else f"= trial {record.same_as}"
            table.add_row(str(record.number), state, *shown, str(record.epochs), seconds, *params, style=style)
        for running in list(self._running.values()):
            value = f"{running.value:.6g}" if running.value is not None else "-"
            shown = [value if goal.is_single or name == goal.main else "" for name in values]
            seconds = f"{time.monotonic() - running.started:.1f} s"
            params = (_number(running.params[key]) if key in running.params else "" for key in keys)
            epochs = f"{running.epoch}/{running.num_epochs}"
            table.add_row(str(running.number), "running", *shown, epochs, seconds, *params, style="cyan")
        return table

    def _best_so_far(self, best: TrialRecord) -> str:
        goal = self._study.spec.goal
        if goal.is_single:
            return f"best {goal.shown(best)} (trial {best.number})"
        rule = goal.rule.removesuffix(" of the Pareto front")
        return f"{len(goal.front(self._records))} on the front, {rule}: trial {best.number}"

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes}:{seconds:02d}"


def _value(record: TrialRecord) -> str:
    """Return a trial's value, with the standard deviation of its folds or repeats."""
    return f"{record.value:.6g}" + (f" ± {record.std:.2g}" if record.std is not None else "")


def _values(goal: Goal, record: TrialRecord) -> list[str]:
    """Return what the live table shows of a trial's values; of a pruned one, only the objective that it reported."""
    if goal.is_single:
        return [_value(record) if record.value is not None else "-"]
    known = {goal.main: record.value, **record.values}
    return [number(value) if (value := known.get(name)) is not None else "-" for name in goal.metrics]


def _short(key: str, keys: Mapping[str, Any] | Sequence[str]) -> str:
    last = key.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in keys) == 1 else key


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "null" if value is None else str(value)
