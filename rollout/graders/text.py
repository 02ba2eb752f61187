"""Graders of short texts: one number, the same words.

They use neither substring matching (a long enough answer contains anything) nor a percentage tolerance.
"""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def number(proposed: str, reference: str) -> bool:
    """Exactly one number, equal to the reference within 0.005 or a millionth of it (answers are rounded to 2 decimals).

    Thousands commas, a currency sign or a unit around the number are allowed.
    """
    found = _NUMBER.findall(re.sub(r"(?<=\d),(?=\d{3})", "", proposed))
    if len(found) != 1:
        return False
    return math.isclose(float(found[0]), float(reference), rel_tol=1e-6, abs_tol=0.005)


def text(proposed: str, reference: str) -> bool:
    """The same words. Case, surrounding quotes, spaces and a final full stop do not count."""
    return _plain(proposed) == _plain(reference)


def _plain(answer: str) -> str:
    return " ".join(answer.strip().strip("\"'`").rstrip(".").split()).casefold()
