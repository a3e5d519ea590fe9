"""What is peculiar to an engine: hyperopt's suggestions are hyperopt's, acquisitions differ; what does not fit is said."""

import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from pydantic import TypeAdapter, ValidationError

from mlframework.config import yaml
from mlframework.errors import ConfigError, MissingExtraError, StudyError
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Uniform
from mlframework.search.read import print_config, read_config
from mlframework.search.samplers import ALGORITHMS, SamplerConfig
from mlframework.search.samplers.botorch import candidates
from mlframework.search.samplers.hyperopt import HyperoptSampler, from_value, hyperopt_sampler, to_value
from mlframework.search.space import Space
from support.searches import open_search, tree, write_config


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def build(name: str, **settings: Any) -> Any:
    return TypeAdapter(SamplerConfig).validate_python({"type": name, **settings})


# hyperopt

KIND = Categorical(type="categorical", choices=["sgd", "adam"])
SPACE: dict[str, Parameter] = {
    "kind": KIND,
    "lr": LogUniform(type="loguniform", low=1e-5, high=1e-1),
    "dropout": Uniform(type="uniform", low=0.0, high=0.5),
    "momentum": Uniform(type="uniform", low=0.5, high=0.9, step=0.1),
    "layers": Int(type="int", low=1, high=9, step=2),
    "size": Int(type="int", low=4, high=256, log=True),
}


def loss(params: Mapping[str, Any]) -> float:
    return float(
        (math.log10(params["lr"]) + 3) ** 2
        + params["dropout"]
        + abs(params["momentum"] - 0.8)
        + abs(params["layers"] - 5) / 4
        + abs(math.log2(params["size"]) - 5)
        + (params["kind"] == "sgd")
    )


def of_fmin(n_trials: int, seed: int) -> tuple[list[dict[str, Any]], list[int]]:
    """Return what hyperopt.fmin tries, and the seed of each suggestion: its space is written by hand."""
    from hyperopt import Trials, fmin, hp, tpe

    space = {
        "kind": hp.choice("kind", [0, 1]),
        "lr": hp.loguniform("lr", math.log(1e-5), math.log(1e-1)),
        "dropout": hp.uniform("dropout", 0.0, 0.5),
        "momentum": hp.uniformint("momentum", 0, 4),
        "layers": hp.uniformint("layers", 0, 4),
        "size": hp.qloguniform("size", math.log(3.5), math.log(256.5), 1),
    }

    def named(found: Mapping[str, Any]) -> dict[str, Any]:
        return {key: to_value(parameter, found[key]) for key, parameter in SPACE.items()}

    trials = Trials()
    rstate = np.random.default_rng(seed)
    fmin(
        lambda found: loss(named(found)), space, algo=tpe.suggest, max_evals=n_trials, trials=trials, rstate=rstate,
        show_progressbar=False, verbose=False,
    )  # fmt: skip
    again = np.random.default_rng(seed)
    tried = [named({key: values[0] for key, values in doc["misc"]["vals"].items()}) for doc in trials.trials]
    return tried, [int(again.integers(2**31 - 1)) for _ in range(n_trials)]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_suggestions_are_those_of_fmin_from_the_same_history_and_seed(direction: str) -> None:
    tried, seeds = of_fmin(34, seed=5)
    sign = 1.0 if direction == "minimize" else -1.0
    study = optuna.create_study(direction=direction)
    config = HyperoptSampler(type="HyperoptSampler")
    for params, seed in zip(tried, seeds, strict=True):
        study.sampler = hyperopt_sampler(config, SPACE, seed)
        trial = study.ask()
        assert Space({}, SPACE).suggest(trial) == params
        study.tell(trial, sign * loss(params))


@pytest.mark.parametrize("parameter", SPACE.values(), ids=list(SPACE))
def test_values_go_to_hyperopt_and_back(parameter: Parameter) -> None:
    for value in parameter.values() or np.linspace(*parameter.ends(), 7).tolist():  # type: ignore[arg-type]
        assert to_value(parameter, from_value(parameter, value)) == value


def test_choices_that_are_equal_in_python_are_told_apart() -> None:
    parameter = Categorical(type="categorical", choices=[1, True, 1.0, "1", None])
    assert [from_value(parameter, choice) for choice in parameter.choices] == [0, 1, 2, 3, 4]


def history(trials: list[dict[str, Any]], space: Mapping[str, Parameter]) -> optuna.Study:
    """Return a study to minimise with given trials: params, value, state, reports."""
    study = optuna.create_study()
    for each in trials:
        distributions = {key: space[key].distribution() for key in each["params"]}
        study.add_trial(create_trial(distributions=distributions, **each))
    return study


LINE: dict[str, Parameter] = {"x": Uniform(type="uniform", low=0.0, high=1.0)}


def suggested(trials: list[dict[str, Any]], space: Mapping[str, Parameter] = LINE, seed: int = 3) -> dict[str, Any]:
    study = history(trials, space)
    config = HyperoptSampler(type="HyperoptSampler", n_startup_trials=1)
    study.sampler = hyperopt_sampler(config, space, seed)
    return dict(Space({}, space).suggest(study.ask()))


def complete(x: float, value: float) -> dict[str, Any]:
    return {"params": {"x": x}, "value": value, "state": TrialState.COMPLETE}


def pruned(x: float, last: float) -> dict[str, Any]:
    return {"params": {"x": x}, "state": TrialState.PRUNED, "intermediate_values": {1: last + 5, 2: last}}


FEW = [complete((0.13 * number) % 1, (0.13 * number) % 1) for number in range(12)]


def test_a_failed_trial_teaches_nothing() -> None:
    failed = {"params": {"x": 0.9}, "state": TrialState.FAIL}
    # At the end, so that the others keep their numbers.
    assert suggested([*FEW, failed]) == suggested(FEW)


def test_a_pruned_trial_is_no_better_than_the_worst_complete_one() -> None:
    crowd = [pruned(0.9 + number / 200, -100.0) for number in range(12)]
    believed = [complete(0.9 + number / 200, -100.0) for number in range(12)]
    near = [suggested([*FEW, *crowd], seed=seed)["x"] for seed in range(8)]
    far = [suggested([*FEW, *believed], seed=seed)["x"] for seed in range(8)]
    assert max(near) < 0.4, near
    assert min(far) > 0.7


def test_a_pruned_trial_counts_with_its_last_value_where_nothing_is_complete() -> None:
    good, bad = [pruned(0.1 + n / 200, 0.0) for n in range(4)], [pruned(0.5 + n / 30, 1.0) for n in range(12)]
    assert suggested([*good, *bad]) == suggested([
        {**each, "state": TrialState.COMPLETE, "value": each["intermediate_values"][2]} for each in [*good, *bad]
    ])  # fmt: skip


def test_a_parameter_learns_from_the_trials_in_which_it_exists() -> None:
    space: dict[str, Parameter] = {
        "kind": KIND,
        "momentum": Uniform(type="uniform", low=0.0, high=1.0, when={"kind": "sgd"}),
    }
    trials = []
    for number in range(30):
        there = {"momentum": (0.37 * number) % 1} if number % 2 else {}
        params = {"kind": "sgd" if number % 2 else "adam", **there}
        value = abs(there.get("momentum", 9.0) - 0.7)
        trials.append({"params": params, "value": value, "state": TrialState.COMPLETE})
    found = [suggested(trials, space, seed) for seed in range(10)]
    assert all(("momentum" in each) == (each["kind"] == "sgd") for each in found)
    momenta = [each["momentum"] for each in found if "momentum" in each]
    assert len(momenta) >= 8, "sgd is what was good"
    assert sum(abs(momentum - 0.7) < 0.15 for momentum in momenta) >= 0.8 * len(momenta)


def test_settings_reach_hyperopt() -> None:
    """Each of them changes a suggestion."""
    tried = [complete((0.37 * number) % 1, abs((0.37 * number) % 1 - 0.4)) for number in range(25)]

    def ask(**settings: Any) -> Any:
        study = history(tried, LINE)
        study.sampler = build("HyperoptSampler", **settings).build(3, 25, LINE)
        return study.ask().suggest_float("x", 0.0, 1.0)

    default = ask()
    assert ask() == default
    for settings in ({"n_startup_trials": 26}, {"n_ei_candidates": 1}, {"gamma": 1.0}):
        assert ask(**settings) != default, settings


# BoTorch


def planted(acquisition: Any, beta: float = 2.0) -> float:
    """Return where the next point is, when a good region at 0.2 is well known and nothing beyond 0.5 is."""
    import torch

    x = torch.tensor([[0.0], [0.05], [0.1], [0.15], [0.2], [0.25], [0.3], [0.35], [0.4]], dtype=torch.float64)
    y = 1 - 12 * (x - 0.2) ** 2
    bounds = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return float(candidates(acquisition, beta)(x, y, None, bounds, None)[0, 0])


def test_a_large_beta_explores_and_a_small_one_exploits() -> None:
    assert planted("ucb", beta=0.0) == pytest.approx(0.2, abs=0.03)
    assert planted("ucb", beta=1e6) == pytest.approx(1.0, abs=0.03), "where the posterior's variance is largest"


def test_expected_improvement_is_not_a_wide_confidence_bound() -> None:
    for acquisition in ("ei", "log_ei"):
        assert planted(acquisition) < 0.5 < planted("ucb", beta=1e6)


def test_what_others_train_is_not_suggested_again() -> None:
    import torch

    x = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]
    y = torch.tensor([[0.1], [0.9], [0.2], [0.7], [0.0], [0.8]], dtype=torch.float64)
    bounds = torch.tensor([[0.0], [1.0]], dtype=torch.float64)

    def after(pending: Any) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return candidates("ei", 2.0)(x, y, None, bounds, pending)

    first = after(None)
    assert float(abs(after(first[:0]) - first)) < 0.01, "nothing is pending"
    assert float(abs(after(first) - first)) > 0.05


def test_what_others_train_is_to_be_improved_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import botorch.optim.optimize  # noqa: F401 - asks for the kind of an acquisition: it must know the class itself
    import torch
    from botorch.acquisition import analytic

    found: list[float] = []
    original = analytic.ExpectedImprovement

    def make(model: Any, best_f: Any) -> Any:
        found.append(float(best_f))
        return original(model, best_f=best_f)

    monkeypatch.setattr(analytic, "ExpectedImprovement", make)
    x = torch.tensor([[0.0], [0.2], [0.4], [0.6], [0.8], [1.0]], dtype=torch.float64)
    y = -((x - 0.5) ** 2)
    bounds = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    for pending in (0.0, 0.5):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            candidates("ei", 2.0)(x, y, None, bounds, torch.full((1, 1), pending, dtype=torch.float64))
    # The best of the trials is -0.01; what is being trained at 0.5 is expected to be 0.
    assert found == pytest.approx([-0.01, 0.0], abs=4e-3)


@pytest.mark.parametrize("acquisition", ["ei", "log_ei", "ucb"])
def test_the_acquisition_of_the_config_is_the_one_that_is_used(
    acquisition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import botorch.optim.optimize  # noqa: F401 - as above
    from botorch.acquisition import analytic

    classes = {"ei": "ExpectedImprovement", "log_ei": "LogExpectedImprovement", "ucb": "UpperConfidenceBound"}
    made: list[tuple[str, Any]] = []
    for name in classes.values():
        original = getattr(analytic, name)

        def make(*args: Any, _name: str = name, _original: Any = original, **settings: Any) -> Any:
            made.append((_name, settings.get("beta")))
            return _original(*args, **settings)

        monkeypatch.setattr(analytic, name, make)
    beta = {"beta": 7.0} if acquisition == "ucb" else {}
    study = history(FEW[:3], LINE)
    study.sampler = build("BoTorchSampler", acquisition=acquisition, n_startup_trials=2, **beta).build(0, 3, LINE)
    assert 0 <= study.ask().suggest_float("x", 0.0, 1.0) <= 1
    assert made == [(classes[acquisition], beta.get("beta"))]


def test_beta_belongs_to_ucb_alone() -> None:
    for acquisition in ("ei", "log_ei"):
        with pytest.raises(ValidationError, match=f"beta: means nothing to acquisition: {acquisition}; take it out"):
            build("BoTorchSampler", acquisition=acquisition, beta=1.0)
    with pytest.raises(ValidationError):
        build("BoTorchSampler", acquisition="ucb", beta=-1.0)


# Short names


@pytest.mark.parametrize(("name", "sampler"), ALGORITHMS.items())
def test_an_algorithm_is_a_sampler(here: Path, name: str, sampler: str) -> None:
    changes = {"search.algorithm": name}
    raw = tree(changes)
    del raw["search"]["sampler"]
    read = read_config(str(write(raw)), {})
    assert read.config.search is not None
    assert read.config.search.sampler.type == sampler
    # What is written out can be read again: one of the two is in it.
    again = read_config(str(write(yaml.parse(print_config(read)).tree)), {})
    assert again.config == read.config


def write(raw: Mapping[str, Any]) -> Path:
    path = write_config()
    path.write_text(yaml.dump(dict(raw)))
    return path


def test_an_algorithm_beside_a_sampler_is_refused_and_says_which_to_leave_out(here: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"config.yaml:\d+:\d+: search.algorithm: bayesian means GPSampler.* leave out"
    ):
        read_config(str(write(tree({"search.algorithm": "bayesian"}))), {})


def test_an_unknown_algorithm_names_the_nearest(here: Path) -> None:
    raw = tree({"search.algorithm": "bayes"})
    del raw["search"]["sampler"]
    with pytest.raises(
        ConfigError, match=r"search.algorithm: should be 'bayesian', 'optuna' or 'hyperopt'.*did you mean 'bayesian'"
    ):
        read_config(str(write(raw)), {})
    with pytest.raises(ConfigError, match=r"search.algorithm: should be 'bayesian'"):
        read_config(str(write({**raw, "search": {**raw["search"], "algorithm": ["optuna"]}})), {})


@pytest.mark.parametrize(
    ("key", "section", "said"),
    [
        ("sampler", {"type": "GPSamplr"}, "did you mean 'GPSampler'"),
        ("pruner", {"type": "WilcoxonPrunr"}, "did you mean 'WilcoxonPruner'"),
        ("sampler", {"type": "GPSampler", "n_startup_trial": 3}, "unknown key; did you mean 'n_startup_trials'"),
        ("sampler", {"type": "QMCSampler", "scrambled": True}, "unknown key; known here: type, qmc_type"),
        ("sampler", {"type": "GPSampler", "beta": 1.0}, "it belongs to search.sampler.type: BoTorchSampler"),
        ("sampler", {"type": "BoTorchSampler", "acquisition": "ucbb"}, "did you mean 'ucb'"),
        ("pruner", {"type": "PatientPruner", "wrapped": {"type": "MedianPrunr"}}, "did you mean 'MedianPruner'"),
        ("pruner", {"type": "PatientPruner", "patienc": 1}, "did you mean 'patience'"),
    ],
)
def test_a_misspelt_engine_or_argument_names_the_nearest(
    here: Path, key: str, section: dict[str, Any], said: str
) -> None:
    raw = tree()
    raw["search"][key] = section
    with pytest.raises(ConfigError) as caught:
        read_config(str(write(raw)), {})
    assert said in str(caught.value)


# What does not fit together

LR = {"type": "loguniform", "low": 1e-3, "high": 1e-1}
MOMENTUM = {"type": "uniform", "low": 0.1, "high": 0.9}
TYPE = {"type": "categorical", "choices": ["sgd", "adam"]}
TWO = {"optimizer.lr": LR, "optimizer.momentum": MOMENTUM}


def said_by(**changes: Any) -> list[str]:
    """Return what is said before trial 0."""
    keys = {key.replace("__", "."): value for key, value in changes.items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        open_search({"search_space": TWO, "training.num_epochs": 8, **keys})
    return [str(each.message) for each in caught if each.filename.endswith(("setup.py", "searches.py"))]


@pytest.mark.parametrize("name", ["GPSampler", "BoTorchSampler", "CmaEsSampler", "NSGAIISampler", "NSGAIIISampler"])
def test_what_ignores_pruned_trials_says_so_unless_nothing_is_pruned(here: Path, name: str) -> None:
    sampler = {"type": name}
    (said,) = said_by(search__sampler=sampler, search__pruner={"type": "MedianPruner"}, search__n_trials=30)
    assert said.startswith(f"{name} learns from complete trials only, and MedianPruner leaves it few of them; set ")
    assert "pruner: {type: none}" in said
    assert ("consider_pruned_trials: true" in said) == (name == "CmaEsSampler")
    assert said_by(search__sampler=sampler, search__study_name="b", search__n_trials=30) == []


@pytest.mark.parametrize(
    "sampler",
    [
        {"type": "CmaEsSampler", "consider_pruned_trials": True},
        *({"type": name} for name in ("TPESampler", "HyperoptSampler", "QMCSampler", "RandomSampler")),
    ],
    ids=lambda each: str(each["type"]),
)
def test_nothing_is_said_to_what_fits(here: Path, sampler: dict[str, Any]) -> None:
    assert said_by(search__sampler=sampler, search__pruner={"type": "MedianPruner"}, search__n_trials=30) == []


def test_parameters_without_a_model_are_named(here: Path) -> None:
    space = {"optimizer.type": TYPE, **TWO, "model.dropout": {"type": "uniform", "low": 0.0, "high": 0.5}}
    (of_gp,) = said_by(search_space=space, search__sampler={"type": "GPSampler"}, search__n_trials=30)
    assert of_gp.startswith("GPSampler has no model of optimizer.momentum and always draws at random there")
    cma_es = {"search__sampler": {"type": "CmaEsSampler"}, "search__study_name": "b"}
    (of_cma_es,) = said_by(search_space=space, **cma_es)
    assert "optimizer.type, optimizer.momentum" in of_cma_es


def test_a_warm_up_as_long_as_a_trial_is_said(here: Path) -> None:
    pruner = {"type": "PatientPruner", "patience": 1, "wrapped": {"type": "MedianPruner", "n_warmup_steps": 8}}
    (said,) = said_by(search__pruner=pruner)
    assert said == (
        "MedianPruner stops nothing before step 8, and a trial has 8, so that nothing is pruned; lower pruner.n_warmup_steps"
    )
    assert said_by(search__pruner=pruner, training__num_epochs=9, search__study_name="b") == []
    folds = {"search__repeats": 3, "search__study_name": "c"}
    assert said_by(search__pruner=pruner, **folds) == [], "repeats are compared by another rule"


def test_folds_that_are_not_enabled_are_said(here: Path) -> None:
    (said,) = said_by(search__cross_validation={"n_folds": 4})
    assert said.startswith(
        "search.cross_validation is written without enabled: true, so that each trial is trained once"
    )
    for number, enabled in enumerate((True, False)):
        folds = {"n_folds": 4, "enabled": enabled}
        assert said_by(search__cross_validation=folds, search__study_name=f"s{number}") == []


def test_a_start_up_as_long_as_the_study_is_said(here: Path) -> None:
    (said,) = said_by(search__sampler={"type": "GPSampler", "n_startup_trials": 5}, search__n_trials=5)
    assert said == (
        "GPSampler learns after 5 random trials, so all 5 will be random; lower sampler.n_startup_trials, or raise n_trials"
    )
    (said,) = said_by(search__sampler={"type": "NSGAIISampler"}, search__n_trials=20, search__study_name="b")
    assert "lower sampler.population_size" in said
    enough = {"type": "GPSampler", "n_startup_trials": 5}
    assert said_by(search__sampler=enough, search__n_trials=6, search__study_name="c") == []


@pytest.mark.parametrize(
    "pruner", [{"type": "WilcoxonPruner"}, {"type": "PatientPruner", "wrapped": {"type": "WilcoxonPruner"}}]
)
def test_wilcoxon_wants_folds(here: Path, pruner: dict[str, Any]) -> None:
    (said,) = said_by(search__pruner=pruner)
    assert said.startswith("WilcoxonPruner compares folds, and cross-validation is off")
    assert said_by(search__pruner=pruner, search__cross_validation={"enabled": True}, search__study_name="b") == []


@pytest.mark.parametrize(
    ("space", "have"),
    [({"optimizer.type": TYPE}, "none"), ({"optimizer.lr": LR}, "only optimizer.lr"),
     ({"optimizer.type": TYPE, **TWO}, "only optimizer.lr")],
)  # fmt: skip
def test_cma_es_is_refused_where_it_models_nothing(here: Path, space: dict[str, Any], have: str) -> None:
    with pytest.raises(StudyError, match=f"search.sampler: CmaEsSampler needs two numbers .* here is {have};"):
        said_by(search_space=space, search__sampler={"type": "CmaEsSampler"})
    assert not Path("runs").exists(), "before anything is made"


@pytest.mark.parametrize("name", ["GridSampler", "BruteForceSampler"])
def test_a_grid_over_a_range_without_steps_is_refused(here: Path, name: str) -> None:
    with pytest.raises(
        StudyError, match=rf"search.sampler: {name} needs a finite .*optimizer\.lr, optimizer\.momentum"
    ):
        said_by(search__sampler={"type": name})


def test_all_that_does_not_fit_is_said_at_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("cmaes", "scipy"):
        monkeypatch.setitem(sys.modules, package, None)
    changes = {"search__sampler": {"type": "CmaEsSampler"}, "search__pruner": {"type": "WilcoxonPruner"}}
    with pytest.raises(StudyError) as caught:
        said_by(search_space={"optimizer.lr": LR}, **changes)
    assert [line.split(" needs ")[0] for line in str(caught.value).splitlines()] == [
        "search.sampler: CmaEsSampler", "CmaEsSampler", "WilcoxonPruner",
    ]  # fmt: skip


def test_one_missing_package_is_said_with_its_command(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hyperopt", None)
    with pytest.raises(MissingExtraError, match=r'pip install "mlframework\[hyperopt\]"'):
        said_by(search__sampler={"type": "HyperoptSampler"})
    assert not Path("runs").exists()
