"""Studies to draw: real ones, in memory, with everything in them that a search brings about."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from mlframework.visualise.study_view import StudyView

sys.path.append(str(Path(__file__).parents[1]))


def objective(trial: optuna.Trial) -> float:
    """Log, linear, whole, categorical and conditional parameters; some trials pruned, every seventh fails."""
    lr = trial.suggest_float("optimizer.lr", 1e-5, 1e-1, log=True)
    kind = trial.suggest_categorical("optimizer.type", ["sgd", "adam"])
    batch_size = trial.suggest_categorical("training.batch_size", [64, 16, 32])
    step_size = trial.suggest_int("scheduler.step_size", 5, 15)
    momentum = trial.suggest_float("optimizer.momentum", 0.8, 0.99) if kind == "sgd" else 0.9
    if trial.number % 7 == 6:
        raise RuntimeError("out of memory")
    reach = (
        0.98 - 0.08 * (math.log10(lr) + 2.5) ** 2 - 0.002 * (batch_size == 64) + 0.0001 * step_size - 0.01 * momentum
    )
    best = 0.0
    for epoch in range(1, 6):
        value = reach * (1 - math.exp(-epoch))
        best = max(best, value)
        trial.report(value, epoch)
        if epoch == 2 and trial.number % 4 == 3:
            raise optuna.TrialPruned
    return best


def search(n_trials: int, of: Callable[[optuna.Trial], float] = objective, direction: str = "maximize") -> StudyView:
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    study = optuna.create_study(study_name="digits", direction=direction, sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(of, n_trials=n_trials, catch=(RuntimeError,))
    return StudyView.of(study, "val_acc" if direction == "maximize" else "val_loss")


@pytest.fixture(scope="session")
def view() -> StudyView:
    """30 trials: 20 complete, 6 pruned, 4 failed."""
    return search(30)


@pytest.fixture(scope="session")
def single() -> StudyView:
    return search(1)


@pytest.fixture(scope="session")
def empty() -> StudyView:
    return search(0)


@pytest.fixture(scope="session")
def diverging() -> StudyView:
    """20 trials to minimize; trials 3 and 9 diverge."""

    def loss(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("optimizer.lr", 1e-4, 1.0, log=True)
        trial.suggest_float("optimizer.weight_decay", 1e-6, 1e-2, log=True)
        value = 1e6 if trial.number in (3, 9) else 0.3 + 0.05 * (math.log10(lr) + 2) ** 2
        trial.report(value, 1)
        return value

    return search(20, loss, "minimize")


@pytest.fixture
def searching() -> Callable[..., StudyView]:
    """The `search` above, for tests that need a study of their own."""
    return search
