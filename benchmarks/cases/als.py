"""Alternating least squares on 100,000 ratings: one run, and a search of twenty trials on SQLite, whole processes.

`ours_two` is the same search with two workers.
"""

import sys
from pathlib import Path
from typing import Any

import ratings
from common import Clock, main, ml_train, quick

N_TRIALS, EPOCHS, SEED, FRACTION = quick(20, 3), quick(15, 2), 42, 0.1
STUDY = "als_search"
FACTORS = 16, 128
CONFIG: dict[str, Any] = {
    "name": "als",
    "device": "cpu",
    "data": {
        "type": "interactions",
        "path": str(ratings.LOG),
        "split": {"val_fraction": FRACTION, "test_fraction": FRACTION},
    },
    "model": {
        "architecture": "als",
        "factors": 100,
        "regularization": 0.01,
        "alpha": 1.0,
    },  # as implicit has them by default
    "training": {"num_epochs": EPOCHS, "num_threads": 1},
    "metric": "val_ndcg_at_10",
}
SEARCH: dict[str, Any] = {
    "study_name": STUDY,
    "storage": "sqlite:///studies.db",
    "n_trials": N_TRIALS,
    "sampler": {"type": "TPESampler"},
    "pruner": {"type": "none"},
    "search_space": {
        "model.factors": {"type": "int", "low": FACTORS[0], "high": FACTORS[1]},
        "model.regularization": {"type": "loguniform", "low": 0.01, "high": 10.0},
        "model.alpha": {"type": "loguniform", "low": 0.5, "high": 20.0},
    },
}


def prepare() -> dict[str, Any]:
    """Write the log, and the config of a run."""
    from mlframework.config import yaml

    Path("config.yaml").write_text(yaml.dump(CONFIG))
    return {"data": ratings.write_log()}


def ours_run() -> dict[str, Any]:
    """Train by the installed command: torch has no part in it."""
    result = ml_train("config.yaml")
    assert "torch" not in sys.modules, "torch was imported for a model that does not need it"
    return {"ndcg_at_10": result["best_metrics"]["val_ndcg_at_10"]}


def hand_run() -> dict[str, Any]:
    """Train as one would by hand, ranked for all users every epoch; the best factors are written."""
    import numpy as np

    train, held = ratings.read_and_split(FRACTION, FRACTION, SEED)
    model, evaluate = CONFIG["model"], ratings.Ndcg(train, held)
    best, factors = -1.0, None
    for value, found in _epochs(train, evaluate, model["factors"], model["regularization"], model["alpha"]):
        if value > best:
            best, factors = value, [each.copy() for each in found]
    assert factors is not None
    np.savez("best.npz", *factors)
    return {"ndcg_at_10": best}


def _epochs(
    train: Any, evaluate: Any, factors: int, regularization: float, alpha: float, clock: Clock | None = None
) -> Any:
    """Yield each epoch's value and factors; the clock counts fit and evaluation alone."""
    import numpy as np
    from implicit.cpu.als import AlternatingLeastSquares

    clock = clock or Clock()
    # ours tells the loss of every epoch, so this one computes it, too
    model = AlternatingLeastSquares(
        factors,
        regularization,
        alpha,
        iterations=1,
        calculate_training_loss=True,
        num_threads=1,
        random_state=np.random.default_rng(SEED),
    )
    for _ in range(EPOCHS):
        with clock.running():
            model.fit(train, show_progress=False)
            value = evaluate(model.user_factors, model.item_factors)
        yield value, (model.user_factors, model.item_factors)


def ours() -> dict[str, Any]:
    """Search by the config; what a first trial imports is imported before."""
    import implicit.cpu.als  # noqa: F401
    import optuna  # noqa: F401

    import mlframework
    from mlframework.learners.implicit import ImplicitLearner
    from mlframework.search import loop

    learning, searching = Clock(), Clock()
    learning.watch(ImplicitLearner, "train_epoch")
    learning.watch(ImplicitLearner, "evaluate")
    searching.watch(loop, "run_trials")
    study = mlframework.search({**CONFIG, "search": SEARCH})
    assert study.best is not None
    return {
        "best_trial": study.best.number,
        "best_value": study.best_value,
        "trials": len(study.trials),
        "overhead": (searching.seconds - learning.seconds) / N_TRIALS,
    }


def ours_two() -> dict[str, Any]:
    """Search by the config with two workers; what they import is imported in their processes alone."""
    import mlframework

    study = mlframework.search({**CONFIG, "search": SEARCH}, workers=2)
    return {"trials": len(study.trials)}


def hand() -> dict[str, Any]:
    """Search as one would by hand with Optuna: reported every epoch, the best factors of each trial kept until the end."""
    import implicit.cpu.als  # noqa: F401
    import numpy as np
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train, held = ratings.read_and_split(FRACTION, FRACTION, SEED)
    evaluate, learning, searching = ratings.Ndcg(train, held), Clock(), Clock()
    best_of_all, kept = -1.0, None
    study = optuna.create_study(study_name=STUDY, storage=SEARCH["storage"], direction="maximize")
    with searching.running():
        for place in range(N_TRIALS):
            study.sampler = optuna.samplers.TPESampler(seed=_seed(place))
            trial = study.ask()
            factors = trial.suggest_int("model.factors", *FACTORS)
            regularization = trial.suggest_float("model.regularization", 0.01, 10.0, log=True)
            alpha = trial.suggest_float("model.alpha", 0.5, 20.0, log=True)
            best = -1.0
            steps = _epochs(train, evaluate, factors, regularization, alpha, learning)
            for epoch, (value, found) in enumerate(steps, 1):
                trial.report(value, epoch)
                if value > best:
                    best = value
                if value > best_of_all:
                    best_of_all, kept = value, [each.copy() for each in found]
            study.tell(trial, best)
    assert kept is not None
    np.savez("best.npz", *kept)
    return {
        "best_trial": study.best_trial.number,
        "best_value": study.best_value,
        "trials": len(study.trials),
        "overhead": (searching.seconds - learning.seconds) / N_TRIALS,
    }


def _seed(place: int) -> int:
    """Return the seed of a trial's suggestions, as we make it: so both sides suggest the same."""
    import numpy as np

    return int(np.random.SeedSequence([SEED, place]).generate_state(1)[0])


if __name__ == "__main__":
    main(prepare=prepare, ours=ours, ours_two=ours_two, hand=hand, ours_run=ours_run, hand_run=hand_run)
