"""What is shown of a training."""

import io
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from mlframework.cli.progress import ProgressBar
from mlframework.learners.base import ignore_batches
from mlframework.training.callbacks import EpochRecord, History


def shown(terminal: bool, epochs_before: int = 0) -> tuple[str, Any]:
    """Go through a training of three epochs, and return what was drawn, and the learner."""
    file = io.StringIO()
    bar = ProgressBar(Console(file=file, force_terminal=terminal, width=120, highlight=False), 3)
    learner: Any = SimpleNamespace(on_batch=ignore_batches)
    history = History("val_acc", "maximize")
    values = [0.5, 0.75, 0.25]
    records = [EpochRecord(n, {"train_loss": 1 / n, "val_acc": v}, 2.0, 0.01) for n, v in enumerate(values, 1)]
    history.records += records[:epochs_before]
    bar.on_start(learner, history)
    for record in records[epochs_before:]:
        for done in (1, 2):
            learner.on_batch(done, 2)
        history.records.append(record)
        bar.on_epoch(learner, history)
    bar.on_end(learner, history, "finished")
    return file.getvalue(), learner


def test_without_a_terminal_it_is_a_line_an_epoch_with_a_star_for_the_best_so_far() -> None:
    text, _ = shown(terminal=False)
    assert text.splitlines() == [
        "   1/3  train_loss 1.0000  val_acc 0.5000  lr 1.00e-02  2.0 s *",
        "   2/3  train_loss 0.5000  val_acc 0.7500  lr 1.00e-02  2.0 s *",
        "   3/3  train_loss 0.3333  val_acc 0.2500  lr 1.00e-02  2.0 s",
    ]


def test_a_resumed_training_says_where_it_goes_on() -> None:
    text, _ = shown(terminal=False, epochs_before=2)
    assert text.splitlines()[0] == "going on after epoch 2" and text.count("/3") == 1


def test_on_a_terminal_there_is_a_bar_and_afterwards_it_is_gone() -> None:
    text, learner = shown(terminal=True)
    assert "━" in text and "left" in text
    assert "val_acc ▅█" in text and "val_acc ▅█▁" in text, "the metric's curve, epoch by epoch"
    assert learner.on_batch is ignore_batches


def test_a_bar_that_never_started_can_end() -> None:
    """Where the training failed before it began."""
    learner: Any = SimpleNamespace(on_batch=ignore_batches)
    ProgressBar(Console(file=io.StringIO()), 3).on_end(learner, History("val_acc", "maximize"), "failed")
