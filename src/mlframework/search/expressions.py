"""What an expression of `search.constraints` is made of, and what it comes to: nodes of our own, never run as Python.

What they mean is what they mean in Python; but what is compared or computed has to be of one kind: text is no number, and
a number is no truth.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MAX_BASE, _MAX_EXPONENT = 1e9, 64  # of a power, whose digits are many otherwise
KINDS = {"number": "a number", "text": "text", "truth": "true or false", "list": "a list", "null": "null"}
ORDER = ("<", "<=", ">", ">=")


def _power(base: float, exponent: float) -> float:
    if abs(base) > _MAX_BASE or abs(exponent) > _MAX_EXPONENT:
        raise OverflowError
    power = base**exponent
    if isinstance(power, complex):
        raise ArithmeticError
    return float(power) if isinstance(power, float) else power


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": _power,
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "in": lambda item, container: item in container,
    "not in": lambda item, container: item not in container,
}


class ExpressionError(Exception):
    """Something wrong at a column of the expression."""

    def __init__(self, column: int, what: str) -> None:
        super().__init__(what)
        self.column, self.what = column, what


@dataclass(frozen=True)
class Literal:
    """A value that stands in the expression."""

    column: int
    value: Any


@dataclass(frozen=True)
class Setting:
    """The value of a setting in the trial's config."""

    column: int
    key: str


@dataclass(frozen=True)
class Listing:
    """A list of values."""

    column: int
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Sign:
    """A number with a sign before it."""

    column: int
    negative: bool
    operand: Node


@dataclass(frozen=True)
class Arithmetic:
    """Two numbers that make a third."""

    column: int
    symbol: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Comparison:
    """A chain: the first is compared with the second, the second with the third."""

    column: int
    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Logic:
    """`and` or `or`: what decides comes first, the rest is not looked at."""

    column: int
    is_and: bool
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Not:
    """The opposite."""

    column: int
    operand: Node


Node = Literal | Setting | Listing | Sign | Arithmetic | Comparison | Logic | Not


def static_kind(node: Node) -> str | None:
    """Return the kind of a node's value as far as the expression tells, or None for a setting."""
    match node:
        case Literal(value=value):
            return kind_of(value)
        case Listing():
            return "list"
        case Sign() | Arithmetic():
            return "number"
        case Comparison() | Logic() | Not():
            return "truth"
    return None


def kind_of(value: object) -> str:
    """Return the kind of a value: `number`, `text`, `truth`, `list` or `null`."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "truth"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "list"


def need(kind: str, node: Node) -> Node:
    found = static_kind(node)
    if found not in (None, kind):
        raise ExpressionError(node.column, f"is {KINDS[found or '']}, where {KINDS[kind]} is needed")
    return node


def check_kinds(symbol: str, left: str, right: str, column: int) -> None:
    if symbol.endswith("in"):
        if right != "list" and (left, right) != ("text", "text"):
            raise ExpressionError(column, f"{symbol} needs a list, not {KINDS[right]}")
    elif left != right and not (symbol in ("==", "!=") and "null" in (left, right)):
        raise ExpressionError(column, f"{symbol} compares {KINDS[left]} with {KINDS[right]}")
    elif symbol in ORDER and left not in ("number", "text"):
        raise ExpressionError(column, f"{symbol} compares numbers or texts, not {KINDS[left]}")


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all within it."""
    yield node
    match node:
        case Listing(items=inner) | Logic(operands=inner):
            children: tuple[Node, ...] = inner
        case Sign(operand=operand) | Not(operand=operand):
            children = (operand,)
        case Arithmetic(left=left, right=right):
            children = (left, right)
        case Comparison(first=first, rest=rest):
            children = (first, *(each for _, each in rest))
        case _:
            children = ()
    for child in children:
        yield from walk(child)


def evaluate(node: Node, values: Mapping[str, Any]) -> Any:
    """Return the value of a node.

    Raises:
        ArithmeticError: it cannot be computed: a division by zero, a number too large.
        ExpressionError: a setting's value is of another kind than is needed.
    """
    match node:
        case Literal(value=value):
            return value
        case Setting(key=key):
            return values[key]
        case Listing(items=items):
            return [evaluate(item, values) for item in items]
        case Not(operand=operand):
            return not value_of("truth", operand, values)
        case Sign(negative=negative, operand=operand):
            number = value_of("number", operand, values)
            return -number if negative else number
        case Arithmetic(symbol=symbol, left=left, right=right):
            return ARITHMETIC[symbol](value_of("number", left, values), value_of("number", right, values))
        case Logic(is_and=is_and, operands=operands):
            found = (value_of("truth", operand, values) for operand in operands)
            return all(found) if is_and else any(found)
    return _compared(node, values)


def _compared(node: Comparison, values: Mapping[str, Any]) -> bool:
    left = evaluate(node.first, values)
    for symbol, operand in node.rest:
        right = evaluate(operand, values)
        if symbol not in ("==", "!="):  # a setting may be a number in one trial and text in another
            check_kinds(symbol, kind_of(left), kind_of(right), operand.column)
        if not COMPARISONS[symbol](left, right):
            return False
        left = right
    return True


def value_of(kind: str, node: Node, values: Mapping[str, Any]) -> Any:
    """Return the value of a node, which has to be of a kind.

    Raises:
        ExpressionError: it is of another one.
        ArithmeticError: it can't be computed.
    """
    value = evaluate(node, values)
    if kind_of(value) != kind:
        subject = f"{node.key} is {value!r}, " if isinstance(node, Setting) else "is "
        raise ExpressionError(node.column, f"{subject}{KINDS[kind_of(value)]}, where {KINDS[kind]} is needed")
    return value
