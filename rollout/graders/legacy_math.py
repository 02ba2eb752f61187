"""The reference system's grader of MATH (PRM800K's): texts made equal, then a difference simplified to zero.

Contract: it is for comparison with recorded verdicts. As in the reference, an answer that cannot be decided within the
limit is wrong; here its process is ended, and there it goes on in a thread. No sets, intervals or units are understood
beyond their text.
"""

from __future__ import annotations

import re

from rollout.graders.math_text import normalise, squeezed
from rollout.graders.processes import Ended, algebra
from rollout.graders.verdict import Verdict, right, wrong

_MOST_CHARS = 300


def math_answer(proposed: str, reference: str) -> Verdict:
    """The same text, or item by item the same value."""
    said, wanted = squeezed(normalise(proposed)), squeezed(normalise(reference))
    if said == wanted:
        return right("it is the text of the reference")
    pairs = _items(said), _items(wanted)
    if not said or len(pairs[0]) != len(pairs[1]) or _brackets(said) != _brackets(wanted):
        return wrong("it is not the text of the reference")
    if len(said) > _MOST_CHARS:
        return wrong("it is too long to compare")
    try:
        for item, other in zip(*pairs, strict=True):
            if item != other and not algebra().call("rollout.graders.algebra:same_value", item, other):
                return wrong(f"{item[:40]} is not {other[:40]}")
    except Ended as fault:
        return wrong(f"it cannot be compared: {fault}")
    return right("it has the value of the reference")


math_answer.slow = True  # type: ignore[attr-defined]


def _items(text: str) -> list[str]:
    """The parts of a tuple or list between its brackets."""
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]":
        return text[1:-1].split(",")
    return [text]


def _brackets(text: str) -> str:
    return text[0] + text[-1] if re.fullmatch(r"[(\[].*,.*[)\]]", text) else ""
