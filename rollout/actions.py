"""Model text → action.

Contract: a text with a ``<solution>`` is a proposal, else one with an ``<execute>`` is a cell, else it is invalid.
Several bodies of one kind are joined by newlines (paper section 2.2, MINT's rule). A tag that a stop string or the
token limit left open counts as closed at the end only for a solution; half a cell is never run. Linear in the length
of the text; nothing is executed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_EXECUTE = re.compile(r"<execute>(.*?)</execute>", re.DOTALL)
_SOLUTION = re.compile(r"<solution>(.*?)(?:</solution>|\Z)", re.DOTALL)

STOP_STRINGS = ("</execute>", "</solution>")
"""Generation ends after these; engines include them in the text."""


@dataclass(frozen=True)
class Action:
    """What the model did: ran code, proposed an answer, or neither."""

    kind: Literal["action", "proposal", "invalid"]
    body: str = ""


def parse(text: str) -> Action:
    """The action in an assistant turn."""
    solutions = [body.strip() for body in _SOLUTION.findall(text)]
    if solutions:
        return Action("proposal", "\n".join(solutions))
    cells = [body.strip("\n") for body in _EXECUTE.findall(text)]
    if any(cell.strip() for cell in cells):
        return Action("action", "\n".join(cells))
    return Action("invalid")
