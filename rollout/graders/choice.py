"""The grader ``choice``: one letter of several options, or the text of that option."""

from __future__ import annotations

import math
import re

from rollout.graders.verdict import Verdict, right, wrong
from rollout.graders.words import LONGEST_SHORT_ANSWER, holds, number_of, read_reference, shown, words

_ALONE = re.compile(r"[\s(\[*\"']*([A-Za-z])[\s)\].:*\"']*")
_FIRST = re.compile(r"[\s(\[*\"']*(?:option |choice )?([A-Za-z])\s*[)\].:]", re.IGNORECASE)
_NAMED = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+(?:is|would be|must be))?\s*:?\s*(?:option |choice )?"
    r"(?:\(\s*([a-z])\s*\)|([a-z])(?=\s*[).:]|\s*$|\s*,))",
    re.IGNORECASE,
)

_DASHES = str.maketrans("−–", "--")
_FAR = 9
_FORMULA = re.compile(r"[+*^<>]|[\w)]\s*[-−–]\s*\w")


def choice(proposed: str, reference: str) -> Verdict:
    """The letter of the right option ("d", "(D)", "D) 240", "The answer is D."), or the text of that option.

    Args:
        reference: ``{"letter": "d", "options": ["12", "22", "840", "240"]}``.
    """
    known = read_reference(reference, "choice", "letter", "options")
    letter, options = str(known["letter"]).strip().lower(), [str(option) for option in known["options"]]
    number = ord(letter) - ord("a") if len(letter) == 1 else -1
    if not 0 <= number < len(options):
        raise ValueError(f"the letter {letter!r} is none of the {len(options)} options")
    proposed = proposed[:LONGEST_SHORT_ANSWER]
    said = _letter(proposed, options)
    if said is not None:
        return right(f"it chooses {said}") if said == letter else wrong(f"it chooses {said} and not {letter}")
    chosen = _by_text(proposed, options)
    if not chosen:
        return wrong(f"{shown(proposed)} is none of the options")
    if number in chosen and len({options[index].strip() for index in chosen}) == 1:
        return right(f"it has the text of option {letter}, which other options share")
    names = " and ".join(chr(ord("a") + index) for index in chosen)
    if chosen == [number]:
        return right(f"it has the text of option {letter}")
    return wrong(f"it has the text of {'option' if len(chosen) == 1 else 'options'} {names} and not {letter}")


def _letter(proposed: str, options: list[str]) -> str | None:
    """The letter that an answer names, if it is the letter of an option and the answer is not an option's text."""
    letters = [chr(ord("a") + index) for index in range(len(options))]
    if (alone := _ALONE.fullmatch(proposed)) and alone[1].lower() in letters:
        return alone[1].lower()
    if _squeezed(proposed) in map(_squeezed, options):
        return None
    for form in (_FIRST.match(proposed), *reversed([*_NAMED.finditer(proposed)])):
        said = next((group.lower() for group in form.groups() if group), None) if form else None
        if said in letters:
            return said
    return None


def _by_text(proposed: str, options: list[str]) -> list[int]:
    """The options whose text the answer has: the whole answer, its end after "is", then anywhere in it.

    The nearest options count: the same signs before the same words, and these before a number that is rounded. An
    option whose words are part of those of another found option does not count.
    """
    for part in (proposed, proposed.rpartition(" is ")[2], proposed.rpartition("=")[2]):
        distances = [_distance(part, option) for option in options]
        if min(distances) < _FAR:
            return [index for index, distance in enumerate(distances) if distance == min(distances)]
    found = words(proposed)
    held = {
        index: wanted
        for index, option in enumerate(options)
        if holds(found, wanted := words(option))
        and (not _FORMULA.search(option) or _squeezed(option) in _squeezed(proposed))
    }
    return [
        index
        for index, wanted in held.items()
        if not any(len(other) > len(wanted) and holds(other, wanted) for other in held.values())
    ]


def _distance(said: str, option: str) -> int:
    """-1: the same text; 0: all its signs; 1: the same words and signs; 2: the same number; 3: rounded; else far."""
    if said.strip() == option.strip():
        return -1
    if _squeezed(said) == _squeezed(option):
        return 0
    if words(said) == words(option) and _operators(said) == _operators(option):
        return 1
    value, wanted = number_of(said), number_of(option)
    if value is None or wanted is None or _FORMULA.search(said) or _FORMULA.search(option):
        return _FAR
    unit, known = _unit(said), _unit(option)
    if unit and known and unit != known:
        return _FAR
    if math.isclose(value, wanted, rel_tol=1e-9):
        return 2
    return 3 if math.isclose(value, wanted, rel_tol=1e-3) else _FAR


def _squeezed(text: str) -> str:
    return re.sub(r"[\s$]", "", text.translate(_DASHES)).casefold()


def _operators(text: str) -> str:
    """What words leave out and still matters: the signs of formulas."""
    return re.sub(r"[\w\s.,;:'\"!?$()\\]", "", text.strip().translate(_DASHES))


def _unit(text: str) -> list[str]:
    return [word for word in words(text) if word.isalpha() and word != "frac"]
