"""What `ml-search` shows of a confirmation: a bar or a line a training, and at the end the table and what it says."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from mlframework.search.confirm import Confirm, Confirmation, Retraining, verdicts

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from mlframework.search.study import OpenStudy
    from mlframework.search.training_run import LoadSplits


def confirm_best(console: Console, study: OpenStudy, settings: Confirm, load: LoadSplits) -> None:
    """Train the best trials with further seeds, and print what those say."""
    from mlframework.search.confirming import confirm
    from mlframework.search.results import TrialRecord, candidates

    records = [TrialRecord.of(trial) for trial in study.trials()]
    there = len(candidates(study.spec, records, settings.top_k))
    console.print(
        f"\nconfirming the best {there} trial{'s' if there > 1 else ''} with {settings.seeds} further seeds each: "
        f"{there * settings.seeds} trainings"
    )
    if there < settings.top_k:
        console.print(
            f"  search.confirm.top_k is {settings.top_k}; the study has {there} complete trial{'s' if there > 1 else ''} "
            "of different parameters"
        )
    with ConfirmScreen(console, study.spec.metric) as watcher:
        found = confirm(study, settings, load, watcher)
    if found is None:
        console.print("another process confirms them")
        return
    print_confirmation(console, found)


def print_confirmation(console: Console, confirmation: Confirmation) -> None:
    """Print the table, and in plain sentences what it says."""
    from rich.table import Table

    n = len(confirmation.seeds)
    console.print(
        f"{confirmation.metric} of {n} further seeds ({_few(confirmation.seeds)}); the values in the search are not counted in"
    )
    table = Table(
        "trial", "mean", "std", "95 % interval", "in search", "p t", "p rank", "time",
        box=None, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for each in confirmation.candidates:
        interval, against = each.interval, each.against
        is_pick = each.number == confirmation.pick
        failed = f" ({each.failed} failed)" if each.failed else ""
        table.add_row(
            f"{each.number}{' *' if is_pick else ''}",
            (f"{interval.mean:.5g}" if interval is not None else "-") + failed,
            f"{interval.std:.2g}" if interval is not None and interval.std is not None else "-",
            f"{interval.low:.4g} to {interval.high:.4g}" if interval is not None and interval.low is not None else "-",
            f"{each.search_value:.5g}",
            f"{against.t_p_holm:.2g}" if against is not None else "",
            f"{against.wilcoxon_p_holm:.2g}" if against is not None else "",
            f"{each.seconds:.1f} s",
            style="bold" if is_pick else "",
        )
    console.print(table)
    seconds = sum(each.seconds for each in confirmation.candidates)
    console.print(f"  cost: {seconds:.1f} s of training")
    for line in verdicts(confirmation):
        console.print(f"  {line}")
    if confirmation.pick is not None:
        console.print(f"picked: trial {confirmation.pick}, by the mean over the further seeds")
    else:
        console.print("picked: none, in each trial a training failed; the best of the search stays")


def _few(seeds: tuple[int, ...]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if seeds[-1] - seeds[0] == len(seeds) - 1 else ", ".join(map(str, seeds))


class ConfirmScreen:
    """Watches a confirmation: a bar on a terminal, and a line a training.

    Args:
        console: where to draw.
        metric: what is reported.
    """

    def __init__(self, console: Console, metric: str) -> None:
        self._console, self._metric = console, metric
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._done, self._num_epochs, self._started = 0, 1, False

    def __enter__(self) -> Self:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                console=self._console, transient=True,
            )  # fmt: skip
            self._task = self._progress.add_task("confirming", total=None)
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def training_started(self, number: int, seed: int, place: int, total: int, num_epochs: int) -> None:
        """Show which one it is."""
        self._started, self._num_epochs = True, num_epochs
        if self._progress is not None and self._task is not None:
            what = f"trial {number}, seed {seed}"
            self._progress.update(self._task, description=what, total=total, completed=place - 1)

    def epoch_ended(self, epoch: int, value: float) -> None:
        """Show the epoch and its value."""
        if self._progress is not None and self._task is not None:
            done = self._done + min(1.0, epoch / self._num_epochs)
            self._progress.update(self._task, completed=round(done, 1))

    def training_ended(self, number: int, training: Retraining) -> None:
        """Show the outcome."""
        before = "" if self._started else ", done before"
        self._started = False
        self._done += 1
        ending = f"{self._metric} {training.value:.6g}, {training.seconds:.1f} s" if training.value is not None else (
            f"failed, {training.reason}"
        )  # fmt: skip
        self._console.print(f"trial {number}, seed {training.seed}: {ending}{before}")
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self._done)
