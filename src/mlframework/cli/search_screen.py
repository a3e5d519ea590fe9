"""What `ml-search` shows: the plan first, a live table while it runs, the best trial last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mlframework.cli.front_table import about_choice, print_front
from mlframework.cli.live_table import COLOURS, ENDED, LiveTable, short, shown_number, shown_value
from mlframework.learners.ranks import torchrun
from mlframework.search.audit import audit_fraction, audit_of
from mlframework.search.duplicates import REDRAWN_STATES
from mlframework.search.failed_trials import grouped
from mlframework.search.feasibility import is_feasible, shares
from mlframework.search.interrupted import as_they_stand
from mlframework.search.pruners import NoPruner
from mlframework.search.results import MERGED_HYPERPARAMETERS, Pick, TrialRecord, pick, tree_of
from mlframework.search.samplers import GridSampler, grid_cells, grid_coverage
from mlframework.search.storage import masked

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from mlframework.search.parameters import Parameter
    from mlframework.search.study import OpenStudy

_NARROW = 64  # columns, below which a setting's section and name have a line each


def print_plan(console: Console, study: OpenStudy, dropped: Sequence[str]) -> None:
    """Print what will be searched, with what budget."""
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
    console.print(_table_of(spec.space.parameters, console.width))
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


def _table_of(parameters: Mapping[str, Parameter], width: int) -> Table:
    """Return the table of what is searched.

    In a narrow window names go on in the next line: cut off, two of one section may look alike.
    """
    from rich.table import Column, Table

    is_narrow = width < _NARROW
    conditions = [
        "; ".join(f"{name}: {_few(wanted)}" for name, wanted in each.when.items()) for each in parameters.values()
    ]
    titles = ["setting", "searched", *(["when"] if any(conditions) else [])]
    table = Table(*(Column(title, overflow="fold") for title in titles), box=None, padding=(0, 1 if is_narrow else 2))
    for (key, parameter), condition in zip(parameters.items(), conditions, strict=True):
        section, _, name = key.rpartition(".")
        shown = f"{section}.\n  {name}" if is_narrow and section else key
        table.add_row(*(shown, parameter.describe(), condition)[: len(titles)])
    return table


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
    records = as_they_stand(study, records)
    chosen = pick(study.spec, records)
    assert chosen is not None
    best = chosen.record
    counts = {state: sum(record.state == state for record in records) for state in COLOURS}
    shown = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    folder = study.spec.folder
    total = sum(record.counts for record in records)
    console.print(f"\n{total} trial{'' if total == 1 else 's'}: {shown}{_beside(records)}")
    if study.spec.most_trials is not None and sum(counts[s] for s in ENDED) >= study.spec.most_trials:
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
        print_front(console, study.spec, records, {key: short(key, keys) for key in keys})
        console.print(f"chosen trial: {best.number} ({study.spec.goal.shown(best)}; epoch {best.best_epoch})")
    for key, value in best.params.items():
        console.print(f"  {key}: {shown_number(value)}")
    print_pick(console, chosen)
    audit = audit_of(study.spec.goal, records, audit_fraction(study.spec.pruner))
    if audit is not None:
        console.print(audit.sentence(), soft_wrap=True)
    for line in grouped(records):
        console.print(f"failed: {line}", markup=False)
    console.print(
        f"\ntrain it:  {torchrun(tree_of(study, best))}ml-train --config {folder.best_config}\n"
        f"see it:    ml-visualise --mode search --study-name {study.spec.name}\n"
        f"read it:   {folder.results}, {folder.trials}"
        + ("" if study.spec.goal.is_single else f", {folder.pareto_csv}, {folder.pareto}/")
        + (f"\nreuse it:  {MERGED_HYPERPARAMETERS}, by ml-train --hyperparameters" if study.spec.shares_best else "")
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
        self._table = LiveTable(study, ())

    def __enter__(self) -> Self:
        from rich.live import Live

        self._table = LiveTable(self._study, self._records())
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(self._table, console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _records(self) -> list[TrialRecord]:
        return as_they_stand(self._study, [TrialRecord.of(trial) for trial in self._study.trials()])

    def trial_started(self, number: int, params: Mapping[str, Any], num_epochs: int) -> None:
        """Show the trial's parameters."""
        self._table.begin(number, params, num_epochs)
        if self._live is None:
            shown = ", ".join(f"{short(key, params)}={shown_number(value)}" for key, value in params.items())
            self._console.print(f"trial {number}: {shown}")

    def epoch_ended(self, number: int, epoch: int, value: float) -> None:
        """Show the epoch and its value."""
        if (running := self._table.running.get(number)) is not None:
            running.epoch, running.value = epoch, value

    def trial_ended(self, number: int) -> None:
        """Show how the trial ended."""
        records = self._records()
        self._table.end(number, records)
        if self._live is None:
            self._console.print(self._line(records[number]), markup=False)

    def _line(self, record: TrialRecord) -> str:
        """Return how a trial ended."""
        goal = self._study.spec.goal
        if not record.counts:
            return f"trial {record.number}: {record.reason}; it counts as none"
        of = "" if goal.is_single else f"{goal.main} "
        told = f"{of}{shown_value(record)}" if record.value is not None else record.reason
        ending = told if goal.is_single or record.state != "complete" else goal.shown(record)
        if record.state == "pruned" and record.parts and record.reason is not None:
            ending = f"{ending}, {record.reason.removeprefix('pruned ')}"
        if record.same_as is not None and record.value is not None:
            ending = f"{ending}, {record.reason}"
        if record.audited is not None:
            ending = f"{ending}, condemned at step {record.audited_at} and let finish"
        so_far = f"; {self._table.best_in_words()}" if self._table.best is not None else ""
        did = f"{len(record.parts)} {self._study.spec.plan.part}s" if record.parts else f"{record.epochs} epochs"
        return f"trial {record.number}: {record.state}, {ending}, {did}, {record.seconds or 0:.1f} s{so_far}"

    def trial_lost(self, number: int, why: str) -> None:
        """Say why the trial is no longer trained here."""
        self._table.running.pop(number, None)
        self._console.print(f"trial {number}: {why}", markup=False)

    def waiting(self, n_trials: int) -> None:
        """Say for what."""
        what = f"{n_trials} trials" if n_trials > 1 else "trial"
        self._console.print(f"waiting for the last {what} of other processes")

    def news(self, text: str) -> None:
        """Say it."""
        self._console.print(text, markup=False)
