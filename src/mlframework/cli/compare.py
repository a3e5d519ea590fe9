"""`ml-search --compare`: samplers side by side on equal budgets. What is refused, what is shown, and what is left."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mlframework.cli import console, tracking
from mlframework.errors import ConfigError, Problem, TrainingError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from mlframework.search.compare import Comparison, Contender, Curve
    from mlframework.search.comparing import ComparePlan
    from mlframework.search.read import ReadConfig
    from mlframework.search.study import OpenStudy

SEEDS = 5


def check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that say nothing with, or without, a comparison.

    Raises:
        ConfigError: with all of them.
    """
    problems = []
    if arguments.compare is None:
        if arguments.seeds is not None:
            problems.append(Problem("ml-search", "--seeds", "is for --compare only; search.confirm.seeds is a setting"))
    else:
        why = {
            "add_trials": "a comparison has as many trials a study as --n-trials says",
            "refit": "a comparison ends with no best config to refit; search with the sampler that you choose",
            "workers": "a comparison runs its studies one after the other in this process",
            "launcher": "a comparison runs its studies one after the other in this process",
            "ray_address": "a comparison runs its studies one after the other in this process",
            "storage_proxy": "a comparison runs its studies one after the other in this process",
            "timeout": "a comparison gives every sampler the same number of trials, however long they take",
        }
        problems += [
            Problem("ml-search", f"--{name.replace('_', '-')}", f"leave it out: {said}")
            for name, said in why.items()
            if getattr(arguments, name)
        ]
        if arguments.seeds == 1:
            problems.append(Problem("ml-search", "--seeds", "1 says nothing of the spread; give 2 or more"))
    if problems:
        raise ConfigError(problems)


def run_comparison(read: ReadConfig, arguments: argparse.Namespace, resume: str) -> None:
    """Compare the samplers that the command line names; `resume` is the command that goes on."""
    from mlframework.runs import make_folder, writing
    from mlframework.search.comparing import build_plan, compare, comparison_folder, open_studies, sampler_configs
    from mlframework.search.quiet import require_optuna
    from mlframework.search.start import check_data, load
    from mlframework.search.storage import open_storage

    require_optuna()
    from optuna.storages import InMemoryStorage

    assert read.config.search is not None
    sampler_configs(arguments.compare, read.config.search.sampler)  # before a folder is made
    folder = comparison_folder(read.config.study_name)
    url = arguments.storage or f"sqlite:///{folder}/studies.db"
    there = arguments.storage is not None or (folder / "studies.db").is_file()
    # What is refused leaves nothing behind.
    storage = open_storage(url) if there else InMemoryStorage()
    plan = build_plan(read, arguments.compare, arguments.seeds or SEEDS, storage, url)
    check_data(plan.specs[0])
    if not there:
        with writing(folder):
            make_folder(folder)
        storage = open_storage(url)
    studies = open_studies(plan, storage, arguments.resume, arguments.accept_data_change)
    screen = console.out()
    _print_plan(screen, plan)
    for line in (*studies[0].news, *studies[0].changes):  # the same in all of them
        screen.print(f"  {line}")
    if read.config.search.timeout is not None:
        screen.print("  search.timeout has no say here: every sampler has the same number of trials")
    if read.config.search.confirm is not None:
        screen.print(
            "  search.confirm has no say here: a comparison picks no trial, its seeds are those of the samplers"
        )
    console.say_on_interrupt(f"finished trials are kept; go on with: {resume}")
    with CompareScreen(screen, plan) as watcher:
        found = compare(plan, studies, load, watcher, resume)
    if found is None:
        screen.print("the last trials are still being trained by other processes; the last of them writes the results")
    else:
        _print_results(screen, plan, found, studies)
    folders = [study.spec.folder.path for study in studies]
    tracking.say_recorded(read.config.name, read.config.tracking, resume, *folders)


def _print_plan(screen: Console, plan: ComparePlan) -> None:
    from mlframework.search.storage import masked

    spec, n_seeds = plan.specs[0], len(plan.seeds)
    screen.print(
        f"comparison {plan.name}: {spec.direction} {spec.metric}, {len(plan.samplers)} samplers, {n_seeds} seeds "
        f"({plan.seeds[0]} to {plan.seeds[-1]}), {spec.n_trials} trials each: {len(plan.specs) * spec.n_trials} trainings"
    )
    screen.print(f"  storage {masked(spec.storage)}, folder {plan.folder}")
    screen.print(f"  every training has the config's seed {spec.training_seed}; pruner {spec.pruner.type}")
    for each in plan.specs[: len(plan.samplers)]:
        settings = ", ".join(f"{key}: {value}" for key, value in each.sampler.model_dump().items() if key != "type")
        fewer = f"; the space has {each.most_trials} combinations" if each.most_trials is not None else ""
        screen.print(f"  {each.sampler.type}{f' ({settings})' if settings else ''}{fewer}")
    for text in (constraint.text for constraint in spec.space.constraints):
        screen.print(f"  constraint {text}")


def _print_results(screen: Console, plan: ComparePlan, found: Comparison, studies: Sequence[OpenStudy]) -> None:
    from mlframework.search.compare import verdicts
    from mlframework.search.comparing import reasons
    from mlframework.visualise.compare_plot import figures
    from mlframework.visualise.export import write

    if all(each.final is None for each in found.contenders):
        listed = "".join(f"\n  {reason}" for reason in reasons(studies)[:10])
        raise TrainingError(f"no trial of any study came to its end, there is nothing to compare:{listed}")
    screen.print()
    screen.print(_result_table(found))
    for line in verdicts(found):
        screen.print(f"  {line}")
    written = write(figures(found), plan.folder / "plots")
    if written.reason is not None:
        console.err().print(written.reason)
    screen.print(f"\nread it:   {plan.folder}/compare.json, {plan.folder}/compare.csv")
    screen.print(f"see it:    {' '.join(str(path) for path in written.paths)}")


def _result_table(found: Comparison) -> Table:
    from rich.table import Table

    with_random = any(each.reached is not None for each in found.contenders)
    columns = [
        "sampler",
        f"best {found.metric}",
        "mean rank",
        *(["to random's best"] if with_random else []),
        "time",
    ]
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for each in sorted(found.contenders, key=lambda each: each.mean_rank):
        final = "-"
        if each.final is not None:
            final = f"{each.final.mean:.6g}" + (f" ± {each.final.std:.2g}" if each.final.std is not None else "")
        reached = [_reached(each)] if with_random else []
        table.add_row(each.sampler, final, f"{each.mean_rank:.2f}", *reached, f"{each.seconds:.1f} s")
    return table


def _reached(each: Contender) -> str:
    if each.reached is None:
        return ""
    known = sum(value is not None for value in each.reached)
    median = f"{each.median_reached:g}" if each.median_reached is not None else "-"
    return f"{median} ({known} of {len(each.reached)} seeds)"


class CompareScreen:
    """Watches a comparison: a live table on a terminal, a line a study elsewhere.

    Args:
        console: where to draw.
        plan: what is compared.
    """

    def __init__(self, console: Console, plan: ComparePlan) -> None:
        self._console, self._plan = console, plan
        self._curves: dict[str, list[Curve]] = {name: [] for name in plan.samplers}
        self._live: Live | None = None
        self._study: OpenStudy | None = None
        self._trials = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        from rich.live import Live

        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def study_started(self, study: OpenStudy) -> None:
        """Show which one it is."""
        from mlframework.search.results import TrialRecord

        records = [TrialRecord.of(trial) for trial in study.trials()]
        self._study, self._trials = study, sum(record.counts and record.state != "running" for record in records)

    def study_ended(self, curve: Curve) -> None:
        """Show what it reached."""
        self._study = None
        self._curves[curve.sampler].append(curve)
        if self._live is None:
            done, total = sum(map(len, self._curves.values())), len(self._plan.specs)
            metric = self._plan.specs[0].metric
            best = f"best {metric} {curve.final:.6g} (trial {curve.best_trial})" if curve.final is not None else (
                "no trial came to its end"
            )  # fmt: skip
            self._console.print(
                f"{done}/{total} {curve.sampler}, seed {curve.seed}: {best}, {curve.complete} of {curve.trials} trials "
                f"complete, {curve.seconds:.1f} s"
            )

    def trial_started(self, number: int, params: Mapping[str, Any], num_epochs: int) -> None:
        """Nothing to show."""

    def epoch_ended(self, number: int, epoch: int, value: float) -> None:
        """Nothing to show."""

    def trial_ended(self, number: int) -> None:
        """Count it."""
        self._trials += 1

    def trial_lost(self, number: int, why: str) -> None:
        """Nothing to show: whoever took it over counts it."""

    def waiting(self, n_trials: int) -> None:
        """Nothing to show."""

    def news(self, text: str) -> None:
        """Show it."""
        self._console.print(text)

    def _table(self) -> Table:
        from rich.table import Table

        spec, n_seeds = self._plan.specs[0], len(self._plan.seeds)
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        table = Table(
            "sampler", "studies", "now", f"mean best {spec.metric}", "time",
            title=f"{self._plan.name}, {minutes}:{seconds:02d}", title_justify="left",
        )  # fmt: skip
        for name, curves in self._curves.items():
            values = [curve.final for curve in curves if curve.final is not None]
            now, style = "", ""
            if self._study is not None and self._study.spec.sampler.type == name:
                now = f"seed {self._study.spec.seed}: {min(self._trials, spec.n_trials)}/{spec.n_trials} trials"
                style = "cyan"
            table.add_row(
                name, f"{len(curves)}/{n_seeds}", now, f"{sum(values) / len(values):.6g}" if values else "-",
                f"{sum(curve.seconds for curve in curves):.1f} s", style=style,
            )  # fmt: skip
        return table
