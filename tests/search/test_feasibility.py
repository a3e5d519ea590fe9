"""What a space holds: draws that Optuna would make, few combinations, constraints over whole configs."""

from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlframework.config.yaml import Document
from mlframework.errors import ConfigError
from mlframework.search.constraints import parse_constraint
from mlframework.search.feasibility import Dice, combinations, draw, is_feasible, kept, shares
from mlframework.search.parameters import Categorical, Int, LogUniform, Parameter, Uniform
from mlframework.search.space import Space, build_space

BASE: dict[str, Any] = {
    "data": {"type": "table", "path": "t.csv", "target": "y"},
    "model": {"architecture": "mlp"},
    "optimizer": {"type": "sgd", "lr": 0.1},
    "metric": "val_loss",
}
TYPES: Parameter = Categorical(type="categorical", choices=["sgd", "adam"])
MOMENTUM: Parameter = Uniform(type="uniform", low=0.0, high=0.9, step=0.3)
LR: Parameter = LogUniform(type="loguniform", low=1e-3, high=1e-1)


def space_of(parameters: dict[str, Parameter], *texts: str) -> Space:
    space, problems = build_space(parameters, BASE, Document(BASE))
    assert problems == []
    return Space(space.base, space.parameters, tuple(map(parse_constraint, texts)))


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(
        [
            Uniform(type="uniform", low=0.1, high=0.7, step=0.2),
            Uniform(type="uniform", low=-1.0, high=2.5),
            Uniform(type="uniform", low=1e-4, high=3.0, log=True),
            LogUniform(type="loguniform", low=1e-5, high=1e-4),
            Int(type="int", low=-3, high=10, step=4),
            Int(type="int", low=1, high=1),
            Int(type="int", low=1, high=1000, log=True),
            Categorical(type="categorical", choices=[None, "a", 1.5]),
        ]
    ),
)
@settings(max_examples=200, deadline=None)
def test_a_draw_is_one_that_the_distribution_contains(seed: int, parameter: Parameter) -> None:
    asked: dict[str, Any] = {}

    class Asking(optuna.trial.FixedTrial):
        def _suggest(self, name: str, distribution: Any) -> Any:
            asked[name] = distribution
            return getattr(distribution, "low", None)

    parameter.suggest(Asking({}), "k")  # type: ignore[arg-type]
    value = parameter.suggest(Dice(np.random.default_rng(seed)), "k")  # type: ignore[arg-type]
    assert asked["k"]._contains(asked["k"].to_internal_repr(value))


def test_draws_cover_the_space_and_respect_when() -> None:
    space = space_of({"optimizer.type": TYPES, "optimizer.momentum": MOMENTUM, "optimizer.lr": LR})
    rng = np.random.default_rng(0)
    draws = [draw(space, rng) for _ in range(300)]
    assert all(("optimizer.momentum" in each) == (each["optimizer.type"] == "sgd") for each in draws)
    assert {each.get("optimizer.momentum") for each in draws} == {None, 0.0, 0.3, 0.6, 0.9}
    assert 0.4 < np.mean([each["optimizer.lr"] < 1e-2 for each in draws]) < 0.6  # type: ignore[operator]


def test_combinations_are_counted_where_there_are_few() -> None:
    space = space_of({"optimizer.type": TYPES, "optimizer.momentum": MOMENTUM}, "optimizer.momentum > 0.2")
    cells = combinations(space)
    assert cells is not None
    assert [(each["optimizer.type"], each.get("optimizer.momentum")) for each in cells] == [
        ("sgd", 0.3), ("sgd", 0.6), ("sgd", 0.9), ("adam", None),
    ]  # fmt: skip
    many = Int(type="int", low=1, high=10**12)
    assert combinations(space_of({"training.num_epochs": many})) is None
    assert combinations(space_of({"optimizer.lr": LR})) is None


def test_the_settings_of_the_whole_config_count() -> None:
    space = space_of({"optimizer.type": TYPES, "optimizer.momentum": MOMENTUM, "optimizer.lr": LR})

    def violated(text: str, **params: Any) -> bool:
        given = {key.replace("__", "."): value for key, value in params.items()}
        return not is_feasible(Space(space.base, space.parameters, (parse_constraint(text),)), given)

    assert violated("optimizer.lr > 0.05", optimizer__lr=0.01, optimizer__type="adam"), "searched"
    assert violated("model.architecture != 'mlp'", optimizer__lr=0.01, optimizer__type="adam"), "fixed"
    assert violated("training.accumulation_steps > 1", optimizer__lr=0.01, optimizer__type="adam"), "by default"
    assert violated("optimizer.momentum > 0.5", optimizer__lr=0.01, optimizer__type="sgd", optimizer__momentum=0.3)
    assert not violated("optimizer.momentum > 0.5", optimizer__lr=0.01, optimizer__type="adam"), "adam has none"
    assert not violated("training.early_stopping.patience > 99", optimizer__lr=0.01, optimizer__type="adam"), "null"


def test_a_parameter_that_does_not_exist_has_the_configs_value() -> None:
    conditional = LogUniform(type="loguniform", low=1e-3, high=1e-2, when={"optimizer.type": "adam"})
    space = space_of({"optimizer.type": TYPES, "optimizer.lr": conditional}, "optimizer.lr < 0.05")
    assert not is_feasible(space, {"optimizer.type": "sgd"}), "the config's 0.1"
    assert is_feasible(space, {"optimizer.type": "adam", "optimizer.lr": 0.01})


def test_what_als_has_no_use_for_is_not_there() -> None:
    base = {"data": {"type": "interactions", "path": "x"}, "model": {"architecture": "als"}, "metric": "val_ndcg_at_10"}
    factors: Parameter = Int(type="int", low=4, high=8)
    space = Space(base, {"model.factors": factors}, (parse_constraint("optimizer.lr > 99"),))
    assert is_feasible(space, {"model.factors": 4})
    assert not is_feasible(
        Space(base, space.parameters, (parse_constraint("model.factors > 4"),)), {"model.factors": 4}
    )


def test_kept_counts_exactly_or_by_draws() -> None:
    texts = ("optimizer.momentum > 0.2", "optimizer.lr < 1")
    found = kept(space_of({"optimizer.type": TYPES, "optimizer.momentum": MOMENTUM}, *texts))
    assert (found.draws, found.exact, found.together) == (5, True, 4)
    assert dict(found.each) == {texts[0]: 4, texts[1]: 5}
    drawn = kept(space_of({"optimizer.lr": LR}, "optimizer.lr < 0.01"))
    assert (drawn.draws, drawn.exact) == (1000, False)
    assert 400 < drawn.together < 600


def test_the_plan_says_what_changes_nothing() -> None:
    texts = ("optimizer.momentum > 0.2", "optimizer.lr < 1")
    found = shares(space_of({"optimizer.type": TYPES, "optimizer.momentum": MOMENTUM}, *texts))
    assert found == {
        texts[0]: "kept by 4 of 5 combinations",
        texts[1]: "kept by all of 5 combinations; it changes nothing",
    }


def test_a_value_of_another_kind_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.type is 'sgd', text, where a number is needed"):
        kept(space_of({"optimizer.type": TYPES}, "optimizer.type * 2 > 1"))
