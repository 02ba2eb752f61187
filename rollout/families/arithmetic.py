"""Arithmetic of an expression that a model wrote.

Contract: the expression is read as Python's arithmetic and evaluated node by node; nothing of it is run. Length, depth
and the size of numbers are bounded, so that a call takes well under a millisecond.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

LONGEST = 1000
"""Characters of an expression."""
_MOST_BITS = 10_000
"""Size of a whole number."""
_BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.AST], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "max": max, "min": min, "round": round, "sum": sum}


def evaluate(expression: str) -> Any:
    """The value: a number, or a list of numbers. Knows ``+ - * / // % **`` and abs, max, min, round and sum.

    Raises:
        ValueError: it is no arithmetic, too large, or has no value.
    """
    if len(expression) > LONGEST:
        raise ValueError("it is too long")
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body)
    except (ArithmeticError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError) as fault:
        raise ValueError(str(fault) or type(fault).__name__) from None


def _value(node: ast.expr) -> Any:
    """A number or a list of numbers."""
    if isinstance(node, ast.List | ast.Tuple):
        return [_number(part) for part in node.elts]
    return _call(node) if isinstance(node, ast.Call) else _number(node)


def _call(node: ast.Call) -> Any:
    """The result of one of the known functions."""
    if not isinstance(node.func, ast.Name) or node.keywords:
        raise ValueError("it calls no function of arithmetic")
    return _FUNCTIONS[node.func.id](*map(_value, node.args))


def _number(node: ast.expr) -> int | float:
    """The number that a node stands for. Raises ValueError for anything else."""
    value: Any = None
    if isinstance(node, ast.Constant):
        value = node.value
    elif isinstance(node, ast.Call):
        value = _call(node)
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        value = _UNARY[type(node.op)](_number(node.operand))
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _number(node.left), _number(node.right)
        _check_size(node.op, left, right)
        value = _BINARY[type(node.op)](left, right)
    if not isinstance(value, int | float):
        raise ValueError(f"{type(node).__name__} is no arithmetic")
    return value


def _check_size(sign: ast.operator, left: float, right: float) -> None:
    """Raises ValueError when the result would be a whole number that takes long to compute or to print."""
    if not (isinstance(left, int) and isinstance(right, int)):
        return
    bits = left.bit_length() * abs(right) if isinstance(sign, ast.Pow) else left.bit_length() + right.bit_length()
    if isinstance(sign, ast.Pow | ast.Mult) and bits > _MOST_BITS:
        raise ValueError("the number is too large")
