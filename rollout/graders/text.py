"""Graders of short texts: one number, the same words.

They use neither substring matching (a long enough answer contains anything) nor a percentage tolerance.
"""

from __future__ import annotations

import math
import re

from rollout.graders.verdict import Verdict, right, wrong
from rollout.graders.words import LONGEST_SHORT_ANSWER, numbers, shown

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def number(proposed: str, reference: str) -> Verdict:
    """Exactly one number, equal to the reference within 0.005 or a millionth of it (answers are rounded to 2 decimals).

    A reference below 0.1 allows a twentieth of itself, so that 0 is not 0.001. Thousands commas, a currency sign or a
    unit around the number are allowed.
    """
    found = _NUMBER.findall(re.sub(r"(?<=\d),(?=\d{3})", "", proposed))
    if len(found) != 1:
        return wrong(f"{shown(proposed)} has {len(found)} numbers and not one")
    wanted = float(reference)
    near = 0.05 * abs(wanted) if 0 < abs(wanted) < 0.1 else 0.005
    same = math.isclose(float(found[0]), wanted, rel_tol=1e-6, abs_tol=near)
    return right(f"{found[0]} is {reference}") if same else wrong(f"{found[0][:40]} is not {reference}")


def last_number(proposed: str, reference: str) -> Verdict:
    """The last number of a text that reasons, equal to the reference as :func:`number` compares."""
    found = numbers(proposed[-LONGEST_SHORT_ANSWER:])
    if not found:
        return wrong(f"{shown(proposed)} has no number")
    return number(repr(found[-1]), reference)


def text(proposed: str, reference: str) -> Verdict:
    """The same words. Case, surrounding quotes, spaces and a final full stop do not count."""
    if _plain(proposed) == _plain(reference):
        return right("it has the words of the reference")
    return wrong(f"{shown(proposed)} is not {shown(reference)}")


def _plain(answer: str) -> str:
    return " ".join(answer.strip().strip("\"'`").rstrip(".").split()).casefold()
