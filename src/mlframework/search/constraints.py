"""`search.constraints`: what every trial has to keep, written as an expression over settings.

An expression has numbers, text, lists, true, false and null, settings by their dotted key, `+ - * / // % **`,
comparisons (chained ones too), `in`, `and`, `or`, `not` and parentheses. Python's parser reads it; whatever is not listed
here is refused, and nothing is ever run as Python.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlframework.errors import ConfigError, Problem
from mlframework.search.expressions import (
    KINDS,
    ORDER,
    Arithmetic,
    Comparison,
    ExpressionError,
    Listing,
    Literal,
    Logic,
    Node,
    Not,
    Setting,
    Sign,
    check_kinds,
    evaluate,
    need,
    static_kind,
    value_of,
    walk,
)

MAX_LENGTH = 400
MAX_DEPTH = 40
_LEAST_VIOLATION = 1e-12
_CONSTANTS = {"true": True, "false": False, "null": None}
_ALLOWED = "numbers, text, lists, settings, + - * / // % **, comparisons, in, and, or, not"
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.In: "in",
    ast.NotIn: "not in",
}


@dataclass(frozen=True)
class Constraint:
    """What every trial has to keep.

    Attributes:
        text: as written.
        root: the expression.
        place: `file:line:column` of the text.
        key: `search.constraints.0`.
    """

    text: str
    root: Node
    place: str = ""
    key: str = ""

    def settings(self) -> dict[str, int]:
        """Return the dotted keys that it names, each with the column of its first mention."""
        found: dict[str, int] = {}
        for node in walk(self.root):
            if isinstance(node, Setting):
                found.setdefault(node.key, node.column)
        return found

    def violation(self, values: Mapping[str, Any]) -> float:
        """Return by how much a trial's config misses it; 0 or less where the constraint is kept.

        For one comparison `a <= b` (or `<`, `>=`, `>`) it is a - b, how far the one side is on the wrong side of the
        other, so that a sampler learns which draws were nearly right. For all else it is 1 or 0. What cannot be
        computed, as a division by zero, is not kept. A constraint on a setting that the trial does not have asks
        nothing of it.

        Args:
            values: dotted key to value, of the settings that the trial has.

        Raises:
            ConfigError: a setting's value is of another kind than the expression needs.
        """
        if any(key not in values for key in self.settings()):
            return 0.0
        try:
            return self._amount(values)
        except ArithmeticError:
            return 1.0
        except ExpressionError as error:
            raise ConfigError([self.problem(error.column, error.what)]) from None

    def problem(self, column: int, what: str) -> Problem:
        """Return a problem with what stands at a column of the text, counted from 1."""
        return Problem(self.place, self.key, f"column {column}: {what}")

    def _amount(self, values: Mapping[str, Any]) -> float:
        root, kept = self.root, value_of("truth", self.root, values)
        if not isinstance(root, Comparison) or len(root.rest) > 1 or root.rest[0][0] not in ORDER:
            return 0.0 if kept else 1.0
        ((symbol, last),) = root.rest
        sides = evaluate(root.first, values), evaluate(last, values)
        small, large = sides if symbol in ("<", "<=") else sides[::-1]
        if isinstance(small, str):
            return 0.0 if kept else 1.0
        amount = float(small - large)
        return min(amount, 0.0) if kept else max(amount, _LEAST_VIOLATION)


def parse_constraint(text: str, place: str = "", key: str = "") -> Constraint:
    """Read one expression.

    Args:
        text: the expression.
        place: `file:line:column` of it, for messages.
        key: its key, for messages.

    Raises:
        ConfigError: it is no expression, it holds what a constraint may not hold, or kinds do not fit.
    """
    line = re.sub(r"\s", " ", text)  # YAML may write it on several lines
    try:
        root = _converted(_syntax(line), line, 0)
        need("truth", root)
    except ExpressionError as error:
        raise ConfigError([Problem(place, key, f"column {error.column}: {error.what}")]) from None
    return Constraint(text, root, place, key)


def _syntax(line: str) -> ast.expr:
    if len(line) > MAX_LENGTH:
        raise ExpressionError(
            MAX_LENGTH + 1, f"is {len(line)} characters long, more than {MAX_LENGTH}; write several constraints"
        )
    if not line.strip():
        raise ExpressionError(1, "is empty; write a comparison such as 'training.batch_size <= 64'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(line.lstrip(), mode="eval").body
    except SyntaxError as error:
        column = _indent(line) + (error.offset or 1)
        raise ExpressionError(min(max(column, 1), len(line)), _explained(line, error)) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError(1, "cannot be read: is it nested too deep, or a number too long?") from None
    after = line.lstrip().encode()[tree.end_col_offset or 0 :].decode()
    if "#" in after:
        raise ExpressionError(line.rindex("#") + 1, "# starts a comment; a constraint has none")
    return tree


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _explained(line: str, error: SyntaxError) -> str:
    if re.search(r"(?<![=!<>])=(?!=)", line):
        return "sets a value; compare with ==, <= or >="
    if "&&" in line or "||" in line:
        return "is no expression; write and, or"
    return f"is no expression ({error.msg.partition('. Perhaps')[0]})"


def _converted(tree: ast.expr, line: str, depth: int) -> Node:
    """Turn Python's tree into ours; whatever is not listed here is refused."""
    column = _column(tree, line)
    if depth > MAX_DEPTH:
        raise ExpressionError(column, f"is nested more than {MAX_DEPTH} levels deep")

    def inner(child: ast.expr) -> Node:
        return _converted(child, line, depth + 1)

    match tree:
        case ast.Constant(value=value):
            return _literal(value, column)
        case ast.Name(id=name) if name in _CONSTANTS:
            return Literal(column, _CONSTANTS[name])
        case ast.Name() | ast.Attribute():
            return Setting(column, _dotted(tree, column))
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return Listing(column, tuple(inner(item) for item in items))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Not(column, need("truth", inner(operand)))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return Sign(column, isinstance(sign, ast.USub), need("number", inner(operand)))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            sides = need("number", inner(left)), need("number", inner(right))
            return Arithmetic(column, _ARITHMETIC[type(op)], *sides)
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(type(op) in _COMPARISONS for op in ops):
            symbols = [_COMPARISONS[type(op)] for op in ops]
            return _comparison(column, inner(left), symbols, [inner(each) for each in comparators])
        case ast.BoolOp(op=op, values=operands):
            return Logic(column, isinstance(op, ast.And), tuple(need("truth", inner(each)) for each in operands))
    raise ExpressionError(column, _refusal(tree))


def _column(tree: ast.expr, line: str) -> int:
    """Return where a node stands, in characters from 1: Python counts bytes."""
    return _indent(line) + len(line.lstrip().encode()[: tree.col_offset].decode()) + 1


def _literal(value: object, column: int) -> Literal:
    finite = isinstance(value, bool | int | str | None) or (isinstance(value, float) and math.isfinite(value))
    if not finite:
        raise ExpressionError(column, f"{value!r} cannot stand in a constraint; it may hold {_ALLOWED}")
    return Literal(column, value)


def _dotted(tree: ast.expr, column: int) -> str:
    parts: list[str] = []
    while isinstance(tree, ast.Attribute):
        parts.append(tree.attr)
        tree = tree.value
    if not isinstance(tree, ast.Name):
        raise ExpressionError(column, f"takes an attribute of a value; a constraint may hold {_ALLOWED}")
    return ".".join([tree.id, *reversed(parts)])


def _refusal(tree: ast.expr) -> str:
    if isinstance(tree, ast.Call):
        return f"calls a function; a constraint may hold {_ALLOWED}"
    if isinstance(tree, ast.Compare):
        return "is and is not compare objects; write == or !="
    return f"{ast.unparse(tree)[:40]!r} cannot stand in a constraint; it may hold {_ALLOWED}"


def _comparison(column: int, first: Node, symbols: list[str], others: list[Node]) -> Comparison:
    sides = [first, *others]
    for left, symbol, right in zip(sides, symbols, others, strict=False):
        kinds = static_kind(left), static_kind(right)
        if None not in kinds:
            check_kinds(symbol, kinds[0] or "", kinds[1] or "", right.column)
        elif symbol in ORDER and (odd := next((k for k in kinds if k not in (None, "number", "text")), None)):
            raise ExpressionError(right.column, f"{symbol} compares numbers or texts, not {KINDS[odd]}")
        elif symbol.endswith("in") and kinds[1] not in (None, "list", "text"):
            raise ExpressionError(right.column, f"{symbol} needs a list, not {KINDS[kinds[1] or '']}")
    return Comparison(column, first, tuple(zip(symbols, others, strict=True)))
