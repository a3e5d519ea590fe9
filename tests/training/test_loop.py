"""The only epoch loop."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlframework.errors import RunError, Stopped, Terminated, TrainingError, TrialPruned
from mlframework.learners.base import Learner
from mlframework.training.callbacks import History, early_stop
from mlframework.training.checkpoint import Checkpoints
from mlframework.training.config import EarlyStopping
from mlframework.training.loop import ALL_DONE, Fit, fit

Act = Callable[[History], None]


class Recorder:
    """Writes down what it is told, and does what it was asked to do there."""

    def __init__(self, on_start: Act | None = None, on_epoch: Act | None = None) -> None:
        self.told: list[str] = []
        self._on_start, self._on_epoch = on_start, on_epoch

    def on_start(self, learner: Learner, history: History) -> None:
        self.told.append(f"start after {len(history.records)}")
        if self._on_start is not None:
            self._on_start(history)

    def on_epoch(self, learner: Learner, history: History) -> None:
        self.told.append(f"epoch {history.records[-1].epoch}")
        if self._on_epoch is not None:
            self._on_epoch(history)

    def on_end(self, learner: Learner, history: History, status: str) -> None:
        self.told.append(status)


def plan(
    learner: Any, folder: Path, *callbacks: Recorder, num_epochs: int = 5, stopping: EarlyStopping | None = None,
    evaluate: bool = True,
) -> Fit:  # fmt: skip
    return Fit(learner, num_epochs, evaluate, lambda h: early_stop(stopping, h), Checkpoints(folder, "id"), callbacks)


def new_history(metric: str = "val_acc") -> History:
    return History(metric, "minimize" if metric.endswith("loss") else "maximize")


def raising(error: BaseException, at: int = 0) -> Act:
    def act(history: History) -> None:
        if len(history.records) >= at:
            raise error

    return act


VALUES = [0.5, 0.9, 0.7, 0.8, 0.6, 0.4, 0.3]


def test_it_trains_for_all_epochs_and_tells_of_each(tmp_path: Path, scripted: Any) -> None:
    recorder, history = Recorder(), new_history()
    assert fit(plan(scripted(VALUES), tmp_path, recorder), history) == ALL_DONE
    assert recorder.told == ["start after 0", *(f"epoch {n}" for n in range(1, 6)), "finished"]
    assert [record.metrics["val_acc"] for record in history.records] == VALUES[:5]
    assert list(history.records[0].metrics) == ["train_loss", "val_acc", "val_loss"]


def test_an_epoch_says_where_its_time_went(tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    def pass_by(seconds: float) -> None:
        nonlocal now
        now += seconds

    class Slow(scripted):  # type: ignore[misc]
        """Fetches for 1 s, takes steps for 2 s, evaluates for 1 s."""

        def train_epoch(self) -> dict[str, float]:
            pass_by(3)
            return dict(super().train_epoch())

        def evaluate(self, split: str) -> dict[str, float]:
            pass_by(1)
            return dict(super().evaluate(split))

        def data_seconds(self) -> float:
            return float(self.trained)

    monkeypatch.setattr("mlframework.training.loop.time.perf_counter", lambda: now)
    writer, history = Recorder(on_start=lambda _: pass_by(1), on_epoch=lambda _: pass_by(4)), new_history()
    fit(plan(Slow(VALUES), tmp_path, writer, num_epochs=2), history)
    shares = [(each.share_data, each.share_compute, each.share_writing) for each in history.records]
    assert shares == [(0.2, 0.6, 0.2), (0.125, 0.375, 0.5)]
    assert [record.seconds for record in history.records] == [4, 4]


def test_an_epoch_has_the_pace_of_its_training_alone(tmp_path: Path, scripted: Any) -> None:
    learner, history = scripted(VALUES), new_history()
    learner.has_gradients = True
    evaluate = learner.evaluate

    def slowly(split: str) -> dict[str, float]:
        time.sleep(0.05)
        return dict(evaluate(split))

    learner.evaluate = slowly
    fit(plan(learner, tmp_path, num_epochs=2), history)
    for number, record in enumerate(history.records, 1):
        # 1,000 examples in less than the epoch took: with the evaluation in it, it would be 20,000 a second at most.
        assert record.seconds > 0.05 and record.throughput > 1000 / record.seconds
        assert math.isfinite(record.throughput) and record.throughput > 20_000
        assert (record.gradient_norm, record.gradient_norm_max) == (0.5 * number, 1.5 * number)
    without = new_history()
    fit(plan(scripted(VALUES), tmp_path / "other", num_epochs=1), without)
    assert (without.records[0].gradient_norm, without.records[0].gradient_norm_max) == (None, None)


def test_without_a_val_split_nothing_is_evaluated(tmp_path: Path, scripted: Any) -> None:
    history = new_history("train_loss")
    fit(plan(scripted([], [0.5, 0.25, 0.75]), tmp_path, num_epochs=3, evaluate=False), history)
    assert [dict(record.metrics) for record in history.records] == [
        {"train_loss": 0.5}, {"train_loss": 0.25}, {"train_loss": 0.75}]  # fmt: skip
    assert history.best is history.records[1]


def resume(learner: Any, folder: Path, **settings: Any) -> tuple[str, History, Recorder]:
    """Go on with a training as `experiment.train` does."""
    recorder, history = Recorder(), new_history()
    checkpoints = Checkpoints(folder, "id")
    checkpoints.restore(learner, history, checkpoints.last)
    return fit(plan(learner, folder, recorder, **settings), history), history, recorder


def test_a_resume_trains_the_epochs_that_are_left(tmp_path: Path, scripted: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(plan(scripted(VALUES), tmp_path, Recorder(on_epoch=raising(KeyboardInterrupt(), 3))), new_history())
    learner = scripted(VALUES)
    reason, history, recorder = resume(learner, tmp_path)
    assert recorder.told == ["start after 3", "epoch 4", "epoch 5", "finished"]
    assert reason == ALL_DONE and learner.trained == 5
    assert [record.metrics["val_acc"] for record in history.records] == VALUES[:5]


def test_early_stopping_ends_it(tmp_path: Path, scripted: Any) -> None:
    learner = scripted(VALUES)
    reason = fit(plan(learner, tmp_path, num_epochs=7, stopping=EarlyStopping(patience=2)), new_history())
    assert reason == "early stopping: val_acc has not improved for 2 epochs" and learner.trained == 4


def test_a_run_that_stopped_early_trains_no_further_epoch_when_resumed(tmp_path: Path, scripted: Any) -> None:
    settings: dict[str, Any] = {"num_epochs": 7, "stopping": EarlyStopping(patience=2)}
    first = fit(plan(scripted(VALUES), tmp_path, **settings), new_history())
    learner = scripted(VALUES)
    reason, history, recorder = resume(learner, tmp_path, **settings)
    assert (reason, learner.trained, len(history.records)) == (first, 4, 4)
    assert recorder.told == ["start after 4", "finished"]


def test_a_resume_waits_on_from_where_it_was(tmp_path: Path, scripted: Any) -> None:
    settings: dict[str, Any] = {"num_epochs": 7, "stopping": EarlyStopping(patience=3)}
    with pytest.raises(Terminated):
        fit(plan(scripted(VALUES), tmp_path, Recorder(on_epoch=raising(Terminated(), 4)), **settings), new_history())
    learner = scripted(VALUES)
    assert resume(learner, tmp_path, **settings)[0].startswith("early stopping")
    assert learner.trained == 5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_number_ends_it_by_name_and_epoch(tmp_path: Path, scripted: Any, bad: float) -> None:
    recorder, history = Recorder(), new_history()
    with pytest.raises(TrainingError, match=rf"val_acc is {bad} at epoch 3; a smaller optimizer.lr"):
        fit(plan(scripted([0.5, 0.6, bad]), tmp_path, recorder), history)
    assert recorder.told == ["start after 0", "epoch 1", "epoch 2", "failed"]
    assert len(history.records) == 2
    assert resume_point(scripted([]), tmp_path) == 2


def test_a_training_loss_that_is_no_number_ends_it_too(tmp_path: Path, scripted: Any) -> None:
    with pytest.raises(TrainingError, match="train_loss is nan at epoch 2"):
        fit(plan(scripted(VALUES, [1.0, math.nan]), tmp_path), new_history())


def test_a_metric_that_this_run_lacks_ends_it(tmp_path: Path, scripted: Any) -> None:
    with pytest.raises(TrainingError, match="val_f1 is not computed here"):
        fit(plan(scripted(VALUES), tmp_path), new_history("val_f1"))


def resume_point(learner: Any, folder: Path) -> int:
    checkpoints = Checkpoints(folder, "id")
    checkpoints.restore(learner, new_history(), checkpoints.last)
    return int(learner.trained)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TrialPruned(), "pruned"),
        (Terminated(), "interrupted"),
        (Stopped(), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (TrainingError("x"), "failed"),
        (ZeroDivisionError(), "failed"),
    ],
)
def test_what_a_callback_raises_loses_no_epoch_and_every_callback_hears_the_end(
    tmp_path: Path, scripted: Any, error: BaseException, status: str
) -> None:
    before, after = Recorder(), Recorder()
    condemning = Recorder(on_epoch=raising(error, 2))
    with pytest.raises(type(error)):
        fit(plan(scripted(VALUES), tmp_path, before, condemning, after), new_history())
    assert before.told == ["start after 0", "epoch 1", "epoch 2", status]
    assert after.told == ["start after 0", "epoch 1", status]
    assert resume_point(scripted([]), tmp_path) == 2


def test_what_a_callback_raises_at_the_start_is_told_too(tmp_path: Path, scripted: Any) -> None:
    """A trial may be pruned by the epoch before its resume: its trackers must still be closed."""
    first, condemning = Recorder(), Recorder(on_start=raising(TrialPruned()))
    with pytest.raises(TrialPruned):
        fit(plan(scripted(VALUES), tmp_path, first, condemning), new_history())
    assert first.told == ["start after 0", "pruned"]


@pytest.mark.usefixtures("every_epoch_written")
def test_whoever_hears_of_an_epoch_finds_the_one_before_on_the_disk_and_at_the_end_the_last(
    tmp_path: Path, scripted: Any
) -> None:
    heard: list[tuple[int, int]] = []

    def look(history: History) -> None:
        if len(history.records) > 1:
            heard.append((len(history.records), resume_point(scripted([]), tmp_path)))

    fit(plan(scripted(VALUES), tmp_path, Recorder(on_epoch=look)), new_history())
    assert [epoch for epoch, _ in heard] == [2, 3, 4, 5]
    assert all(saved in (epoch - 1, epoch) for epoch, saved in heard), heard
    assert resume_point(scripted([]), tmp_path) == 5


@pytest.mark.usefixtures("every_epoch_written")
def test_a_checkpoint_that_cannot_be_written_ends_the_training_as_what_can_be_resumed(
    tmp_path: Path, scripted: Any
) -> None:
    def full(history: History) -> None:
        if len(history.records) == 2:
            (tmp_path / "away").mkdir()
            tmp_path.joinpath("checkpoints").rename(tmp_path / "away" / "checkpoints")
            tmp_path.joinpath("checkpoints").write_text("a file stands in the way")

    recorder, history = Recorder(on_epoch=full), new_history()
    with pytest.raises(RunError, match="cannot be written: a file stands where a folder is needed"):
        fit(plan(scripted(VALUES), tmp_path / "checkpoints", recorder), history)
    assert recorder.told[-1] == "interrupted"
    assert len(history.records) in (3, 4)


def test_who_lost_a_run_leaves_its_files_to_the_one_who_has_it(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped, say, in its third epoch; its second is not written yet."""
    monkeypatch.setattr("mlframework.training.checkpoint.PACE", 1e6)

    class Losing(Recorder):
        asked = 0

        def before_save(self) -> None:
            self.asked += 1
            if self.asked > 2:
                raise Stopped("taken over")

    recorder = Losing()
    with pytest.raises(Stopped, match="taken over"):
        fit(plan(scripted(VALUES), tmp_path, recorder), new_history())
    assert (recorder.told[-1], resume_point(scripted([]), tmp_path)) == ("interrupted", 1)
