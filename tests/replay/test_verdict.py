"""Comparing epochs: what is identical, what is noise, what diverges, and where."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.replay.verdict import compare

NUMBERS = st.floats(1e-3, 1e3)


def epochs(*losses: float | None, **others: float) -> list[dict[str, Any]]:
    return [{"epoch": n, "val_loss": loss, **others, "seconds": n * 0.1} for n, loss in enumerate(losses, 1)]


def test_the_same_values_are_identical_however_long_they_took() -> None:
    found = compare({"": epochs(0.5, 0.25)}, {"": [{**line, "seconds": 9.0} for line in epochs(0.5, 0.25)]})
    assert (found.verdict, found.n_epochs, found.differences, found.largest) == ("identical", 2, [], None)


def test_what_a_training_went_through_is_no_metric() -> None:
    """Throughput is time; gradients say how it came to its metrics, and those are compared."""
    then = [{**line, "gradient_norm": 1.0, "gradient_norm_max": 2.0, "throughput": 1e3} for line in epochs(0.5, 0.25)]
    now = [{**line, "gradient_norm": 1.1, "gradient_norm_max": None, "throughput": 9e3} for line in epochs(0.5, 0.25)]
    assert compare({"": then}, {"": now}).verdict == "identical"
    # A run of an earlier version has neither.
    assert compare({"": epochs(0.5, 0.25)}, {"": now}).verdict == "identical"
    assert compare({"": then}, {"": epochs(0.5, 0.25)}).verdict == "identical"


@given(NUMBERS)
def test_the_last_digit_is_noise(value: float) -> None:
    found = compare({"": epochs(0.5, value)}, {"": epochs(0.5, math.nextafter(value, math.inf))})
    assert found.verdict == "within noise"
    assert found.largest is not None and found.largest.at == "epoch 2"


@given(NUMBERS, st.floats(0.1, 10))
def test_noise_ends_at_a_hundred_thousandth(value: float, times: float) -> None:
    found = compare({"": epochs(value)}, {"": epochs(value * (1 + times * 1e-5))})
    assert found.verdict == ("within noise" if times < 0.99 else "diverged") or 0.99 < times < 1.01


def test_what_is_near_zero_is_not_held_to_its_digits() -> None:
    assert compare({"": epochs(1e-10)}, {"": epochs(2e-10)}).verdict == "within noise"


def test_it_diverges_at_the_first_value_that_is_no_noise() -> None:
    then = {"fold_1": epochs(0.5, 0.25), "fold_2": epochs(0.5, 0.25, 0.125)}
    now = {"fold_1": epochs(0.5, 0.2500001), "fold_2": epochs(0.5, 0.3, 0.2)}
    found = compare(then, now)
    assert found.verdict == "diverged" and found.n_epochs == 5
    assert found.diverged is not None and found.diverged.at == "fold 2, epoch 2"
    assert (found.diverged.then, found.diverged.now) == (0.25, 0.3)
    assert found.largest is not None and found.largest.size == pytest.approx(0.075)
    assert found.differences[0].at == "fold 1, epoch 2" and found.differences[0].is_noise


def test_no_number_is_the_same_as_no_number_and_as_nothing_else() -> None:
    assert compare({"": epochs(None)}, {"": epochs(None)}).verdict == "identical"
    for then, now in ((None, 0.5), (0.5, None)):
        found = compare({"": epochs(then)}, {"": epochs(now)})
        assert found.verdict == "diverged" and found.largest is not None and found.largest.size == math.inf


def test_a_metric_that_is_gone_diverges_and_a_new_one_has_no_say() -> None:
    assert compare({"": epochs(0.5)}, {"": epochs(0.5, val_f1=0.9)}).verdict == "identical"
    gone = compare({"": epochs(0.5, val_f1=0.9)}, {"": epochs(0.5)})
    assert gone.diverged is not None and (gone.diverged.name, gone.diverged.now) == ("val_f1", None)


@pytest.mark.parametrize(("then", "now"), [((0.5, 0.4), (0.5,)), ((0.5,), (0.5, 0.4)), ((0.5,), ())])
def test_another_number_of_epochs_diverges(then: tuple[float, ...], now: tuple[float, ...]) -> None:
    found = compare({"repeat_1": epochs(*then)}, {"repeat_1": epochs(*now)} if now else {})
    assert found.verdict == "diverged"
    assert found.missing == f"repeat 1 has {len(then)} epochs then, {len(now)} now"
    assert found.missing_at == f"repeat 1, epoch {min(len(then), len(now)) + 1}"


def test_one_that_is_seen_not_to_fail_may_have_an_epoch_more() -> None:
    assert compare({"": epochs(0.5)}, {"": epochs(0.5, 0.4)}, is_cut_short=True).verdict == "identical"
    assert compare({"": epochs(0.5, 0.4)}, {"": epochs(0.5)}, is_cut_short=True).verdict == "diverged"
