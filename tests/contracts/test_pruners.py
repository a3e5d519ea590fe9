"""The contract of a pruner: whatever stands in PRUNERS."""

import sys
from typing import Any

import optuna
import pytest
from pydantic import TypeAdapter, ValidationError

from mlframework.errors import MissingExtraError
from mlframework.search.pruners import PRUNERS, PrunerConfig

NUM_EPOCHS = 9


NEEDED: dict[str, dict[str, Any]] = {"ThresholdPruner": {"lower": -0.5, "upper": 0.5}}
"""Settings without which a pruner makes no sense."""


def build(name: str, **settings: Any) -> Any:
    return TypeAdapter(PrunerConfig).validate_python({"type": name, **settings})


def usable(name: str) -> Any:
    """Return the pruner with its defaults, and with what it cannot do without."""
    return build(name, **NEEDED.get(name, {}))


def pruned_at(study: optuna.Study, values: list[float]) -> int | None:
    """Train a trial that reports these values; returns the epoch at which it was pruned."""
    trial = study.ask()
    for epoch, value in enumerate(values, 1):
        trial.report(value, epoch)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return epoch
    study.tell(trial, values[-1])
    return None


def study_of(pruner: Any, direction: str = "maximize") -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(study_name="s", direction=direction, pruner=pruner.build(NUM_EPOCHS))


def good(number: int) -> list[float]:
    return [0.8 + 0.001 * number + 0.01 * epoch for epoch in range(NUM_EPOCHS)]


def test_every_name_of_the_table_decodes_to_its_config() -> None:
    for name, config in PRUNERS.items():
        assert type(usable(name)) is config
        assert config.__doc__, name


@pytest.mark.parametrize("name", list(PRUNERS))
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_trial_that_is_bad_by_construction_is_pruned(name: str, direction: str) -> None:
    study = study_of(usable(name), direction)
    sign = 1 if direction == "maximize" else -1
    for number in range(12):
        pruned_at(study, [sign * value for value in good(number)])
    # More than one: Hyperband gives each trial a bracket, and one of them lets trials run to their end.
    ends = [pruned_at(study, [sign * (0.1 - 0.1 * epoch) for epoch in range(NUM_EPOCHS)]) for _ in range(6)]
    if name in ("none", "NopPruner"):
        assert ends == [None] * 6
    else:
        assert any(end is not None and end < NUM_EPOCHS for end in ends)


@pytest.mark.parametrize("name", list(PRUNERS))
def test_the_best_trial_so_far_is_never_pruned(name: str) -> None:
    study = study_of(build(name, **({"lower": 0.5} if name == "ThresholdPruner" else {})))
    for number in range(12):
        assert pruned_at(study, good(number)) is None


@pytest.mark.parametrize("name", ["MedianPruner", "PercentilePruner"])
def test_start_up_trials_and_warm_up_epochs_are_left_alone(name: str) -> None:
    study = study_of(build(name, n_startup_trials=2, n_warmup_steps=4))
    bad = [0.0] * NUM_EPOCHS
    assert pruned_at(study, good(0)) is None
    assert pruned_at(study, bad) is None, "the second trial is one of the first two"
    pruned_at(study, good(1))
    assert pruned_at(study, [-1.0] * NUM_EPOCHS) == 4, "it may train four epochs"


def test_settings_reach_median() -> None:
    made = build("MedianPruner", n_startup_trials=1, n_warmup_steps=2, interval_steps=3).build(NUM_EPOCHS)
    assert (made._n_startup_trials, made._n_warmup_steps, made._interval_steps) == (1, 2, 3)


def test_settings_reach_percentile() -> None:
    made = build("PercentilePruner", percentile=10, n_startup_trials=1, n_warmup_steps=2, interval_steps=3)
    made = made.build(NUM_EPOCHS)
    assert (made._percentile, made._n_startup_trials, made._n_warmup_steps, made._interval_steps) == (10, 1, 2, 3)


def test_the_percentile_is_of_those_that_go_on() -> None:
    for percentile, is_pruned in ((25.0, True), (75.0, False)):
        study = study_of(build("PercentilePruner", percentile=percentile, n_startup_trials=1, n_warmup_steps=0))
        for number in range(11):
            study.add_trial(
                optuna.trial.create_trial(
                    value=1.0, intermediate_values={1: number / 10}, state=optuna.trial.TrialState(1)
                )
            )
        assert (pruned_at(study, [0.55]) is not None) == is_pruned


def test_settings_reach_hyperband_and_its_most_epochs_are_the_configs() -> None:
    made = build("HyperbandPruner", min_resource=2, reduction_factor=4).build(27)
    assert (made._min_resource, made._max_resource, made._reduction_factor) == (2, 27, 4)
    assert build("HyperbandPruner", max_resource=5).build(27)._max_resource == 5


def test_hyperband_prunes_before_any_trial_is_complete() -> None:
    study = study_of(build("HyperbandPruner"))
    running = [study.ask() for _ in range(20)]
    condemned = 0
    for epoch in range(1, 5):
        for trial in running:
            trial.report(1.0 / (1 + trial.number), epoch)
            condemned += trial.should_prune()
    assert condemned


def test_successive_halving_lets_one_in_so_many_go_on() -> None:
    study = study_of(build("SuccessiveHalvingPruner", min_resource=2, reduction_factor=3))
    ends = [pruned_at(study, [1 - 0.01 * number] * NUM_EPOCHS) for number in range(9)]
    # Rungs after 2 and 6 epochs: each later trial is worse, and the first alone is the best of three, and of nine.
    assert ends == [None] + [2] * 8
    made = build("SuccessiveHalvingPruner", min_resource=4, reduction_factor=5, min_early_stopping_rate=1).build(27)
    assert (made._min_resource, made._reduction_factor, made._min_early_stopping_rate) == (4, 5, 1)


@pytest.mark.parametrize(
    ("settings", "values", "end"),
    [
        ({"upper": 1.0}, [0.5, 0.9, 1.0, 1.1], 4),
        ({"lower": 0.2}, [0.2, 0.5, 0.1, 0.5], 3),
        ({"lower": 0.2, "upper": 1.0}, [0.5, 0.2, 1.0, 0.6], None),
        ({"lower": 0.2, "n_warmup_steps": 3}, [0.1, 0.1, 0.1, 0.5], 3),
        ({"lower": 0.2, "n_warmup_steps": 4}, [0.1, 0.1, 0.1, 0.5], None),
        ({"lower": 0.2, "n_warmup_steps": 1, "interval_steps": 2}, [0.5, 0.1, 0.1, 0.5], 3),
        ({"lower": 0.2}, [float("nan"), 0.5], 1),
    ],
    ids=str,
)
def test_a_threshold_stops_what_leaves_its_bounds(
    settings: dict[str, Any], values: list[float], end: int | None
) -> None:
    assert pruned_at(study_of(build("ThresholdPruner", **settings)), values) == end


def test_patience_asks_the_other_pruner_only_about_what_has_not_improved() -> None:
    rising, falling = [0.01 * epoch for epoch in range(NUM_EPOCHS)], [-0.01 * epoch for epoch in range(NUM_EPOCHS)]
    wrapped = {"type": "MedianPruner", "n_startup_trials": 1, "n_warmup_steps": 0}
    for patience, min_delta, end in ((0, 0.0, 2), (3, 0.0, 5), (3, 0.015, 6), (3, 1.0, None)):
        study = study_of(build("PatientPruner", wrapped=wrapped, patience=patience, min_delta=min_delta))
        pruned_at(study, good(0))
        assert pruned_at(study, rising) is None, "far behind, but better with each epoch"
        assert pruned_at(study, falling) == end
    assert pruned_at(study_of(build("PatientPruner", wrapped=wrapped)), falling) is None, (
        "there is nothing to compare with"
    )


def test_what_is_wrapped_is_built_with_its_settings() -> None:
    made = build("PatientPruner", wrapped={"type": "HyperbandPruner", "min_resource": 2}, patience=1).build(27)
    assert (made._wrapped_pruner._min_resource, made._wrapped_pruner._max_resource) == (2, 27)


def test_wilcoxon_finds_a_trial_behind_on_every_fold_and_spares_one_that_is_behind_on_some() -> None:
    best = [0.90, 0.85, 0.92, 0.88, 0.86, 0.91, 0.89, 0.90, 0.87]
    behind = [value - 0.01 - 0.001 * fold for fold, value in enumerate(best)]
    mixed = [value + 0.02 * (-1) ** fold for fold, value in enumerate(best)]
    # With n folds all behind the exact one-sided p is 2 ** -n: 0.0625 at 4, 0.015625 at 6.
    for settings, end in (
        ({}, 4),
        ({"p_threshold": 0.02}, 6),
        ({"n_startup_steps": 7}, 7),
        ({"p_threshold": 0.001}, None),
    ):
        study = study_of(build("WilcoxonPruner", **settings))
        assert pruned_at(study, best) is None
        assert pruned_at(study, behind) == end
        assert pruned_at(study, mixed) is None


def test_wilcoxon_without_scipy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    for pruner in (build("WilcoxonPruner"), build("PatientPruner", wrapped={"type": "WilcoxonPruner"})):
        with pytest.raises(MissingExtraError, match="WilcoxonPruner needs scipy"):
            pruner.build(NUM_EPOCHS)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ThresholdPruner", {}),
        ("ThresholdPruner", {"lower": 1.0, "upper": 0.5}),
        ("ThresholdPruner", {"lower": 1.0, "interval_steps": 0}),
        ("SuccessiveHalvingPruner", {"reduction_factor": 1}),
        ("SuccessiveHalvingPruner", {"min_resource": 0}),
        ("WilcoxonPruner", {"p_threshold": 0.0}),
        ("WilcoxonPruner", {"p_threshold": 1.1}),
        ("PatientPruner", {"patience": -1}),
        ("PatientPruner", {"wrapped": None}),
        ("PatientPruner", {"wrapped": {"type": "PatientPruner"}}),
        ("PatientPruner", {"wrapped": {"type": "none"}}),
        ("MedianPruner", {"n_startup_trials": -1}),
        ("MedianPruner", {"interval_steps": 0}),
        ("PercentilePruner", {"percentile": 0}),
        ("PercentilePruner", {"percentile": 100}),
        ("HyperbandPruner", {"reduction_factor": 1}),
        ("HyperbandPruner", {"max_resource": 0}),
        ("none", {"n_startup_trials": 1}),
        ("MedianPruner", {"n_warmup_step": 1}),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        build(name, **settings)
