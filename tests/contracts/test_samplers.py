"""The contract of a sampler: whatever stands in SAMPLERS."""

import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
import pytest
from pydantic import TypeAdapter

from mlframework.errors import MissingExtraError, StudyError
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Scalar, Uniform
from mlframework.search.samplers import SAMPLERS, SamplerConfig, grid_cells, trial_seed
from mlframework.search.space import Space

FINITE: dict[str, Parameter] = {
    "optimizer.momentum": Uniform(type="uniform", low=0.0, high=0.9, step=0.1),
    "model.hidden_size": Int(type="int", low=4, high=64, step=4),
    "training.batch_size": Categorical(type="categorical", choices=[16, 32, 64]),
}
ENDLESS: dict[str, Parameter] = {
    "optimizer.lr": LogUniform(type="loguniform", low=1e-5, high=1e-1),
    "optimizer.momentum": Uniform(type="uniform", low=0.5, high=0.9),
    "model.hidden_size": Int(type="int", low=4, high=64),
    "training.batch_size": Categorical(type="categorical", choices=[16, 32, 64]),
}


@pytest.fixture(params=list(SAMPLERS))
def sampler(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        for kind in (optuna.exceptions.ExperimentalWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        yield


def build(name: str, **settings: Any) -> Any:
    return TypeAdapter(SamplerConfig).validate_python({"type": name, **settings})


def parameters(sampler: Any) -> Mapping[str, Parameter]:
    """Return a space that a sampler can search."""
    return FINITE if sampler.type == "GridSampler" else ENDLESS


def study_after(n_trials: int, space: Mapping[str, Parameter]) -> optuna.Study:
    """Return a study with finished trials to learn from, the same whenever it is made."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    for number in range(n_trials):
        trial = study.ask()
        Space({}, space).suggest(trial)
        study.tell(trial, -abs(number - 5.0))
    return study


def suggestion(sampler: Any, seed: int, place: int, n_trials: int) -> dict[str, Scalar]:
    space = parameters(sampler)
    study = study_after(n_trials, space)
    study.sampler = sampler.build(seed, place, space)
    return Space({}, space).suggest(study.ask())


def test_every_name_of_the_table_decodes_to_its_config() -> None:
    for name, config in SAMPLERS.items():
        assert type(build(name)) is config
        assert config.__doc__, name


@pytest.mark.parametrize("n_trials", [0, 30])
def test_one_study_seed_and_place_give_one_suggestion(sampler: Any, n_trials: int) -> None:
    assert suggestion(sampler, 42, 3, n_trials) == suggestion(sampler, 42, 3, n_trials)


@pytest.mark.parametrize("n_trials", [0, 30])
def test_another_place_or_another_study_seed_gives_another_suggestion(sampler: Any, n_trials: int) -> None:
    found = [tuple(suggestion(sampler, 42, place, n_trials).values()) for place in range(6)]
    assert len(set(found)) == 6
    assert suggestion(sampler, 43, 0, n_trials) != suggestion(sampler, 42, 0, n_trials)


def test_suggestions_are_values_of_the_space(sampler: Any) -> None:
    for place in range(20):
        for key, value in suggestion(sampler, 7, place, place).items():
            parameter = parameters(sampler)[key]
            if isinstance(parameter, Categorical):
                assert value in parameter.choices
                continue
            assert isinstance(value, int if isinstance(parameter, Int) else float)
            assert parameter.low <= value <= parameter.high
            step = getattr(parameter, "step", None)
            if step is not None:
                assert (value - parameter.low) / step == pytest.approx(round((value - parameter.low) / step))


def test_conditional_parameters_are_suggested_only_where_they_exist(sampler: Any) -> None:
    space: dict[str, Parameter] = {
        "optimizer.type": Categorical(type="categorical", choices=["sgd", "adam"]),
        "optimizer.momentum": Uniform(type="uniform", low=0.0, high=0.8, step=0.2, when={"optimizer.type": ["sgd"]}),
    }
    study = optuna.create_study(direction="maximize")
    kinds = Counter[Scalar]()
    for place in range(6):
        study.sampler = sampler.build(0, place, space)
        trial = study.ask()
        found = Space({}, space).suggest(trial)
        assert ("optimizer.momentum" in found) == (found["optimizer.type"] == "sgd")
        kinds[found["optimizer.type"]] += 1
        study.tell(trial, float(place))
    assert len(kinds) == 2
    if sampler.type == "GridSampler":
        assert kinds == {"sgd": 5, "adam": 1}, "adam has no momentum: one cell"


def test_seeds_of_places_differ_and_stay_what_they_are() -> None:
    assert len({trial_seed(seed, place) for seed in range(20) for place in range(50)}) == 1000
    assert [trial_seed(42, place) for place in range(3)] == [trial_seed(42, place) for place in range(3)]


def test_settings_reach_tpe() -> None:
    made = build("TPESampler", n_startup_trials=3, n_ei_candidates=7).build(0, 0, ENDLESS)
    assert (made._n_startup_trials, made._n_ei_candidates) == (3, 7)
    random, learnt = (
        suggestion(build("TPESampler", n_startup_trials=n), seed=1, place=0, n_trials=30) for n in (100, 0)
    )
    assert random == suggestion(build("RandomSampler"), 1, 0, 30) != learnt


def test_settings_reach_cma_es() -> None:
    made = build("CmaEsSampler", n_startup_trials=4, sigma0=0.3, consider_pruned_trials=True).build(0, 0, ENDLESS)
    assert (made._n_startup_trials, made._sigma0, made._consider_pruned_trials) == (4, 0.3, True)


def test_cma_es_learns_although_it_is_built_anew_for_each_trial() -> None:
    space = {key: Uniform(type="uniform", low=-5.0, high=5.0) for key in ("optimizer.lr", "optimizer.momentum")}
    study = optuna.create_study(direction="minimize")
    for place in range(120):
        study.sampler = build("CmaEsSampler").build(3, place, space)
        trial = study.ask()
        found = Space({}, space).suggest(trial)
        study.tell(trial, sum((float(value) - 2.0) ** 2 for value in found.values()))  # type: ignore[arg-type]
    values = [trial.value for trial in study.get_trials()]
    assert min(values[-20:]) < 0.05 < sum(values[:20]) / 20


def test_cma_es_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(MissingExtraError, match=r'cmaes.*not installed: pip install "mlframework\[optuna\]"'):
        build("CmaEsSampler").build(0, 0, ENDLESS)


def test_a_grid_has_each_cell_once_whoever_asks_and_however_often_it_is_restarted() -> None:
    space = {**FINITE, "model.hidden_size": Int(type="int", low=4, high=8, step=4)}
    n_cells = 10 * 2 * 3
    assert len(grid_cells(space)) == n_cells
    study = optuna.create_study()
    seen = []
    for place in range(n_cells):  # each place by a worker that knows nothing but its number
        study.sampler = build("GridSampler").build(5, place, space)
        trial = study.ask()
        seen.append(tuple(Space({}, space).suggest(trial).values()))
        study.tell(trial, 0.0)
    assert len(set(seen)) == n_cells
    assert seen != sorted(seen), "in an order that is drawn"


def test_a_grid_over_a_parameter_without_end_names_it() -> None:
    with pytest.raises(StudyError, match=r"optimizer\.lr, optimizer\.momentum has no end.*step:"):
        build("GridSampler").build(0, 0, ENDLESS)


def test_grid_values_reach_both_ends() -> None:
    space = {"optimizer.momentum": Uniform(type="uniform", low=0.1, high=0.7, step=0.2)}
    assert [cell["optimizer.momentum"] for cell in grid_cells(space)] == pytest.approx([0.1, 0.3, 0.5, 0.7])
