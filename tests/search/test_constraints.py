"""The expressions of constraints: they mean what Python means, they run nothing, and what is wrong has its place."""

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlframework.errors import ConfigError
from mlframework.search.constraints import MAX_LENGTH, Constraint, parse_constraint

NUMBERS: dict[str, Any] = {"a": 3, "b.c": -2.5, "d.e.f": 0, "g": 7}
TEXTS: dict[str, Any] = {"t": "sgd", "u.v": "adam"}
LISTS: dict[str, Any] = {"l": [1, "sgd", 3], "m": []}
TRUTHS: dict[str, Any] = {"x": True, "y.z": False}
VALUES = {**NUMBERS, **TEXTS, **LISTS, **TRUTHS}


class Namespace:
    """Lets Python look dotted names up."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            head, _, rest = key.partition(".")
            inner = {k.partition(".")[2]: v for k, v in values.items() if k.startswith(f"{head}.")}
            setattr(self, head, Namespace(inner) if rest else value)


def of_python(text: str) -> Any:
    names = {"true": True, "false": False, "null": None, **vars(Namespace(VALUES))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(text, {"__builtins__": {}}, names)  # noqa: S307 - Python's own meaning is what is asked for


numbers = st.one_of(
    st.integers(0, 20).map(str),
    st.floats(0, 9, allow_nan=False).map(repr),
    st.sampled_from(list(NUMBERS)),
)
texts = st.sampled_from([*TEXTS, "'sgd'", '"é"'])
ORDERS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])


def join(symbols: st.SearchStrategy[str], sides: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("{} {} {}".format, sides, symbols, sides)


arithmetic = st.recursive(
    numbers,
    lambda inner: st.one_of(
        join(st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner),
        inner.map("({})".format),
        inner.map("-{}".format),
    ),
    max_leaves=6,
)
comparisons = st.one_of(
    join(ORDERS, arithmetic),
    st.builds("{} {} {} {} {}".format, arithmetic, ORDERS, arithmetic, ORDERS, arithmetic),
    join(ORDERS, texts),
    st.builds("{} {} [{}, {}]".format, arithmetic, st.sampled_from(["in", "not in"]), arithmetic, texts),
    st.builds("{} {} {}".format, texts, st.sampled_from(["in", "not in"]), st.sampled_from(list(LISTS))),
    st.sampled_from([*TRUTHS, "true", "false", "t == null", "null != a"]),
)
truths = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        join(st.sampled_from(["and", "or"]), inner.map("({})".format)), join(st.sampled_from(["and", "or"]), inner),
        inner.map("not {}".format),
    ),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(truths)
def test_an_expression_means_what_python_means(text: str) -> None:
    try:
        expected = of_python(text)
    except (ArithmeticError, TypeError):  # a power of a negative number is complex there, and not comparable
        expected = None
    if len(text) > MAX_LENGTH:
        return
    try:
        constraint = parse_constraint(text)
    except ConfigError as error:
        # Python takes `not a < b == c` and nested operators as deep as they come; ours are bounded.
        assert "levels deep" in str(error)
        return
    kept = constraint.violation(VALUES) <= 0
    if expected is None:
        assert not kept
    elif kept != expected:
        assert "**" in text, f"{text} is {expected}"  # a power beyond the bounds counts as not kept


@settings(max_examples=300, deadline=None)
@given(arithmetic.filter(lambda text: "**" not in text), st.sampled_from(["<", "<=", ">", ">="]), numbers)
def test_the_violation_is_how_far_one_side_is_beyond_the_other(left: str, symbol: str, right: str) -> None:
    if len(text := f"{left} {symbol} {right}") > MAX_LENGTH:
        return
    try:
        sides = of_python(left), of_python(right)
        holds = of_python(text)
    except ArithmeticError:
        return
    found = parse_constraint(text).violation(VALUES)
    assert (found <= 0) == holds
    beyond = sides[0] - sides[1] if "<" in symbol else sides[1] - sides[0]
    assert found == pytest.approx(beyond, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("a * 2 <= 10", -4.0),
        ("a * 2 >= 10", 4.0),
        ("a < 3", 1e-12),
        ("1 < a < 2", 1.0),
        ("a > 5 or b.c < 0", 0.0),
        ("a > 5 and b.c < 0", 1.0),
        ("t in ['adam', 'rmsprop']", 1.0),
        ("t == 'sgd'", 0.0),
        ("t < 'a'", 1.0),
        ("a / d.e.f < 1", 1.0),
        ("b.c ** 0.5 < 1", 1.0),
        ("9 ** 9 ** 9 > 1", 1.0),
        ("absent > 5 or a > 100", 0.0),
        ("a >\n 2", -1.0),
        ("  (a > 2)  ", -1.0),
    ],
)
def test_violations(text: str, amount: float) -> None:
    assert parse_constraint(text).violation(VALUES) == pytest.approx(amount)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "column 1: is empty; write a comparison such as 'training.batch_size <= 64'"),
        ("a ==", "column 1: is no expression (invalid syntax)"),
        ("a = 5", "column 3: sets a value; compare with ==, <= or >="),
        ("a > 1 && x", "column 8: is no expression; write and, or"),
        ("f(a) > 1", "column 1: calls a function; a constraint may hold "),
        ("__import__('os').system('x') == 0", "column 1: calls a function"),
        ("a > 1 and 'x'.upper == t", "column 11: takes an attribute of a value"),
        ("(1).real > 0", "column 1: takes an attribute of a value"),
        ("[e for e in l] == l", "column 1: '[e for e in l]' cannot stand in a constraint"),
        ("l[0] > 1", "column 1: 'l[0]' cannot stand"),
        ("lambda: x", "column 1: 'lambda: x' cannot stand"),
        ("(a := 3) > 1", "column 2: '(a := 3)' cannot stand"),
        ("x if y.z else x", "column 1: 'x if y.z else x' cannot stand"),
        ("f'{a}' == t", "column 1: \"f'{a}'\" cannot stand"),
        ("a & 1 == 1", "column 1: 'a & 1' cannot stand"),
        ("1j != a", "column 1: 1j cannot stand"),
        ("a < 1e999", "column 5: inf cannot stand"),
        ("b'x' == t", "column 1: b'x' cannot stand"),
        ("a is 3", "column 1: is and is not compare objects; write == or !="),
        ("a", None),
        ("5", "column 1: is a number, where true or false is needed"),
        ("'é' == t and t + 'x' == t", "column 18: is text, where a number is needed"),
        ("t + 'x' == t", "column 5: is text, where a number is needed"),
        ("'a' < 3", "column 7: < compares text with a number"),
        ("a < 3 == 'x'", "column 10: == compares a number with text"),
        ("a > null", "column 5: > compares numbers or texts, not null"),
        ("a in 3", "column 6: in needs a list, not a number"),
        ("not 3", "column 5: is a number, where true or false is needed"),
        ("a > 1  # why", "column 8: # starts a comment; a constraint has none"),
        ("a > 1; b.c > 1", "column 6: is no expression (invalid syntax)"),
        ("a) or (x", "column 2: is no expression (unmatched ')')"),
    ],
)  # fmt: skip
def test_what_a_constraint_may_not_hold(text: str, problem: str | None) -> None:
    if problem is None:
        assert parse_constraint(text).settings() == {"a": 1}
        return
    with pytest.raises(ConfigError) as found:
        parse_constraint(text, "c.yaml:9:5", "search.constraints.0")
    assert str(found.value).startswith(f"c.yaml:9:5: search.constraints.0: {problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("t > 3", "column 5: > compares text with a number"),
        ("a + t > 3", "column 5: t is 'sgd', text, where a number is needed"),
        ("a or x", "column 1: a is 3, a number, where true or false is needed"),
        ("a", "column 1: a is 3, a number, where true or false is needed"),
        ("3 in t", "column 6: in needs a list, not text"),
        ("x > y.z", "column 5: > compares numbers or texts, not true or false"),
    ],
)
def test_values_of_another_kind_than_is_needed(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse_constraint(text).violation(VALUES)
    assert str(found.value) == problem


def test_settings_are_named_once_with_their_first_column() -> None:
    assert parse_constraint("é.b + a > 2 * é.b or [c.d] == l").settings() == {"é.b": 1, "a": 7, "c.d": 23, "l": 31}


NESTED: dict[str, Callable[[int], str]] = {
    "parentheses": lambda n: "(" * n + "a" + ")" * n + " > 1",
    "signs": lambda n: "-" * n + "a > 1",
    "nots": lambda n: "not " * n + "x",
    "powers": lambda n: "9" + "**9" * n + " > 1",
    "factors": lambda n: "9" + "*9" * n + " > 1",
    "lists": lambda n: "[" * n + "]" * n + " == l",
    "attributes": lambda n: "a" + ".a" * n + " > 1",
    "digits": lambda n: "9" * n + " > a",
    "chains": lambda n: "a" + "<a" * n,
    "texts": lambda n: "'" + "a" * n + "' * 99999999 == t",
}


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("n", [30, 90, 190, 380, 5_000, 200_000])
def test_hostile_expressions_end_at_once(kind: str, n: int) -> None:
    """In processor time, so that a busy machine does not matter: each takes less than a hundredth of this."""
    started = time.process_time()
    try:
        found: Constraint | None = parse_constraint(NESTED[kind](n))
    except ConfigError as error:
        found = None
        assert len(error.problems) == 1
    if found is not None:
        values: dict[str, Any] = dict.fromkeys(found.settings(), 9e99)
        values.update({"x": True} if "x" in values else {})
        assert isinstance(found.violation(values), float)
    assert time.process_time() - started < 5


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text("ab.() +-*/<>=!'\"[]{},:@#\\\n0123", max_size=40))
def test_any_text_is_an_expression_or_is_refused(text: str) -> None:
    try:
        parse_constraint(text)
    except ConfigError as error:
        assert "column " in str(error)
