"""The history's best epoch, and early stopping."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.errors import TrainingError
from mlframework.metrics import Direction
from mlframework.training.callbacks import NO_METRICS, EpochRecord, History, early_stop
from mlframework.training.config import EarlyStopping

VALUES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)
DIRECTIONS = st.sampled_from(["maximize", "minimize"])


def history(values: Sequence[float], direction: Direction = "maximize") -> History:
    records = [EpochRecord(n, {"train_loss": 1.0, "val_acc": value}, 0.1, None) for n, value in enumerate(values, 1)]
    return History("val_acc", direction, records)


def best_epoch(values: Sequence[float], direction: Direction = "maximize") -> int | None:
    best = history(values, direction).best
    return None if best is None else best.epoch


def stop_epoch(values: Sequence[float], config: EarlyStopping, direction: Direction = "maximize") -> int | None:
    """The first epoch after which the training ends."""
    lengths = range(1, len(values) + 1)
    return next((n for n in lengths if early_stop(config, history(values[:n], direction)) is not None), None)


def test_the_best_epoch() -> None:
    assert best_epoch([]) is None
    assert best_epoch([0.1, 0.9, 0.5]) == 2
    assert best_epoch([0.1, 0.9, 0.5], "minimize") == 1


def test_of_equal_epochs_the_first_is_the_best() -> None:
    assert best_epoch([0.5, 0.9, 0.9, 0.9]) == 2
    assert best_epoch([0.5, 0.1, 0.1], "minimize") == 2


def test_zero_is_a_value() -> None:
    assert best_epoch([0.0, -1.0]) == 1
    assert best_epoch([0.0, 1.0], "minimize") == 1
    assert best_epoch([-1.0, 0.0, -0.5]) == 2
    assert stop_epoch([0.0, 0.0, 0.0], EarlyStopping(patience=2)) == 3


@given(values=VALUES, direction=DIRECTIONS)
def test_the_best_epoch_is_the_first_extreme(values: list[float], direction: Direction) -> None:
    extreme = max(values) if direction == "maximize" else min(values)
    assert best_epoch(values, direction) == values.index(extreme) + 1


def test_early_stopping_waits_for_its_patience() -> None:
    values = [0.5, 0.6, 0.6, 0.6, 0.7, 0.1, 0.1, 0.1, 0.1]
    assert stop_epoch(values, EarlyStopping(patience=2)) == 4
    assert stop_epoch(values, EarlyStopping(patience=3)) == 8
    assert stop_epoch(values, EarlyStopping(patience=5)) is None
    assert stop_epoch([-value for value in values], EarlyStopping(patience=3), "minimize") == 8


def test_early_stopping_says_what_it_waited_for() -> None:
    reason = early_stop(EarlyStopping(patience=2), history([0.5, 0.4, 0.3]))
    assert reason == "early stopping: val_acc has not improved for 2 epochs"


def test_a_change_below_min_delta_is_no_improvement() -> None:
    creeping = [0.50, 0.505, 0.509, 0.512, 0.520]
    assert stop_epoch(creeping, EarlyStopping(patience=3)) is None
    # 0.512 is more than 0.01 above 0.50: small steps count once they add up.
    assert stop_epoch(creeping, EarlyStopping(patience=3, min_delta=0.01)) is None
    assert stop_epoch(creeping, EarlyStopping(patience=3, min_delta=0.03)) == 4
    falling = [1.0, 0.98, 0.97, 0.96]
    assert stop_epoch(falling, EarlyStopping(patience=3, min_delta=0.05), "minimize") == 4
    assert stop_epoch(falling, EarlyStopping(patience=3, min_delta=0.01), "minimize") is None


def test_exactly_min_delta_is_no_improvement() -> None:
    assert stop_epoch([0.5, 0.75], EarlyStopping(patience=1, min_delta=0.25)) == 2


def test_null_never_stops() -> None:
    assert early_stop(None, history([0.5] * 100)) is None


@given(values=VALUES, direction=DIRECTIONS, patience=st.integers(1, 5))
def test_without_min_delta_it_stops_patience_epochs_after_the_best(
    values: list[float], direction: Direction, patience: int
) -> None:
    stopped = stop_epoch(values, EarlyStopping(patience=patience), direction)
    ends = stopped or len(values)
    best = best_epoch(values[:ends], direction)
    assert best is not None
    assert (ends - best == patience) if stopped else (ends - best < patience)


def test_a_metric_that_is_not_there_is_named_with_those_that_are() -> None:
    record = EpochRecord(1, {"train_loss": 1.0, "val_acc": 0.5}, 0.1, None)
    with pytest.raises(TrainingError, match=r"val_f1 is not computed here; this run has train_loss, val_acc"):
        History("val_f1", "maximize").value(record)


@given(
    metrics=st.dictionaries(st.sampled_from(["train_loss", "val_acc", "val_auc"]), st.floats(allow_nan=False)),
    others=st.tuples(*[st.none() | st.floats(1e-6, 1)] * 7),
)
def test_a_record_comes_back_from_its_line(metrics: dict[str, float], others: tuple[float | None, ...]) -> None:
    record = EpochRecord(3, metrics, 1.25, *others)
    assert EpochRecord.from_dict(record.to_dict()) == record
    assert next(iter(record.to_dict())) == "epoch"
    assert set(record.to_dict()) == {*metrics, *NO_METRICS}


def test_a_record_of_an_earlier_version_is_read() -> None:
    """Before throughput and gradient norm were written: checkpoints and runs of then can be gone on with."""
    line = {"epoch": 1, "train_loss": 1.0, "lr": 0.1, "seconds": 0.5}
    assert EpochRecord.from_dict(line) == EpochRecord(1, {"train_loss": 1.0}, 0.5, 0.1)
