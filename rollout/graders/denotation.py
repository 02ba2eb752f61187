"""The grader ``denotation``: an answer over a table is a set of values (WikiTableQuestions, arXiv 1508.00305).

The rule is that of the data set's official program: the answer must have as many different values as the reference,
and each value of the reference must match one of them. Two values match as numbers within 0.000001, as dates with the
same parts, or as normalised text. Normalised text has no case, accents, footnote marks, text in brackets at its end,
quotation marks around it, or final full stop.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata

from rollout.graders.verdict import Verdict, right, wrong
from rollout.graders.words import LONGEST_SHORT_ANSWER, shown

_PRECISION = 1e-6
_QUOTES = {"‘": "'", "’": "'", "´": "'", "`": "'", "“": '"', "”": '"'}
_DASHES = dict.fromkeys("‐‑‒–—−", "-")
_SIGNS = str.maketrans(_QUOTES | _DASHES)
_FOOTNOTE = re.compile(r"((?<!^)\[[^\]]*\]|\[\d+\]|[•♦†‡*#+])*$")
_DETAIL = re.compile(r"(?<!^)( \([^)]*\))*$")
_QUOTED = re.compile(r'^"([^"]*)"$')
_COMMAS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DATE = re.compile(r"(\d{4}|xx|xxxx)-(\d{1,2}|xx)-(\d{1,2}|xx)", re.IGNORECASE)

Value = tuple[str, float | tuple[int, int, int] | None]
"""Normalised text, and the number or the date that it stands for."""


def denotation(proposed: str, reference: str) -> Verdict:
    """The same set of values.

    Args:
        proposed: a list in Python's or JSON's form, or one value.
        reference: a JSON list of strings.
    """
    wanted = _references(reference)
    found = list(dict.fromkeys(map(read_value, read_items(proposed[:LONGEST_SHORT_ANSWER]))))
    targets = list(dict.fromkeys(map(read_value, wanted)))
    if len(found) != len(targets):
        return wrong(f"it has {_values(len(found))}, the reference has {_values(len(targets))}")
    for target in targets:
        if not any(_match(target, value) for value in found):
            return wrong(f"{shown(target[0])} is not among its values")
    return right("it has the values of the reference")


def read_items(proposed: str) -> list[str]:
    """The items of a proposed answer: of a list or tuple, else the answer as one item (MINT's rule)."""
    text = proposed.strip()
    if not text.startswith(("[", "(", "{", '"', "'")):  # else 100,000 would be two numbers
        return [text]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return [text]
    if isinstance(value, list | tuple | set | frozenset):
        return [item if isinstance(item, str) else str(item) for item in value]
    return [value if isinstance(value, str) else text]


def normalise(text: str) -> str:
    """The text by which values are compared."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", text) if unicodedata.category(sign) != "Mn")
    plain = plain.translate(_SIGNS)
    while True:
        before = plain
        plain = _FOOTNOTE.sub("", plain.strip())
        plain = _DETAIL.sub("", plain.strip())
        plain = _QUOTED.sub(r"\1", plain.strip())
        if plain == before:
            break
    plain = plain.removesuffix(".")
    return " ".join(plain.split()).lower().strip()


def read_value(text: str) -> Value:
    """A value as normalised text, with the number or date that it stands for."""
    plain = normalise(text)
    bare = plain.replace(",", "") if _COMMAS.fullmatch(plain) else plain
    try:
        number = float(bare)
    except ValueError:
        return plain, _date(plain)
    return (plain, number) if number == number and abs(number) != float("inf") else (plain, None)


def _date(plain: str) -> tuple[int, int, int] | None:
    match = _DATE.fullmatch(plain)
    if not match:
        return None
    year, month, day = (-1 if "x" in part.lower() else int(part) for part in match.groups())
    return (year, month, day) if month <= 12 and day <= 31 else None


def _match(target: Value, value: Value) -> bool:
    if target[0] == value[0]:
        return True
    if isinstance(target[1], float) and isinstance(value[1], float):
        return abs(target[1] - value[1]) < _PRECISION
    return target[1] is not None and target[1] == value[1]


def _references(reference: str) -> list[str]:
    try:
        found = json.loads(reference)
    except ValueError:
        found = None
    if not isinstance(found, list) or not found:
        raise ValueError("the answer of a task with the grader denotation must be a JSON list of strings")
    return [str(item) for item in found]


def _values(number: int) -> str:
    return "1 value" if number == 1 else f"{number} values"
