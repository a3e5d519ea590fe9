"""Tune a factorization machine three ways, with what is known from older runs: `python examples/fm_tuning.py`.

The data are the generated ratings that come with mlframework. Everything is written into the folder `fm_tuning/`.
"""

import argparse
import csv
from pathlib import Path

from mlframework import Categorical, Int, LogUniform, Tuner, TuningResult, Uniform, fm_objective, fm_space, train
from mlframework.data.samples import write_ratings

FOLDER = Path("fm_tuning")
CONFIG = {
    "name": "fm_tuning",
    "seed": 42,
    "device": "cpu",
    "data": {
        "type": "interactions", "task": "regression", "path": str(FOLDER / "ratings.csv"), "rating_column": "rating",
        "fraction": 0.4,  # a search on part of the training split is quick
        "split": {"strategy": "random", "val_fraction": 0.1, "test_fraction": 0.1},
    },
    "model": {"architecture": "fm", "embedding_dim": 8},
    "training": {"num_epochs": 6, "batch_size": 1024},
    "optimizer": {"type": "adam", "lr": 0.001},
    "metric": "val_rmse",
    "tracking": {"tensorboard": False},
}  # fmt: skip
# Runs of other days: batch_size, epochs, learning_rate, embedding_dim, and the error on the val split. The last two rows
# show what is rejected: a learning rate outside the space, and a run that diverged.
HISTORY = [
    [1024, 8, 0.001, 8, 0.931],
    [1024, 8, 0.003, 16, 0.852],
    [2048, 8, 0.010, 8, 0.806],
    [4096, 8, 0.010, 16, 0.852],
    [1024, 4, 0.010, 16, 0.813],
    [2048, 6, 0.030, 8, 0.801],
    [1024, 6, 5.0, 16, 1.310],
    [1024, 6, 0.090, 16, float("inf")],
]
# With few trials each has to learn early: from the rows of the history, and two trials of its own.
ALGORITHMS = {
    "optuna": {"type": "TPESampler", "n_startup_trials": 8},
    "bayesian": {"type": "GPSampler", "n_startup_trials": 8},
    "hyperopt": {"type": "HyperoptSampler", "n_startup_trials": 8},
}


def analyse(history: list[list[float]]) -> None:
    """Say what the older runs show: how each hyperparameter went with the error."""
    from scipy.stats import spearmanr

    finished = [row for row in history if row[-1] != float("inf")]
    print(f"history: {len(finished)} runs, best error {min(row[-1] for row in finished)}")
    for column, name in enumerate(("batch_size", "epochs", "learning_rate", "embedding_dim")):
        correlation = spearmanr([row[column] for row in finished], [row[-1] for row in finished])
        print(f"  {name:14} rank correlation with the error {correlation.statistic:+.2f} (p {correlation.pvalue:.2f})")


def build_tuner() -> Tuner:
    """Return a tuner over a space of our own, which has learnt from the older runs."""
    tuner = Tuner(fm_objective(CONFIG, metric="rmse"), maximize=False, seed=42, space=fm_space())
    for name in ("label_smoothing", "field_aware", "lr_scheduler", "gradient_clipping", "optimizer"):
        tuner.remove_hyperparameter(name)
    # Narrower than the default: what the older runs leave open, and what this data can carry.
    for name, parameter in (
        ("embedding_dim", Int(4, 16, log=True)),
        ("learning_rate", LogUniform(1e-3, 1e-1)),
        ("batch_size", Categorical([1024, 2048, 4096])),
        ("epochs", Int(3, 12)),
    ):
        description = tuner.hyperparameters[name].description
        tuner.remove_hyperparameter(name)
        tuner.add_hyperparameter(name, parameter, description)
    # A name with dots is a setting of the config that has no short name.
    tuner.add_hyperparameter("model.l2", Uniform(1e-7, 1e-3, log=True), "strength of the L2 penalty")
    imported = tuner.load_history(HISTORY, fixed={"model.l2": 1e-7})
    print(f"\n{tuner!r}\n\nhistory: {len(imported.accepted)} rows accepted")
    for row, reason in imported.rejected:
        print(f"  {row.source} rejected: {reason}")
    return tuner


def compare(tuner: Tuner, n_trials: int) -> dict[str, TuningResult]:
    """Let each algorithm have the same number of trials."""
    results = {}
    for name, algorithm in ALGORITHMS.items():
        results[name] = tuner.optimize(algorithm, n_trials=n_trials)
        print(f"\n{results[name]}")
        results[name].save(FOLDER / f"{name}.json")
    return results


def write_progress(results: dict[str, TuningResult], path: Path) -> None:
    """Write the best error after each trial, a column an algorithm."""
    columns = []
    for result in results.values():
        best, column = float("inf"), []
        for trial in result.history:
            if trial.state == "complete" and trial.value is not None:
                best = min(best, trial.value)
            if trial.state != "imported":
                column.append(f"{best:.4f}")
        columns.append(column)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", *results])
        writer.writerows([number, *row] for number, row in enumerate(zip(*columns, strict=True), 1))


def main() -> None:
    """Analyse the history, tune three ways, and show what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-trials", type=int, default=8, help="trials of each algorithm (default: 8)")
    n_trials = parser.parse_args().n_trials
    write_ratings(FOLDER / "ratings.csv")
    analyse(HISTORY)
    results = compare(build_tuner(), n_trials)
    write_progress(results, FOLDER / "progress.csv")

    winner = min(results, key=lambda name: results[name].best_score)
    before = train(CONFIG).value
    print(f"\nas the config is: {before:.4f}; best of {n_trials} trials each:")
    for name, result in results.items():
        print(f"  {name:10} {result.best_score:.4f}{'  <- best' if name == winner else ''}")
    print(f"one seed and {n_trials} trials say little about which algorithm is better; more seeds would")
    print(f"results: {', '.join(str(FOLDER / f'{name}.json') for name in results)}, {FOLDER / 'progress.csv'}")


if __name__ == "__main__":
    main()
