"""Looking names up: the nearest of the known ones, and all of them where they are few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.registry import lookup, nearest, unknown

TABLE = {"sgd": 1, "adam": 2, "adamw": 3}


def test_a_known_name_is_found() -> None:
    assert lookup(TABLE, "adam", "optimizer") == 2


def test_an_unknown_name_says_what_is_known() -> None:
    with pytest.raises(KeyError) as found:
        lookup(TABLE, "sdg", "optimizer")
    assert found.value.args[0] == "unknown optimizer 'sdg'; did you mean 'sgd'? (known: adam, adamw, sgd)"
    assert found.value.__cause__ is None and found.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "near"),
    [("adm", "adam"), ("Adam", "adam"), ("ADAMW", "adamw"), ("sgd ", "sgd"), ("zzz", None), ("", None)],
)
def test_the_nearest(name: str, near: str | None) -> None:
    assert nearest(name, TABLE) == near


def test_the_nearest_is_spelt_as_it_is_known() -> None:
    assert nearest("tpesampler", ["TPESampler", "RandomSampler"]) == "TPESampler"


def test_many_names_are_not_listed() -> None:
    assert "known:" in unknown("x", [f"n{i}" for i in range(20)], "thing")
    assert "known:" not in unknown("x", [f"n{i}" for i in range(21)], "thing")


def test_what_is_no_string_can_be_unknown() -> None:
    assert unknown(3, ["a"], "thing") == "unknown thing '3' (known: a)"


@given(st.text(), st.lists(st.text(), max_size=5))
def test_the_nearest_is_always_a_known_name(name: str, known: list[str]) -> None:
    found = nearest(name, known)
    assert found is None or found in known


@given(st.text(min_size=1))
def test_a_name_is_nearest_to_itself(name: str) -> None:
    assert nearest(name, [name, "something else"]) == name
