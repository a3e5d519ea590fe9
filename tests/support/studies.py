"""Studies where it is known which parameter matters."""

import optuna

from mlframework.search.importance import Repeats
from mlframework.visualise.study_view import StudyView

FEW = {"PED-ANOVA": Repeats(40, 99), "fANOVA": Repeats(4, 9)}


def planted(n_trials: int, seed: int = 0, conditional: bool = False) -> StudyView:
    """A study of which only `a.strong` decides the value, and `c.kind` and `b.noise` decide nothing."""

    def objective(trial: optuna.Trial) -> float:
        strong = trial.suggest_float("a.strong", 0, 1)
        trial.suggest_float("b.noise", 0, 1)
        kind = trial.suggest_categorical("c.kind", ["x", "y"])
        if conditional and kind == "x":
            trial.suggest_float("d.sometimes", 0, 1)
        return strong**2

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed))
    study.optimize(objective, n_trials=n_trials)
    return StudyView.of(study, "val_acc")
