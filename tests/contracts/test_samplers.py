"""The contract of a sampler: whatever stands in SAMPLERS."""

import contextlib
import functools
import math
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mlframework.errors import MissingExtraError, StudyError
from mlframework.experiment import ExperimentConfig
from mlframework.plans import Evaluation
from mlframework.search.objective import run_place
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Scalar, Uniform
from mlframework.search.samplers import SAMPLERS, SamplerConfig, grid_cells, grid_coverage, trial_seed
from mlframework.search.samplers.sequences import at
from mlframework.search.space import Space
from mlframework.search.training_run import trainer_of_configs
from support.searches import Watched, open_search

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


GRIDS = ("GridSampler", "BruteForceSampler")
GAUSSIAN = ("GPSampler", "BoTorchSampler")


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
    return FINITE if sampler.type in GRIDS else ENDLESS


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
    # What a Gaussian process finds most promising depends on the seed in its last digits only, and is slow to find.
    n_places = 2 if sampler.type in GAUSSIAN and n_trials else 6
    found = [tuple(suggestion(sampler, 42, place, n_trials).values()) for place in range(n_places)]
    assert len(set(found)) == n_places
    assert suggestion(sampler, 43, 0, n_trials) != suggestion(sampler, 42, 0, n_trials)


def assert_in_space(params: Mapping[str, Scalar], space: Mapping[str, Parameter]) -> None:
    """Assert that every value is one that its parameter admits."""
    for key, value in params.items():
        parameter = space[key]
        if isinstance(parameter, Categorical):
            assert (type(value), value) in [(type(choice), choice) for choice in parameter.choices]
            continue
        assert type(value) is (int if isinstance(parameter, Int) else float)
        assert parameter.low <= value <= parameter.high
        step = getattr(parameter, "step", None)
        if step is not None:
            assert (value - parameter.low) / step == pytest.approx(round((value - parameter.low) / step))


def test_suggestions_are_values_of_the_space(sampler: Any) -> None:
    for place in range(0, 20, 3):
        assert_in_space(suggestion(sampler, 7, place, place), parameters(sampler))


# On a known function, through the real study loop

SEARCHED: dict[str, Any] = {
    "optimizer.type": {"type": "categorical", "choices": ["sgd", "adam"]},
    "optimizer.lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
    "optimizer.momentum": {"type": "uniform", "low": 0.0, "high": 0.9},  # exists with sgd only
    "optimizer.weight_decay": {"type": "uniform", "low": 0.0, "high": 0.4, "step": 0.1},
    "model.dropout": {"type": "uniform", "low": 0.0, "high": 0.5},
    "model.hidden_size": {"type": "int", "low": 4, "high": 128, "log": True},
    "training.batch_size": {"type": "categorical", "choices": [16, 32, 64]},
}
OF_GRIDS = {
    **{key: SEARCHED[key] for key in ("optimizer.type", "training.batch_size", "optimizer.weight_decay")},
    "optimizer.momentum": {"type": "uniform", "low": 0.0, "high": 0.9, "step": 0.45},
}
START_UP: dict[str, dict[str, int]] = {
    **{name: {"n_startup_trials": 8} for name in ("TPESampler", "CmaEsSampler", "HyperoptSampler")},
    **{name: {"n_startup_trials": 18} for name in GAUSSIAN},  # slow ones: fewer trials of their own
    **{name: {"population_size": 8} for name in ("NSGAIISampler", "NSGAIIISampler")},
}
N_TRIALS = dict.fromkeys(SAMPLERS, 10) | dict.fromkeys(START_UP, 26) | dict.fromkeys(GAUSSIAN, 21)


@dataclass(frozen=True)
class Known:
    """A plan that trains nothing: the value is a function of the config, least (0) at one point of the space."""

    n_parts, part, n_seeds = 1, "training", 1

    def last_step(self, config: ExperimentConfig) -> int:
        """Return the only step."""
        return 1

    def evaluate(
        self, config: ExperimentConfig, splits: Any, run: Any, report: Any, callbacks: Sequence[Any]
    ) -> Evaluation:
        """Compute the value."""
        optimizer: Any = config.optimizer
        model: Any = config.model
        value = (
            (math.log10(optimizer.lr) + 2) ** 2
            + 4 * model.dropout
            + abs(math.log2(model.hidden_size / 16))
            + optimizer.weight_decay
            + 0.5 * (config.training.batch_size != 32)
            + (abs(optimizer.momentum - 0.8) if optimizer.type == "sgd" else 0.4)
        )
        report(1, value)
        return Evaluation(value, 1, {}, [])


def studied(name: str, n_trials: int, *, resume: bool = False) -> list[Any]:
    """Search in the present folder with objects of our own, and return the trials."""
    changes = {
        "search_space": OF_GRIDS if name in GRIDS else SEARCHED,
        "search.sampler": {"type": name, **START_UP.get(name, {})},
        "search.n_trials": n_trials,
        "search.storage": "journal:///studies.log",
    }
    opened = open_search(changes, resume=resume)
    study = replace(opened, spec=replace(opened.spec, plan=Known()))
    # The loop of a search, but that nothing is written after each trial.
    while (lease := study.leases.claim(study.n_trials, study.unfinished)) is not None:
        run_place(study, lease, trainer_of_configs(lambda _: None), Watched())  # type: ignore[arg-type, return-value]
    assert len(trained(study.trials())) == n_trials
    return study.trials()


def trained(trials: Sequence[Any]) -> list[Any]:
    """Return the trials that were not drawn again."""
    return [trial for trial in trials if trial.state.name == "COMPLETE"]


@functools.cache
def undisturbed(name: str) -> list[Any]:
    """Return the trials of a search that ran from start to end."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return studied(name, N_TRIALS[name])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "BoTorchSampler")) for name in SAMPLERS]
)
def test_a_search_that_was_cut_in_two_is_the_undisturbed_one(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Behind the start-up, within a generation.
    studied(name, N_TRIALS[name] - 3)
    in_two = studied(name, N_TRIALS[name], resume=True)
    assert [trial.params for trial in in_two] == [trial.params for trial in undisturbed(name)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", list(SAMPLERS))
def test_every_trial_is_of_the_space_and_has_what_exists_in_it(name: str) -> None:
    adapter = TypeAdapter[Parameter](Parameter)
    raw = OF_GRIDS if name in GRIDS else SEARCHED
    space = {key: adapter.validate_python(each) for key, each in raw.items()}
    for trial in undisturbed(name):
        assert_in_space(trial.params, space)
        missing = {"optimizer.momentum"} if trial.params["optimizer.type"] == "adam" else set()
        assert space.keys() - trial.params.keys() == missing
    assert {trial.params["optimizer.type"] for trial in undisturbed(name)} == {"sgd", "adam"}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", list(START_UP))
def test_what_learns_improves_on_its_own_start_up(name: str) -> None:
    values = [trial.value for trial in trained(undisturbed(name))]
    n_random = next(iter(START_UP[name].values()))
    assert mean(values[n_random:]) < 0.8 * mean(values[:n_random])
    assert min(values[n_random:]) < min(values[:n_random])


@pytest.mark.parametrize("name", ["RandomSampler", "QMCSampler"])
def test_what_does_not_learn_suggests_the_same_whatever_the_values(name: str) -> None:
    assert suggestion(build(name), 5, 4, 0) == suggestion(build(name), 5, 4, 30)


# One by one


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
    if sampler.type in GRIDS:
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


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("HyperoptSampler", "hyperopt", "hyperopt"),
        ("BoTorchSampler", "botorch", "botorch"),
        ("BoTorchSampler", "optuna_integration", "botorch"),
        ("GPSampler", "torch", "optuna"),
        ("GPSampler", "scipy", "optuna"),
        ("QMCSampler", "scipy", "optuna"),
    ],
)
def test_a_sampler_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'{name} needs {package}.*pip install "mlframework\[{extra}\]"'):
        build(name).build(0, 0, ENDLESS)


def test_settings_reach_gp_and_the_genetic_ones() -> None:
    made = build("GPSampler", n_startup_trials=4, deterministic_objective=True).build(0, 0, ENDLESS)
    assert (made._n_startup_trials, made._deterministic) == (4, True)
    for name in ("NSGAIISampler", "NSGAIIISampler"):
        settings = {"mutation_prob": 0.2, "crossover_prob": 0.3, "swapping_prob": 0.4}
        made = build(name, population_size=6, **settings).build(0, 0, ENDLESS)
        assert made._population_size == 6
        children = made._child_generation_strategy
        assert {key: getattr(children, f"_{key}") for key in settings} == settings


@pytest.mark.parametrize("qmc_type", ["sobol", "halton"])
def test_a_sequence_covers_the_space_more_evenly_than_draws(qmc_type: str) -> None:
    space: dict[str, Parameter] = {
        "optimizer.lr": LogUniform(type="loguniform", low=1e-4, high=1.0),
        "training.batch_size": Categorical(type="categorical", choices=[16, 32, 64, 128]),
    }

    def cells(sampler: Any) -> Counter[tuple[int, Any]]:
        study = optuna.create_study()
        found = Counter[tuple[int, Any]]()
        for place in range(64):
            study.sampler = sampler.build(11, place, space)
            lr, batch_size = Space({}, space).suggest(study.ask()).values()
            found[math.floor(math.log10(float(lr))), batch_size] += 1  # type: ignore[arg-type]
        return found

    even, drawn = cells(build("QMCSampler", qmc_type=qmc_type)), cells(build("RandomSampler"))
    # 64 points in 4 decades x 4 choices: four in each.
    assert len(even) == 16
    assert max(abs(count - 4) for count in even.values()) <= (0 if qmc_type == "sobol" else 1)
    assert max(abs(count - 4) for count in drawn.values()) > 2


PARAMETERS: list[Parameter] = [
    Categorical(type="categorical", choices=[True, 1, "1", None]),
    Uniform(type="uniform", low=-1.0, high=2.0),
    Uniform(type="uniform", low=0.1, high=0.7, step=0.2),
    Uniform(type="uniform", low=0.1, high=10.0, log=True),
    LogUniform(type="loguniform", low=1e-5, high=1e-1),
    Int(type="int", low=3, high=11, step=4),
    Int(type="int", low=1, high=100, log=True),
]


@given(share=st.floats(0, 1, exclude_max=True), parameter=st.sampled_from(PARAMETERS))
def test_a_share_of_a_parameter_is_one_of_its_values(share: float, parameter: Parameter) -> None:
    value = at(parameter, share)
    assert_in_space({"x": value}, {"x": parameter})
    assert parameter.distribution()._contains(parameter.distribution().to_internal_repr(value))


@pytest.mark.parametrize("parameter", PARAMETERS, ids=repr)
def test_shares_reach_every_value_and_both_ends(parameter: Parameter) -> None:
    found = [at(parameter, share / 1000) for share in range(1000)]
    values = parameter.values()
    if values is not None and not (isinstance(parameter, Int) and parameter.log):
        assert Counter(map(repr, found)).keys() == set(map(repr, values))
    assert not isinstance(parameter, Int | Uniform | LogUniform) or found == sorted(found)  # type: ignore[type-var]
    assert found[0] == (pytest.approx(parameter.low) if isinstance(parameter, Uniform) else parameter.ends()[0])


def test_coverage_counts_cells_once_and_only_those_of_the_grid() -> None:
    cells = grid_cells(FINITE)
    assert grid_coverage(cells, []) == (0, 480)
    other_order = dict(reversed(cells[7].items()))
    assert grid_coverage(cells, [*cells[:3], cells[0], other_order, {**cells[5], "model.hidden_size": 5}]) == (4, 480)
    assert grid_coverage(cells, cells) == (480, 480)


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
