"""What a grader says about a proposed answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

VerdictKind = Literal["right", "wrong", "none"]


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, with the reason in one sentence.

    ``none`` means that nothing was decided: the grader was killed or the task is broken. ``reward`` is 1 for a right
    answer unless the grader says otherwise. ``fault`` says who is responsible when there is no verdict: ``infra`` is
    worth another attempt, ``task`` is not.
    """

    kind: VerdictKind
    reason: str = ""
    reward: float = 0.0
    fault: Literal["infra", "task"] | None = None


Grader = Callable[[str, str], "bool | float | Verdict"]
"""``grade(proposed, reference)``. A bool or a reward is made a verdict: 1 or more is right."""


def right(reason: str = "", reward: float = 1.0) -> Verdict:
    """The answer is right."""
    return Verdict("right", reason, reward)


def wrong(reason: str = "", reward: float = 0.0) -> Verdict:
    """The answer is wrong."""
    return Verdict("wrong", reason, reward)
