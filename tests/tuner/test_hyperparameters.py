"""Parameters written in Python are those of a config."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from mlframework import Categorical, Int, LogUniform, Uniform
from mlframework.errors import ConfigError
from mlframework.search.parameters import Parameter
from mlframework.tuner.hyperparameters import Hyperparameter, free_space

SAME: list[tuple[Any, dict[str, Any]]] = [
    (Uniform(0.1, 10.0, log=True), {"type": "uniform", "low": 0.1, "high": 10.0, "log": True}),
    (Uniform(0, 1, step=0.1), {"type": "uniform", "low": 0, "high": 1, "step": 0.1}),
    (LogUniform(1e-5, 1e-1), {"type": "loguniform", "low": 1e-5, "high": 1e-1}),
    (Int(8, 512), {"type": "int", "low": 8, "high": 512}),
    (Int(8, 512, step=8, when={"a": [1, 2]}), {"type": "int", "low": 8, "high": 512, "step": 8, "when": {"a": [1, 2]}}),
    (Categorical(["adam", None, 1.0]), {"type": "categorical", "choices": ["adam", None, 1.0]}),
    (Categorical((True, False)), {"type": "categorical", "choices": [True, False]}),
]


@pytest.mark.parametrize(("made", "written"), SAME, ids=lambda each: str(each)[:40])
def test_a_parameter_is_what_a_config_would_have(made: Any, written: dict[str, Any]) -> None:
    assert made == TypeAdapter[Any](Parameter).validate_python(written)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(1, 0), "Uniform: high is 0.0, below low, which is 1.0; swap them"),
        (lambda: Uniform(1, 2, log=True, step=1), "log and step exclude each other"),
        (lambda: LogUniform(0, 1), "LogUniform: low is 0.0; a logarithmic scale needs it above 0"),
        (lambda: Int(1.5, 3), "Int: low: should be a valid integer, got 1.5"),  # type: ignore[arg-type]
        (lambda: Uniform("a", 1), "Uniform: low: should be a valid number, got 'a'"),  # type: ignore[arg-type]
        (lambda: Categorical([]), "Categorical: choices: should have at least 1 item"),
        (lambda: Categorical("adam"), "Categorical: choices: should be a valid list, got 'adam'"),
        (lambda: Categorical([1, 1]), "the choice 1 stands there twice"),
    ],
)
def test_what_is_no_range_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_space_has_each_parameter_after_those_it_depends_on() -> None:
    space = free_space(
        {
            "nesterov": Hyperparameter(Categorical([True, False], when={"momentum_on": True})),
            "momentum_on": Hyperparameter(Categorical([True, False], when={"optimizer": ["sgd"]})),
            "optimizer": Hyperparameter(Categorical(["adam", "sgd"])),
        }
    )
    assert list(space.parameters) == ["optimizer", "momentum_on", "nesterov"]
    assert dict(space.base) == {}
