"""Importing what is large."""

import gc
import subprocess
import sys

import pytest

from mlframework.imports import preload


def in_a_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_no_garbage_is_looked_for_while_modules_are_imported() -> None:
    code = """
import gc
from mlframework.imports import preload
looks = []
gc.callbacks.append(lambda phase, info: looks.append(phase))
preload("polars", "yaml")
print(len(looks), gc.isenabled(), gc.get_freeze_count())
looks.clear()
import plotly.graph_objects
print(bool(looks))
"""
    assert in_a_process(code).split() == ["0", "True", "0", "True"]


def test_what_was_imported_is_old() -> None:
    code = """
import gc
from mlframework.imports import preload
preload("polars")
print(len(gc.get_objects(generation=0)) < 1000, len(gc.get_objects(generation=1)) < 1000)
import polars
print(any(each is vars(polars) for each in gc.get_objects(generation=2)))
"""
    assert in_a_process(code).split() == ["True", "True", "True"]


def test_what_the_caller_froze_stays_frozen_and_what_is_switched_off_stays_off() -> None:
    code = """
import gc
from mlframework.imports import preload
gc.freeze()
frozen = gc.get_freeze_count()
preload("yaml")
print(gc.get_freeze_count() == frozen, gc.isenabled())
gc.disable()
preload("polars")
print(gc.isenabled())
"""
    assert in_a_process(code).split() == ["True", "True", "False"]


def test_a_module_that_cannot_be_imported_is_left_to_who_needs_it() -> None:
    preload("no_such_module", "json")
    assert gc.isenabled()
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        __import__("no_such_module")


def test_modules_that_are_there_move_nothing() -> None:
    """A learner is built for every trial: its garbage must stay young, or it would pile up until a full collection."""
    import mlframework.experiment

    gc.collect()
    young = [object.__new__(type("Young", (), {})) for _ in range(3)]
    preload("json", mlframework.experiment.__name__)
    assert any(each is young for each in gc.get_objects(generation=0))
