"""What a training ran on, and what of it is other than it was."""

import importlib.metadata
import platform
from typing import Any

import pytest

from mlframework.environment import differences, environment


@pytest.fixture(autouse=True)
def fresh() -> None:
    environment.cache_clear()


def changed(**changes: Any) -> dict[str, Any]:
    return {**environment(), **changes}


def test_it_has_versions_and_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    found = environment()
    assert found["python"] == platform.python_version()
    assert found["packages"]["torch"] == importlib.metadata.version("torch")
    assert found["processor"]
    assert found["variables"]["MKL_CBWR"] == "COMPATIBLE"
    environment.cache_clear()


def test_nothing_is_other_where_nothing_changed_or_nothing_was_recorded() -> None:
    assert differences(environment(), environment()) == []
    assert differences({}, environment()) == []


def test_each_change_is_named_with_both_values() -> None:
    packages = environment()["packages"]
    then = changed(
        python="3.9.1", processor="another", gpus=["A", "B"], variables={"MKL_CBWR": "AUTO"},
        packages={**packages, "torch": "1.13.0", "gone": "1.0"},
    )  # fmt: skip
    del then["packages"]["numpy"]
    assert differences(then, changed(gpus=[])) == [
        f"torch 1.13.0 -> {packages['torch']}",
        "gone 1.0 -> none",
        f"numpy none -> {packages['numpy']}",
        "MKL_CBWR AUTO -> unset",
        f"python 3.9.1 -> {platform.python_version()}",
        f"processor another -> {environment()['processor']}",
        "gpus A, B -> none",
    ]
