"""Reading short answers: words, single numbers and references in JSON.

Contract: pure functions of text; linear in its length. Nothing here decides whether an answer is right.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import Any

NUMBER = re.compile(r"[-−–]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_WORD = re.compile(r"(?<![\w)])-\d+(?:\.\d+)?|\d+(?:\.\d+)?|[^\W\d_]+")
_FRACTION = re.compile(r"\\[dt]?frac\s*\{?\s*([-\d.]+)\s*\}?\s*\{?\s*([-\d.]+)\s*\}?")
_QUOTIENT = re.compile(r"([-−]?[\d.]+)\s*/\s*([\d.]+)")
LONGEST_SHORT_ANSWER = 20_000
"""Characters of a proposed answer that the light graders read."""


def words(text: str) -> list[str]:
    """Its words in lower case and without accents; signs separate words, a number stays whole and keeps its minus."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return _WORD.findall(_THOUSANDS.sub("", plain.replace("−", "-").replace("–", "-")).casefold())


def holds(found: list[str], wanted: list[str]) -> bool:
    """Whether the wanted words follow one another somewhere in the words that were found."""
    size = len(wanted)
    return bool(wanted) and any(found[at : at + size] == wanted for at in range(len(found) - size + 1))


def numbers(text: str) -> list[float]:
    """Every finite number in a text; thousands commas are read, and a dash between two digits is no sign."""
    plain = _THOUSANDS.sub("", text)
    found = []
    for match in NUMBER.finditer(plain):
        digits = match[0].replace("−", "-").replace("–", "-")
        if digits.startswith("-") and match.start() and plain[match.start() - 1].isalnum():
            digits = digits[1:]
        value = float(digits)
        if math.isfinite(value):
            found.append(value)
    return found


def number_of(text: str) -> float | None:
    """The number that a whole text stands for, such as ``$1,234.50``, ``12 km``, ``5/2`` or ``\\frac{5}{2}``.

    None when it holds no number or several.
    """
    plain = _FRACTION.sub(r"\1/\2", _THOUSANDS.sub("", text.replace("\\$", "").replace("$", "")).strip())
    quotient = _QUOTIENT.fullmatch(plain.rstrip("."))
    try:
        if quotient and float(quotient[2]):
            return float(quotient[1].replace("−", "-")) / float(quotient[2])
    except ValueError:
        return None
    found = numbers(plain)
    return found[0] if len(found) == 1 else None


def shown(text: object, most: int = 60) -> str:
    """A text as a reason quotes it: on one line and short."""
    line = " ".join(str(text).split())
    return repr(line if len(line) <= most else f"{line[:most]}…")


def read_reference(reference: str, grader: str, *keys: str) -> dict[str, Any]:
    """A reference in JSON with these keys.

    Raises:
        ValueError: it has another form; the task is broken.
    """
    try:
        found = json.loads(reference)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not set(keys) <= set(found):
        wanted = ", ".join(f'"{key}"' for key in keys)
        raise ValueError(f"the answer of a task with the grader {grader} must be a JSON object with {wanted}")
    return found
