"""The grader ``math``: equal answers in LaTeX or plain text (for MATH, arXiv 2103.03874).

Contract: equal texts, numbers and words are decided here; everything else is compared by symbolic algebra in a process
that is ended at its limits (:mod:`rollout.graders.algebra`), which is no verdict. An answer of more than 1,000
characters is wrong when it is prose, else it is no verdict.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rollout.graders.math_text import LONGEST_ANSWER, extract, is_prose, is_words, nesting, normalise, squeezed
from rollout.graders.processes import Ended, algebra
from rollout.graders.verdict import Verdict, right, wrong
from rollout.graders.words import shown

MOST_NESTED = 40
"""Brackets within brackets of an answer that is compared; a parser needs its stack for each."""
_DECIMAL = re.compile(r"[-+]?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})(?:[eE][-+]?\d{1,3})?")


def math_answer(proposed: str, reference: str) -> Verdict:
    """The same mathematical object: ``1/2`` for ``\\frac{1}{2}``, ``x+1`` for ``1+x``, ``{2,1}`` for ``1,2``.

    Raises:
        Ended: the answers cannot be compared within the limits.
        ValueError: the reference is empty.
    """
    wanted = normalise(extract(reference) if "\\boxed" in reference else reference)
    if not wanted:
        raise ValueError("the answer of a task with the grader math is empty")
    answer = extract(proposed)
    if len(answer) > LONGEST_ANSWER:
        if is_prose(answer):
            return wrong(f"it has no answer of at most {LONGEST_ANSWER:,} characters")
        raise Ended("task", f"an expression of {len(answer):,} characters is not compared")
    said = normalise(answer)
    if not said:
        return wrong("it is empty")
    if squeezed(said) == squeezed(wanted):
        return right("it is the reference")
    if is_words(wanted):
        same = _letters(said) == _letters(wanted)
        return right("it is the reference") if same else wrong(f"{shown(said)} is not {shown(wanted)}")
    if _DECIMAL.fullmatch(said) and _DECIMAL.fullmatch(wanted):
        same = abs(Fraction(said) - Fraction(wanted)) <= Fraction(1, 10**9)
        return right(f"{said[:40]} is {wanted[:40]}") if same else wrong(f"{said[:40]} is not {wanted[:40]}")
    if nesting(said) > MOST_NESTED:
        raise Ended("task", f"an expression of more than {MOST_NESTED} nested parts is not compared")
    kind, reason = algebra().call("rollout.graders.algebra:compare", said, wanted)
    if kind == "none":
        raise Ended("task", f"{shown(said)}: {reason}")
    return right(reason) if kind == "right" else wrong(f"{shown(said)}: {reason}, {shown(wanted)}")


math_answer.slow = True  # type: ignore[attr-defined]


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()
