"""Graders of short answers in words: ``exact``, ``yes_no``, ``short_answer``, and ``environment``.

They replace the substring rule of the reference system (MINT, arXiv 2309.10691), which accepts "no" inside "not" and
"know", and its tolerance, which can never accept a negative number.
"""

from __future__ import annotations

import re

from rollout.graders.verdict import Verdict, right, wrong
from rollout.graders.words import LONGEST_SHORT_ANSWER, holds, number_of, shown, words

TOLERANCE = 0.05
"""Relative tolerance of ``short_answer`` (MINT's)."""
_TRUTH = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
_PREAMBLE = re.compile(r"(?:so |thus |therefore |hence )?(?:the |my )?(?:final |correct )?answer(?: is)?\b")
_FORMULA = re.compile(r"\d\s*(?:\\?\*|\\cdot|\^)\s*\(?\\?[^\W\d_]|\d\s*\\?(?:π|pi\b)|[^\W\d_)]\s*(?:\\?\*|/|\^)\s*\d")
"""A number beside a name, such as ``2*pi`` or ``x/2``: its value is not that of the number."""
_YEARS = (1000.0, 2100.0)
_BETWEEN = re.compile(r"[,;\n|/]|\b(?:or|and)\b", re.IGNORECASE)
_GUESSES = 3
"""Items beyond those of the reference that make an answer a list of guesses."""
_LONGEST_ITEM = 5


def exact(proposed: str, reference: str) -> Verdict:
    """The same text; spaces around it do not count."""
    if proposed.strip() == reference.strip():
        return right("it is the reference")
    return wrong(f"{shown(proposed)} is not {shown(reference)}")


def yes_no(proposed: str, reference: str) -> Verdict:
    """``yes`` or ``no`` as the first word of the answer, or after "the answer is"; true and false count as them.

    Raises:
        ValueError: the reference is neither.
    """
    wanted = _TRUTH.get(reference.strip().lower())
    if wanted is None:
        raise ValueError(f'the answer of a task with the grader yes_no must be "yes" or "no", not {shown(reference)}')
    said = said_yes_or_no(proposed)
    if said is None:
        return wrong(f"{shown(proposed)} does not answer yes or no")
    return right(f"it says {said}") if said == wanted else wrong(f"it says {said} and not {wanted}")


def said_yes_or_no(proposed: str) -> str | None:
    """``yes`` or ``no`` if a text answers with it, else None."""
    plain = " ".join(words(proposed[:LONGEST_SHORT_ANSWER]))
    first = _PREAMBLE.sub("", plain, count=1).split()[:1] if _PREAMBLE.match(plain) else plain.split()[:1]
    return _TRUTH.get(first[0]) if first else None


def short_answer(proposed: str, reference: str) -> Verdict:
    """A few words or a number, as HotpotQA asks for (MINT's rule, made exact).

    A number is right within 5 % of the reference and with its sign; a whole number from 1000 to 2100 may be a year and
    must be the same. Otherwise the words of the reference must follow one another in the answer as whole words,
    without case, accents, punctuation or a leading article. A list of names that is longer than the reference by three
    is a list of guesses. ``yes`` and ``no`` count as the answer only.
    """
    proposed = proposed[:LONGEST_SHORT_ANSWER]
    if (wanted := reference.strip().lower()) in ("yes", "no"):
        return yes_no(proposed, wanted)
    if proposed.strip().casefold() == reference.strip().casefold():
        return right("it is the reference")
    value = _plain_number(reference)
    if value is not None and _FORMULA.search(proposed.rpartition("=")[2]):
        return wrong(f"{shown(proposed)} is a formula and not {value:g}")
    if value is not None and (said := number_of(proposed)) is not None:
        if value.is_integer() and _YEARS[0] <= value <= _YEARS[1]:
            near = said == value
        else:
            near = abs(said - value) <= TOLERANCE * abs(value)
        return right(f"{said:g} is near {value:g}") if near else wrong(f"{said:g} is not {value:g}")
    if _guesses(proposed, reference):
        return wrong(f"{shown(proposed)} is a list of guesses")
    if holds(words(proposed), _without_article(words(reference))):
        return right("it has the words of the reference")
    return wrong(f"{shown(proposed)} does not have the words of {shown(reference)}")


def environment(proposed: str, reference: str) -> Verdict:
    """Always wrong: the environment ends a solved episode itself, such as a game that is won. No answer can."""
    return wrong("success comes from the environment and not from an answer")


def _plain_number(reference: str) -> float | None:
    try:
        return float(reference.replace(",", ""))
    except ValueError:
        return None


def _guesses(proposed: str, reference: str) -> bool:
    """Whether an answer lists short items, by three more than the reference has."""
    items, known = (
        [found for part in _BETWEEN.split(text) if (found := words(part))] for text in (proposed, reference)
    )
    return len(items) >= len(known) + _GUESSES and all(len(item) <= _LONGEST_ITEM for item in items)


def _without_article(found: list[str]) -> list[str]:
    articles = {"the", "a", "an"}
    return found[1:] if found[:1] and found[0] in articles and set(found[1:]) - articles else found
