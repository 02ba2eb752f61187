"""Compares outputs and results of APPS (arXiv 2105.09938): white space, numbers, line by line.

The data set's program also accepts the right words and lines in any order; only the legacy rule does that here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def same_output(printed: str, expected: str) -> bool:
    """The same lines without empty ones and without white space around and between words; numbers within 1e-5."""
    found, wanted = _lines(printed), _lines(expected)
    return len(found) == len(wanted) and all(map(_same_words, found, wanted))


def unordered_output(printed: str, expected: str) -> bool:
    """As :func:`same_output`, or the same sets of words a line, in any order of the lines (the reference's rule)."""
    same_sets = {frozenset(line) for line in _lines(printed)} == {frozenset(line) for line in _lines(expected)}
    return same_output(printed, expected) or same_sets


def same_value(code: Any, expected: Any) -> bool:
    """Whether a function's result is the expected JSON value, or the only item of the expected list.

    Args:
        code: the result in the form of :func:`rollout.graders.code.in_kernel.encode`. A tuple counts as a list.
    """
    try:
        value = _plain(code)
    except (TypeError, ValueError, LookupError, RecursionError):
        return False
    return _same(value, expected) or (isinstance(expected, list) and len(expected) == 1 and _same(value, expected[0]))


def _lines(text: str) -> list[list[str]]:
    return [words for line in text.splitlines() if (words := line.split())]


def _same_words(found: list[str], wanted: list[str]) -> bool:
    return len(found) == len(wanted) and all(a == b or _near(a, b) for a, b in zip(found, wanted, strict=True))


def _near(found: str, wanted: str) -> bool:
    try:
        return math.isclose(float(found), float(wanted), rel_tol=1e-5, abs_tol=1e-8)
    except ValueError:
        return False


def _plain(code: Any) -> Any:
    if not isinstance(code, list):
        return code
    tag, body = code[0], code[1]
    if tag in ("l", "t"):
        return [_plain(item) for item in body]
    if tag == "d":
        return {_plain(key): _plain(item) for key, item in body}
    readers: dict[str, Callable[[str], Any]] = {"s": str, "i": lambda text: int(text, 16), "f": float.fromhex}
    return readers[tag](body)


def _same(value: Any, expected: Any) -> bool:
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected or (type(value) in (int, bool) and type(expected) in (int, bool) and value == expected)
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return value == expected or math.isclose(value, expected, rel_tol=1e-9)
    if isinstance(value, list) and isinstance(expected, list):
        return len(value) == len(expected) and all(map(_same, value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        named = {str(key): item for key, item in value.items()}
        return set(named) == {str(key) for key in expected} and all(
            _same(named[str(k)], v) for k, v in expected.items()
        )
    return bool(value == expected)
