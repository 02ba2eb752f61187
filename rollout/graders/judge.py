"""Calls a grader and makes a verdict of what it returns or raises."""

from __future__ import annotations

import math

from rollout.graders.verdict import Verdict, right, wrong
from rollout.registry import GRADERS


def judge(grader: str, proposed: str, reference: str) -> Verdict:
    """The verdict of a registered grader on one proposed answer.

    Args:
        grader: its registered name.
        proposed: the text that the model proposed.
        reference: the task's answer, in the form that the grader reads.
    """
    grade = GRADERS.get(grader)
    try:
        said = grade(proposed, reference)
        if isinstance(said, Verdict):
            return said
        reward = float(said)
        if not math.isfinite(reward):
            raise ValueError(f"the reward is {reward}")
    except Exception as fault:  # a grader may come from another package
        return Verdict("none", f"{type(fault).__name__}: {fault}", fault="task")
    if reward >= 1.0:
        return right(f"the grader {grader} accepts it", reward)
    return wrong(f"the grader {grader} gives it {reward:g}", reward)
