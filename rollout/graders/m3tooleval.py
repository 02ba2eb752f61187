"""The grader ``m3tooleval``: the value that a task of M3ToolEval expects (CodeAct, arXiv 2402.01030, section 2.2).

The reference is JSON: ``{"value": "[1.0, 2.0]", "decimals": 2, "also": ["3"]}``. ``value`` is the expected value as a
Python literal: a str, float, int, list, dict, tuple or bool. ``decimals``, when the task asks for a rounded number, is
the number of its decimals; ``also`` are further right values.

The answer is the bare value. A text must be the same, with or without quotes. A number may have thousands commas and a
currency sign, and must be equal within 1e-9 of itself; with ``decimals``, the rounded value is right, too. Structures
are compared by value: lists and tuples in their order, dictionaries in any. Nothing of the answer is run: structures
are read by ``ast.literal_eval``, at most 2,000 characters.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rollout.graders.verdict import Verdict, right, wrong
from rollout.graders.words import LONGEST_SHORT_ANSWER, read_reference, shown

LONGEST_STRUCTURE = 2000
"""Characters of a list, tuple or dictionary that is read."""
_TOLERANCE = 1e-9
"""Relative: another order of the same operations changes the last digits."""
_NUMBER = re.compile(r"[-+]?[$€£]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_UNREADABLE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def m3tooleval(proposed: str, reference: str) -> Verdict:
    """Whether an answer is one of the right values.

    Raises:
        ValueError: the reference has another form; the task is broken.
    """
    known = read_reference(reference, "m3tooleval", "value")
    answer = proposed[:LONGEST_SHORT_ANSWER].strip()
    for value in _values(known):
        if _is(answer, value, known.get("decimals")):
            return right(f"{shown(answer)} is {shown(value)}")
    return wrong(f"{shown(answer)} is not {shown(known['value'])}")


def expected_values(reference: str) -> tuple[list[Any], int | None]:
    """The right values of a task, the benchmark's first, and the decimals that it asks for.

    Raises:
        ValueError: the reference has another form.
    """
    known = read_reference(reference, "m3tooleval", "value")
    return _values(known), known.get("decimals")


def _values(known: Mapping[str, Any]) -> list[Any]:
    try:
        return [ast.literal_eval(text) for text in (known["value"], *known.get("also", ()))]
    except _UNREADABLE as fault:
        raise ValueError(f"the answer of a task with the grader m3tooleval is no Python literal: {fault}") from None


def _is(answer: str, expected: Any, decimals: int | None) -> bool:
    """Whether a text stands for a value, by the type of the value."""
    if isinstance(expected, str):
        return expected in (answer, _unquoted(answer))
    if isinstance(expected, bool):
        return _unquoted(answer).lower() == str(expected).lower()
    if isinstance(expected, int | float):
        number = _number(_unquoted(answer))
        return number is not None and _near(number, expected, decimals)
    return _same(_structure(answer), expected)


def _unquoted(answer: str) -> str:
    """The text between a pair of quotes or backticks."""
    quoted = len(answer) > 1 and answer[0] == answer[-1] and answer[0] in "\"'`"
    return answer[1:-1].strip() if quoted else answer


def _number(text: str) -> float | None:
    """The number that a whole text is; None for anything else."""
    if not _NUMBER.fullmatch(text):
        return None
    with suppress(ValueError, OverflowError):
        number = float(re.sub("[,$€£]", "", text))
        return number if math.isfinite(number) else None
    return None


def _near(number: float, expected: float, decimals: int | None = None) -> bool:
    """Equal to the expected number, or to what it is rounded to."""
    targets = [expected] if decimals is None else [expected, round(expected, decimals)]
    return any(math.isclose(number, target, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for target in targets)


def _structure(answer: str) -> Any:
    """The list, tuple or dictionary that a text is, in Python's or JSON's form; None for anything else."""
    if len(answer) > LONGEST_STRUCTURE:
        return None
    for text in (answer, _unquoted(answer)):  # 'a', 'b' is a tuple, and its outer quotes are no pair
        for read in (ast.literal_eval, json.loads):
            with suppress(*_UNREADABLE):
                value = read(text)
                if isinstance(value, list | tuple | dict):
                    return value
    return None


def _same(value: Any, expected: Any) -> bool:
    """Whether two values are the same; the text of a number stands for it."""
    if isinstance(expected, dict):
        if not isinstance(value, dict) or set(value) != set(expected):
            return False
        return all(_same(value[key], part) for key, part in expected.items())
    if isinstance(expected, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(expected):
            return False
        return all(map(_same, value, expected))
    if isinstance(expected, str | bool) or isinstance(value, bool):
        return type(value) is type(expected) and bool(value == expected)
    number = _number(value.strip()) if isinstance(value, str) else value
    return isinstance(number, int | float) and _near(number, expected)


def legacy_m3tooleval(proposed: str, reference: str) -> Verdict:
    """The reference system's rule, worked out from its defects.

    Equal as text or after ``int()`` or ``float()`` of both, which takes the whole part of an expected fraction; or the
    text of the answer's literal is that of the expected value. Structures are equal as the exact text only.
    """
    expected = expected_values(reference)[0][0]
    answer: Any = proposed.strip()
    if isinstance(expected, list | tuple | dict):
        same = answer == str(expected)
    elif answer == expected or _coerced(answer) == _coerced(expected):
        same = True
    else:
        with suppress(*_UNREADABLE):
            answer = ast.literal_eval(answer[:LONGEST_STRUCTURE])
        same = str(answer) == str(expected)
    return right(f"{shown(proposed)} passes") if same else wrong(f"{shown(proposed)} is not {shown(expected)}")


def _coerced(value: Any) -> Any:
    """A whole number if ``int`` makes one, else a number, else the value."""
    for kind in (int, float):
        with suppress(ValueError, OverflowError):
            return kind(value)
    return value
