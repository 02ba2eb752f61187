"""The grader ``theoremqa``: bools, numbers, lists of numbers and options (TheoremQA, arXiv 2305.12524).

The tolerance is the data set's: 4 % for numbers with a fraction, the nearest whole number for integers. Lists are
compared without regard to their order, as the data set's program does.
"""

from __future__ import annotations

import ast
import math
import re
from typing import Any

from rollout.graders.short import said_yes_or_no
from rollout.graders.verdict import Verdict, right, wrong
from rollout.graders.words import LONGEST_SHORT_ANSWER, number_of, numbers, read_reference, shown

TOLERANCE = 0.04
"""Relative tolerance for numbers with a fraction."""
_LIST = re.compile(r"\[[^\[\]]*\]|\([^()]*,[^()]*\)")
_OPTION = re.compile(r"\(?\s*\b([a-zA-Z])\b\s*\)?")
_NAMED_NUMBERS = {"pi": math.pi, "\\pi": math.pi, "π": math.pi, "e": math.e, "-pi": -math.pi}
_POWER_OF_TEN = re.compile(r"\s*(?:\*|×|\\times|\\cdot|x)\s*10\s*(?:\^|\*\*)\s*\{?\s*([-−+]?\d+)\s*\}?")


def theoremqa(proposed: str, reference: str) -> Verdict:
    """Compares by the type of the answer.

    Args:
        reference: ``{"answer": ..., "type": "bool" | "integer" | "float" | "list of integer" | "list of float" |
            "option"}``.
    """
    known = read_reference(reference, "theoremqa", "answer", "type")
    answer, kind = known["answer"], str(known["type"])
    said = proposed[:LONGEST_SHORT_ANSWER].strip()
    if kind == "bool":
        wanted = "yes" if str(answer).strip().lower() in ("true", "yes", "1") else "no"
        found = said_yes_or_no(said)
        return right(f"it says {wanted}") if found == wanted else wrong(f"{shown(proposed)} is not {answer}")
    if kind == "option":
        return _option(said, str(answer))
    if kind.startswith("list"):
        return _list(said, answer)
    if kind not in ("integer", "float"):
        raise ValueError(f"{kind!r} is no type of answer of the grader theoremqa")
    value = number_in(said)
    if value is None:
        return wrong(f"{shown(proposed)} is not one number")
    same = _same(value, int(answer) if kind == "integer" else float(answer))
    return right(f"{value:g} is {answer}") if same else wrong(f"{value:g} is not {answer}")


def number_in(text: str) -> float | None:
    """The number that a text stands for, with powers of ten, percent signs and multiples of π read."""
    plain = _POWER_OF_TEN.sub(lambda power: f"e{power[1].replace('−', '-')}", text.strip().strip("$").strip())
    if plain.rstrip(".") in _NAMED_NUMBERS:
        return _NAMED_NUMBERS[plain.rstrip(".")]
    value = number_of(plain)
    if value is None:
        return _last_value(plain)
    if plain.rstrip(".").endswith("%"):
        return value / 100
    return value * math.pi if re.search(r"\d\s*\*?\s*(?:\\?pi\b|π)", plain) else value


def _last_value(text: str) -> float | None:
    """The number after the last "is" or equals sign of a sentence."""
    tail = re.split(r"\bis\b|=|≈|\\approx", text)[-1]
    found = numbers(tail)
    return found[0] if tail != text and len(found) == 1 else None


def _same(value: float, answer: Any) -> bool:
    if isinstance(answer, int):
        return math.isfinite(value) and round(value) == answer
    return math.isclose(value, float(answer), rel_tol=0.0, abs_tol=TOLERANCE * abs(float(answer)) or 1e-9)


def _list(said: str, answer: Any) -> Verdict:
    wanted = ast.literal_eval(answer) if isinstance(answer, str) else answer
    inside = _LIST.findall(said)
    found = [number_of(part) for part in (inside[-1] if inside else said).strip("[]() ").split(",") if part.strip()]
    if any(value is None for value in found) or len(found) != len(wanted):
        return wrong(f"{shown(said)} is not a list of {len(wanted)} numbers")
    pairs = zip(sorted(value for value in found if value is not None), sorted(wanted, key=float), strict=True)
    return right("it is the list") if all(_same(*pair) for pair in pairs) else wrong(f"{shown(said)} is not {wanted}")


def _option(said: str, answer: str) -> Verdict:
    wanted = answer.strip("() ").lower()
    plain = re.sub(r"(?i)\b(?:the answer is|answer|option)\b", "", said)
    letters = [letter.lower() for letter in _OPTION.findall(plain)]
    if letters[:1] == [wanted] and (len(letters) == 1 or re.match(r"\(?\s*[a-zA-Z]\s*[).:]", said)):
        return right(f"it chooses {wanted}")
    return wrong(f"{shown(said)} is not option {wanted}")
