"""A question about the data of a domain, before the family makes it a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from rollout.families.base import Toolset

Value = str | int | float | bool | list[Any]
TWO_DECIMALS = "Answer with a number, rounded to 2 decimals."
TRUTH = "Answer True or False."


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        prompt: the text of the task.
        answer: computed from the data, without the functions.
        program: Python that computes the answer with the functions. Its last line is ``print(answer)``.
    """

    prompt: str
    answer: Value
    program: str


Maker = Callable[[Random, Any], Question | None]
"""Draws a question about the data of a toolset; None when these data do not allow it, such as for a tie."""


@dataclass(frozen=True)
class Domain:
    """A domain.

    Attributes:
        world: draws the data for a level of difficulty.
        questions: level → its kinds of question.
    """

    world: Callable[[Random, str], Toolset]
    questions: Mapping[str, Sequence[Maker]]


SHORT, MIDDLE, LONG = "1-2_calls", "3-5_calls", "6-9_calls"
LEVELS = {SHORT: range(1, 3), MIDDLE: range(3, 6), LONG: range(6, 10)}
"""Level → number of calls that the scripted player makes."""


def only_best(scores: Mapping[str, float], best: Callable[..., float] = max) -> str | None:
    """The name with the best score; None when several have it."""
    value = best(scores.values())
    found = [name for name, score in scores.items() if score == value]
    return found[0] if len(found) == 1 else None


def rounded(value: float) -> float | None:
    """A number with 2 decimals; None when it is so near to the middle of two that the way of rounding decides."""
    return None if abs(100 * value - math.floor(100 * value) - 0.5) < 1e-6 else round(value, 2)
