"""Tuner on functions whose best is known: what it finds, what it survives, and that it is the study of `ml-search`."""

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlframework import Categorical, Int, LogUniform, TrialPruned, Tuner, TuningResult, Uniform, fm_space
from mlframework.errors import ConfigError, MlframeworkError, RunError, StudyError, TrainingError
from mlframework.runs import read_json, write_json
from mlframework.search.lookup import find_study
from support.searches import run_search

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.filterwarnings("ignore:.*learns after:UserWarning")]
Params = Mapping[str, Any]
SPACE = {"lr": LogUniform(1e-6, 1e-1), "layers": Int(1, 8), "optimizer": Categorical(["adam", "sgd"])}


def hill(params: Params) -> float:
    """Return a value whose best, 0, is at lr 1e-3 with Adam, whatever the layers."""
    return -((math.log10(params["lr"]) + 3) ** 2) - (params["optimizer"] == "sgd")


def on_x(function: Callable[..., Any], **options: Any) -> Tuner:
    """Return a tuner over a number from -1 to 1."""
    return Tuner(function, space={"x": Uniform(-1.0, 1.0)}, **options)


@pytest.mark.parametrize("algorithm", ["optuna", "bayesian", "hyperopt"])
def test_each_algorithm_improves_on_its_random_start(algorithm: str) -> None:
    result = Tuner(hill, space=SPACE).optimize(algorithm, n_trials=25)
    values = [trial.value for trial in result.history if trial.value is not None]
    assert len(values) == 25
    assert result.best_score == max(values) > max(values[:10])
    assert result.best_score == hill(result.best_params) > -0.1
    assert result.direction == "maximize"


def test_smaller_is_better_where_it_is_said() -> None:
    result = on_x(lambda p: p["x"] ** 2, maximize=False).optimize(n_trials=25)
    assert result.best_score == min(trial.value for trial in result.history if trial.value is not None) < 0.01


@pytest.mark.parametrize(("maximize", "best"), [(True, 0.0), (False, -3.0)])
def test_zero_and_negative_scores_are_scores(maximize: bool, best: float) -> None:
    result = Tuner(lambda p: -float(p["n"]), maximize=maximize, space={"n": Int(0, 3)}).optimize(n_trials=4)
    assert result.best_score == best
    assert {trial.value for trial in result.history} == {0.0, -1.0, -2.0, -3.0}


def test_it_draws_what_ml_search_draws() -> None:
    """It is the same study code: the same sampler, seed and range give the same draws."""
    _, end = run_search({"search.n_trials": 3})
    tuner = Tuner(lambda p: p["lr"], seed=3, space={"lr": LogUniform(1e-3, 1e-1)})
    mine = tuner.optimize("RandomSampler", n_trials=3)
    assert [trial.params["lr"] for trial in mine.history] == [r.params["optimizer.lr"] for r in end.records]


def test_the_same_seed_gives_the_same_trials_and_another_seed_others() -> None:
    first, second, other = (
        [trial.params for trial in Tuner(hill, seed=seed, space=SPACE).optimize(n_trials=14).history]
        for seed in (1, 1, 2)
    )
    assert first == second != other


def test_more_trials_go_on_and_as_many_do_nothing() -> None:
    calls: list[float] = []

    def counted(params: Params) -> float:
        calls.append(params["x"])
        return float(params["x"])

    tuner = on_x(counted)
    assert len(tuner.optimize("RandomSampler", n_trials=3).history) == 3
    assert len(tuner.optimize("RandomSampler", n_trials=5).history) == 5
    again = tuner.optimize("RandomSampler", n_trials=5)
    assert calls == [trial.params["x"] for trial in again.history]
    assert calls == [t.params["x"] for t in on_x(lambda p: p["x"]).optimize("RandomSampler", n_trials=5).history]


def test_algorithms_have_studies_of_their_own() -> None:
    tuner = Tuner(hill, space=SPACE)
    results = {name: tuner.optimize(name, n_trials=4) for name in ("optuna", "RandomSampler")}
    assert {result.study_name for result in results.values()} == {"tuning-TPESampler", "tuning-RandomSampler"}
    assert all(len(result.history) == 4 for result in results.values())
    assert tuner.result("optuna") == results["optuna"]
    with pytest.raises(StudyError, match=r"'hyperopt' has searched nothing yet .*optuna"):
        tuner.result("hyperopt")


def test_what_fails_is_recorded_with_its_reason_and_never_the_best() -> None:
    outcomes: list[Any] = [-math.inf, math.nan, None, "0.5", True, ValueError("boom"), MemoryError(), math.inf, 0.5]

    def unlucky(params: Params) -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    result = on_x(unlucky).optimize("RandomSampler", n_trials=9)
    assert [trial.state for trial in result.history] == ["failed"] * 8 + ["complete"]
    assert [trial.reason for trial in result.history[:6]] == [
        "it returned -inf, which counts as a failure",
        "it returned nan, which counts as a failure",
        "it returned None, which is no number",
        "it returned '0.5', which is no number",
        "it returned True, which is no number",
        "ValueError: boom",
    ]
    assert "out of memory" in str(result.history[6].reason)
    assert (result.best_score, result.best_params) == (0.5, result.history[8].params)


def test_a_study_of_failures_ends_with_their_reasons() -> None:
    with pytest.raises(TrainingError, match=r"no trial came to its end(.|\n)*ZeroDivisionError: division by zero"):
        on_x(lambda p: 1 / 0).optimize(n_trials=3)


def test_reports_let_the_pruner_stop_a_trial_that_is_behind() -> None:
    steps: list[int] = []

    def climbing(params: Params, report: Callable[[int, float], None]) -> float:
        last = 0
        try:
            for last in range(1, 11):
                try:
                    report(last, params["x"] * last)
                except Exception:  # noqa: BLE001 - what stops a trial is none that this takes
                    return math.inf
        except TrialPruned:
            steps.append(last)
            raise
        return float(params["x"] * 10)

    pruner = {"type": "MedianPruner", "n_startup_trials": 3, "n_warmup_steps": 2}
    result = on_x(climbing).optimize("RandomSampler", n_trials=20, pruner=pruner)
    pruned = [trial for trial in result.history if trial.state == "pruned"]
    assert len(pruned) == len(steps) >= 5
    assert set(steps) == {2}, "stopped at the first step that is no warm-up"
    assert pruned[0].value == pytest.approx(2 * pruned[0].params["x"])
    assert "is behind the other trials (MedianPruner)" in str(pruned[0].reason)
    assert result.best_score == max(t.value for t in result.history if t.state == "complete" and t.value is not None)


@pytest.mark.parametrize(("algorithm", "pruned"), [("optuna", True), ("bayesian", False)])
def test_by_default_only_those_prune_that_learn_from_it(algorithm: str, pruned: bool) -> None:
    def climbing(params: Params, report: Callable[[int, float], None]) -> float:
        for step in range(1, 11):
            report(step, params["x"])
        return float(params["x"])

    states = [trial.state for trial in on_x(climbing).optimize(algorithm, n_trials=9).history]
    assert ("pruned" in states) == pruned


def test_a_value_may_be_numpys() -> None:
    def numpys(params: Params, report: Callable[[Any, Any], None]) -> Any:
        report(np.int64(1), np.float32(0.25))
        return np.float32(0.5)

    assert on_x(numpys).optimize("RandomSampler", n_trials=1).best_score == 0.5


def test_an_interruption_keeps_what_is_finished_and_the_trial_is_made_again() -> None:
    calls: list[float] = []

    def interrupted(params: Params) -> float:
        calls.append(params["x"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return float(params["x"])

    tuner = on_x(interrupted)
    with pytest.raises(KeyboardInterrupt):
        tuner.optimize("RandomSampler", n_trials=5)
    so_far = tuner.result("RandomSampler")
    assert [trial.state for trial in so_far.history] == ["complete", "complete", "running"]
    result = tuner.optimize("RandomSampler", n_trials=5)
    assert [trial.state for trial in result.history] == ["complete"] * 5
    assert calls[2] == calls[3] == result.history[2].params["x"]


def test_a_parameter_exists_where_its_condition_holds() -> None:
    space = {"momentum": Uniform(0.1, 0.9, when={"optimizer": "sgd"}), "optimizer": Categorical(["adam", "sgd"])}
    history = Tuner(lambda p: len(p), space=space).optimize("RandomSampler", n_trials=12).history
    seen = {(trial.params["optimizer"], "momentum" in trial.params) for trial in history}
    assert seen == {("adam", False), ("sgd", True)}


def test_a_small_space_is_tried_once() -> None:
    result = Tuner(lambda p: p["n"], space={"n": Int(1, 3), "k": Categorical([True, False])}).optimize(n_trials=50)
    assert sorted((t.params["n"], t.params["k"]) for t in result.history) == [(n, k) for n in (1, 2, 3) for k in (0, 1)]


def test_a_function_cannot_change_what_is_recorded() -> None:
    history = on_x(lambda p: p.update(x=5.0) or 1.0).optimize("RandomSampler", n_trials=2).history
    assert all(abs(trial.params["x"]) <= 1 for trial in history)


# The space


def test_hyperparameters_are_added_and_removed_with_their_descriptions() -> None:
    tuner = Tuner(hill)
    tuner.add_hyperparameter("lr", LogUniform(1e-6, 1e-1), "step size")
    tuner.add_hyperparameter("custom_param", Uniform(0.1, 10.0, log=True))
    assert repr(tuner).splitlines() == [
        "Tuner: maximize score of hill",
        "  lr: 1e-06 to 0.1, log scale  # step size",
        "  custom_param: 0.1 to 10, log scale",
    ]
    tuner.remove_hyperparameter("lr")
    assert set(tuner.hyperparameters) == {"custom_param"}


def test_the_default_space_is_that_of_a_factorization_machine() -> None:
    tuner = Tuner(lambda p: -p["embedding_dim"])
    assert set(tuner.hyperparameters) == set(fm_space())
    with pytest.warns(
        UserWarning, match="that of factorization machines, is searched: embedding_dim, .*add_hyperparam"
    ):
        tuner.optimize("RandomSampler", n_trials=1)
    tuner = Tuner(lambda p: -p["embedding_dim"], space=fm_space())
    tuner.remove_hyperparameter("dropout_rate")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        result = tuner.optimize("RandomSampler", n_trials=3)
    assert set(result.best_params) == set(fm_space()) - {"dropout_rate"}


def _without_parameters() -> None:
    tuner = on_x(len)
    tuner.remove_hyperparameter("x")
    tuner.optimize()


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no function": (lambda: Tuner(3), "train_fn: should be a function, got 3"),  # type: ignore[arg-type]
    "no arguments": (lambda: Tuner(lambda: 1), r"should take \(params\) or \(params, report\), it takes \(\)"),
    "no name": (lambda: on_x(hill).add_hyperparameter("a b", Int(1, 2)), "'a b' is no name"),
    "there": (
        lambda: on_x(hill).add_hyperparameter("x", Int(1, 2)),
        r"x is there already; remove_hyperparameter\('x'\)",
    ),
    "no range": (lambda: on_x(hill).add_hyperparameter("y", (1, 2)), "y should be Uniform"),  # type: ignore[arg-type]
    "not there": (lambda: on_x(hill).remove_hyperparameter("xx"), "unknown hyperparameter 'xx'; did you mean 'x'"),
    "of the default": (lambda: on_x(hill).remove_hyperparameter("dropout_rate"), r"Tuner\(..., space=fm_space\(\)\)"),
    "none left": (_without_parameters, "there is no hyperparameter left"),
    "algorithm": (lambda: on_x(hill).optimize("optunna"), "unknown algorithm 'optunna'; did you mean 'optuna'"),
    "setting": (lambda: on_x(hill).optimize({"type": "TPESampler", "n_startup": 3}), "sampler.n_startup: unknown key"),
    "pruner": (lambda: on_x(hill).optimize(pruner="MedianPrunr"), "unknown pruner 'MedianPrunr'; did you mean"),
    "n_trials": (lambda: on_x(hill).optimize(n_trials=0), "n_trials: should be greater than 0, got 0"),
    "timeout": (lambda: on_x(hill).optimize(timeout=-1.0), "timeout: should be greater than 0"),
    "grid": (lambda: on_x(hill).optimize("GridSampler"), "needs a finite number of values: x"),
    "study": (lambda: on_x(hill, study_name="a/b").optimize(), "study_name: 'a/b' does not fit"),
    "storage": (lambda: on_x(hill, storage="x://y").optimize(), "is no storage; write sqlite:///file.db"),
    "hyperband": (
        lambda: on_x(lambda p, report: 1).optimize(pruner="HyperbandPruner"),
        r"HyperbandPruner needs to know the last step .*Tuner\(..., n_steps=20\)",
    ),
    "when": (
        lambda: Tuner(hill, space={"a": Int(1, 2, when={"bb": 1}), "b": Int(1, 2)}).optimize(),
        "a: when: bb is no hyperparameter; did you mean 'b'",
    ),
    "when never": (
        lambda: Tuner(hill, space={"a": Int(1, 2, when={"b": 7}), "b": Int(1, 2)}).optimize(),
        "a: when: b is never 7; it is whole numbers 1 to 2",
    ),
    "circle": (
        lambda: Tuner(hill, space={"a": Int(1, 2, when={"b": 1}), "b": Int(1, 2, when={"a": 1})}).optimize(),
        "a: its `when` leads back to itself",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_before_the_first_trial(case: str) -> None:
    action, message = REFUSED[case]
    with pytest.raises(MlframeworkError, match=message):
        action()


def test_a_pruner_without_reports_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="MedianPruner prunes nothing, since train_fn takes no report"):
        on_x(lambda p: p["x"]).optimize("RandomSampler", n_trials=1, pruner="MedianPruner")


# History


def test_history_teaches_is_counted_apart_and_never_the_best() -> None:
    rows = [{"x": x, "score": 100 - (x - 0.5) ** 2} for x in np.linspace(-1, 1, 41)]
    taught, alone = on_x(lambda p: -((p["x"] - 0.5) ** 2)), on_x(lambda p: -((p["x"] - 0.5) ** 2))
    imported = taught.load_history(rows)
    assert (len(imported.accepted), imported.rejected) == (41, [])
    with_history, without = taught.optimize(n_trials=10), alone.optimize(n_trials=10)
    states = [trial.state for trial in with_history.history]
    assert states == ["imported"] * 41 + ["complete"] * 10
    assert with_history.best_score < 0, "the imported values are all near 100"

    def distance(result: TuningResult) -> float:
        own = [abs(trial.params["x"] - 0.5) for trial in result.history if trial.state == "complete"]
        return float(np.mean(own))

    assert distance(with_history) < distance(without) / 2


def test_rows_of_a_list_have_the_columns_of_the_default_space() -> None:
    tuner = Tuner(lambda p: p["embedding_dim"])
    imported = tuner.load_history([[1024, 10, 0.01, 32, 0.78], [4096, 20, 5.0, 64, 0.8], [1, 2, 3]])
    accepted = imported.accepted[0]
    assert accepted.value == 0.78
    wanted = {"batch_size": 1024, "epochs": 10, "learning_rate": 0.01, "embedding_dim": 32}
    assert wanted.items() <= accepted.params.items()
    assert (accepted.params["optimizer"], accepted.params["dropout_rate"]) == ("adam", 0.0)
    assert {row.source: reason for row, reason in imported.rejected} == {
        "history row 2": "learning_rate is 5.0, outside the space: 1e-05 to 0.1, log scale",
        "history row 3": (
            "should have 5 values (batch_size, epochs, learning_rate, embedding_dim, performance), got [1, 2, 3]"
        ),
    }


def test_history_comes_from_files_arrays_and_dicts() -> None:
    Path("history.csv").write_text("x,note,value\n0.5,1,0.9\n2.0,1,0.9\n")
    tuner = on_x(lambda p: p["x"])
    with pytest.raises(StudyError, match=r"history.csv:2: note is not in the search space"):
        tuner.load_history("history.csv")
    Path("history.csv").write_text("x,value\n0.5,0.9\n2.0,0.9\n")
    imported = tuner.load_history(Path("history.csv"))
    assert [row.params for row in imported.accepted] == [{"x": 0.5}]
    assert imported.rejected[0][1] == "x is 2.0, outside the space: -1 to 1"
    assert tuner.load_history(np.array([[0.25, 7, 1.0]]), ["x", None, "value"]).accepted[0].params == {"x": 0.25}  # type: ignore[arg-type]
    assert tuner.load_history([{"score": 1.0}], fixed={"x": 0.125}).accepted[0].params == {"x": 0.125}
    result = tuner.optimize("RandomSampler", n_trials=1)
    again = tuner.optimize("RandomSampler", n_trials=2)
    assert [sum(t.state == "imported" for t in each.history) for each in (result, again)] == [3, 3]


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([], None, "no usable row of 0"),
        (
            [[0.5, -math.inf], [0.5, "good"], 7, "ab"],
            ["x", "value"],
            r"(?s)-inf is not finite.*'good' is not a number.*should have 2 values",
        ),
        ([{"x": 0.5}], None, "it has no value"),
        ([[0.5, 1]], ["x", "y"], "none of x, y is the value; call one of them score, value or performance"),
        ("nowhere.csv", None, "^nowhere.csv: cannot be read"),
    ],
)
def test_history_without_a_usable_row_is_refused(rows: Any, columns: Any, message: str) -> None:
    with pytest.raises((StudyError, ConfigError), match=message):
        on_x(hill).load_history(rows, columns)


# What is kept


def test_without_a_storage_nothing_is_left(here: Path) -> None:
    on_x(lambda p: p["x"]).optimize("RandomSampler", n_trials=2)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite:///studies.db", "journal:///studies.log"])
def test_a_storage_keeps_the_study_as_that_of_a_search(url: str) -> None:
    result = on_x(lambda p: p["x"], storage=url, study_name="mine").optimize("RandomSampler", n_trials=2)
    study, metric, direction, folder = find_study("mine-RandomSampler", None)
    assert (metric, direction, len(study.trials)) == ("score", "maximize", 2)
    written = read_json(folder.results)
    assert (written["best_value"], written["best_params"]) == (result.best_score, result.best_params)
    assert not folder.best_config.exists()
    with pytest.raises(StudyError, match=r"'mine-RandomSampler' exists already .*Tuner\(..., resume=True\)"):
        on_x(lambda p: p["x"], storage=url, study_name="mine").optimize("RandomSampler", n_trials=3)
    resumed = on_x(lambda p: p["x"], storage=url, study_name="mine", resume=True)
    assert list(resumed.optimize("RandomSampler", n_trials=3).history[:2]) == list(result.history)


def test_another_space_or_direction_is_another_study() -> None:
    tuner = on_x(lambda p: p["x"])
    tuner.optimize("RandomSampler", n_trials=1)
    tuner.add_hyperparameter("y", Int(1, 2))
    with pytest.raises(
        StudyError, match=r"(?s)was started with other settings.*y: is searched now.*make another Tuner"
    ):
        tuner.optimize("RandomSampler", n_trials=2)
    on_x(lambda p: p["x"], storage="sqlite:///s.db").optimize("RandomSampler", n_trials=1)
    with pytest.raises(StudyError, match=r"(?s)direction: maximize before, minimize now.*make another Tuner"):
        on_x(lambda p: p["x"], storage="sqlite:///s.db", resume=True, maximize=False).optimize("RandomSampler")


def test_a_space_may_grow() -> None:
    tuner = Tuner(lambda p: p["n"], space={"n": Int(1, 2)})
    tuner.optimize("RandomSampler", n_trials=2)
    tuner.remove_hyperparameter("n")
    tuner.add_hyperparameter("n", Int(1, 4))
    result = tuner.optimize("RandomSampler", n_trials=4)
    assert sorted(trial.params["n"] for trial in result.history) == [1, 2, 3, 4]
    assert result.best_score == 4


def test_a_result_is_saved_and_loaded(here: Path) -> None:
    tuner = Tuner(hill, space=SPACE)
    tuner.load_history([{"lr": 0.01, "layers": 2, "optimizer": "adam", "value": -1.0}])
    result = tuner.optimize("RandomSampler", n_trials=4)
    path = result.save("deep/result.json")
    assert read_json(path)["format"] == 1
    assert TuningResult.load(path) == result
    assert str(result).startswith(f"RandomSampler: best score {result.best_score:.6g} (1 imported, 4 complete)\n  lr: ")


def test_a_file_that_is_no_result_is_refused() -> None:
    with pytest.raises(RunError, match="there is no such file"):
        TuningResult.load("nowhere.json")
    write_json(Path("other.json"), {"format": 2})
    with pytest.raises(
        RunError, match=r"other.json: is no result of a tuner in format 1; TuningResult.save writes one"
    ):
        TuningResult.load("other.json")
    write_json(Path("other.json"), {"format": 1, "history": [], "best": 3})
    with pytest.raises(RunError, match="is no result of a tuner"):
        TuningResult.load("other.json")


def test_progress_writes_a_line_a_trial_and_else_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    on_x(lambda p: p["x"]).optimize("RandomSampler", n_trials=1)
    assert capsys.readouterr().out == ""
    result = on_x(lambda p: p["x"], progress=True).optimize("RandomSampler", n_trials=1)
    assert capsys.readouterr().out == (
        f"trial 0: complete {result.best_score:.6g}; best {result.best_score:.6g} by trial 0\n"
    )
